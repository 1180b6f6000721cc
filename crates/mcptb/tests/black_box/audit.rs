//! The record of calls: what is in it, and what happens while it cannot be written.

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gateway::admin::{BoundsFields, KeyFields, NewKey};
use gateway::amounts::Amounts;
use gateway::keys::{AuditPolicy, Endpoint, KeyKind};
use gateway::store::Actor;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::endpoints::{CALLING, answer, ask_with_key, body, dialect, error, path};
use crate::support::keyring::{bounded, of_kind};
use crate::support::{Books, Key, Launch, PATIENCE, Reply, Request, Rig};

const GONE: u16 = 499;

/// The text of a reply, as the record has it.
fn text_of(reply: Option<&[u8]>) -> String {
    let reply: Value = serde_json::from_slice(reply.expect("a reply")).unwrap();
    reply["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Asks `/readyz` until it says this.
pub(crate) fn wait_readiness(rig: &Rig, status: u16, key: &Key) -> Reply {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = rig.fetch(&Request::get("/readyz").header("x-api-key", &key.token));
        if reply.status == status {
            return reply;
        }
        assert!(Instant::now() < deadline, "waited for {status}, had {}", reply.json());
    }
}

/// A refusal because nothing can be recorded, in the words of its endpoint.
pub(crate) fn assert_unavailable(endpoint: Endpoint, reply: &Reply) {
    let (kind, code) = error(endpoint, reply);
    assert_eq!(reply.status, 503, "{endpoint:?}: {}", reply.json());
    let wait = reply.header("retry-after").expect("when to come again").parse::<u64>();
    assert!(wait.is_ok_and(|wait| wait >= 1), "{endpoint:?}");
    let expected = match endpoint {
        Endpoint::Messages => "overloaded_error",
        _ => "server_error",
    };
    assert_eq!(kind, expected);
    assert_eq!(code.is_some(), endpoint != Endpoint::Messages);
}

#[test]
fn every_answered_call_is_on_record_in_full() {
    let books = Books::new();
    let [alice, bob] = books.keys([bounded(<_>::default()), bounded(<_>::default())]);
    let rig = books.launch().ready();
    rig.host.respond(|sampling| sampling.answer(&format!("re: {} Größe", sampling.asked())));
    let mut made = Vec::new();
    for (key, other) in [(&alice, "one"), (&bob, "two")] {
        for endpoint in CALLING {
            for streamed in [false, true] {
                let asked = format!("{other} {endpoint:?} {streamed} über");
                let request = ask_with_key(endpoint, &asked, streamed, &key.token)
                    .header("user-agent", "black-box/1");
                let before = now();
                let answer = answer(endpoint, streamed, &mut rig.send(&request));
                assert_eq!(answer.text, format!("re: {asked} Größe"));
                made.push((key, endpoint, streamed, asked, answer, before..now() + 1));
            }
        }
    }
    rig.end();

    let record = books.record();
    assert_eq!(record.calls.len(), made.len(), "one row for each call");
    for (key, endpoint, streamed, asked, answer, while_asked) in &made {
        let call = record.call(answer.head.header("x-request-id").expect("a GUID"));
        let (row, what) = (&call.row, format!("{endpoint:?} {streamed}"));
        let sent = body(*endpoint, asked, *streamed).to_string();
        assert_eq!(call.request.as_deref(), Some(sent.as_bytes()), "{what}: as it was sent");
        assert_eq!(text_of(call.reply.as_deref()), answer.text, "{what}");
        let reply: Value = serde_json::from_slice(call.reply.as_deref().unwrap()).unwrap();
        assert_eq!(reply["stop_reason"], row.stop_reason.as_deref().unwrap(), "{what}");
        assert_eq!(reply["model"], "model-of-the-host");

        assert_eq!((row.status, row.failure.as_deref()), (Some(200), None), "{what}");
        assert_eq!((row.key, row.tenant.as_ref().unwrap().as_str()), (Some(key.id), "default"));
        assert_eq!((row.dialect.as_str(), row.stream), (dialect(*endpoint), *streamed), "{what}");
        assert_eq!((row.endpoint.as_str(), row.messages), (endpoint.as_str(), 1));
        assert_eq!((row.model.as_str(), row.sandbox), ("auto", false));
        assert_eq!(row.model_served.as_deref(), Some("model-of-the-host"));
        assert_eq!(row.upstream.as_deref(), Some("mcp"));
        assert_eq!(
            (row.address.as_str(), row.agent.as_deref()),
            ("127.0.0.1", Some("black-box/1"))
        );
        assert_eq!(row.bytes_in, sent.len() as u64, "{what}");
        assert_eq!(row.bytes_out, answer.text.len() as u64, "{what}");
        assert_eq!(answer.head.header("x-mcptb-loss"), Some(row.losses.as_str()), "{what}");

        assert_eq!((row.input_tokens, row.output_tokens), answer.usage, "{what}");
        assert!(row.estimated && row.output_tokens > 0 && !row.overrun, "{what}");
        let tokens = row.input_tokens + row.output_tokens;
        assert_eq!(row.spent, Some(Amounts { requests: 1, tokens, cost: 0 }), "{what}");
        assert!(row.reserved.tokens >= 100 && row.reserved.requests == 1, "{what}");

        let (first, ended) = (row.first_byte.unwrap(), row.ended.unwrap());
        assert!(row.received <= first && first <= ended, "{what}: {row:?}");
        assert!(while_asked.contains(&row.received), "{what}");
    }
    for key in [alice, bob] {
        let rows = record.rows().filter(|row| row.key == Some(key.id));
        let tokens = rows.map(|row| row.spent.unwrap().tokens).sum();
        assert_eq!(record.spent_by(&key), Amounts { requests: 8, tokens, cost: 0 });
    }
}

#[test]
fn without_keys_every_call_is_on_record_too() {
    let books = Books::new();
    let rig = books.launch().ready();
    rig.host.respond(|sampling| sampling.answer("yes"));
    for endpoint in CALLING {
        answer(endpoint, true, &mut rig.send(&crate::support::endpoints::ask(endpoint, "?", true)));
    }
    // What is no call leaves no row.
    for path in ["/v1/models", "/healthz", "/readyz", "/v1/usage", "/no/such/route"] {
        rig.fetch(&Request::get(path));
    }
    let count = Request::post("/v1/messages/count_tokens").json(&body(
        Endpoint::Messages,
        "how many",
        false,
    ));
    assert_eq!(rig.fetch(&count).status, 200);
    rig.end();
    let record = books.record();
    assert_eq!(record.calls.len(), CALLING.len());
    for call in &record.calls {
        assert_eq!((call.row.status, call.row.key), (Some(200), None));
        assert_eq!(text_of(call.reply.as_deref()), "yes");
    }
}

#[test]
fn a_hang_up_is_on_record_and_settled_by_what_the_host_says() {
    let books = Books::new();
    let keys: [_; 3] = books.keys(std::array::from_fn(|_| bounded(<_>::default())));
    let [late, stopped, silent] = &keys;
    let rig = books.launch().ready();
    let mut unheard = 0;
    for key in &keys {
        for endpoint in CALLING {
            for streamed in [false, true] {
                let call = rig.send(&ask_with_key(endpoint, "never mind", streamed, &key.token));
                let sampling = rig.host.sampling();
                drop(call);
                assert_eq!(rig.host.cancelled(), sampling.id, "{endpoint:?} {streamed}");
                match key.id {
                    id if id == late.id => sampling.answer(&"too late ".repeat(20)),
                    id if id == stopped.id => sampling.error(-32603, "cancelled"),
                    // Eight are as many as the host takes.
                    _ => unheard += 1,
                }
            }
        }
    }
    rig.host.wait_status("the others to be settled", |status| {
        status["hosts"][0]["in_flight"] == unheard
    });
    rig.end();
    // The next start charges what nobody was heard of.
    books.recover();
    let record = books.record();
    assert_eq!(record.calls.len(), 24);
    for row in record.rows() {
        assert_eq!((row.status, row.failure.as_deref()), (Some(GONE), None), "{row:?}");
        assert!(row.ended.unwrap() >= row.received);
        let spent = row.spent.expect("hanging up is never free");
        assert_eq!(spent.requests, 1, "{row:?}");
        let read = row.reserved.tokens - 100;
        match row.key.unwrap() {
            // About 20 times two words.
            id if id == late.id => assert!((read + 20..read + 90).contains(&spent.tokens)),
            id if id == stopped.id => assert_eq!(spent.tokens, read, "only what was read"),
            id => {
                assert_eq!(id, silent.id);
                assert_eq!(spent, row.reserved, "as reserved");
            }
        }
    }
}

#[test]
fn failures_are_on_record_as_they_were_told() {
    let books = Books::new();
    let key = books.key(<_>::default());
    let rig = books.launch().arg("--http-timeout", "1").ready();
    let mut told = Vec::new();
    for endpoint in CALLING {
        for (kind, how) in [("upstream_failed", "fails"), ("upstream_timeout", "is silent")] {
            let mut call = rig.send(&ask_with_key(endpoint, how, false, &key.token));
            let sampling = rig.host.sampling();
            if kind == "upstream_failed" {
                sampling.fail("boom");
            }
            let reply = call.finish();
            if kind == "upstream_timeout" {
                sampling.error(-32603, "cancelled");
            }
            told.push((kind, endpoint, reply));
        }
        let broken = Request::post(path(endpoint)).text("{\"model\": \"auto\", ");
        let broken = broken.header("authorization", &format!("Bearer {}", key.token));
        told.push(("bad_request", endpoint, rig.fetch(&broken)));
    }
    let mut call = rig.send(&ask_with_key(Endpoint::Chat, "may I", false, &key.token));
    rig.host.sampling().refuse();
    told.push(("refused", Endpoint::Chat, call.finish()));
    rig.end();
    let record = books.record();
    assert_eq!(record.calls.len(), told.len());
    for (kind, endpoint, reply) in told {
        let call = record.call(reply.header("x-request-id").unwrap());
        let (row, what) = (&call.row, format!("{kind} {endpoint:?}"));
        assert_eq!(
            (row.status, row.failure.as_deref()),
            (Some(reply.status), Some(kind)),
            "{what}"
        );
        assert!(reply.status >= 400 && row.endpoint == endpoint.as_str(), "{what}");
        let body = reply.json();
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!(row.message.as_deref(), Some(message), "{what}");
        assert_eq!(call.request.is_some(), kind != "bad_request", "{what}");
        assert_eq!(call.reply, None, "{what}");
        let spent = row.spent.expect("settled");
        match kind {
            "bad_request" => assert_eq!(spent, Amounts::default(), "{what}"),
            // Whatever was asked of a host counts, and has at least been read.
            _ => assert!(spent.requests == 1 && spent.tokens < row.reserved.tokens, "{what}"),
        }
    }
}

#[test]
fn of_keys_for_metadata_the_row_alone_is_kept() {
    const QUESTION: &str = "the plan that nobody may keep";
    const REPLY: &str = "nor what was made of it";
    let books = Books::new();
    let [key] = books.keys([NewKey {
        fields: KeyFields { audit: Some(AuditPolicy::Metadata), ..KeyFields::default() },
        ..NewKey::default()
    }]);
    let rig = books.launch().ready();
    rig.host.respond(|sampling| {
        if sampling.asked().contains("fail") {
            sampling.fail(REPLY);
        } else {
            sampling.answer(REPLY);
        }
    });
    let mut ids = Vec::new();
    for endpoint in CALLING {
        for (asked, status) in [(QUESTION.to_owned(), 200), (format!("{QUESTION}: fail"), 502)] {
            let mut body = body(endpoint, &asked, false);
            body["model"] = "as-it-was-asked-for".into();
            let request = Request::post(path(endpoint)).json(&body).header("x-api-key", &key.token);
            let reply = rig.fetch(&request.header("user-agent", "partner/1"));
            assert_eq!(reply.status, status, "{endpoint:?}: {}", reply.json());
            ids.push((reply.header("x-request-id").unwrap().to_owned(), status));
        }
    }
    rig.end();
    let record = books.record();
    for (id, status) in ids {
        let call = record.call(&id);
        assert_eq!((&call.request, &call.reply, &call.row.message), (&None, &None, &None));
        let row = &call.row;
        assert_eq!((row.status, row.key), (Some(status), Some(key.id)));
        assert_eq!(row.model.as_str(), "as-it-was-asked-for");
        assert_eq!(row.agent.as_deref(), Some("partner/1"));
        assert!(row.bytes_in > 0 && row.spent.is_some_and(|spent| spent.requests == 1));
    }
    // Not in the rows alone: in none of the files.
    for file in fs::read_dir(books.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        for said in [QUESTION, REPLY] {
            let found = bytes.windows(said.len()).any(|part| part == said.as_bytes());
            assert!(!found, "{said} in {}", path.display());
        }
    }
}

#[test]
fn refusals_get_a_row_or_are_counted() {
    let books = Books::new();
    let key = books.key(BoundsFields {
        requests_per_minute: Some(Some(1)),
        endpoints: Some(vec![Endpoint::Chat, Endpoint::Messages]),
        ..BoundsFields::default()
    });
    let rig = books.launch().ready();
    rig.host.respond(|sampling| sampling.answer("ok"));
    let ask = |endpoint| rig.fetch(&ask_with_key(endpoint, "?", false, &key.token));
    assert_eq!(ask(Endpoint::Chat).status, 200);
    let told = [
        ("rate_limited", Endpoint::Chat, ask(Endpoint::Chat)),
        ("rate_limited", Endpoint::Messages, ask(Endpoint::Messages)),
        ("forbidden", Endpoint::Responses, ask(Endpoint::Responses)),
    ];
    let mut other = key.token.clone();
    other.replace_range(20..24, "2345");
    for stranger in ["", "mcptb_nothing", "sk-of-somebody-else", &other] {
        for endpoint in CALLING {
            let reply = rig.fetch(&ask_with_key(endpoint, "?", false, stranger));
            assert_eq!(reply.status, 401, "{endpoint:?} {stranger}");
        }
    }
    rig.end();
    let record = books.record();
    assert_eq!(record.calls.len(), 4, "strangers get no row");
    for (kind, endpoint, reply) in &told {
        let call = record.call(reply.header("x-request-id").unwrap());
        let row = &call.row;
        assert_eq!((row.status, row.failure.as_deref()), (Some(reply.status), Some(*kind)));
        assert_eq!((row.key, row.endpoint.as_str()), (Some(key.id), endpoint.as_str()));
        assert_eq!((row.spent, &call.request), (Some(Amounts::default()), &None));
    }
    assert_eq!(books.refusal_counts(), [("unauthenticated".to_owned(), 16)].into());
}

/// Whatever else is shown, and whether or not the door opens: somebody still has the key.
#[test]
fn an_ended_key_is_counted_where_nothing_is_recorded() {
    let books = Books::new();
    let [ended, good, admin] =
        books.keys([NewKey::default(), NewKey::default(), of_kind(KeyKind::Admin)]);
    books.administer(async |office| {
        office.key_revoke(ended.id, Actor::Machine).await.unwrap();
    });
    let rig = books.launch().ready();
    let beside = [("", 401), ("sk-of-somebody-else", 401), (&good.token, 200), (&admin.token, 403)];
    let mut shown = 0;
    for (door, is_open) in [
        ("/v1/models", false),
        ("/v1/models/auto", false),
        ("/v1/usage", false),
        ("/v1/chat/completions", false),
        ("/healthz", true),
        ("/readyz", true),
        ("/", true),
    ] {
        for (other, status) in beside {
            let request = Request::get(door).header("x-api-key", &ended.token);
            let request = request.header("authorization", &format!("Bearer {other}"));
            // Twice the same is shown once.
            let request = request.header("x-api-key", &ended.token);
            let reply = rig.fetch(&request);
            assert_eq!(reply.status, if is_open { 200 } else { status }, "{door} {other}");
            shown += 1;
        }
    }
    rig.end();
    assert_eq!(books.record().calls.len(), 0);
    let counts = [("unauthenticated".to_owned(), shown)].into();
    assert_eq!(books.refusal_counts_of(&ended), counts);
    assert_eq!(books.refusal_counts(), counts, "nobody else is counted");
}

#[test]
fn while_the_record_cannot_be_written_no_call_is_answered() {
    let books = Books::new();
    let key = books.key(<_>::default());
    let config = books.path().join("mcptb.toml");
    // No call goes by the database here, neither at its beginning nor at its end.
    fs::write(&config, "[audit]\ndurability = 'fsync'\n").unwrap();
    let rig = books.launch().arg("--config", config.to_str().unwrap()).ready();
    // One is out at the host when it happens.
    let mut out = rig.send(&ask_with_key(Endpoint::Chat, "already out", false, &key.token));
    let sampling = rig.host.sampling();
    let lock = Connection::open(books.database()).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for endpoint in CALLING {
        for streamed in [false, true] {
            let reply = rig.fetch(&ask_with_key(endpoint, "?", streamed, &key.token));
            assert_unavailable(endpoint, &reply);
        }
    }
    rig.host.assert_not_asked();
    let reply = wait_readiness(&rig, 503, &key);
    let reason = reply.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("record") && reply.header("retry-after").is_some(), "{reason}");
    assert_eq!(rig.fetch(&Request::get("/healthz")).status, 200);
    // An answer that cannot be recorded is nobody's.
    sampling.answer("never on record");
    let reply = out.finish();
    assert_unavailable(Endpoint::Chat, &reply);
    assert!(!String::from_utf8_lossy(&reply.body).contains("never on record"));

    lock.execute_batch("ROLLBACK").unwrap();
    wait_readiness(&rig, 200, &key);
    rig.host.respond(|sampling| sampling.answer("there again"));
    let after = ask_with_key(Endpoint::Messages, "?", true, &key.token);
    let after = answer(Endpoint::Messages, true, &mut rig.send(&after));
    let id = after.head.header("x-request-id").unwrap().to_owned();
    rig.end();
    let record = books.record();
    assert_eq!(record.call(&id).row.status, Some(200));
    // What the host was asked for is spent, although nobody got the answer.
    let out = record.call(reply.header("x-request-id").unwrap());
    assert_eq!(out.row.spent.expect("settled").requests, 1, "{out:?}");
    assert_eq!(record.spent_by(&key).requests, 2);
}

