//! Claude Code asks again, unstreamed, when a stream breaks: the host is asked once.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Request, Rig};

const TOKEN: &str = "a-token-of-more-than-20-characters";

/// The stream that breaks, as Claude Code asks for it.
fn streamed() -> Request {
    Request::post("/v1/messages?beta=true")
        .json(&body(&json!({"stream": true, "max_tokens": 128_000})))
        .header("x-claude-code-session-id", "5e55")
        .header("anthropic-version", "2023-06-01")
}

/// Its repetition: no `stream`, fewer tokens, the same otherwise.
fn again() -> Request {
    again_with(&json!({"max_tokens": 64_000}), "5e55")
}

fn again_with(more: &Value, session: &str) -> Request {
    Request::post("/v1/messages?beta=true")
        .json(&body(more))
        .header("x-claude-code-session-id", session)
        .header("anthropic-version", "2023-06-01")
}

fn body(more: &Value) -> Value {
    let mut all = json!({
        "model": "claude-opus-5",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "do it"}]}],
        "system": [{"type": "text", "text": "be brief"}],
        "metadata": {"user_id": "{\"a\":1}"},
    });
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

/// The ends of all calls so far, once there are this many.
fn ends(rig: &Rig, count: usize) -> Vec<String> {
    rig.process.stderr.wait_many(count, |line| line.contains(" TX "))
}

#[test]
fn a_stream_cut_while_the_host_thinks() {
    let rig = Launch::new().ready();
    let mut stream = rig.send(&streamed());
    let sampling = rig.host.sampling();
    // The status is held back for the grace, so this takes a while.
    assert_eq!(stream.head().status, 200);
    drop(stream);
    let mut call = rig.send(&again());
    rig.host.assert_not_asked();
    sampling.answer("done at last");
    let reply = call.finish();
    assert_eq!(Door::Messages.text(&reply), "done at last");
    assert!(reply.json()["usage"]["input_tokens"].as_u64().unwrap() > 0);
    assert!(!rig.host.has_cancelled());
    let ends = ends(&rig, 2);
    let (first, second): (Vec<_>, Vec<_>) = ends.iter().partition(|line| line.contains("=499"));
    let id = first[0].split(' ').nth(2).unwrap();
    assert!(second[0].contains(&format!("replay_of={id}")), "{second:?}");
    assert!(second[0].contains("status=200") && second[0].contains("tokens_in=0"), "{second:?}");
    assert!(!first[0].contains("tokens_in=0"), "{first:?}");
    // It is taken over once; the next one is a question of its own.
    let mut call = rig.send(&again());
    rig.host.sampling().answer("anew");
    assert_eq!(Door::Messages.text(&call.finish()), "anew");
}

#[test]
fn a_stream_cut_in_the_middle_of_its_answer() {
    let rig = Launch::new().ready();
    let mut stream = rig.send(&streamed());
    // More than sockets hold, so that it cannot have been sent whole.
    let long = "a long answer ".repeat(400_000);
    rig.host.sampling().answer(&long);
    for _ in 0..5 {
        assert!(stream.event().is_some());
    }
    drop(stream);
    let reply = rig.fetch(&again());
    assert_eq!(Door::Messages.text(&reply), long);
    rig.host.assert_not_asked();
    let ends = ends(&rig, 2);
    assert_eq!(ends.iter().filter(|line| line.contains("replay_of=")).count(), 1);
}

#[test]
fn a_stream_read_to_its_end_is_asked_anew() {
    let rig = Launch::new().ready();
    let mut stream = rig.send(&streamed());
    rig.host.sampling().answer("the first answer");
    assert_eq!(Door::Messages.streamed_text(&mut stream), "the first answer");
    let mut call = rig.send(&again());
    rig.host.sampling().answer("the second answer");
    assert_eq!(Door::Messages.text(&call.finish()), "the second answer");
}

#[test]
fn any_other_call_is_asked_anew() {
    let rig = Launch::new().env("MCPTB_TOKEN", TOKEN).arg("--auth", "open-loopback").ready();
    let others = [
        again_with(&json!({"max_tokens": 64_000, "system": "be long"}), "5e55"),
        again_with(&json!({"max_tokens": 64_000, "temperature": 0.5}), "5e55"),
        again_with(&json!({"max_tokens": 64_000}), "another session"),
        Request::post("/v1/messages").json(&body(&json!({"max_tokens": 64_000}))),
        again().header("authorization", &format!("Bearer {TOKEN}")),
        again().header("x-mcptb-params", "lenient"),
    ];
    for other in others {
        let stream = rig.send(&streamed());
        let first = rig.host.sampling();
        drop(stream);
        let mut call = rig.send(&other);
        rig.host.sampling().answer("anew");
        assert_eq!(Door::Messages.text(&call.finish()), "anew");
        // Nobody has come for the first, and so it is cancelled.
        assert_eq!(rig.host.cancelled(), first.id);
        first.error(-32603, "cancelled");
    }
    // Streamed again: the younger one is the one to take over now.
    let older = rig.send(&streamed());
    let first = rig.host.sampling();
    drop(older);
    let younger = rig.send(&streamed());
    let second = rig.host.sampling();
    assert_eq!(rig.host.cancelled(), first.id);
    drop(younger);
    let mut call = rig.send(&again());
    second.answer("from the younger");
    assert_eq!(Door::Messages.text(&call.finish()), "from the younger");
}

#[test]
fn without_the_guard_every_call_is_asked_anew() {
    for launch in
        [Launch::new().arg("--replay-guard", "off"), Launch::new().env("MCPTB_REPLAY_GUARD", "off")]
    {
        let rig = launch.ready();
        let stream = rig.send(&streamed());
        let first = rig.host.sampling();
        drop(stream);
        assert_eq!(rig.host.cancelled(), first.id);
        let mut call = rig.send(&again());
        rig.host.sampling().answer("anew");
        assert_eq!(Door::Messages.text(&call.finish()), "anew");
    }
}

#[test]
fn a_stream_that_the_host_failed_is_asked_anew() {
    let rig = Launch::new().ready();
    let mut stream = rig.send(&streamed());
    let sampling = rig.host.sampling();
    assert_eq!(stream.head().status, 200);
    sampling.error(-32603, "the model is not there");
    let said = stream.finish();
    assert!(String::from_utf8_lossy(&said.body).contains("event: error"));
    let mut call = rig.send(&again());
    rig.host.sampling().answer("better now");
    assert_eq!(Door::Messages.text(&call.finish()), "better now");
}

#[test]
fn a_successor_hears_what_the_host_says_no_to() {
    let rig = Launch::new().ready();
    let stream = rig.send(&streamed());
    let sampling = rig.host.sampling();
    drop(stream);
    let mut call = rig.send(&again());
    rig.host.assert_not_asked();
    sampling.refuse();
    let reply = call.finish();
    assert_eq!(reply.status, 403);
    Door::Messages.error(&reply);
    assert_eq!(ends(&rig, 2).len(), 2);
}
