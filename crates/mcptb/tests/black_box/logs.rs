//! RX and TX lines.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Request, Rig};

fn lines_of(rig: &Rig, id: &str) -> (String, String) {
    let lines = rig.process.stderr.wait_many(2, |line| line.contains(id));
    let [rx, tx] = lines.as_slice() else { panic!("one RX and one TX line: {lines:#?}") };
    assert!(rx.contains(&format!(" RX {id} ")) && tx.contains(&format!(" TX {id} ")), "{lines:#?}");
    (rx.clone(), tx.clone())
}

#[test]
fn one_line_in_and_one_out_for_every_call() {
    let rig = Launch::new().ready();
    for (door, dialect) in Door::BOTH.into_iter().zip(["openai-chat", "anthropic-messages"]) {
        for streamed in [false, true] {
            let more = json!({"stream": streamed, "model": "gpt-4.1"});
            let request =
                door.ask_with("a very secret question", &more).header("user-agent", "tester/1");
            let mut call = rig.send(&request);
            rig.host.sampling().answer("a very secret answer");
            let id = call.head().header("x-request-id").unwrap().to_owned();
            call.finish();
            let (rx, tx) = lines_of(&rig, &id);
            for part in [
                dialect,
                "model=\"gpt-4.1\"",
                "bytes=",
                "tokens=",
                "messages=1",
                "from=127.0.0.1",
                "agent=\"tester/1\"",
                &format!("stream={streamed}"),
            ] {
                assert!(rx.contains(part), "{part} in {rx}");
            }
            for part in [
                dialect,
                "status=200",
                "model=\"gpt-4.1\"",
                "served=\"model-of-the-host\"",
                "host=\"mcp\"",
                "bytes=",
                "tokens_in=",
                "tokens_out=",
                "first_ms=",
                "total_ms=",
            ] {
                assert!(tx.contains(part), "{part} in {tx}");
            }
        }
    }
    let all = rig.process.stderr.so_far().join("\n");
    assert!(!all.contains("very secret"), "no text of a body: {all}");
}

#[test]
fn calls_that_fail_have_their_lines_too() {
    let rig = Launch::new().ready();
    let mut failed = rig.send(&Door::Chat.ask("hi"));
    rig.host.sampling().error(-32603, "quota exceeded");
    let reply = failed.finish();
    let (_, tx) = lines_of(&rig, reply.header("x-request-id").unwrap());
    assert!(tx.contains("status=429") && tx.contains("failure=rate_limited"), "{tx}");
    let refused = [
        (Request::post("/v1/messages").text("{"), 400, "bad_request"),
        (Door::Chat.ask("hi").header("origin", "null"), 403, "forbidden"),
        (Door::Chat.ask("hi").header("via", "1.1 proxy"), 401, "unauthenticated"),
        (Door::Messages.ask(&"x".repeat(40 << 20)), 413, "too_large"),
    ];
    for (request, status, kind) in refused {
        let reply = rig.fetch(&request);
        assert_eq!(reply.status, status);
        let (_, tx) = lines_of(&rig, reply.header("x-request-id").unwrap());
        assert!(tx.contains(&format!("status={status}")), "{tx}");
        assert!(tx.contains(&format!("failure={kind}")), "{tx}");
    }
    let gone = rig.send(&Door::Chat.ask("gone"));
    rig.host.sampling();
    drop(gone);
    rig.process
        .stderr
        .wait("the hang-up", |line| line.contains(" TX ") && line.contains("status=499"));
}

#[test]
fn whole_bodies_on_request_only() {
    let rig = Launch::new().env("MCPTB_LOG_BODIES", "1").ready();
    for door in Door::BOTH {
        for streamed in [false, true] {
            let mut call =
                rig.send(&door.ask_with("a long question?\n", &json!({"stream": streamed})));
            let answer = "a long answer ".repeat(50);
            rig.host.sampling().answer(&answer);
            let id = call.head().header("x-request-id").unwrap().to_owned();
            call.finish();
            let (rx, tx) = lines_of(&rig, &id);
            assert!(rx.contains("a long question?"), "{rx}");
            assert!(tx.contains(&answer), "the full text, also of a stream: {tx}");
        }
    }
}

