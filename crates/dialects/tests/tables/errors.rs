//! The tables of failures and of stop reasons.

use std::collections::BTreeSet;

use dialects::{ReplyHead, anthropic_messages, openai_chat};
use model::{
    Block, CallId, Completion, Dialect, Failure, FailureKind, LossSet, ModelName, StopReason, Usage,
};
use serde_json::Value;

use crate::page::{rows, ticked};
use crate::page_of;

fn kind(name: &str) -> FailureKind {
    let known = FailureKind::ALL.into_iter().find(|kind| format!("{kind:?}") == name);
    known.unwrap_or_else(|| panic!("there is no failure {name}"))
}

#[test]
fn every_failure_has_its_status_and_words() {
    for dialect in [Dialect::OpenAiChat, Dialect::AnthropicMessages] {
        let mut told = BTreeSet::new();
        for cells in rows(&page_of(dialect), "Errors") {
            let [kinds, status, wire_type, rest @ ..] = cells.as_slice() else {
                panic!("{cells:?}")
            };
            for name in ticked(kinds) {
                let failure = Failure::new(kind(&name), "It failed.");
                let (found, body) = if dialect == Dialect::OpenAiChat {
                    openai_chat::write_failure(&failure)
                } else {
                    anthropic_messages::write_failure(&failure, CallId::generate())
                };
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(found.to_string(), *status, "{dialect} {name}");
                assert_eq!(
                    vec![body["error"]["type"].clone()],
                    ticked(wire_type),
                    "{dialect} {name}"
                );
                // Several codes are those of a field that is at fault; then there is none here.
                if let Some([code]) = rest.first().map(|codes| ticked(codes)).as_deref() {
                    assert_eq!(body["error"]["code"], *code, "{dialect} {name}");
                }
                told.insert(name);
            }
        }
        assert_eq!(told.len(), FailureKind::ALL.len(), "{dialect} tells of {told:?}");
    }
}

#[test]
fn every_stop_reason_has_its_word() {
    for dialect in [Dialect::OpenAiChat, Dialect::AnthropicMessages] {
        let rows = rows(&page_of(dialect), "Answer");
        assert!(rows.len() >= 3, "{dialect}: {rows:?}");
        for cells in rows {
            let [reasons, wire, ..] = cells.as_slice() else { panic!("{cells:?}") };
            let wire = ticked(wire);
            let word = wire.first().and_then(|word| word.split('"').nth(1)).unwrap();
            for name in ticked(reasons) {
                let reason = match name.as_str() {
                    "EndTurn" => StopReason::EndTurn,
                    "StopSequence" => StopReason::StopSequence,
                    "MaxTokens" => StopReason::MaxTokens,
                    "Refusal" => StopReason::Refusal,
                    "ToolUse" => StopReason::ToolUse,
                    other => panic!("there is no reason {other}"),
                };
                assert_eq!(written(dialect, reason), word, "{dialect} {name}");
            }
        }
    }
}

fn written(dialect: Dialect, reason: StopReason) -> String {
    let mut content = vec![Block::text("hi")];
    if reason == StopReason::ToolUse {
        content.push(Block::ToolCall(model::ToolCall {
            id: "c".to_owned(),
            item_id: None,
            name: "f".to_owned(),
            namespace: None,
            input: model::ToolCallInput::Broken("{}".to_owned()),
            cache: None,
        }));
    }
    let reply = Completion {
        model: ModelName::new("m"),
        content,
        reason,
        stop_sequence: None,
        usage: Usage::default(),
        losses: LossSet::EMPTY,
    };
    let head = ReplyHead {
        id: CallId::generate(),
        created: 1,
        model: "m".to_owned(),
        input_tokens: 1,
        choices: 1,
    };
    let mut out = Vec::new();
    let pointer = if dialect == Dialect::OpenAiChat {
        openai_chat::write_reply(&head, std::slice::from_ref(&reply), &mut out);
        "/choices/0/finish_reason"
    } else {
        anthropic_messages::write_reply(&head, &reply, &mut out);
        "/stop_reason"
    };
    let body: Value = serde_json::from_slice(&out).unwrap();
    body.pointer(pointer).and_then(Value::as_str).unwrap().to_owned()
}
