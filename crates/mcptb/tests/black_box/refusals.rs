//! Every route and every kind of refusal: status, words, advice, and who refuses.
//!
//! The routes are those of the program. Each has a row and each kind a column; a cell says how it
//! is refused, or why it is not. What is not refused is asked for too, and must be answered as with
//! a good key.

use std::collections::HashMap;
use std::sync::mpsc::channel;

use crate::support::{Profile, Reply};

mod keys;
mod rows;
mod table;

use keys::{House, WAIT};
use rows::{Row, Sort, Tongue};
use table::{Cell, Kind, Why, cell, looks};

/// What is said for a cell.
fn what(row: &Row, kind: Kind, reply: &Reply) -> String {
    let body = String::from_utf8_lossy(&reply.body);
    let body: String = body.chars().take(400).collect();
    let Row { method, pattern, sort, tongue, streamed } = row;
    let how = if *streamed { "streamed" } else { "whole" };
    format!("{method} {pattern} ({sort:?}, {tongue:?}, {how}), {kind:?}: {} {body}", reply.status)
}

#[test]
fn every_route_and_every_refusal() {
    let house = House::new();
    let launch = || house.books.launch().arg("--config", &house.config());
    let open = launch().arg("--concurrency", "1").arg("--queue", "1").ready();
    let (keep, held) = channel();
    open.host.respond(move |sampling| match sampling.asked().as_str() {
        WAIT => keep.send(sampling.clone()).unwrap(),
        _ => sampling.answer("ok"),
    });
    house.wait_expired(&open);
    let rows = rows::rows(&open, &house.admin.token);
    // The same folder is open already: this one knows no keys and keeps no record.
    let shut = house.books.launch().without_records().ready();
    shut.process.stderr.wait("the reason", |line| line.contains("records cannot be opened"));

    let mut good = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        let reply = open.fetch(&house.good(row, row.request()));
        assert!(reply.status < 429, "{}", what(row, Kind::NoCredential, &reply));
        good.insert(at, reply.status);
    }
    let mut open = open;
    for kind in Kind::ALL {
        if kind == Kind::NotReady {
            open.end();
            open = launch().profile(Profile::NoSampling).attach();
            open.wait_records();
        }
        let rig = if kind == Kind::StoreDown { &shut } else { &open };
        let waiting = house.keep_waiting(&open, kind, &held);
        for (at, row) in rows.iter().enumerate() {
            let case = match cell(row, kind) {
                Cell::Nothing(_) => continue,
                case => case,
            };
            let (request, scope) = house.case(rig, row, kind);
            let reply = rig.fetch(&request);
            check(row, kind, case, &reply, scope.as_deref(), good[&at]);
        }
        if let Some(waiting) = waiting {
            waiting.end(&held);
        }
    }
    shut.host.assert_not_asked();
}

fn check(row: &Row, kind: Kind, case: Cell, reply: &Reply, scope: Option<&str>, good: u16) {
    let what = what(row, kind, reply);
    match case {
        Cell::Refused(Why::NotReady) => {
            assert_eq!(reply.status, 503, "{what}");
            assert_eq!(reply.json()["status"], "not ready", "{what}");
            assert_wait(reply, &what);
        }
        Cell::Refused(why) => check_refused(row, why, reply, scope, &what),
        Cell::Told(why) => check_told(row, why, reply, scope, &what),
        Cell::Open(_) => assert_eq!(reply.status, good, "{what}"),
        Cell::Nothing(_) => unreachable!(),
    }
    assert!(reply.header("x-mcp-bridge").is_some(), "{what}");
}

fn check_refused(row: &Row, why: Why, reply: &Reply, scope: Option<&str>, what: &str) {
    let (status, kind, code) = looks(why, row.tongue);
    let body = reply.json();
    let error = &body["error"];
    assert_eq!((reply.status, error["type"].as_str()), (status, Some(kind)), "{what}");
    let message = error["message"].as_str().unwrap();
    assert!(!message.is_empty(), "{what}");
    let administers = matches!(row.sort, Sort::Admin | Sort::Children);
    match row.tongue {
        Tongue::OpenAi if administers && why == Why::Unavailable => {
            assert_eq!(error["code"], "store_unavailable", "{what}");
        }
        Tongue::OpenAi => assert_eq!(error["code"].as_str(), code, "{what}"),
        Tongue::Anthropic => {
            assert_eq!(body["type"], "error", "{what}");
            assert!(body["request_id"].as_str().unwrap().starts_with("req_"), "{what}");
            assert_eq!(reply.header("request-id"), body["request_id"].as_str(), "{what}");
        }
    }
    assert!(reply.header("x-request-id").is_some(), "{what}");
    let challenge = reply.header("www-authenticate");
    assert_eq!(challenge.is_some(), why == Why::Unauthenticated, "{what}");
    match why {
        Why::Later | Why::Unavailable | Why::Full => assert_wait(reply, what),
        _ => {
            assert_eq!(reply.header("retry-after"), None, "{what}");
            // Whoever administers has a client that does not come again by itself.
            let advice = reply.header("x-should-retry");
            assert!(advice == Some("false") || (administers && advice.is_none()), "{what}");
        }
    }
    if why == Why::Method {
        let allow = reply.header("allow").unwrap_or_else(|| panic!("no methods: {what}"));
        assert!(allow.contains(row.method), "{allow}: {what}");
    }
    match why {
        Why::Forbidden | Why::TooLarge | Why::Later | Why::Never => {
            let scope = scope.expect("a scope");
            assert!(message.contains(&format!("`{scope}`")), "no {scope}: {what}");
        }
        _ => {}
    }
}

fn check_told(row: &Row, why: Why, reply: &Reply, scope: Option<&str>, what: &str) {
    assert_eq!(reply.status, 200, "{what}");
    let body = reply.json();
    assert_eq!(body["admitted"], false, "{what}");
    let (status, ..) = looks(why, row.tongue);
    let refusal = &body["refusal"];
    assert_eq!(refusal["status"], status, "{what}");
    assert_eq!(refusal["scope"].as_str(), scope, "{what}");
    let wait = refusal["retry_after"].as_u64();
    let later = matches!(why, Why::Later | Why::Unavailable);
    assert_eq!(wait.is_some_and(|wait| wait >= 1), later, "{what}");
}

/// That the reply says when to come again, and does not say not to.
fn assert_wait(reply: &Reply, what: &str) {
    let wait = reply.header("retry-after").unwrap_or_else(|| panic!("no wait: {what}"));
    assert!((1..=61).contains(&wait.parse::<u64>().unwrap()), "{wait}: {what}");
    assert_eq!(reply.header("x-should-retry"), None, "{what}");
}
