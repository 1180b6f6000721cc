//! Bodies that are too large, too slow, or not what they should be.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Request, Rig};

fn refused(rig: &Rig, request: &Request, door: Door, status: u16) -> String {
    let reply = rig.fetch(request);
    let shown = String::from_utf8_lossy(&reply.body).into_owned();
    assert_eq!(reply.status, status, "{shown}");
    door.error(&reply)
}

#[test]
fn forty_mebibytes_are_too_many() {
    let rig = Launch::new().ready();
    for door in Door::BOTH {
        let large = door.ask(&"x".repeat(40 << 20));
        let mut call = rig.send(&large);
        let reply = call.finish();
        assert_eq!(reply.status, 413);
        assert!(door.error(&reply).contains("33554432"));
        assert_eq!(reply.header("x-should-retry"), Some("false"));
    }
    // Announced only: refused before a byte of it has come.
    let head = "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 41943040\r\n\r\n";
    assert_eq!(rig.target.send_raw(head.as_bytes()).finish().status, 413);
    rig.host.assert_not_asked();
}

#[test]
fn chunks_without_an_announced_length_are_counted() {
    let rig = Launch::new().arg("--body-limit", "1000").ready();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut call = rig.target.send_raw(head.as_bytes());
    for _ in 0..3 {
        let chunk = format!("190\r\n{}\r\n", "x".repeat(400));
        // The bridge may have answered, and closed, in between.
        let _ = call.push(chunk.as_bytes());
    }
    assert_eq!(call.finish().status, 413);
    let body = Door::Chat.body("in chunks", &json!({})).to_string();
    let mut call = rig.target.send_raw(head.as_bytes());
    for piece in body.as_bytes().chunks(7) {
        call.push(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
        call.push(piece).unwrap();
        call.push(b"\r\n").unwrap();
    }
    call.push(b"0\r\n\r\n").unwrap();
    rig.host.sampling().answer("whole again");
    assert_eq!(Door::Chat.text(&call.finish()), "whole again");
}

#[test]
fn half_a_body_is_waited_for_in_vain() {
    let rig = Launch::new().arg("--read-timeout", "1").ready();
    for door in Door::BOTH {
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{\"model\":",
            door.path()
        );
        let reply = rig.target.send_raw(head.as_bytes()).finish();
        assert_eq!(reply.status, 408);
        door.error(&reply);
    }
    // Half a head gets no answer, only the end.
    let mut slow = rig.target.send_raw(b"POST /v1/messages HTTP/1.1\r\nhost: loc");
    let said = slow.until_closed();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"), "{said:?}");
    rig.host.assert_not_asked();
}

#[test]
fn all_bodies_together_have_a_bound() {
    let rig = Launch::new().arg("--body-limit", "600000").arg("--body-memory", "1000000").ready();
    let mut held = rig.send(&Door::Chat.ask(&"x".repeat(550_000)));
    let sampling = rig.host.sampling();
    for door in Door::BOTH {
        let reply = rig.fetch(&door.ask(&"x".repeat(550_000)));
        assert_eq!(reply.status, door.overloaded());
        assert!(reply.header("retry-after").is_some());
        door.error(&reply);
    }
    sampling.answer("done");
    assert_eq!(held.finish().status, 200);
    // What was held is free again once the call has ended.
    rig.host.respond(|sampling| sampling.answer("done"));
    rig.host.wait_status("no call", |status| status["hosts"][0]["in_flight"] == 0);
    assert_eq!(rig.fetch(&Door::Chat.ask(&"x".repeat(550_000))).status, 200);
}

#[test]
fn what_is_not_json_is_refused() {
    let rig = Launch::new().ready();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_inside = format!(
        r#"{{"messages":[{{"role":"user","content":"hi"}}],"metadata":{}1{}}}"#,
        "{\"a\":".repeat(300),
        "}".repeat(300)
    );
    let bodies: [&[u8]; 13] = [
        b"",
        b" ",
        b"{",
        b"hello",
        b"null",
        b"[]",
        b"42",
        b"\"text\"",
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}",
        b"\xef\xbb\xbf\xc3\x28",
        b"{\"messages\": [}",
        deep.as_bytes(),
        deep_inside.as_bytes(),
    ];
    for door in Door::BOTH {
        for body in bodies {
            refused(&rig, &Request::post(door.path()).bytes(body), door, 400);
        }
        let utf8 = Request::post(door.path()).bytes(b"{\"a\":\"\xff\"}");
        assert!(refused(&rig, &utf8, door, 400).contains("UTF-8"));
    }
    rig.host.assert_not_asked();
}

