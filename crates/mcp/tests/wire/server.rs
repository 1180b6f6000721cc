//! The MCP methods that we serve.

use std::sync::{Arc, Mutex};

use mcp::{HostInfo, Peer, ProtocolVersion, Server, Service, ToolCall};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::script::Script;

/// Writes down what the server tells it; the tool's name says what a call does.
#[derive(Default)]
struct Tools {
    attached: Mutex<Vec<HostInfo>>,
    ready: Mutex<usize>,
    held: Mutex<Vec<ToolCall>>,
}

impl Service for Tools {
    fn attached(&self, _: &Peer, host: HostInfo) {
        self.attached.lock().unwrap().push(host);
    }

    fn ready(&self, _: &Peer) {
        *self.ready.lock().unwrap() += 1;
    }

    fn tools(&self) -> String {
        r#"[{"name":"hook"}]"#.to_owned()
    }

    fn call_tool(&self, peer: &Peer, call: ToolCall) {
        match call.name.as_str() {
            "answer" => {
                let arguments = call.arguments.as_deref().unwrap_or_default();
                let text = String::from_utf8_lossy(arguments).into_owned();
                call.reply.text(&text, false);
            }
            "fail" => call.reply.text("line one\nline two", true),
            "drop" => drop(call),
            "hold" => self.held.lock().unwrap().push(call),
            "report" => {
                if let Some(progress) = &call.progress {
                    progress.report(peer, 1, "a\nb");
                    progress.report(peer, 2, "c");
                }
                call.reply.text("done", false);
            }
            "until cancelled" => {
                TaskTracker::new().spawn(async move {
                    call.cancelled.cancelled().await;
                    call.reply.withdraw();
                });
            }
            _ => call.reply.unknown_tool(),
        }
    }
}

fn serve() -> (Script, Arc<Server<Tools>>) {
    let server = Arc::new(Server::new(Tools::default(), "bridge", "1.2.3"));
    (Script::attach(&server), server)
}

async fn ask(script: &mut Script, id: &str, method: &str, params: &Value) -> Value {
    script
        .say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#))
        .await;
    script.hear().await
}

async fn initialized() -> (Script, Arc<Server<Tools>>) {
    let (mut script, server) = serve();
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {"sampling": {}}});
    ask(&mut script, "0", "initialize", &params).await;
    (script, server)
}

