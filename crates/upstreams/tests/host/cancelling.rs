//! Slots: how many at once, who waits, and when the slot of a cancelled sampling comes back.

use std::time::Duration;

use model::FailureKind;
use serde_json::json;
use tokio::time::Instant;
use upstreams::host::HostSettings;

use crate::script::{Bridge, DEADLINE, SLOT_RETURN, pass, question, settings, settle};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn no_more_samplings_at_once_than_allowed_and_the_rest_in_order() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let calls: Vec<_> = (0..5).map(|number| bridge.ask(&number.to_string())).collect();
    let mut out = vec![host.sampling().await, host.sampling().await];
    host.hears_nothing().await;
    assert_eq!((bridge.status().in_flight, bridge.status().waiting), (2, 3));
    let mut order: Vec<_> = out.iter().map(|job| job.question().to_owned()).collect();
    for _ in 0..3 {
        let job = out.remove(0);
        let text = job.question().to_owned();
        job.answer(&text);
        let next = host.sampling().await;
        order.push(next.question().to_owned());
        out.push(next);
        host.hears_nothing().await;
    }
    for job in out {
        let text = job.question().to_owned();
        job.answer(&text);
    }
    assert_eq!(order, ["0", "1", "2", "3", "4"]);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.text().await, number.to_string(), "each gets its own answer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let (bridge, mut host) =
        Bridge::with_granting_host(HostSettings { queue: 3, ..settings() }).await;
    let calls: Vec<_> = (0..5).map(|number| bridge.ask(&number.to_string())).collect();
    settle().await;
    let failure = bridge.ask("one too many").failure().await;
    assert_eq!(failure.kind, FailureKind::Overloaded);
    for _ in 0..5 {
        host.sampling().await.answer("x");
    }
    for call in calls {
        call.text().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_turn_until_its_deadline() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let out = [bridge.ask("0"), bridge.ask("1")];
    let jobs = [host.sampling().await, host.sampling().await];
    pass(SECOND).await;
    let waiting = bridge.ask("2");
    pass(DEADLINE.saturating_sub(SECOND)).await;
    for call in out {
        assert_eq!(call.kind().await, FailureKind::UpstreamTimeout);
    }
    for job in &jobs {
        host.is_told_to_stop(job).await;
    }
    assert!(waiting.still_waits().await, "the slots are not back yet");
    pass(SECOND).await;
    assert_eq!(waiting.kind().await, FailureKind::Overloaded);
    assert_eq!(bridge.status().waiting, 0);
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_tells_the_host_at_once() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let begun = Instant::now();
    let door = bridge.open(&question("x")).expect("admitted");
    let job = host.sampling().await;
    drop(door);
    host.is_told_to_stop(&job).await;
    host.hears_nothing().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(bridge.status().in_flight, 1, "the host may still be working");
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_in_the_queue_says_nothing_to_the_host() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let _out = [bridge.ask("0"), bridge.ask("1")];
    let (first, _second) = (host.sampling().await, host.sampling().await);
    let door = bridge.open(&question("2")).expect("admitted");
    settle().await;
    assert_eq!(bridge.status().waiting, 1);
    drop(door);
    settle().await;
    assert_eq!(bridge.status().waiting, 0);
    first.answer("x");
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_slot_comes_back_when_the_host_confirms() {
    for confirmation in ["error", "answer", "refusal"] {
        let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
        let call = bridge.ask("x");
        let job = host.sampling().await;
        pass(DEADLINE).await;
        assert_eq!(call.kind().await, FailureKind::UpstreamTimeout);
        host.is_told_to_stop(&job).await;
        pass(SLOT_RETURN / 2).await;
        assert_eq!(bridge.status().in_flight, 1);
        match confirmation {
            "error" => job.fail(-32800, "Request cancelled"),
            "answer" => job.answer("late"),
            // It only confirms our own cancellation: the person has not been asked anew.
            _ => job.fail(-1, "User rejected sampling request"),
        }
        settle().await;
        assert_eq!((bridge.status().in_flight, bridge.status().state), (0, "ready"));
        bridge.grant(&mut host).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_slot_comes_back_after_a_minute_of_silence() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let doors = [
        bridge.open(&question("0")).expect("admitted"),
        bridge.open(&question("1")).expect("admitted"),
    ];
    let jobs = [host.sampling().await, host.sampling().await];
    drop(doors);
    for job in &jobs {
        host.is_told_to_stop(job).await;
    }
    let next = bridge.ask("next");
    pass(SLOT_RETURN.saturating_sub(SECOND)).await;
    host.hears_nothing().await;
    assert_eq!((bridge.status().in_flight, bridge.status().waiting), (2, 1));
    pass(SECOND).await;
    host.sampling().await.answer("yes");
    assert_eq!(next.text().await, "yes");
    assert_eq!(bridge.status().in_flight, 0);
    // Answers that come even later reach nobody and break nothing.
    let [first, second] = jobs;
    first.answer("very late");
    second.fail(-1, "very late");
    settle().await;
    assert_eq!(bridge.status().state, "ready");
    bridge.grant(&mut host).await;
}

#[tokio::test(start_paused = true)]
async fn many_hang_ups_never_let_more_out_than_allowed() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let mut out = Vec::new();
    for round in 0..20 {
        let door = bridge.open(&question(&round.to_string())).expect("admitted");
        settle().await;
        drop(door);
        settle().await;
        if round < 2 {
            let job = host.sampling().await;
            host.is_told_to_stop(&job).await;
            out.push(job);
        } else {
            host.hears_nothing().await;
        }
        assert!(bridge.status().in_flight <= 2);
    }
    for job in out {
        job.fail(-32800, "cancelled");
    }
    settle().await;
    assert_eq!((bridge.status().in_flight, bridge.status().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn several_choices_are_several_samplings() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let mut body = question("x");
    body["n"] = json!(2);
    let door = bridge.open(&body).expect("admitted");
    let jobs = [host.sampling().await, host.sampling().await];
    assert_ne!(jobs[0].id, jobs[1].id);
    drop(door);
    let mut told = Vec::new();
    for _ in &jobs {
        let (method, params) = host.noted().await;
        assert_eq!(method, "notifications/cancelled");
        told.push(params["requestId"].clone());
    }
    assert!(jobs.iter().all(|job| told.contains(&job.id)), "{told:?}");
    host.hears_nothing().await;
}
