//! Callers who go away.

use gateway::keys::Endpoint;
use serde_json::json;

use crate::support::endpoints::ask_with_key;
use crate::support::{Books, Door, Launch, Profile, Request};

#[test]
fn a_hang_up_while_waiting_is_told_to_the_host() {
    let rig = Launch::new().ready();
    for door in Door::BOTH {
        for streamed in [false, true] {
            let call = rig.send(&door.ask_with("never mind", &json!({"stream": streamed})));
            let sampling = rig.host.sampling();
            drop(call);
            assert_eq!(rig.host.cancelled(), sampling.id, "{door:?}, streamed: {streamed}");
            sampling.error(-32603, "cancelled");
        }
    }
    let lines =
        rig.process.stderr.wait_many(4, |line| line.contains(" TX ") && line.contains("499"));
    assert_eq!(lines.len(), 4, "every hang-up ends its record");
}

#[test]
fn a_hang_up_behind_the_head_of_a_stream_is_told_to_the_host() {
    let rig = Launch::new().ready();
    let mut calls = Door::BOTH.map(|door| rig.send(&door.ask_streamed("never mind")));
    let mut ids = vec![rig.host.sampling().id, rig.host.sampling().id];
    for call in &mut calls {
        // The status is held back for the grace, so this takes a while.
        assert_eq!(call.head().status, 200);
        assert!(call.event().is_some());
    }
    drop(calls);
    let mut cancelled = vec![rig.host.cancelled(), rig.host.cancelled()];
    ids.sort_by_key(ToString::to_string);
    cancelled.sort_by_key(ToString::to_string);
    assert_eq!(cancelled, ids);
}

#[test]
fn a_hang_up_with_half_a_body_asks_nobody() {
    let rig = Launch::new().ready();
    for (body, length) in [("", 100), ("{\"model\":\"au", 100), ("{}", 3)] {
        drop(rig.target.send_raw(
            format!("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}")
                .as_bytes(),
        ));
    }
    drop(rig.target.send_raw(b""));
    drop(rig.target.send_raw(b"POST /v1/mess"));
    assert_eq!(rig.fetch(&Request::get("/healthz")).status, 200);
    rig.host.assert_not_asked();
}

#[test]
fn a_hang_up_right_after_the_request_leaves_nothing_behind() {
    // A slot for each: the host does not confirm, so none comes back soon.
    let rig = Launch::new().arg("--concurrency", "64").ready();
    rig.host.respond(|sampling| {
        if sampling.params.to_string().contains("stays") {
            sampling.answer("done");
        }
    });
    for number in 0..20 {
        drop(rig.send(&Door::BOTH[number % 2].ask("gone at once")));
    }
    assert_eq!(rig.fetch(&Door::Chat.ask("stays")).status, 200);
    // Some have gone before anybody looked at them. Every other one ends its record, and the host
    // is told of every one that it was asked for; the warm-up and the last call were answered.
    let count = |lines: &[String], what: &str| lines.iter().filter(|l| l.contains(what)).count();
    rig.process.stderr.wait_for("an end of every call", |lines| {
        (count(lines, " RX ") == count(lines, " TX ")).then_some(())
    });
    rig.host.lines.wait_for("a cancellation of every call", |lines| {
        let asked = count(lines, "sampling/createMessage");
        (count(lines, "notifications/cancelled") + 2 == asked).then_some(())
    });
}

#[test]
fn a_hang_up_of_n_choices_cancels_all_of_them() {
    let rig = Launch::new().ready();
    let call = rig.send(&Door::Chat.ask_with("three", &json!({"n": 3})));
    let mut ids: Vec<_> = (0..3).map(|_| rig.host.sampling().id.to_string()).collect();
    drop(call);
    let mut cancelled: Vec<_> = (0..3).map(|_| rig.host.cancelled().to_string()).collect();
    ids.sort();
    cancelled.sort();
    assert_eq!(cancelled, ids);
}

#[test]
fn a_task_is_cancelled_by_its_id_even_if_that_comes_late() {
    let rig = Launch::new().profile(Profile::VsCode).ready();
    for late in [false, true] {
        rig.host.hold_tasks(late);
        let call = rig.send(&Door::Chat.ask("never mind"));
        let sampling = rig.host.sampling();
        drop(call);
        if late {
            rig.process.stderr.wait_many(2, |line| line.contains("status=499"));
            assert!(!rig.host.has_cancelled(), "there is nothing to name yet");
            sampling.name_task();
        }
        let task = json!(format!("task-of-{}", sampling.id.as_str().unwrap()));
        assert_eq!(rig.host.task_cancelled(), task);
    }
    assert!(!rig.host.has_cancelled());
    rig.host.wait_status("no call", |status| status["hosts"][0]["in_flight"] == 0);
    assert_eq!(rig.host.faults(), [""; 0]);
}

