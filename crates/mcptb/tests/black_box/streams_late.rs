//! Streams whose head went out before the host had answered. These take as long as the grace.

use serde_json::{Value, json};

use crate::support::sse::{read_chat, read_messages};
use crate::support::{Call, Door, Launch, Profile, Rig, Sampling};

/// A stream through each door, and what the host was asked for it.
fn heads(rig: &Rig, more: &Value) -> [(Call, Sampling); 2] {
    let mut both = Door::BOTH.map(|door| {
        let mut more = more.clone();
        more["stream"] = json!(true);
        let call = rig.send(&door.ask_with("take your time", &more));
        (call, rig.host.sampling())
    });
    for (call, _) in &mut both {
        let head = call.head();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("x-mcp-model"), None, "not known yet");
        let losses = head.header("x-mcptb-loss").unwrap_or_default();
        assert!(losses.contains("usage-estimated"), "named before the answer: {losses}");
        assert!(head.header("x-request-id").is_some());
    }
    both
}

#[test]
fn a_late_answer_is_streamed_as_any_other() {
    let rig = Launch::new().ready();
    let [(mut chat, one), (mut messages, two)] = heads(&rig, &json!({}));
    one.answer("late, but there");
    two.answer("late, but there as well");
    let stream = read_chat(&mut chat);
    assert_eq!((stream.text.as_str(), stream.model.as_str()), ("late, but there", "auto"));
    assert_eq!(read_messages(&mut messages).text, "late, but there as well");
}

#[test]
fn a_late_failure_is_the_dialects_own_error_event() {
    let rig = Launch::new().profile(Profile::VsCode).ready();
    let [(mut chat, one), (mut messages, two)] = heads(&rig, &json!({}));
    one.fail("Rate limit exceeded");
    two.fail("model_not_supported");
    let error = read_chat(&mut chat).error.expect("an error");
    assert_eq!(error["code"], "rate_limit_exceeded");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("Rate limit exceeded") && !message.contains("secretMethod"),
        "{message}"
    );
    let error = read_messages(&mut messages).error.expect("an error");
    assert_eq!(error["type"], "not_found_error");
    let lines = rig.process.stderr.wait_many(2, |line| line.contains(" TX "));
    assert!(lines.iter().any(|line| line.contains("status=429")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("status=404")), "{lines:#?}");
}

#[test]
fn a_late_refusal_and_a_killed_host_are_error_events_too() {
    let rig = Launch::new().profile(Profile::CopilotCli).ready();
    let [(mut chat, one), (mut messages, two)] = heads(&rig, &json!({}));
    one.refuse();
    let error = read_chat(&mut chat).error.expect("an error");
    assert_eq!(error["code"], "sampling_rejected");
    drop(rig.host);
    let error = read_messages(&mut messages).error.expect("an error");
    assert!(matches!(error["type"].as_str(), Some("api_error" | "overloaded_error")), "{error}");
    drop(two);
}

#[test]
fn one_of_several_late_choices_fails() {
    // Where calls are recorded, replies wait for each other: see the next test.
    let rig = Launch::new().env("MCPTB_AUDIT", "off").without_records().ready();
    let mut call = rig.send(&Door::Chat.ask_with("two", &json!({"n": 2, "stream": true})));
    let samplings = [rig.host.sampling(), rig.host.sampling()];
    assert_eq!(call.head().status, 200);
    samplings[0].answer("the first answer");
    // The first answer is on its way before the other fails.
    let mut seen = String::new();
    while !seen.contains("answer") {
        seen.push_str(&call.event().expect("the first answer").join("\n"));
    }
    samplings[1].error(-32603, "rate limit exceeded");
    let mut rest = Vec::new();
    while let Some(event) = call.event() {
        rest.extend(event);
    }
    let last = rest.last().unwrap();
    assert!(last.contains("rate_limit_exceeded"), "{last}");
    assert!(!rest.iter().any(|line| line.contains("[DONE]")), "a broken stream has no end");
}

#[test]
fn a_whole_choice_is_told_with_the_failure_of_another() {
    let rig = Launch::new().ready();
    let mut call = rig.send(&Door::Chat.ask_with("two", &json!({"n": 2, "stream": true})));
    let samplings = [rig.host.sampling(), rig.host.sampling()];
    assert_eq!(call.head().status, 200);
    samplings[0].answer("the first answer");
    samplings[1].error(-32603, "rate limit exceeded");
    let mut all = Vec::new();
    while let Some(event) = call.event() {
        all.extend(event);
    }
    let last = all.last().unwrap();
    assert!(last.contains("rate_limit_exceeded"), "{last}");
    assert!(all.iter().any(|line| line.contains("answer")), "{all:?}");
}

#[test]
fn a_silent_host_is_bridged_by_signs_of_life() {
    let rig = Launch::new().ready();
    let [(mut chat, one), (mut messages, two)] = heads(&rig, &json!({}));
    let life = |call: &mut Call, sign: &str| {
        loop {
            let lines = call.event().expect("a sign of life");
            if lines.iter().any(|line| line.starts_with(sign)) {
                return lines;
            }
        }
    };
    assert_eq!(life(&mut chat, ":").len(), 1);
    assert_eq!(life(&mut messages, "event: ping"), ["event: ping", r#"data: {"type":"ping"}"#]);
    one.answer("at last");
    two.answer("at last");
    let mut rest = String::new();
    while let Some(event) = chat.event() {
        rest.push_str(&event.join("\n"));
    }
    assert!(rest.contains("at last") && rest.ends_with("data: [DONE]"), "{rest}");
    rest.clear();
    while let Some(event) = messages.event() {
        rest.push_str(&event.join("\n"));
    }
    assert!(rest.contains("at last") && rest.contains("message_stop"), "{rest}");
}