#[tokio::test(start_paused = true)]
async fn initialize_echoes_the_version_and_names_the_server() {
    for (asked, answered) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("nonsense", "2025-11-25"),
    ] {
        let (mut script, server) = serve();
        let params = json!({"protocolVersion": asked, "capabilities": {"sampling": {}},
            "clientInfo": {"name": "host", "version": "9"}});
        let answer = ask(&mut script, "\"init\"", "initialize", &params).await;
        assert_eq!(
            answer,
            json!({"jsonrpc": "2.0", "id": "init", "result": {
                "protocolVersion": answered, "capabilities": {"tools": {}},
                "serverInfo": {"name": "bridge", "version": "1.2.3"}}})
        );
        let attached = server.service().attached.lock().unwrap();
        assert_eq!(attached.len(), 1);
        assert_eq!((attached[0].name.as_str(), attached[0].sampling), ("host", true));
        assert_eq!(attached[0].protocol.as_str(), answered);
        assert_eq!(*server.service().ready.lock().unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn initialize_without_usable_params_attaches_a_host_that_offers_nothing() {
    let (mut script, server) = serve();
    for params in ["", r#","params":[]"#, r#","params":7"#] {
        script.say(&format!(r#"{{"id":1,"method":"initialize"{params}}}"#)).await;
        let answer = script.hear().await;
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{params}");
    }
    let attached = server.service().attached.lock().unwrap();
    assert!(attached.iter().all(|host| !host.sampling && !host.sampling_tasks));
    assert_eq!(attached[0].protocol, ProtocolVersion::V2025_11_25);
}

#[tokio::test(start_paused = true)]
async fn the_probe_of_the_new_era_is_sent_back_without_a_side_effect() {
    let (mut script, server) = serve();
    let answer = ask(&mut script, "1", "server/discover", &json!({"_meta": {}})).await;
    assert_eq!(answer["error"]["code"], -32601);
    assert!(server.service().attached.lock().unwrap().is_empty());
    // The same connection can still go on in the old way.
    let answer = ask(&mut script, "2", "initialize", &json!({})).await;
    assert!(answer.get("result").is_some());
}

#[tokio::test(start_paused = true)]
async fn what_may_come_before_initialize() {
    let (mut script, server) = serve();
    assert_eq!(ask(&mut script, "1", "ping", &json!({})).await["result"], json!({}));
    let call = ask(&mut script, "2", "tools/call", &json!({"name": "answer"})).await;
    assert_eq!(call["error"]["code"], -32600);
    script.say(r#"{"method":"notifications/initialized"}"#).await;
    script.say(r#"{"method":"notifications/cancelled","params":{"requestId":2}}"#).await;
    assert_eq!(ask(&mut script, "3", "ping", &json!({})).await["id"], 3);
    assert_eq!(*server.service().ready.lock().unwrap(), 0);
    assert!(server.service().attached.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_handshake_makes_ready_once_each_time() {
    let (mut script, server) = initialized().await;
    let ready = |expected: usize| assert_eq!(*server.service().ready.lock().unwrap(), expected);
    for _ in 0..2 {
        script.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    }
    ask(&mut script, "1", "ping", &json!({})).await;
    ready(1);
    // A host that starts over is attached anew, and is ready only after its own handshake.
    let again =
        ask(&mut script, "2", "initialize", &json!({"protocolVersion": "2025-03-26"})).await;
    assert_eq!(again["result"]["protocolVersion"], "2025-03-26");
    assert_eq!(server.service().attached.lock().unwrap().len(), 2);
    ready(1);
    script.say(r#"{"method":"notifications/initialized"}"#).await;
    ask(&mut script, "3", "ping", &json!({})).await;
    ready(2);
}

#[tokio::test(start_paused = true)]
async fn small_methods() {
    let (mut script, _server) = initialized().await;
    let listed = ask(&mut script, "1", "tools/list", &json!({"cursor": null})).await;
    assert_eq!(listed["result"], json!({"tools": [{"name": "hook"}]}));
    let level = ask(&mut script, "2", "logging/setLevel", &json!({"level": "debug"})).await;
    assert_eq!(level["result"], json!({}));
    for method in ["resources/list", "prompts/list", "sampling/createMessage", "", "Ping"] {
        let answer = ask(&mut script, "3", method, &json!({})).await;
        assert_eq!(answer["error"]["code"], -32601, "{method}");
    }
    for method in ["notifications/progress", "notifications/roots/list_changed", "x"] {
        script.say(&format!(r#"{{"method":"{method}","params":{{}}}}"#)).await;
    }
    script.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn tools_answer_fail_and_are_unknown() {
    let (mut script, _server) = initialized().await;
    let params = json!({"name": "answer", "arguments": {"b": 1, "a": [2.0]}});
    let answer = ask(&mut script, "1", "tools/call", &params).await;
    let expected = json!({"content": [{"type": "text", "text": params["arguments"].to_string()}],
        "isError": false});
    assert_eq!(answer["result"], expected);
    let answer = ask(&mut script, "2", "tools/call", &json!({"name": "fail"})).await;
    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(answer["result"]["content"][0]["text"], "line one\nline two");
    for (params, code) in [
        (json!({"name": "no such tool"}), -32602),
        (json!({"arguments": {}}), -32602),
        (json!({"name": 5}), -32602),
        (json!([]), -32602),
        (json!({"name": "drop"}), -32603),
    ] {
        let answer = ask(&mut script, "3", "tools/call", &params).await;
        assert_eq!(answer["error"]["code"], code, "{params}");
    }
    script.say(r#"{"id":4,"method":"tools/call"}"#).await;
    assert_eq!(script.hear().await["error"]["code"], -32602);
}

#[tokio::test(start_paused = true)]
async fn progress_goes_to_the_token_that_was_given() {
    let (mut script, _server) = initialized().await;
    for token in [r#""p-1""#, "7", "1.50", "\"\\n中\""] {
        script
            .say(&format!(
                r#"{{"id":1,"method":"tools/call","params":{{"name":"report","_meta":{{"progressToken":{token}}}}}}}"#
            ))
            .await;
        let first = script.line().await.unwrap();
        assert_eq!(
            first,
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1,"message":"a\nb"}}}}"#
            )
        );
        assert_eq!(script.hear().await["params"]["progress"], 2);
        assert_eq!(script.hear().await["result"]["content"][0]["text"], "done");
    }
    for meta in [
        r#"{"progressToken":{"a":1}}"#,
        r#"{"progressToken":[1]}"#,
        r#"{"progressToken":null}"#,
        "{}",
        "null",
        "3",
    ] {
        script
            .say(&format!(
                r#"{{"id":2,"method":"tools/call","params":{{"name":"report","_meta":{meta}}}}}"#
            ))
            .await;
        assert_eq!(script.hear().await["id"], 2, "{meta}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_gets_no_answer() {
    let (mut script, _server) = initialized().await;
    script.say(r#"{"id":7,"method":"tools/call","params":{"name":"until cancelled"}}"#).await;
    script.say(r#"{"id":"7","method":"tools/call","params":{"name":"until cancelled"}}"#).await;
    script.hear_nothing().await;
    // Only the call with exactly this id.
    script
        .say(r#"{"method":"notifications/cancelled","params":{"requestId":"7","reason":"r"}}"#)
        .await;
    script.hear_nothing().await;
    for odd in [r#"{"requestId":8}"#, "{}", "[]", r#"{"requestId":{}}"#] {
        script.say(&format!(r#"{{"method":"notifications/cancelled","params":{odd}}}"#)).await;
    }
    script.say(r#"{"method":"notifications/cancelled"}"#).await;
    script.say(r#"{"method":"notifications/cancelled","params":{"requestId":7}}"#).await;
    script.hear_nothing().await;
    assert_eq!(ask(&mut script, "8", "ping", &json!({})).await["id"], 8);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_reaches_the_call_that_runs_and_no_finished_one() {
    let (mut script, server) = initialized().await;
    // The id of a finished call may be used again.
    ask(&mut script, "5", "tools/call", &json!({"name": "answer"})).await;
    script.say(r#"{"id":5,"method":"tools/call","params":{"name":"hold"}}"#).await;
    script.say(r#"{"id":6,"method":"tools/call","params":{"name":"hold"}}"#).await;
    script.say(r#"{"method":"notifications/cancelled","params":{"requestId":5}}"#).await;
    ask(&mut script, "9", "ping", &json!({})).await;
    let [cancelled, running]: [ToolCall; 2] =
        std::mem::take(&mut *server.service().held.lock().unwrap()).try_into().unwrap();
    assert!(cancelled.cancelled.is_cancelled());
    assert!(!running.cancelled.is_cancelled());
    cancelled.reply.withdraw();
    running.reply.text("goes on", false);
    assert_eq!(script.hear().await["id"], 6);
    script.hear_nothing().await;
}
