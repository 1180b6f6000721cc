//! What a key opens and what it does not, in a running bridge.

use std::time::Instant;

use crate::support::{Desk, Door, IssuedKey, PATIENCE, Request, Rig};

fn status(rig: &Rig, request: &Request) -> u16 {
    rig.fetch(request).status
}

#[test]
fn a_key_opens_what_it_says_and_nothing_else() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let chat = desk.key(&["--endpoint", "chat"]);
    assert_eq!(status(&rig, &chat.on(Door::Messages.ask("hi"))), 403);
    let model = desk.key(&["--model", "gpt-*"]);
    for door in Door::BOTH {
        let reply = rig.fetch(&model.on(door.ask("hi")));
        assert_eq!(reply.status, 403);
        door.error(&reply);
    }
    let elsewhere = desk.key(&["--network", "192.0.2.0/24"]);
    assert_eq!(status(&rig, &elsewhere.on(Door::Chat.ask("hi"))), 403);
    let small = desk.key(&["--max-body", "40"]);
    assert_eq!(status(&rig, &small.on(Door::Chat.ask(&"much ".repeat(20)))), 413);
    let admin = desk.key(&["--admin"]);
    for door in Door::BOTH {
        assert_eq!(status(&rig, &admin.on(door.ask("hi"))), 403);
    }
    rig.host.assert_not_asked();
    let mut call = rig.send(&chat.on(Door::Chat.ask("hi")));
    rig.host.sampling().answer("hello");
    assert_eq!(Door::Chat.text(&call.finish()), "hello");
}

#[test]
fn a_sandbox_key_reaches_no_host() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let key = desk.key(&["--sandbox"]);
    assert!(key.token.starts_with("mcptb_test_"), "{}", key.token);
    for door in Door::BOTH {
        let reply = rig.fetch(&key.on(door.ask("say it again")));
        assert!(door.text(&reply).contains("say it again"));
    }
    rig.host.assert_not_asked();
    let calls = desk.json(&["audit", "list", "--key", &key.id]);
    assert_eq!(calls["data"].as_array().unwrap().len(), 2, "{calls}");
    assert_eq!(calls["data"][0]["sandbox"], true);
}

#[test]
fn a_key_ends_by_use_and_by_time() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let once = desk.key(&["--uses", "1"]);
    let mut call = rig.send(&once.on(Door::Chat.ask("hi")));
    rig.host.sampling().answer("hello");
    assert_eq!(call.finish().status, 200);
    assert_eq!(status(&rig, &once.on(Door::Chat.ask("hi"))), 429);
    rig.host.assert_not_asked();
    let short = desk.key(&["--sandbox", "--expires", "1s"]);
    until_refused(&rig, &short);
    assert_eq!(desk.json(&["keys", "show", &short.id])["state"], "expired");
}

fn until_refused(rig: &Rig, key: &IssuedKey) {
    let deadline = Instant::now() + PATIENCE;
    while status(rig, &key.on(Request::get("/v1/models"))) != 401 {
        assert!(Instant::now() < deadline, "it never ends");
    }
}

#[test]
fn a_key_that_opens_nothing_any_more_is_on_record() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let (lost, other) = (desk.key(&[]), desk.key(&[]));
    desk.text(&["keys", "revoke", &lost.id]);
    // The secret of another key beside the id of this one: damaged, and a stranger.
    let (_, secret) = other.token.rsplit_once('_').unwrap();
    let forged = IssuedKey { token: format!("mcptb_{}_{secret}", lost.id), ..lost.clone() };
    for key in [&forged, &lost] {
        assert_eq!(status(&rig, &key.on(Door::Chat.ask("hi"))), 401);
    }
    let elsewhere = desk.key(&["--network", "192.0.2.0/24"]);
    assert_eq!(status(&rig, &elsewhere.on(Door::Chat.ask("hi"))), 403);
    for (key, status, failure) in [(&lost, 401, "unauthenticated"), (&elsewhere, 403, "forbidden")]
    {
        let [row] = rows(&desk, &key.id).try_into().unwrap();
        assert_eq!((&row["status"], &row["failure"]), (&status.into(), &failure.into()), "{row}");
    }
    rig.host.assert_not_asked();
}

/// The calls of a key, as soon as there is one.
fn rows(desk: &Desk, key: &str) -> Vec<serde_json::Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut calls = desk.json(&["audit", "list", "--key", key]);
        match calls["data"].take() {
            serde_json::Value::Array(rows) if !rows.is_empty() => return rows,
            found => assert!(Instant::now() < deadline, "{found}"),
        }
    }
}

#[test]
fn an_earlier_token_works_for_the_overlap_only() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let first = desk.key(&[]);
    let second = desk.issue(&["keys", "rotate", &first.id]);
    let models = || Request::get("/v1/models");
    assert_eq!(status(&rig, &first.on(models())), 200, "an hour, unless said otherwise");
    assert_eq!(status(&rig, &second.on(models())), 200);
    let third = desk.issue(&["keys", "rotate", &first.id, "--overlap", "0s"]);
    assert_eq!(status(&rig, &third.on(models())), 200);
    for earlier in [&first, &second] {
        assert_eq!(status(&rig, &earlier.on(models())), 401);
    }
}
