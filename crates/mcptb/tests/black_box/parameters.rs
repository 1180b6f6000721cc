//! What callers ask for beside the text.

use serde_json::{Value, json};

use crate::support::sse::{read_chat, read_messages};
use crate::support::{Door, Launch, Reply, Request, Rig};

/// Sends it, and gives what the host was asked and what the caller got.
fn exchange(rig: &Rig, request: &Request, answer: &str) -> (Value, Reply) {
    let mut call = rig.send(request);
    let sampling = rig.host.sampling();
    sampling.answer(answer);
    (sampling.params, call.finish())
}

#[test]
fn parameters_reach_the_host() {
    let rig = Launch::new().ready();
    let chat =
        json!({"temperature": 0.5, "max_tokens": 77, "stop": ["A", "B"], "model": "gpt-4.1"});
    let (params, _) = exchange(&rig, &Door::Chat.ask_with("hi", &chat), "x");
    assert_eq!(params["temperature"], 0.5);
    assert_eq!(params["maxTokens"], 77);
    assert_eq!(params["stopSequences"], json!(["A", "B"]));
    assert_eq!(params["modelPreferences"], json!({"hints": [{"name": "gpt-4.1"}]}));
    let both = json!({"max_tokens": 5, "max_completion_tokens": 6, "stop": "A"});
    let (params, _) = exchange(&rig, &Door::Chat.ask_with("hi", &both), "x");
    assert_eq!((&params["maxTokens"], &params["stopSequences"]), (&json!(6), &json!(["A"])));
    let messages = json!({"temperature": 1, "stop_sequences": ["A"], "system": "Be brief."});
    let (params, _) = exchange(&rig, &Door::Messages.ask_with("hi", &messages), "x");
    assert_eq!(params["temperature"].as_f64(), Some(1.0));
    assert_eq!(params["maxTokens"], 100);
    assert_eq!(params["stopSequences"], json!(["A"]));
    assert_eq!(params["systemPrompt"], "Be brief.");
}

#[test]
fn nothing_is_sent_that_nobody_asked_for() {
    let rig = Launch::new().ready();
    let nulls = json!({
        "temperature": null, "stop": null, "n": null, "tools": null, "response_format": null,
        "max_tokens": null, "stream": null, "stream_options": null, "unknown_field": {"a": [1]},
    });
    let (params, reply) = exchange(&rig, &Door::Chat.ask_with("hi", &nulls), "x");
    assert_eq!(reply.status, 200);
    let mut keys: Vec<_> = params.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["maxTokens", "messages"]);
    assert_eq!(params["maxTokens"], 8192);
}

#[test]
fn several_choices_are_several_samplings_of_one_call() {
    let rig = Launch::new().ready();
    let mut call = rig.send(&Door::Chat.ask_with("three", &json!({"n": 3})));
    let samplings: Vec<_> = (0..3).map(|_| rig.host.sampling()).collect();
    rig.host.assert_not_asked();
    for (number, sampling) in samplings.iter().rev().enumerate() {
        sampling.answer(&format!("answer {number}"));
    }
    let reply = call.finish();
    let body = reply.json();
    let choices = body["choices"].as_array().unwrap();
    let indices: Vec<_> = choices.iter().map(|choice| choice["index"].as_u64()).collect();
    assert_eq!(indices, [Some(0), Some(1), Some(2)]);
    let mut texts: Vec<_> =
        choices.iter().map(|choice| choice["message"]["content"].as_str().unwrap()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["answer 0", "answer 1", "answer 2"]);
    let id = reply.header("x-request-id").unwrap();
    let lines = rig.process.stderr.wait_many(2, |line| line.contains(id));
    assert_eq!(lines.len(), 2, "one RX and one TX: {lines:#?}");
}

#[test]
fn several_choices_in_one_stream() {
    let rig = Launch::new().ready();
    let more = json!({"n": 3, "stream": true, "stream_options": {"include_usage": true}});
    let mut call = rig.send(&Door::Chat.ask_with("three", &more));
    let samplings: Vec<_> = (0..3).map(|_| rig.host.sampling()).collect();
    for sampling in samplings.iter().rev() {
        sampling
            .answer("an answer that is long enough to come in more than one single piece of it");
    }
    let stream = read_chat(&mut call);
    assert_eq!(stream.texts.len(), 3);
    for text in &stream.texts {
        assert_eq!(
            text,
            "an answer that is long enough to come in more than one single piece of it"
        );
    }
    assert!(stream.usage.is_some());
}

#[test]
fn one_failed_choice_fails_the_call_and_cancels_the_others() {
    let rig = Launch::new().ready();
    let mut call = rig.send(&Door::Chat.ask_with("three", &json!({"n": 3})));
    let samplings: Vec<_> = (0..3).map(|_| rig.host.sampling()).collect();
    samplings[1].error(-32603, "rate limit exceeded");
    assert_eq!(call.finish().status, 429);
    let mut cancelled = [rig.host.cancelled(), rig.host.cancelled()];
    cancelled.sort_by_key(Value::to_string);
    let mut expected = [samplings[0].id.clone(), samplings[2].id.clone()];
    expected.sort_by_key(Value::to_string);
    assert_eq!(cancelled, expected);
}

#[test]
fn stop_sequences_are_enforced_whatever_the_host_does() {
    let rig = Launch::new().ready();
    let said = "one two STOP three HALT four";
    for streamed in [false, true] {
        let chat = json!({"stop": ["HALT", "STOP"], "stream": streamed});
        let mut call = rig.send(&Door::Chat.ask_with("count", &chat));
        rig.host.sampling().answer(said);
        if streamed {
            let stream = read_chat(&mut call);
            assert_eq!(stream.text, "one two ");
            assert_eq!(stream.finish, [Some("stop".to_owned())]);
        } else {
            assert_eq!(Door::Chat.text(&call.finish()), "one two ");
        }
        let messages = json!({"stop_sequences": ["HALT", "STOP"], "stream": streamed});
        let mut call = rig.send(&Door::Messages.ask_with("count", &messages));
        rig.host.sampling().answer(said);
        let (text, reason, sequence) = if streamed {
            let stream = read_messages(&mut call);
            (stream.text, stream.stop_reason, stream.stop_sequence)
        } else {
            let reply = call.finish();
            let body = reply.json();
            let word = |name: &str| body[name].as_str().map(str::to_owned);
            (Door::Messages.text(&reply), word("stop_reason"), word("stop_sequence"))
        };
        assert_eq!(text, "one two ");
        assert_eq!(reason.as_deref(), Some("stop_sequence"));
        assert_eq!(sequence.as_deref(), Some("STOP"));
    }
}

#[test]
fn max_tokens_are_capped_and_the_cap_is_named() {
    let rig = Launch::new().arg("--max-tokens-cap", "50").env("MCPTB_MAX_TOKENS", "40").ready();
    for door in Door::BOTH {
        let (params, reply) =
            exchange(&rig, &door.ask_with("hi", &json!({"max_tokens": 100})), "x");
        assert_eq!(params["maxTokens"], 50);
        assert_eq!(reply.header("x-mcptb-loss"), Some("usage-estimated, max-tokens-clamped"));
        let (params, reply) = exchange(&rig, &door.ask_with("hi", &json!({"max_tokens": 50})), "x");
        assert_eq!(params["maxTokens"], 50);
        assert_eq!(reply.header("x-mcptb-loss"), Some("usage-estimated"));
    }
    let (params, _) = exchange(&rig, &Door::Chat.ask("hi"), "x");
    assert_eq!(params["maxTokens"], 40);
}