/// Rows that are in the redo log are on record, whatever happens to the database.
#[test]
fn what_is_answered_while_the_database_is_locked_is_on_record() {
    let books = Books::new();
    let key = books.key(<_>::default());
    let mut rig = books.launch().ready();
    let mut out = rig.send(&ask_with_key(Endpoint::Chat, "already out", false, &key.token));
    let sampling = rig.host.sampling();
    let lock = Connection::open(books.database()).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    rig.host.respond(|sampling| sampling.answer("meanwhile"));
    let mut answered = Vec::new();
    for endpoint in CALLING.into_iter().cycle() {
        let reply = rig.fetch(&ask_with_key(endpoint, "?", false, &key.token));
        if reply.status != 200 {
            assert_unavailable(endpoint, &reply);
            break;
        }
        answered.push(reply.header("x-request-id").unwrap().to_owned());
    }
    wait_readiness(&rig, 503, &key);
    // There is room for the end of a call that was let in.
    sampling.answer("on record");
    let reply = out.finish();
    assert_eq!(reply.status, 200);
    answered.push(reply.header("x-request-id").unwrap().to_owned());
    rig.process.signal("KILL");
    rig.process.wait();
    lock.execute_batch("ROLLBACK").unwrap();

    let record = books.record();
    for id in &answered {
        assert_eq!(record.call(id).row.status, Some(200), "{id}");
    }
    assert_eq!(record.spent_by(&key).requests, answered.len() as u64);
}

