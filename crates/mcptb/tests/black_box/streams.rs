//! Streams of answers that come before the grace is over.

use std::time::Duration;

use serde_json::json;

use crate::support::sse::{read_chat, read_messages};
use crate::support::{Door, Launch};

const ANSWER: &str = "A longer answer, in words of several lengths, so that it has to be cut into \
    pieces: 一二三四五六七八九十一二三四五六七八九十, and-a-very-long-word-without-any-space-in-it-\
    that-goes-on-and-on-and-on-until-it-ends.\n\n  Done. ";

#[test]
fn a_chat_stream_keeps_its_grammar() {
    let rig = Launch::new().ready();
    for usage in [false, true] {
        let more = json!({"stream": true, "stream_options": {"include_usage": usage}});
        let mut call = rig.send(&Door::Chat.ask_with("hi", &more));
        rig.host.sampling().answer(ANSWER);
        let head = call.head();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(head.header("cache-control"), Some("no-cache"));
        assert_eq!(head.header("x-accel-buffering"), Some("no"));
        assert_eq!(head.header("x-mcp-model"), Some("model-of-the-host"));
        assert_eq!(head.header("x-mcptb-loss"), Some("usage-estimated"));
        let stream = read_chat(&mut call);
        assert_eq!(stream.text, ANSWER);
        assert_eq!(stream.model, "model-of-the-host");
        assert_eq!(stream.finish, [Some("stop".to_owned())]);
        assert_eq!(stream.usage.is_some(), usage);
        if let Some(usage) = stream.usage {
            assert!(usage["prompt_tokens"].as_u64().unwrap() > 0);
            assert!(usage["completion_tokens"].as_u64().unwrap() > 10);
        }
        assert_eq!(stream.comments, 0);
    }
}

#[test]
fn a_messages_stream_keeps_its_grammar() {
    let rig = Launch::new().ready();
    let more = json!({"stream": true, "model": "claude-x"});
    let mut call = rig.send(&Door::Messages.ask_with("hi", &more));
    rig.host.sampling().answer(ANSWER);
    let head = call.head();
    assert_eq!(head.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(head.header("request-id").unwrap().starts_with("req_"));
    let stream = read_messages(&mut call);
    assert_eq!(stream.text, ANSWER);
    assert_eq!(stream.model, "claude-x");
    assert_eq!(stream.stop_reason.as_deref(), Some("end_turn"));
    assert_eq!(stream.stop_sequence, None);
    assert!(stream.usage.unwrap()["output_tokens"].as_u64().unwrap() > 10);
    assert_eq!(stream.behind, [""; 0], "nothing behind message_stop");
}

#[test]
fn an_early_failure_keeps_its_status() {
    let rig = Launch::new().ready();
    let table = [
        ("rate limit exceeded", 429),
        ("model not found", 404),
        ("prompt is too long", 400),
        ("boom", 502),
    ];
    for (message, status) in table {
        for door in Door::BOTH {
            let mut call = rig.send(&door.ask_streamed("hi"));
            rig.host.sampling().error(-32603, message);
            let reply = call.finish();
            assert_eq!(reply.status, status, "{message}");
            assert_eq!(reply.header("content-type"), Some("application/json"));
            door.error(&reply);
        }
    }
}

#[test]
fn the_status_is_held_back_for_a_grace() {
    let rig = Launch::new().ready();
    let mut calls = Door::BOTH.map(|door| rig.send(&door.ask_streamed("hi")));
    let samplings = [rig.host.sampling(), rig.host.sampling()];
    calls[0].assert_silent(Duration::from_secs(1));
    for sampling in &samplings {
        sampling.error(-32603, "rate limit exceeded");
    }
    for (door, call) in Door::BOTH.into_iter().zip(&mut calls) {
        let reply = call.finish();
        assert_eq!(reply.status, 429);
        door.error(&reply);
    }
}

#[test]
fn several_blocks_become_one_text_or_several_blocks() {
    let rig = Launch::new().ready();
    let result = json!({"model": "m", "content": [
        {"type": "text", "text": "one, "}, {"type": "text", "text": ""}, {"type": "text", "text": "two"}]});
    let mut call = rig.send(&Door::Chat.ask_streamed("hi"));
    rig.host.sampling().result(&result);
    assert_eq!(read_chat(&mut call).text, "one, two");
    let mut call = rig.send(&Door::Messages.ask("hi"));
    rig.host.sampling().result(&result);
    let texts = call.finish().json();
    let texts: Vec<_> =
        texts["content"].as_array().unwrap().iter().map(|block| &block["text"]).collect();
    assert_eq!(texts, ["one, ", "two"]);
}

#[test]
fn a_refused_request_is_no_stream() {
    let rig = Launch::new().ready();
    for door in Door::BOTH {
        let reply = rig.fetch(&door.ask_with("hi", &json!({"stream": true, "messages": []})));
        assert_eq!(reply.status, 400);
        door.error(&reply);
        let reply = rig.fetch(&door.ask_with("hi", &json!({"stream": "yes"})));
        assert_eq!(reply.status, 400);
        assert!(door.error(&reply).contains("stream"));
    }
    rig.host.assert_not_asked();
}
