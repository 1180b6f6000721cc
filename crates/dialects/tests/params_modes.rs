//! What the three modes of parameters take, leave out and refuse.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use dialects::anthropic_messages::{self, ApiVersion};
use dialects::openai_chat;
use model::{CompletionRequest, Failure, FailureKind, ParamsMode};
use serde_json::{Value, json};

const MODES: [ParamsMode; 3] = [ParamsMode::Strict, ParamsMode::Default, ParamsMode::Lenient];

/// What becomes of a parameter: the losses that name it, or the name in the refusal.
#[derive(Debug, PartialEq)]
enum Fate {
    Taken(String),
    Refused(FailureKind, String),
}

fn fate(read: Result<CompletionRequest, Failure>, mode: ParamsMode) -> Fate {
    match read {
        Ok(request) => {
            assert_eq!(request.mode, mode);
            Fate::Taken(request.losses.to_string())
        }
        Err(failure) => Fate::Refused(failure.kind, failure.param.unwrap_or_default()),
    }
}

fn body(more: &Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (key, value) in more.as_object().unwrap() {
        body.as_object_mut().unwrap().insert(key.clone(), value.clone());
    }
    body
}

fn chat(more: &Value) -> [Fate; 3] {
    let body = body(more).to_string();
    MODES.map(|mode| {
        let read = openai_chat::read_request(body.as_bytes(), mode);
        fate(read.map(|read| read.request), mode)
    })
}

fn messages(more: &Value, version: ApiVersion) -> [Fate; 3] {
    let body = body(more).to_string();
    MODES.map(|mode| {
        let read = anthropic_messages::read_request(body.as_bytes(), version, mode);
        fate(read.map(|read| read.request), mode)
    })
}

fn taken(losses: &str) -> Fate {
    Fate::Taken(losses.to_owned())
}

fn unsupported(param: &str) -> Fate {
    Fate::Refused(FailureKind::Unsupported, param.to_owned())
}

fn bad(param: &str) -> Fate {
    Fate::Refused(FailureKind::BadRequest, param.to_owned())
}

#[test]
fn what_is_left_out_is_refused_only_where_parameters_are_strict() {
    let named = json!([{"role": "user", "content": "hi", "name": "me"}]);
    let detailed = json!([{"role": "user", "content": [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}},
    ]}]);
    for (more, param, loss) in [
        (json!({"top_p": 0.5}), "top_p", "top-p"),
        (json!({"top_k": 5}), "top_k", "top-k"),
        (json!({"frequency_penalty": -2}), "frequency_penalty", "frequency-penalty"),
        (json!({"presence_penalty": 1}), "presence_penalty", "presence-penalty"),
        (json!({"logit_bias": {"foo": 0}}), "logit_bias", "logit-bias"),
        (json!({"prediction": {"type": "content", "content": "a"}}), "prediction", "prediction"),
        (json!({"web_search_options": {}}), "web_search_options", "hosted-tools"),
        (json!({"messages": named}), "messages[0].name", "message-name"),
        (json!({"messages": detailed}), "messages[0].content[1].image_url.detail", "image-detail"),
    ] {
        assert_eq!(chat(&more), [unsupported(param), taken(loss), taken(loss)], "{more}");
    }
    for (more, param, loss) in [
        (json!({"top_p": 0.5}), "top_p", "top-p"),
        (json!({"top_k": 5}), "top_k", "top-k"),
        (json!({"mcp_servers": [{"type": "url"}]}), "mcp_servers", "hosted-tools"),
        (json!({"max_tokens": 0}), "max_tokens", "no-tokens"),
    ] {
        let fates = messages(&more, ApiVersion::V2023_06_01);
        assert_eq!(fates, [unsupported(param), taken(loss), taken(loss)], "{more}");
    }
    // Hosted tools are kept: an upstream names them as lost, if it has no place for them.
    let hosted = json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]});
    assert_eq!(chat(&hosted), [unsupported("tools[0]"), taken(""), taken("")]);
    let fates = messages(&hosted, ApiVersion::V2026_10_21);
    assert_eq!(fates, [unsupported("tools.0"), taken(""), taken("")]);
}

#[test]
fn what_would_break_the_answer_is_taken_only_where_parameters_are_lenient() {
    for (more, param, loss) in [
        (json!({"logprobs": true}), "logprobs", "logprobs"),
        (json!({"top_logprobs": 3}), "top_logprobs", "logprobs"),
        (json!({"modalities": ["text", "audio"]}), "modalities", "modalities"),
        (json!({"audio": {"format": "wav", "voice": "alloy"}}), "audio", "modalities"),
    ] {
        assert_eq!(chat(&more), [unsupported(param), unsupported(param), taken(loss)], "{more}");
    }
    for (more, param, loss) in [
        (json!({"n": 128}), "n", "choices"),
        (json!({"max_tokens": 0}), "max_tokens", "no-tokens"),
        (json!({"max_completion_tokens": 0}), "max_completion_tokens", "no-tokens"),
    ] {
        assert_eq!(chat(&more), [bad(param), bad(param), taken(loss)], "{more}");
    }
    for (more, losses) in [
        (json!({"temperature": 0.5}), ""),
        (json!({"top_p": 1}), ""),
        (json!({"top_k": 3}), "top-k"),
    ] {
        let param = more.as_object().unwrap().keys().next().unwrap();
        let fates = messages(&more, ApiVersion::V2026_10_21);
        assert_eq!(fates, [bad(param), bad(param), taken(losses)], "{more}");
    }
}

#[test]
fn some_things_are_refused_in_every_mode() {
    for (more, param) in [
        (json!({"n": 0}), "n"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"temperature": 3}), "temperature"),
        (json!({"messages": []}), "messages"),
    ] {
        assert_eq!(chat(&more), [bad(param), bad(param), bad(param)], "{more}");
    }
    for kind in ["create", "continue"] {
        // Ignored, the conversation would be lost in silence.
        let more = json!({"thread": {"type": kind}});
        for version in [ApiVersion::V2023_06_01, ApiVersion::V2026_10_21] {
            let refused = || unsupported("thread");
            assert_eq!(messages(&more, version), [refused(), refused(), refused()]);
        }
    }
    assert_eq!(
        messages(&json!({"max_tokens": -1}), ApiVersion::default())
            .map(|fate| fate == bad("max_tokens")),
        [true; 3]
    );
}

#[test]
fn what_nobody_could_observe_is_ignored_in_every_mode() {
    let more = json!({
        "seed": -9_007_199_254_740_991_i64, "user": "me", "metadata": {"a": "b"}, "store": true,
        "service_tier": "auto", "prompt_cache_key": "k", "safety_identifier": "s", "n": 1,
        "verbosity": "low", "reasoning_effort": "none", "logit_bias": {}, "top_p": 1,
        "frequency_penalty": 0, "logprobs": false, "top_logprobs": 0, "modalities": ["text"],
        "stream_options": {"include_obfuscation": true},
    });
    assert_eq!(chat(&more), [taken(""), taken(""), taken("")]);
    let more = json!({
        "thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}, "metadata": {},
        "cache_control": {"type": "ephemeral"}, "service_tier": "auto", "speed": "fast",
        "context_management": {"edits": []}, "container": "c", "inference_geo": "us",
    });
    assert_eq!(messages(&more, ApiVersion::V2026_10_21), [taken(""), taken(""), taken("")]);
}