#[test]
fn json_lines_parse() {
    let rig = Launch::new()
        .arg("--log-format", "json")
        .env("MCPTB_LOG_BODIES", "1")
        .env("MCPTB_LOG", "debug")
        .env("MCPTB_FORCE_COLOR", "1")
        .ready();
    rig.host.write(b"garbage\n");
    let hostile = "quo\"te\\ \u{1b}[2J\u{7f}\u{9b}\u{202e}中\u{1f980}\n";
    let request = Door::Chat.ask_with(hostile, &json!({"model": hostile}));
    let mut call = rig.send(&request.header("user-agent", "a\tb \"c\" \u{9b}d"));
    rig.host.sampling().result(&json!({
        "model": hostile, "content": {"type": "text", "text": hostile}}));
    let reply = call.finish();
    assert_eq!(reply.status, 200);
    rig.process.stderr.wait("the end of the call", |line| line.contains("\"kind\":\"TX\""));
    let mut kinds = Vec::new();
    for line in rig.process.stderr.so_far() {
        let line: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
        if line["kind"] == "RX" {
            assert_eq!(line["model"], hostile);
            assert_eq!(line["agent"], "a\tb \"c\" \u{9b}d");
            assert!(line["bytes"].is_u64() && line["stream"] == false, "{line}");
        } else if line["kind"] == "TX" {
            assert_eq!(line["text"], hostile);
            assert_eq!(line["served"], hostile);
            assert_eq!(line["status"], 200);
            assert!(line["total_ms"].is_number());
        }
        kinds.push(line["kind"].as_str().unwrap_or("event").to_owned());
    }
    for kind in ["RX", "TX", "event"] {
        assert!(kinds.iter().any(|seen| seen == kind), "{kind} in {kinds:?}");
    }
}

#[test]
fn nobody_can_forge_a_line_or_move_the_cursor() {
    let (process, host) =
        Launch::new().env("MCPTB_LOG", "debug").env("MCPTB_LOG_BODIES", "1").spawn();
    let forged = "x\n2026-01-01T00:00:00Z TX forged\r\u{1b}[2J\u{7}\u{9b}31m\u{202e}\u{2028}";
    let mut hello = crate::support::Profile::Plain.initialize();
    hello["clientInfo"]["name"] = json!(forged);
    hello["clientInfo"]["version"] = json!(forged);
    host.request("initialize", &hello);
    host.notify("notifications/initialized", &json!({}));
    host.sampling().error(-32603, forged);
    host.sampling().answer("ok");
    host.wait_state("ready");
    let rig = Rig::listening(process, host);
    rig.wait_records();
    let named = Door::Chat.ask_with(forged, &json!({"model": forged}));
    let mut call = rig.send(&named.header("user-agent", "agent \u{9b}31m \u{202e}"));
    rig.host.sampling().result(&json!({
        "model": forged, "content": {"type": "text", "text": forged}}));
    assert_eq!(call.finish().status, 200);
    let mut call = rig.send(&Door::Messages.ask("hi"));
    rig.host.sampling().error(-32603, forged);
    assert_eq!(call.finish().status, 502);
    rig.process.stderr.wait_many(2, |line| line.contains(" TX "));
    rig.host.write(forged.as_bytes());
    rig.host.write(b"\n");
    rig.host.request("ping", &json!({}));
    for line in rig.process.stderr.so_far() {
        assert!(!line.contains(|char: char| char.is_control() || char == '\u{202e}'), "{line:?}");
        assert!(line.starts_with("20") && !line.starts_with("2026-01-01T00:00:00Z"), "{line:?}");
    }
}
