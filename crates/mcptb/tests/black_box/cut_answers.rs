//! Answers that are being handed over when their key ends: nothing more comes of them.
//!
//! The answer of a host is whole before its caller has the first word, so the call itself has ended
//! by then. The callers here take the beginning of it, and the rest only when the key has ended.

use std::time::Instant;

use gateway::keys::Endpoint;
use serde_json::Value;

use crate::support::endpoints::{CALLING, ask_with_key};
use crate::support::{Call, Desk, IssuedKey, PATIENCE, Request, Rig};

/// Far more than there is room for between the bridge and its caller.
const ANSWER: usize = 6 << 20;

/// How a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Revoked,
    Expired,
}

impl Way {
    const fn word(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    fn end(self, desk: &Desk, rig: &Rig, key: &IssuedKey) {
        match self {
            Self::Revoked => drop(desk.text(&["keys", "revoke", &key.id])),
            Self::Expired => drop(desk.text(&["keys", "edit", &key.id, "--expires", "1s"])),
        }
        let deadline = Instant::now() + PATIENCE;
        while rig.fetch(&key.on(Request::get("/v1/models"))).status != 401 {
            assert!(self == Self::Expired && Instant::now() < deadline, "it never ends");
        }
    }
}

/// The rest of a stream: how many bytes of events, and the last one.
fn rest(call: &mut Call) -> (usize, String) {
    let (mut bytes, mut last) = (0, String::new());
    while let Some(event) = call.event() {
        last = event.join("\n");
        bytes += last.len();
    }
    (bytes, last)
}

/// The last event of a stream is an error in its dialect, that says why.
fn assert_error(endpoint: Endpoint, last: &str, word: &str) {
    let (name, data) = last.rsplit_once("data: ").unwrap_or_else(|| panic!("no data: {last}"));
    let data: Value = serde_json::from_str(data).unwrap_or_else(|_| panic!("no error: {last}"));
    let (event, error) = match endpoint {
        Endpoint::Messages => ("event: error\n", &data["error"]),
        Endpoint::Responses => ("event: response.failed\n", &data["response"]["error"]),
        _ => ("", &data["error"]),
    };
    assert_eq!(name, event, "{endpoint:?}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains(word)), "{last}");
}

fn streams_end(way: Way) {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let answer = "word ".repeat(ANSWER / 5);
    rig.host.respond(move |sampling| sampling.answer(&answer));
    let lasting = desk.key(&[]);
    let key = desk.key(&[]);
    let mut calls = CALLING.map(|endpoint| {
        let mut call = rig.send(&ask_with_key(endpoint, "hi", true, &key.token));
        assert_eq!(call.head().status, 200);
        assert!(call.event().is_some());
        (endpoint, call)
    });
    way.end(&desk, &rig, &key);
    for (endpoint, call) in &mut calls {
        let (bytes, last) = rest(call);
        assert!(bytes < ANSWER, "{endpoint:?}: {bytes}");
        assert_error(*endpoint, &last, way.word());
    }
    // The rows say what there was to be had.
    let rows = desk.json(&["audit", "list", "--key", &key.id]);
    for row in rows["data"].as_array().unwrap().iter().filter(|row| row["status"] != 401) {
        assert_eq!((&row["status"], &row["stop_reason"]), (&200.into(), &"end_turn".into()));
    }
    // Others have all of theirs.
    let mut call = rig.send(&ask_with_key(Endpoint::Chat, "hi", true, &lasting.token));
    let (bytes, last) = rest(&mut call);
    assert!(bytes > ANSWER && last == "data: [DONE]", "{bytes} {last}");
}

#[test]
fn a_stream_that_is_being_delivered_ends_when_its_key_is_revoked() {
    streams_end(Way::Revoked);
}

#[test]
fn a_stream_that_is_being_delivered_ends_when_its_key_expires() {
    streams_end(Way::Expired);
}

#[test]
fn an_answer_in_one_piece_breaks_off_when_its_key_is_revoked() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let answer = "word ".repeat(ANSWER / 5);
    rig.host.respond(move |sampling| sampling.answer(&answer));
    let key = desk.key(&[]);
    let mut calls = CALLING.map(|endpoint| {
        let mut call = rig.send(&ask_with_key(endpoint, "hi", false, &key.token));
        let head = call.head();
        let length: usize = head.header("content-length").unwrap().parse().unwrap();
        assert!(head.status == 200 && length > ANSWER);
        (call, length)
    });
    Way::Revoked.end(&desk, &rig, &key);
    for (call, length) in &mut calls {
        let came = call.until_closed().len();
        assert!(came < *length, "{came} of {length}");
    }
}