#[test]
fn without_a_place_for_the_record_nobody_is_told_that_a_key_is_wrong() {
    let books = Books::new();
    let key = books.key(<_>::default());
    // A file lies where the directory should be.
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    fs::write(&data, "in the way").unwrap();
    let rig = Launch::new().env("MCPTB_DATA_DIR", data.to_str().unwrap()).without_records().ready();
    rig.process.stderr.wait("the reason", |line| line.contains("records cannot be opened"));
    for endpoint in CALLING {
        for token in ["", &key.token] {
            let reply = rig.fetch(&ask_with_key(endpoint, "?", false, token));
            assert_unavailable(endpoint, &reply);
        }
    }
    assert_eq!(rig.fetch(&Request::get("/readyz")).status, 503);
    rig.host.assert_not_asked();

    fs::remove_file(&data).unwrap();
    fs::rename(books.path(), &data).unwrap();
    wait_readiness(&rig, 200, &key);
    rig.host.respond(|sampling| sampling.answer("ok"));
    let request = ask_with_key(Endpoint::Responses, "?", false, &key.token);
    assert_eq!(rig.fetch(&request).status, 200, "the key is known again");
    let foreign = ask_with_key(Endpoint::Responses, "?", false, "");
    assert_eq!(rig.fetch(&foreign).status, 401, "and asked for");
}

