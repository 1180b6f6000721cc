//! A person's yes and no.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Profile, Rig};

fn assert_refused(rig: &Rig) {
    rig.host.wait_state("refused");
    for door in Door::BOTH {
        for streamed in [false, true] {
            let reply = rig.fetch(&door.ask_with("again", &json!({"stream": streamed})));
            assert_eq!(reply.status, 403);
            let why = door.error(&reply);
            assert!(why.contains("ask_again"), "it says what a person can do: {why}");
            assert_eq!(reply.header("x-should-retry"), Some("false"));
        }
    }
    let (status, body) = rig.readiness();
    assert_eq!((status, &body["hosts"][0]["state"]), (503, &json!("refused")));
    rig.host.assert_not_asked();
}

#[test]
fn a_no_in_any_form_is_final() {
    for profile in Profile::SAMPLING {
        for (door, streamed) in [(Door::Chat, false), (Door::Messages, true)] {
            let rig = Launch::new().profile(profile).cold().attach();
            let mut call = rig.send(&door.ask_with("may I?", &json!({"stream": streamed})));
            rig.host.sampling().refuse();
            let reply = call.finish();
            assert_eq!(reply.status, 403, "{profile:?}");
            let why = door.error(&reply);
            assert!(!why.contains("The user cancelled the request."), "not an answer: {why}");
            assert_eq!(reply.header("x-should-retry"), Some("false"));
            assert_refused(&rig);
        }
    }
}

#[test]
fn a_no_to_the_warm_up_is_final_too() {
    for profile in [Profile::VsCode, Profile::CopilotCli, Profile::Goose] {
        let rig = Launch::new().profile(profile).attach();
        rig.host.sampling().refuse();
        assert_refused(&rig);
    }
}

#[test]
fn a_no_after_a_yes_counts() {
    let rig = Launch::new().profile(Profile::VsCode).ready();
    let mut calls = [rig.send(&Door::Chat.ask("1")), rig.send(&Door::Chat.ask("2"))];
    let samplings = [rig.host.sampling(), rig.host.sampling()];
    samplings[0].refuse();
    rig.host.wait_state("refused");
    // What is out already may still be answered.
    samplings[1].answer("fine");
    let mut statuses = calls.each_mut().map(|call| call.finish().status);
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403]);
    assert_refused(&rig);
}

#[test]
fn those_who_wait_are_refused_along() {
    let rig = Launch::new().cold().attach();
    let mut calls: Vec<_> = (0..5).map(|_| rig.send(&Door::Chat.ask("hi"))).collect();
    let sampling = rig.host.sampling();
    rig.host.wait_status("four in the queue", |status| status["hosts"][0]["waiting"] == 4);
    sampling.refuse();
    for call in &mut calls {
        assert_eq!(call.finish().status, 403);
    }
    rig.host.assert_not_asked();
}

#[test]
fn a_person_may_be_asked_again_by_a_person() {
    let rig = Launch::new().profile(Profile::VsCode).attach();
    rig.host.sampling().refuse();
    assert_refused(&rig);
    let again: Value =
        serde_json::from_str(&rig.host.tool("bridge_status", &json!({"ask_again": true}))).unwrap();
    assert_eq!(again["asked_again"], true);
    rig.host.sampling().answer("ok");
    rig.host.wait_state("ready");
    let mut call = rig.send(&Door::Messages.ask("now?"));
    rig.host.sampling().answer("yes");
    assert_eq!(Door::Messages.text(&call.finish()), "yes");
    // Where nobody has refused there is nothing to ask.
    let again = rig.host.tool("bridge_status", &json!({"ask_again": true}));
    assert!(again.contains("\"asked_again\": false"), "{again}");
    rig.host.assert_not_asked();
}

#[test]
fn asked_again_without_a_warm_up_the_next_call_decides() {
    let rig = Launch::new().cold().attach();
    let mut call = rig.send(&Door::Chat.ask("may I?"));
    rig.host.sampling().refuse();
    assert_eq!(call.finish().status, 403);
    rig.host.tool("bridge_status", &json!({"ask_again": true}));
    rig.host.assert_not_asked();
    let mut call = rig.send(&Door::Chat.ask("may I now?"));
    rig.host.sampling().refuse();
    assert_eq!(call.finish().status, 403);
    assert_refused(&rig);
}

#[test]
fn a_late_yes_grants_consent() {
    for profile in [Profile::Plain, Profile::VsCode] {
        let rig = Launch::new().profile(profile).cold().env("MCPTB_HTTP_TIMEOUT", "1").attach();
        let mut call = rig.send(&Door::Chat.ask("hi"));
        let sampling = rig.host.sampling();
        let reply = call.finish();
        assert_eq!(reply.status, 504);
        assert!(Door::Chat.error(&reply).contains("dialog"), "it names the likely cause");
        if profile == Profile::Plain {
            assert_eq!(rig.host.cancelled(), sampling.id);
            sampling.answer("too late for this call");
            rig.host.wait_state("ready");
        } else {
            // A task is cancelled by its id; the answer to that is no person's.
            rig.host.task_cancelled();
            rig.host.wait_state("consent_unknown");
        }
    }
}

#[test]
fn a_late_no_is_heard_too() {
    let rig = Launch::new().cold().env("MCPTB_HTTP_TIMEOUT", "1").attach();
    let mut call = rig.send(&Door::Chat.ask("hi"));
    let sampling = rig.host.sampling();
    assert_eq!(call.finish().status, 504);
    sampling.refuse();
    assert_refused(&rig);
}

#[test]
fn a_late_answer_to_the_warm_up_is_heard() {
    let rig = Launch::new().env("MCPTB_WARMUP_WAIT", "1").attach();
    let warm_up = rig.host.sampling();
    // Nobody clicks in time.
    assert_eq!(rig.host.cancelled(), warm_up.id);
    rig.host.wait_state("consent_unknown");
    warm_up.answer("ok");
    rig.host.wait_state("ready");
}
