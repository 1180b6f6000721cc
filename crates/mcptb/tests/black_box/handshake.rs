//! The opening of an MCP session, and requests of every kind.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::support::launch::free_port;
use crate::support::{Door, Launch, Profile};

fn initialize(version: &str) -> Value {
    let mut params = Profile::Plain.initialize();
    params["protocolVersion"] = json!(version);
    params
}

#[test]
fn nothing_happens_before_initialize() {
    let port = free_port();
    let launch = Launch::new().arg("--port", &port.to_string()).env("MCPTB_LOG", "debug");
    let (mut process, host) = launch.spawn();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert_eq!(host.request("ping", &json!({}))["result"], json!({}));
    host.notify("notifications/initialized", &json!({}));
    host.notify("notifications/cancelled", &json!({"requestId": 1}));
    let probe = host.request("server/discover", &json!({}));
    assert_eq!(probe["error"]["code"], -32601);
    assert!(host.request("tools/list", &json!({}))["result"]["tools"].is_array());
    let early = host.request("tools/call", &json!({"name": "bridge_status", "arguments": {}}));
    assert!(early["error"].is_object(), "{early}");
    let refused = TcpStream::connect(address).expect_err("the port is not bound");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(process.stderr.so_far(), [""; 0]);
    // A probe that goes away again leaves no trace.
    host.close_stdin();
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn every_legacy_version_is_echoed() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let (_process, host) = Launch::new().spawn();
        let answer = host.request("initialize", &initialize(version));
        assert_eq!(answer["result"]["protocolVersion"], version);
        assert_eq!(answer["result"]["serverInfo"]["name"], "mcptb");
        assert_eq!(answer["result"]["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
        assert!(answer["result"]["capabilities"]["tools"].is_object());
        host.notify("notifications/initialized", &json!({}));
        let sampling = host.sampling();
        assert!(sampling.params["maxTokens"].is_u64(), "{}", sampling.params);
    }
    let (_process, host) = Launch::new().spawn();
    let answer = host.request("initialize", &initialize("2031-01-01"));
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
}

#[test]
fn the_new_era_is_declined_before_and_after_the_handshake() {
    let rig = Launch::new().ready();
    let probe = rig.host.request("server/discover", &json!({}));
    assert_eq!(probe["error"]["code"], -32601);
    assert!(probe.get("result").is_none());
}

#[test]
fn nothing_is_asked_before_the_handshake_is_over() {
    let (process, host) = Launch::new().spawn();
    host.request("initialize", &Profile::Plain.initialize());
    let rig = crate::support::Rig::listening(process, host);
    rig.wait_records();
    let reply = rig.fetch(&Door::Chat.ask("too early"));
    assert_eq!(reply.status, 503);
    assert!(Door::Chat.error(&reply).contains("handshake"));
    rig.host.assert_not_asked();
    rig.host.notify("notifications/initialized", &json!({}));
    rig.host.sampling().answer("ok");
    rig.host.wait_state("ready");
}

#[test]
fn ids_of_any_type_come_back_as_they_were() {
    let (_process, host) = Launch::new().spawn();
    let ids = [
        "0",
        "-7",
        "1.5",
        "12345678901234567890123",
        "\"\"",
        "\"a b\"",
        "\"\\u00e9\\n\\\"\"",
        "\"s-1\"",
        "1e3",
    ];
    for id in ids {
        host.write(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n").as_bytes());
        let answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}");
        host.lines.wait(&answer, |line| line == answer);
    }
    // No id that JSON-RPC knows: an error at most, and the session lives.
    for id in ["null", "[1]", "{\"a\":1}", "true"] {
        host.write(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n").as_bytes());
    }
    assert_eq!(host.request("ping", &json!({}))["result"], json!({}));
    assert_eq!(host.faults(), [""; 0]);
}

#[test]
fn unknown_methods_are_declined_and_unknown_notifications_ignored() {
    let rig = Launch::new().ready();
    for method in ["resources/list", "prompts/list", "completion/complete", "", "no\nsuch"] {
        let answer = rig.host.request(method, &json!({}));
        assert_eq!(answer["error"]["code"], -32601, "{method}");
    }
    for method in ["notifications/roots/list_changed", "notifications/progress", "x"] {
        rig.host.notify(method, &json!({"progressToken": 1, "progress": 1}));
    }
    assert_eq!(
        rig.host.request("logging/setLevel", &json!({"level": "debug"}))["result"],
        json!({})
    );
    assert_eq!(rig.host.request("ping", &Value::Null)["result"], json!({}));
}

#[test]
fn a_second_initialize_starts_over() {
    let rig = Launch::new().ready();
    rig.host.shake_hands();
    let status = rig.host.wait_status("ready", |status| status["hosts"][0]["state"] == "ready");
    assert_eq!(status["hosts"].as_array().unwrap().len(), 1);
}

#[test]
fn ping_is_answered_while_calls_wait() {
    let rig = Launch::new().ready();
    let mut calls: Vec<_> = (0..12).map(|_| rig.send(&Door::Chat.ask("wait"))).collect();
    let samplings: Vec<_> = (0..8).map(|_| rig.host.sampling()).collect();
    for _ in 0..20 {
        assert_eq!(rig.host.request("ping", &json!({}))["result"], json!({}));
    }
    rig.host.respond(|sampling| sampling.answer("done"));
    for sampling in &samplings {
        sampling.answer("done");
    }
    for call in &mut calls {
        assert_eq!(call.finish().status, 200);
    }
}