#[test]
fn two_bridges_do_not_share_a_record() {
    let books = Books::new();
    let key = books.key(<_>::default());
    let first = books.launch().ready();
    let second = books.launch().without_records().ready();
    assert_ne!(first.target.address, second.target.address);
    let holder = format!("in use by another mcptb (pid {})", first.process.pid());
    second.process.stderr.wait("who holds it", |line| line.contains(&holder));
    for endpoint in CALLING {
        assert_unavailable(
            endpoint,
            &second.fetch(&ask_with_key(endpoint, "?", false, &key.token)),
        );
    }
    assert_eq!(second.fetch(&Request::get("/readyz")).status, 503);
    second.host.assert_not_asked();
    for rig in [&first, &second] {
        rig.host.respond(|sampling| sampling.answer("ok"));
    }
    let request = ask_with_key(Endpoint::Chat, "?", false, &key.token);
    assert_eq!(first.fetch(&request).status, 200);
    first.end();
    wait_readiness(&second, 200, &key);
    assert_eq!(second.fetch(&request).status, 200);
    second.end();
    assert_eq!(books.record().spent_by(&key).requests, 2);
}

/// A bounded record makes room for what is large, and refuses what there will never be room for;
/// neither stops anybody else.
#[test]
fn a_bounded_record_refuses_what_is_larger_than_it_may_be() {
    let books = Books::new();
    let config = books.path().join("mcptb.toml");
    fs::write(&config, "[audit]\nmax_bytes = '16MiB'\n").unwrap();
    let key = books.key(<_>::default());
    let rig = books.launch().arg("--config", config.to_str().unwrap()).ready();
    rig.host.respond(|sampling| sampling.answer("an answer"));
    let noise = |bytes: usize| {
        let mut noise = vec![0; bytes / 2];
        getrandom::fill(&mut noise).unwrap();
        noise.iter().fold(String::with_capacity(bytes), |mut text, byte| {
            text.extend([char::from(b'A' + byte % 32), char::from(b'A' + byte / 8)]);
            text
        })
    };
    for endpoint in CALLING {
        let reply = rig.fetch(&ask_with_key(endpoint, &noise(2_200_000), false, &key.token));
        assert_eq!(reply.status, 413, "{}", String::from_utf8_lossy(&reply.body));
        assert!(reply.json()["error"]["message"].as_str().unwrap().contains("max_bytes"));
        let reply = rig.fetch(&ask_with_key(endpoint, "short", false, &key.token));
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    }
    for _ in 0..6 {
        let reply = rig.fetch(&ask_with_key(Endpoint::Chat, &noise(1_500_000), false, &key.token));
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    }
    rig.end();
}
