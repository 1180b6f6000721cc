//! Whether calls are taken, and what callers are told while they are not.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Profile, Reply, Request, Rig};

/// Checks a 503 that comes at once, and gives its sentence.
fn not_ready(door: Door, reply: &Reply) -> String {
    assert_eq!(reply.status, 503);
    let wait: u64 = reply.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&wait));
    door.error(reply)
}

#[test]
fn a_host_without_sampling_is_named_with_those_that_have_it() {
    let rig = Launch::new().profile(Profile::NoSampling).attach();
    for door in Door::BOTH {
        for streamed in [false, true] {
            let ask = door.ask_with("hi", &json!({"stream": streamed}));
            let why = not_ready(door, &rig.fetch(&ask));
            assert!(why.contains("inspector-cli does not offer sampling"), "{why}");
            assert!(why.contains("VS Code"), "{why}");
        }
    }
    let (status, body) = rig.readiness();
    assert_eq!(status, 503);
    assert_eq!(body["hosts"][0]["state"], "no_sampling");
    rig.host.assert_not_asked();
}

#[test]
fn a_host_that_only_says_it_samples_is_found_out() {
    let rig = Launch::new().cold().attach();
    let mut call = rig.send(&Door::Chat.ask("hi"));
    rig.host.sampling().error(-32601, "Method not found");
    not_ready(Door::Chat, &call.finish());
    rig.host.wait_state("no_sampling");
    let why = not_ready(Door::Messages, &rig.fetch(&Door::Messages.ask("hi")));
    assert!(why.contains("does not offer sampling"), "{why}");
    rig.host.assert_not_asked();
}

#[test]
fn the_warm_up_asks_for_consent_before_real_traffic() {
    let rig = Launch::new().profile(Profile::VsCode).attach();
    let warm_up = rig.host.sampling();
    assert!(warm_up.params["maxTokens"].as_u64().unwrap() <= 16, "{}", warm_up.params);
    assert!(warm_up.params["modelPreferences"].is_null(), "{}", warm_up.params);
    for door in Door::BOTH {
        let why = not_ready(door, &rig.fetch(&door.ask("hi")));
        assert!(why.contains("look for a dialog in Visual Studio Code"), "{why}");
    }
    let (status, body) = rig.readiness();
    assert_eq!((status, &body["status"]), (503, &json!("not ready")));
    assert_eq!(body["hosts"][0]["state"], "awaiting_consent");
    rig.host.assert_not_asked();
    warm_up.answer("ok");
    rig.host.wait_state("ready");
    assert_eq!(rig.readiness().0, 200);
    let mut call = rig.send(&Door::Chat.ask("now?"));
    rig.host.sampling().answer("now");
    assert_eq!(Door::Chat.text(&call.finish()), "now");
}

#[test]
fn health_needs_nobody() {
    let rig = Launch::new().profile(Profile::NoSampling).attach();
    for path in ["/healthz", "/", "/api/hello"] {
        assert_eq!(rig.fetch(&Request::get(path)).status, 200, "{path}");
        let head = rig.send(&Request::new("HEAD", path)).finish_head();
        assert_eq!(head.status, 200, "HEAD {path}");
    }
}

/// While consent is unknown one call at a time goes through; the first answer opens the gate.
fn one_at_a_time(rig: &Rig) {
    let mut calls: Vec<_> = (0..4).map(|_| rig.send(&Door::Chat.ask("hi"))).collect();
    let first = rig.host.sampling();
    rig.host.wait_status("three in the queue", |status| status["hosts"][0]["waiting"] == 3);
    rig.host.assert_not_asked();
    // A failure that is no refusal decides nothing: the next one tries.
    first.error(-32603, "the provider has a bad day");
    let second = rig.host.sampling();
    rig.host.wait_status("two in the queue", |status| status["hosts"][0]["waiting"] == 2);
    rig.host.assert_not_asked();
    second.answer("yes");
    let rest = [rig.host.sampling(), rig.host.sampling()];
    for sampling in &rest {
        sampling.answer("yes");
    }
    let mut statuses: Vec<u16> = calls.iter_mut().map(|call| call.finish().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 502]);
    rig.host.wait_state("ready");
}

#[test]
fn without_a_warm_up_the_first_call_decides() {
    let rig = Launch::new().cold().attach();
    rig.host.wait_state("consent_unknown");
    assert_eq!(rig.readiness().0, 200, "calls are taken");
    one_at_a_time(&rig);
}

#[test]
fn after_an_exhausted_warm_up_the_first_call_decides() {
    let rig = Launch::new().env("MCPTB_WARMUP", "1").attach();
    rig.host.sampling().error(-32603, "the provider has a bad day");
    rig.host.wait_state("consent_unknown");
    one_at_a_time(&rig);
}

#[test]
fn a_failed_warm_up_is_tried_again() {
    let rig = Launch::new().env("MCPTB_WARMUP", "2").attach();
    rig.host.sampling().error(-32603, "the provider has a bad day");
    rig.host.sampling().answer("better now");
    rig.host.wait_state("ready");
}

#[test]
fn a_caller_who_leaves_the_gate_lets_the_next_one_through() {
    let rig = Launch::new().cold().attach();
    let first = rig.send(&Door::Chat.ask("first"));
    let asked = rig.host.sampling();
    let gone = rig.send(&Door::Chat.ask("gone"));
    rig.host.wait_status("one in the queue", |status| status["hosts"][0]["waiting"] == 1);
    drop(gone);
    rig.host.wait_status("an empty queue", |status| status["hosts"][0]["waiting"] == 0);
    let mut third = rig.send(&Door::Chat.ask("third"));
    rig.host.wait_status("one in the queue", |status| status["hosts"][0]["waiting"] == 1);
    drop(first);
    assert_eq!(rig.host.cancelled(), asked.id);
    // The dialog of the first is still open; its late yes is heard, and opens the gate.
    asked.answer("yes");
    let next = rig.host.sampling();
    assert_eq!(next.asked(), "third");
    next.answer("yes");
    assert_eq!(third.finish().status, 200);
}

#[test]
fn details_of_readiness_are_for_this_machine() {
    let rig = Launch::new().ready();
    let (status, body) = rig.readiness();
    assert_eq!((status, &body["status"]), (200, &json!("ready")));
    let host = &body["hosts"][0];
    assert_eq!(host["name"], "mcp");
    assert_eq!(host["concurrency"], 8);
    let forwarded = Request::get("/readyz").header("x-forwarded-for", "198.51.100.7");
    let reply = rig.fetch(&forwarded);
    assert_eq!((reply.status, reply.json()), (200, json!({"status": "ready"})));
    assert_eq!(reply.json()["hosts"], Value::Null);
}

#[test]
fn what_is_recorded_is_shown() {
    let config = tempfile::tempdir().unwrap();
    let path = config.path().join("mcptb.toml");
    std::fs::write(&path, "[audit]\nbodies = false\n").unwrap();
    let launch = Launch::new();
    for (rig, mode) in [
        (launch.clone().ready(), "full"),
        (launch.clone().arg("--config", path.to_str().unwrap()).ready(), "metadata"),
        (launch.env("MCPTB_AUDIT", "off").without_records().ready(), "off"),
    ] {
        let (status, body) = rig.readiness();
        assert_eq!((status, &body["audit"]["mode"]), (200, &json!(mode)), "{body}");
        // Nothing is opened where nothing is kept.
        assert_eq!(body["audit"]["bytes"] == json!(0), mode == "off", "{body}");
    }
}
