//! Lines that are not what they should be: the session lives on, and only the request that a
//! line belongs to fails.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::{Door, Launch};

#[test]
fn garbage_is_skipped() {
    let rig = Launch::new().ready();
    let garbage: [&[u8]; 14] = [
        b"\n",
        b"   \r\n",
        b"hello\n",
        b"{\n",
        b"}\n",
        b"null\n",
        b"42\n",
        b"\"text\"\n",
        b"[]\n",
        b"[1,\"x\",null]\n",
        b"\xff\xfe\x00\n",
        b"{\"id\":1,\"id\":2,\"method\":\"ping\"\n",
        b"{\"jsonrpc\":\"2.0\"}\n",
        b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\"}\n",
    ];
    for line in garbage {
        rig.host.write(line);
    }
    rig.host.write(&[b'[', b'{'].repeat(100_000));
    rig.host.write(b"\n");
    // Answers to nothing.
    for id in ["\"s-999999\"", "\"s-\"", "7", "null", "\"s-99999999999999999999999\""] {
        rig.host.write(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n").as_bytes());
    }
    let mut call = rig.send(&Door::Chat.ask("still there?"));
    rig.host.sampling().answer("yes");
    assert_eq!(Door::Chat.text(&call.finish()), "yes");
}

#[test]
fn a_garbage_answer_fails_its_request_only() {
    let rig = Launch::new().ready();
    let cases: [(&str, &[u8]); 5] = [
        ("cut off", b"\"result\":{\"content\":"),
        ("not UTF-8", b"\"result\":{\"content\":\"\xff\xfe\"}}"),
        ("null", b"\"result\":null}"),
        ("empty", b"\"result\":{}}"),
        ("nothing", b"\"other\":1}"),
    ];
    for (case, rest) in cases {
        for door in Door::BOTH {
            let mut bad = rig.send(&door.ask("garbled"));
            let garbled = rig.host.sampling();
            let mut good = rig.send(&door.ask("fine"));
            let fine = rig.host.sampling();
            let start = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},", garbled.id);
            rig.host.write(&[start.as_bytes(), rest, b"\n"].concat());
            let reply = bad.finish();
            assert_eq!(reply.status, 502, "{case}: {:?}", reply.json());
            door.error(&reply);
            fine.answer("fine");
            assert_eq!(door.text(&good.finish()), "fine", "{case}");
        }
    }
}

#[test]
fn batches_are_answered_in_one() {
    let rig = Launch::new().ready();
    let batch = json!([
        {"jsonrpc": "2.0", "id": "one", "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}},
        17,
        {"jsonrpc": "2.0", "id": "two", "method": "no/such"},
    ]);
    rig.host.write(format!("{batch}\n").as_bytes());
    let line = rig.host.lines.wait("an array", |line| line.starts_with('['));
    let answers: Vec<Value> = serde_json::from_str(&line).unwrap();
    let of = |id: &str| answers.iter().find(|answer| answer["id"] == id).unwrap();
    assert_eq!(answers.len(), 2);
    assert_eq!(of("one")["result"], json!({}));
    assert_eq!(of("two")["error"]["code"], -32601);
}

#[test]
fn samplings_may_be_answered_in_a_batch() {
    let rig = Launch::new().ready();
    let mut first = rig.send(&Door::Chat.ask("1"));
    let one = rig.host.sampling();
    let mut second = rig.send(&Door::Messages.ask("2"));
    let two = rig.host.sampling();
    let answer = |id: &Value, text: &str| {
        json!({"jsonrpc": "2.0", "id": id, "result": {
            "role": "assistant", "model": "m", "content": {"type": "text", "text": text}}})
    };
    let batch = json!([answer(&two.id, "second"), answer(&one.id, "first")]);
    rig.host.write(format!("{batch}\n").as_bytes());
    assert_eq!(Door::Chat.text(&first.finish()), "first");
    assert_eq!(Door::Messages.text(&second.finish()), "second");
}

#[test]
fn lines_in_pieces_and_many_at_once() {
    let rig = Launch::new().ready();
    let before = rig.host.lines.count();
    let mut lines = String::new();
    for number in 0..500 {
        let _ =
            write!(lines, "{{\"jsonrpc\":\"2.0\",\"id\":\"p{number}\",\"method\":\"ping\"}}\r\n");
    }
    for piece in lines.as_bytes().chunks(777) {
        rig.host.write(piece);
    }
    let answers = rig.host.lines.wait_many(500, |line| line.contains("\"id\":\"p"));
    assert!(answers[499].contains("\"p499\""), "answers keep the order");
    assert!(rig.host.lines.count() >= before + 500);
}

#[test]
fn results_are_read_leniently() {
    let rig = Launch::new().ready();
    let text = json!({"type": "text", "text": "answer"});
    let lenient = [
        json!({"content": text}),
        json!({"role": "user", "model": null, "content": [text], "stopReason": null}),
        json!({"model": 7, "content": "answer", "stopReason": 12}),
        json!({"model": "m", "content": [{"text": "answer"}], "stopReason": "somethingNew"}),
        json!({"model": "m", "content": [{"type": "thinking", "thinking": "hm"}, text], "_meta": {}}),
        json!({"model": "m", "content": ["answer", 17, null], "extra": [1, 2]}),
    ];
    for result in lenient {
        for door in Door::BOTH {
            let mut call = rig.send(&door.ask("lenient"));
            rig.host.sampling().result(&result);
            let reply = call.finish();
            assert_eq!(reply.status, 200, "{result}");
            assert_eq!(door.text(&reply), "answer", "{result}");
            let odd = result["content"].as_array().is_some_and(|all| all.len() > 1);
            let losses = reply.header("x-mcptb-loss").unwrap();
            assert_eq!(losses.contains("reply-block"), odd, "{result}: {losses}");
        }
    }
}

#[test]
fn stop_reasons_in_each_dialect() {
    let rig = Launch::new().ready();
    let table = [
        (json!("endTurn"), "stop", "end_turn"),
        (json!("maxTokens"), "length", "max_tokens"),
        (json!("stopSequence"), "stop", "stop_sequence"),
        (Value::Null, "stop", "end_turn"),
        (json!("content_filter"), "content_filter", "refusal"),
    ];
    for (reason, chat, messages) in table {
        for door in Door::BOTH {
            let mut call = rig.send(&door.ask("why"));
            rig.host.sampling().result(&json!({
                "model": "m", "role": "assistant", "stopReason": reason,
                "content": {"type": "text", "text": "because"},
            }));
            let body = call.finish().json();
            match door {
                Door::Chat => assert_eq!(body["choices"][0]["finish_reason"], chat),
                Door::Messages => assert_eq!(body["stop_reason"], messages),
            }
        }
    }
}