#[test]
fn a_late_answer_is_never_given_to_another_call() {
    let rig = Launch::new().ready();
    let gone = rig.send(&Door::Chat.ask("first"));
    let late = rig.host.sampling();
    drop(gone);
    rig.host.cancelled();
    let mut call = rig.send(&Door::Chat.ask("second"));
    let sampling = rig.host.sampling();
    late.answer("the answer to the first");
    late.answer("and once more");
    sampling.answer("the answer to the second");
    // A second answer to the same request changes nothing.
    sampling.answer("again");
    assert_eq!(Door::Chat.text(&call.finish()), "the answer to the second");
    let mut call = rig.send(&Door::Chat.ask("third"));
    rig.host.sampling().answer("the answer to the third");
    assert_eq!(Door::Chat.text(&call.finish()), "the answer to the third");
}

/// The record says what was answered and may have left. It does not say that it has arrived: nothing
/// is written after the end of an answer is let go.
#[test]
fn an_answer_that_is_cut_off_on_its_way_is_on_record_as_answered() {
    let books = Books::new();
    let key = books.key(<_>::default());
    let rig = books.launch().ready();
    // More than the sockets hold, so that the bridge is still at it.
    let long = format!("{}and so it ends", "much to read ".repeat(600_000));
    let text = long.clone();
    rig.host.respond(move |sampling| sampling.answer(&text));
    let mut cut_off = Vec::new();
    let mut begin = |endpoint, streamed| {
        let mut call = rig.send(&ask_with_key(endpoint, "?", streamed, &key.token));
        let head = call.head();
        assert_eq!(head.status, 200);
        let id = head.header("x-request-id").unwrap().to_owned();
        let line = rig
            .process
            .stderr
            .wait("its record", |line| line.contains(" TX ") && line.contains(&id));
        assert!(line.contains("status=200"), "{line}");
        cut_off.push(id);
        call
    };
    // By callers who go, and by the end of the bridge.
    drop(begin(Endpoint::Chat, true));
    drop(begin(Endpoint::Messages, false));
    let mut waits = begin(Endpoint::Messages, true);
    rig.end();
    let got = waits.until_closed();
    assert!(got.len() < long.len(), "it is not cut off");
    let record = books.record();
    for id in cut_off {
        let call = record.call(&id);
        let row = &call.row;
        assert_eq!((row.status, row.failure.as_deref()), (Some(200), None));
        let reply = String::from_utf8_lossy(call.reply.as_deref().expect("a reply"));
        assert!(reply.contains("and so it ends"), "{} bytes", reply.len());
        assert!(row.spent.is_some_and(|spent| spent.tokens > 600_000), "{row:?}");
    }
}

/// Nobody will hear of these samplings any more: what they cost is on record when the bridge has
/// gone, and not only after the next start.
#[test]
fn what_is_still_out_at_the_end_is_charged_as_reserved() {
    const CALLS: usize = 40;
    for signal in [None, Some("TERM")] {
        let books = Books::new();
        let key = books.key(<_>::default());
        let mut rig = books.launch().arg("--concurrency", "64").ready();
        let calls: Vec<_> = (0..CALLS)
            .map(|_| rig.send(&ask_with_key(Endpoint::Chat, "never mind", false, &key.token)))
            .collect();
        let samplings: Vec<_> = calls.iter().map(|_| rig.host.sampling()).collect();
        drop(calls);
        // The host confirms none of them.
        for _ in samplings {
            rig.host.cancelled();
        }
        let hung_up = |line: &str| line.contains(" TX ") && line.contains("status=499");
        rig.process.stderr.wait_many(CALLS, hung_up);
        match signal {
            None => rig.host.close_stdin(),
            Some(signal) => rig.process.signal(signal),
        }
        assert_eq!(rig.process.wait().code(), Some(0));
        let record = books.record();
        assert_eq!(record.rows().count(), CALLS);
        for row in record.rows() {
            assert_eq!((row.status, row.spent), (Some(499), Some(row.reserved)), "{signal:?}");
        }
    }
}
