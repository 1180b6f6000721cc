//! How many calls are at a host at once, how many wait, and for how long.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Profile, Rig};

fn wait_waiting(rig: &Rig, count: u64) {
    rig.host.wait_status(&format!("{count} waiting"), |status| {
        status["hosts"][0]["waiting"] == json!(count)
    });
}

fn wait_in_flight(rig: &Rig, count: u64) {
    rig.host.wait_status(&format!("{count} in flight"), |status| {
        status["hosts"][0]["in_flight"] == json!(count)
    });
}

#[test]
fn the_limits_hold_and_a_full_queue_says_when_to_come_again() {
    let rig = Launch::new().arg("--concurrency", "2").arg("--queue", "3").ready();
    let mut calls: Vec<_> =
        (0..5).map(|number| rig.send(&Door::Chat.ask(&format!("call {number}")))).collect();
    let mut samplings = vec![rig.host.sampling(), rig.host.sampling()];
    wait_waiting(&rig, 3);
    rig.host.assert_not_asked();
    let scope = format!("host:{}", rig.host.status()["hosts"][0]["name"].as_str().unwrap());
    // What is foretold, and by whom a call is refused.
    let foretold = |door: Door| {
        let told = rig.fetch(&door.ask("what if?").header("x-mcptb-dry-run", "1")).json();
        (
            told["admitted"].clone(),
            told["refusal"]["status"].clone(),
            told["refusal"]["scope"].clone(),
        )
    };
    for door in Door::BOTH {
        for streamed in [false, true] {
            let reply = rig.fetch(&door.ask_with("one too many", &json!({"stream": streamed})));
            assert_eq!(reply.status, door.overloaded());
            let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait));
            assert!(door.error(&reply).contains("3 waiting"));
            assert!(door.error(&reply).contains(&format!("`{scope}` is busy")));
        }
        assert_eq!(foretold(door), (json!(false), json!(door.overloaded()), json!(scope)));
    }
    // Each answer lets exactly one in, first come first served.
    let mut order: Vec<String> = Vec::new();
    for left in (0..3).rev() {
        samplings.remove(0).answer("done");
        let next = rig.host.sampling();
        order.push(next.asked());
        samplings.push(next);
        wait_waiting(&rig, left);
        wait_in_flight(&rig, 2);
        rig.host.assert_not_asked();
        assert_eq!(foretold(Door::Messages).0, json!(true), "there is room");
    }
    for sampling in &samplings {
        sampling.answer("done");
    }
    for call in &mut calls {
        assert_eq!(call.finish().status, 200);
    }
    wait_in_flight(&rig, 0);
    assert_eq!(order.len(), 3);
}

#[test]
fn the_deadline_of_a_call_is_kept() {
    for door in Door::BOTH {
        let rig = Launch::new().env("MCPTB_HTTP_TIMEOUT", "1").ready();
        let mut whole = rig.send(&door.ask("whole"));
        let first = rig.host.sampling();
        let mut streamed = rig.send(&door.ask_streamed("streamed"));
        let second = rig.host.sampling();
        for call in [&mut whole, &mut streamed] {
            let reply = call.finish();
            assert_eq!(reply.status, 504);
            assert_eq!(reply.header("x-should-retry"), Some("false"));
            door.error(&reply);
        }
        let mut cancelled = [rig.host.cancelled(), rig.host.cancelled()];
        cancelled.sort_by_key(Value::to_string);
        assert_eq!(cancelled, [first.id, second.id]);
        assert!(cancelled.iter().all(Value::is_string));
    }
}

#[test]
fn a_call_that_waits_for_its_turn_has_the_same_deadline() {
    let rig = Launch::new().arg("--concurrency", "1").env("MCPTB_HTTP_TIMEOUT", "1").ready();
    let mut first = rig.send(&Door::Chat.ask("first"));
    let sampling = rig.host.sampling();
    let mut second = rig.send(&Door::Messages.ask("second"));
    assert_eq!(first.finish().status, 504);
    let reply = second.finish();
    assert!(matches!(reply.status, 504 | 529), "{}", reply.status);
    assert_eq!(rig.host.cancelled(), sampling.id);
    rig.host.assert_not_asked();
    assert!(!rig.host.has_cancelled(), "what was never asked is not cancelled");
}

#[test]
fn a_slot_comes_back_when_the_host_has_stopped() {
    let rig = Launch::new().arg("--concurrency", "1").ready();
    let first = rig.send(&Door::Chat.ask("first"));
    let late = rig.host.sampling();
    let mut second = rig.send(&Door::Chat.ask("second"));
    wait_waiting(&rig, 1);
    drop(first);
    assert_eq!(rig.host.cancelled(), late.id);
    // The host may still be working, and billing.
    wait_waiting(&rig, 1);
    wait_in_flight(&rig, 1);
    rig.host.assert_not_asked();
    late.answer("a late answer, which nobody gets");
    let next = rig.host.sampling();
    assert_eq!(next.asked(), "second");
    next.answer("in time");
    assert_eq!(Door::Chat.text(&second.finish()), "in time");
    wait_in_flight(&rig, 0);
}

#[test]
fn a_slot_comes_back_when_the_host_confirms_the_cancellation() {
    for (code, message) in [(-32603, "Request cancelled"), (-32800, "cancelled"), (-1, "rejected")]
    {
        let rig = Launch::new().arg("--concurrency", "1").ready();
        let first = rig.send(&Door::Messages.ask("first"));
        let asked = rig.host.sampling();
        drop(first);
        assert_eq!(rig.host.cancelled(), asked.id);
        asked.error(code, message);
        wait_in_flight(&rig, 0);
        // What follows our own cancellation is no refusal by a person who has said yes.
        rig.host.wait_state("ready");
    }
}

#[test]
fn a_cancelled_task_gives_its_slot_back() {
    let rig = Launch::new().profile(Profile::VsCode).arg("--concurrency", "1").ready();
    let first = rig.send(&Door::Chat.ask("first"));
    let asked = rig.host.sampling();
    let task = format!("task-of-{}", asked.id.as_str().unwrap());
    rig.host
        .lines
        .wait("tasks/result", |line| line.contains("tasks/result") && line.contains(&task));
    drop(first);
    assert_eq!(rig.host.task_cancelled(), json!(task));
    wait_in_flight(&rig, 0);
    rig.host.wait_state("ready");
    assert!(!rig.host.has_cancelled(), "VS Code does not hear notifications for samplings");
    assert_eq!(rig.host.faults(), [""; 0]);
}

#[test]
fn a_caller_who_leaves_the_queue_is_never_asked_for() {
    let rig = Launch::new().arg("--concurrency", "1").ready();
    let mut first = rig.send(&Door::Chat.ask("first"));
    let sampling = rig.host.sampling();
    let second = rig.send(&Door::Chat.ask("second"));
    wait_waiting(&rig, 1);
    drop(second);
    wait_waiting(&rig, 0);
    sampling.answer("done");
    assert_eq!(first.finish().status, 200);
    rig.host.assert_not_asked();
    assert!(!rig.host.has_cancelled());
}