#[test]
fn wrong_types_name_their_field() {
    let rig = Launch::new().ready();
    let user = json!({"role": "user", "content": "hi"});
    let cases: [(Door, Value, &str); 17] = [
        (Door::Chat, json!({"messages": "hi"}), "messages"),
        (Door::Chat, json!({"messages": null}), "messages"),
        (Door::Chat, json!({"messages": []}), "messages"),
        (Door::Chat, json!({"messages": [user, {"role": "user", "content": 5}]}), "messages[1]"),
        (Door::Chat, json!({"messages": [user, {"content": "x"}]}), "messages[1]"),
        (Door::Chat, json!({"messages": [user, {"role": "robot", "content": "x"}]}), "messages[1]"),
        (Door::Chat, json!({"temperature": "hot"}), "temperature"),
        (Door::Chat, json!({"temperature": 3}), "temperature"),
        (Door::Chat, json!({"max_tokens": -1}), "max_tokens"),
        (Door::Chat, json!({"n": 9}), "n"),
        (Door::Chat, json!({"n": 0}), "n"),
        (Door::Chat, json!({"stop": 7}), "stop"),
        (Door::Chat, json!({"model": 7}), "model"),
        (Door::Messages, json!({"messages": 5}), "messages"),
        (
            Door::Messages,
            json!({"messages": [user, {"role": "user", "content": [{"type": "text", "text": 5}]}]}),
            "messages.1.content.0.text",
        ),
        (Door::Messages, json!({"max_tokens": "many"}), "max_tokens"),
        (Door::Messages, json!({"temperature": 1.5}), "temperature"),
    ];
    for (door, more, field) in cases {
        let reply = rig.fetch(&door.ask_with("hi", &more));
        assert_eq!(reply.status, 400, "{more}");
        let message = door.error(&reply);
        let param = reply.json()["error"]["param"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(field), "{more}: {message}");
        assert!(door == Door::Messages || param.contains(field), "{more}: {param}");
    }
    rig.host.assert_not_asked();
}

/// A line that the host would take for a message of its own.
const FORGED: &str = r#"{"jsonrpc":"2.0","id":"x","method":"forged","params":{}}"#;

#[test]
fn no_white_space_of_a_caller_reaches_the_hosts_pipe() {
    let rig = Launch::new().ready();
    rig.host.respond(|sampling| sampling.answer("fine"));
    let tool = format!(
        "[{{\"type\":\"function\",\"function\":{{\"name\":\"f\",\"parameters\":{{\"type\":\n{FORGED}\n}}}}}}]"
    );
    let inner = [
        // Legal white space around a whole message, and around everything else.
        format!("\"metadata\": {{\"a\":\r\n{FORGED}\r\n}}"),
        format!("\"tools\": {tool}"),
        format!(
            "\"response_format\": {{\"type\":\"json_schema\",\"json_schema\":{{\"name\":\"a\",\"schema\":\n{FORGED}\n}}}}"
        ),
        format!(
            "\"output_config\": {{\"format\":{{\"type\":\"json_schema\",\"schema\":\n{FORGED}\n}}}}"
        ),
        format!("\"logit_bias\": {{\"1\":\n5\r}}, \"prediction\": \r{FORGED}\r"),
        format!(
            "\"thinking\": \n{FORGED}\n, \"stop\": [\"a\\r\\n{}\"]",
            FORGED.replace('"', "\\\"")
        ),
        "\"model\": \"a\\r\\nb\"".to_owned(),
        // Raw control characters inside a string are no JSON.
        format!("\"user\": \"a\n{}\nb\"", FORGED.replace('"', "\\\"")),
        "\"user\": \"a\rb\"".to_owned(),
    ];
    let text = format!("line\\n{}\\r\\u2028\\rend", FORGED.replace('"', "\\\""));
    for door in Door::BOTH {
        for field in &inner {
            let before = rig.host.lines.count();
            let body = format!(
                "{{\"max_tokens\":\n5,\r\n{field},\r\"messages\":[{{\"role\":\"user\",\n\"content\":\"{text}\"}}]}}"
            );
            let reply = rig.fetch(&Request::post(door.path()).text(&body));
            // The host's answer is no JSON: where that was asked for, it is asked twice.
            assert!(matches!(reply.status, 200 | 400 | 502), "{field}: {}", reply.status);
            let lines = rig.host.lines.so_far().split_off(before);
            let samplings = match reply.status {
                200 => 1,
                502 => 2,
                _ => 0,
            };
            assert_eq!(lines.len(), samplings, "{field}: {lines:#?}");
            for line in lines {
                assert!(!line.contains('\r'), "{line}");
                let sent: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(sent["method"], "sampling/createMessage");
                let said = sent["params"]["messages"][0]["content"]["text"].as_str().unwrap();
                // Behind it may stand what the bridge itself has to say of tools or JSON.
                let expected = format!("line\n{FORGED}\r\u{2028}\rend");
                assert!(said.starts_with(&expected), "{said}");
            }
        }
    }
    assert_eq!(rig.host.faults(), [""; 0]);
}

#[test]
fn no_line_break_of_a_host_reaches_a_stream() {
    let rig = Launch::new().ready();
    let text = "one\r\ndata: forged\r\revent: error\n\n: comment\u{2028}\u{85}end";
    for door in Door::BOTH {
        let mut call = rig.send(&door.ask_streamed("lines"));
        rig.host.sampling().result(&json!({
            "model": "m\r\ndata: forged", "content": {"type": "text", "text": text}}));
        let head = call.head();
        assert_eq!(head.header("x-mcp-model"), Some("mdata: forged"));
        assert_eq!(door.streamed_text(&mut call), text);
    }
}
