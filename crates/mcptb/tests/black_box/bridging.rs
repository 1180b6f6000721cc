//! The main job, over every kind of stdio that a host may give.

use std::time::Duration;

use serde_json::json;

use crate::support::{Call, Door, Launch, Plumbing, Request, Sampling, in_every_plumbing};

in_every_plumbing!(
    hello,
    nonces_find_their_way,
    answers_of_megabytes,
    an_oversize_line_fails_its_request_only,
    a_killed_host_fails_its_calls_at_once,
    the_end_of_stdin_ends_everything,
);

fn hello(plumbing: Plumbing) {
    let rig = Launch::new().plumbing(plumbing).ready();
    for door in Door::BOTH {
        let mut call = rig.send(&door.ask("hello?"));
        let sampling = rig.host.sampling();
        assert!(sampling.id.is_string(), "numeric ids hit VS Code's own requests");
        assert_eq!(sampling.asked(), "hello?");
        sampling.answer("Hello, world: 你好");
        let reply = call.finish();
        assert_eq!(reply.status, 200);
        assert_eq!(door.text(&reply), "Hello, world: 你好");

        let mut call = rig.send(&door.ask_streamed("and streamed?"));
        rig.host.sampling().answer("Hello again, in pieces that are a little longer than one.");
        assert_eq!(call.head().status, 200);
        let text = door.streamed_text(&mut call);
        assert_eq!(text, "Hello again, in pieces that are a little longer than one.");
    }
    assert_eq!(rig.host.faults(), [""; 0]);
}

/// Each of 256 calls gets its own answer, whatever the order of answers.
fn nonces_find_their_way(plumbing: Plumbing) {
    const CALLS: usize = 256;
    let rig = Launch::new().plumbing(plumbing).env("MCPTB_CONCURRENCY", "256").ready();
    let mut calls: Vec<(Door, bool, String, Call)> = (0..CALLS)
        .map(|number| {
            let door = Door::BOTH[number % 2];
            let streamed = number % 4 < 2;
            let nonce = format!("nonce {} of call {number}", number * 7919);
            let call = rig.send(&door.ask_with(&nonce, &json!({"stream": streamed})));
            (door, streamed, nonce, call)
        })
        .collect();
    let mut samplings: Vec<Sampling> = (0..CALLS).map(|_| rig.host.sampling()).collect();
    // Out of order: by the digits of their ids, read backwards.
    samplings.sort_by_key(|sampling| sampling.id.to_string().chars().rev().collect::<String>());
    for sampling in &samplings {
        sampling.answer(&format!("the answer to {} and nothing else", sampling.asked()));
    }
    for (door, streamed, nonce, call) in &mut calls {
        let text = if *streamed { door.streamed_text(call) } else { door.text(&call.finish()) };
        assert_eq!(text, format!("the answer to {nonce} and nothing else"));
    }
    rig.host.assert_not_asked();
    assert_eq!(rig.host.faults(), [""; 0]);
}

fn answers_of_megabytes(plumbing: Plumbing) {
    let rig = Launch::new().plumbing(plumbing).ready();
    let text = "A sentence of a long answer. ".repeat(100_000);
    let question = "A sentence of a long question. ".repeat(100_000);
    for door in Door::BOTH {
        let mut call = rig.send(&door.ask(&question));
        let sampling = rig.host.sampling();
        assert_eq!(sampling.asked(), question);
        sampling.answer(&text);
        assert_eq!(door.text(&call.finish()), text);
    }
    let mut call = rig.send(&Door::Messages.ask_streamed("stream it"));
    rig.host.sampling().answer(&text);
    assert_eq!(Door::Messages.streamed_text(&mut call), text);
}

fn an_oversize_line_fails_its_request_only(plumbing: Plumbing) {
    const CAP: usize = 64 << 20;
    let rig = Launch::new().plumbing(plumbing).ready();
    let mut large = rig.send(&Door::Chat.ask("large"));
    let too_large = rig.host.sampling();
    let mut small = rig.send(&Door::Chat.ask("small"));
    let fits = rig.host.sampling();
    // The id comes last, as the TypeScript SDK writes it.
    rig.host.write(b"{\"jsonrpc\":\"2.0\",\"result\":{\"content\":{\"type\":\"text\",\"text\":\"");
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..=CAP >> 20 {
        rig.host.write(&piece);
    }
    rig.host.write(format!("\"}}}},\"id\":{}}}\n", too_large.id).as_bytes());
    let reply = large.finish();
    assert_eq!(reply.status, 502);
    let message = Door::Chat.error(&reply);
    assert!(message.contains("longer than the limit"), "{message}");
    fits.answer("the session lives on");
    assert_eq!(Door::Chat.text(&small.finish()), "the session lives on");
}

fn a_killed_host_fails_its_calls_at_once(plumbing: Plumbing) {
    let mut rig = Launch::new().plumbing(plumbing).ready();
    let mut whole = Door::BOTH.map(|door| rig.send(&door.ask("never answered")));
    let mut streamed = Door::BOTH.map(|door| rig.send(&door.ask_streamed("never answered")));
    let samplings: Vec<_> = (0..4).map(|_| rig.host.sampling()).collect();
    drop(samplings);
    drop(rig.host);
    for calls in [&mut whole, &mut streamed] {
        for (door, call) in Door::BOTH.into_iter().zip(calls) {
            let reply = call.finish();
            assert!(matches!(reply.status, 502 | 503), "{}", reply.status);
            door.error(&reply);
        }
    }
    assert!(rig.process.wait().success());
}

fn the_end_of_stdin_ends_everything(plumbing: Plumbing) {
    let mut rig = Launch::new().plumbing(plumbing).ready();
    let mut calls = Door::BOTH.map(|door| rig.send(&door.ask("never answered")));
    let samplings: Vec<_> = (0..2).map(|_| rig.host.sampling()).collect();
    // An idle connection must not hold up the end.
    let mut idle = rig.send(&Request::get("/healthz"));
    assert_eq!(idle.finish().status, 200);
    rig.host.close_stdin();
    let status = rig.process.wait_within(Duration::from_secs(2));
    assert_eq!(status.code(), Some(0));
    for (door, call) in Door::BOTH.into_iter().zip(&mut calls) {
        let reply = call.finish();
        assert!(matches!(reply.status, 502 | 503), "{}", reply.status);
        door.error(&reply);
    }
    assert_eq!(idle.until_closed(), b"");
    drop(samplings);
}
