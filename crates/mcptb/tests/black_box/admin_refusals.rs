//! What is refused where keys are looked after: counted of strangers, a row for holders of keys.

use std::collections::BTreeMap;

use gateway::admin::{KeyFields, NewKey};
use gateway::keys::KeyKind;
use gateway::keys::token::{Entropy, InstallSecret, mint, remint};
use gateway::store::Actor;
use model::Secret;
use serde_json::{Value, json};

use crate::support::keyring::of_kind;
use crate::support::{Books, Desk, Key, Reply, Request, Rig, Target};

const KEYS: &str = "/admin/v1/keys";
/// Attempts at guessing.
const GUESSES: usize = 50;

fn shown(request: Request, token: &str) -> Request {
    request.header("x-api-key", token)
}

/// Tokens that are not right: rubbish, good ones of another installation, and the id of a key with
/// another secret.
fn wrong(known: &Key, number: usize) -> String {
    let entropy = Entropy { secret: Secret::new([u8::try_from(number).unwrap(); 32]), id: [9; 12] };
    let install = InstallSecret::new([9; 32]);
    match number % 4 {
        0 => format!("guess-{number}"),
        1 => format!("mcptb_admin_{number}"),
        2 => mint(KeyKind::Admin, &entropy, &install).token.expose().clone(),
        _ => remint(KeyKind::Admin, known.id, &entropy, &install).token.expose().clone(),
    }
}

/// The requests of somebody who tries doors.
fn tried(number: usize) -> Request {
    match number % 5 {
        0 => Request::get(KEYS),
        1 => Request::post(KEYS).json(&json!({})),
        2 => Request::get("/admin/v1/no/such/path"),
        3 => Request::post("/admin/v1/tenants").text("{"),
        _ => Request::new("DELETE", "/admin/v1/keys/aaaaaaaaaaaa"),
    }
}

/// The listener of administrators, where it is apart.
fn apart(rig: &Rig) -> Target {
    let line = rig.process.stderr.wait("its address", |line| line.contains("administrators"));
    let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
    Target::plain(address.trim_matches('"').parse().unwrap())
}

#[test]
fn guesses_at_admin_keys_are_counted() {
    for own_listener in [false, true] {
        let books = Books::new();
        let [admin] = books.keys([of_kind(KeyKind::Admin)]);
        let launch = books.launch();
        let rig = if own_listener {
            launch.arg("--admin-addr", "127.0.0.1:0").env("MCPTB_LOG", "info").ready()
        } else {
            launch.ready()
        };
        let target = if own_listener { apart(&rig) } else { rig.target.clone() };
        for number in 0..GUESSES {
            let guess = shown(tried(number), &wrong(&admin, number));
            let reply = target.fetch(&guess);
            assert_eq!(reply.status, 401, "{number}: {}", reply.json());
        }
        assert_eq!(target.fetch(&shown(Request::get(KEYS), &admin.token)).status, 200);
        rig.end();
        assert_eq!(books.record().calls.len(), 0, "strangers get no row");
        let counts = [("unauthenticated".to_owned(), u64::try_from(GUESSES).unwrap())].into();
        assert_eq!(books.refusal_counts(), counts);
        assert_eq!(books.refusal_counts_of(&admin), [].into(), "whoever knows an id is nobody yet");
    }
}

#[test]
fn guesses_are_counted_where_nobody_administers() {
    let books = Books::new();
    let rig = books.launch().ready();
    for number in 0..GUESSES {
        let reply = rig.fetch(&shown(tried(number), &format!("guess-{number}")));
        assert_eq!(reply.status, 404, "{number}");
    }
    rig.end();
    assert_eq!(books.record().calls.len(), 0);
    let counts = [("no_such_route".to_owned(), u64::try_from(GUESSES).unwrap())].into();
    assert_eq!(books.refusal_counts(), counts);
}

#[test]
fn guesses_are_counted_wherever_a_key_is_asked_for() {
    let books = Books::new();
    let [key, ended] = books.keys([of_kind(KeyKind::Model), of_kind(KeyKind::Model)]);
    books.administer(async |office| office.key_revoke(ended.id, Actor::Machine).await.unwrap());
    let rig = books.launch().ready();
    let paths = ["/v1/models", "/v1/models/auto", "/v1/usage", "/v1/responses/resp_0", "/no/such"];
    for path in paths {
        for number in 0..4 {
            let guess = shown(Request::get(path), &wrong(&key, number));
            assert_eq!(rig.fetch(&guess).status, 401, "{path}");
        }
        assert_eq!(rig.fetch(&Request::get(path)).status, 401, "{path}: none at all");
        // Looking leaves no record of those who are known.
        assert!(rig.fetch(&shown(Request::get(path), &key.token)).status < 500);
        assert_eq!(rig.fetch(&shown(Request::get(path), &ended.token)).status, 401);
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(rig.fetch(&shown(Request::get(path), "guess")).status, 200, "{path}");
    }
    rig.end();
    assert_eq!(books.record().calls.len(), 0);
    let counted = |each: usize| {
        let count = u64::try_from(each * paths.len()).unwrap();
        [("unauthenticated".to_owned(), count)].into()
    };
    assert_eq!(books.refusal_counts(), counted(4 + 1 + 1));
    assert_eq!(books.refusal_counts_of(&ended), counted(1), "its holder is no stranger");
}

#[test]
fn keys_that_are_refused_there_are_known_by_name() {
    let books = Books::new();
    let [admin, ended, model, mints] = books.keys([
        of_kind(KeyKind::Admin),
        of_kind(KeyKind::Admin),
        of_kind(KeyKind::Model),
        NewKey {
            fields: KeyFields { can_mint: Some(true), ..KeyFields::default() },
            ..NewKey::default()
        },
    ]);
    books.administer(async |office| office.key_revoke(ended.id, Actor::Machine).await.unwrap());
    let rig = books.launch().ready();
    let elsewhere = Request::get("/admin/v1/no/such/path");
    let refused: [(&Key, Request, u16, &str); 8] = [
        (&ended, Request::get(KEYS), 401, "unauthenticated"),
        (&model, Request::get(KEYS), 403, "forbidden"),
        (&model, elsewhere.clone(), 403, "forbidden"),
        (&model, Request::post("/v1/keys").json(&json!({})), 403, "forbidden"),
        (&mints, Request::post("/v1/keys").json(&json!({"no": 1})), 400, "bad_request"),
        (&admin, elsewhere, 404, "no_such_route"),
        (&admin, Request::new("PUT", KEYS), 405, "method_not_allowed"),
        (&admin, Request::post(KEYS).text("{"), 400, "bad_request"),
    ];
    let told: Vec<Reply> = refused
        .iter()
        .map(|(key, request, ..)| rig.fetch(&shown(request.clone(), &key.token)))
        .collect();
    // Beyond its rate the rest is a count under its id.
    let knocks = 40;
    for _ in 0..knocks {
        assert_eq!(rig.fetch(&shown(Request::get(KEYS), &model.token)).status, 403);
    }
    rig.end();
    let record = books.record();
    for ((key, request, status, kind), reply) in refused.iter().zip(&told) {
        let row = &record.call(reply.header("x-request-id").unwrap()).row;
        assert_eq!((reply.status, row.status), (*status, Some(*status)), "{request:?}");
        assert_eq!((row.key, row.failure.as_deref()), (Some(key.id), Some(*kind)), "{request:?}");
        assert_eq!((row.endpoint.as_str(), row.model.as_str()), ("admin", ""), "{request:?}");
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(row.message.as_deref(), Some(message.as_str()));
    }
    let rows = record.rows().filter(|row| row.key == Some(model.id)).count();
    let counts = books.refusal_counts_of(&model);
    let counted: u64 = counts.values().sum();
    assert_eq!(u64::try_from(rows).unwrap() + counted, 3 + knocks);
    assert_eq!(books.refusal_counts(), counts, "nobody else is counted");
}

#[test]
fn nobody_is_noted_at_the_control_socket() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let key = desk.key(&[]);
    desk.fails(1, &["keys", "show", "aaaaaaaaaaaa"]);
    assert_eq!(desk.json(&["audit", "list"])["data"], json!([]));
    // The same by a key is.
    let asked = key.on(Request::get("/v1/keys/aaaaaaaaaaaa"));
    assert_eq!(rig.fetch(&asked).status, 403);
    let listed = desk.json(&["audit", "list", "--key", &key.id, "--status", "403"]);
    assert_eq!(listed["data"][0]["endpoint"], "admin", "{listed}");
}

/// What a list of counts comes to, by reason; who is a stranger has no key.
fn summed(listed: &Value) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for row in listed["data"].as_array().unwrap() {
        assert_eq!((&row["network"], &row["key"]), (&json!("127.0.0.0/24"), &Value::Null));
        let reason = row["reason"].as_str().unwrap().to_owned();
        *sums.entry(reason).or_default() += row["count"].as_u64().unwrap();
    }
    sums
}

#[test]
fn whoever_administers_sees_who_tried() {
    let desk = Desk::new();
    let (admin, model) = (desk.key(&["--admin"]), desk.key(&[]));
    let rig = desk.launch().ready();
    for number in 0..20 {
        let guess = format!("guess-{number}");
        assert_eq!(rig.fetch(&shown(tried(number), &guess)).status, 401);
        let call = Request::post("/v1/chat/completions").json(&json!({}));
        assert_eq!(rig.fetch(&shown(call, &guess)).status, 401);
        assert_eq!(rig.fetch(&shown(Request::get("/v1/models"), &guess)).status, 401);
    }
    // The counts of a minute that is not over are written at the end.
    rig.end();
    let guesses: BTreeMap<_, _> = [("unauthenticated".to_owned(), 60)].into();
    let list = ["audit", "refusals"];
    assert_eq!(summed(&desk.json(&list)), guesses, "without a bridge");

    let rig = desk.launch().ready();
    assert_eq!(summed(&desk.json(&list)), guesses, "through the control socket");
    let by_key = [
        "--url",
        &format!("http://{}", rig.target.address),
        "--key-file",
        admin.file.to_str().unwrap(),
    ];
    assert_eq!(summed(&desk.json(&[&list[..], &by_key].concat())), guesses, "by the admin key");
    let refusals = Request::get("/admin/v1/refusals");
    assert_eq!(summed(&rig.fetch(&admin.on(refusals.clone())).json()), guesses);
    assert_eq!(rig.fetch(&model.on(refusals.clone())).status, 403);
    assert_eq!(rig.fetch(&refusals).status, 401);

    let table = desk.text(&list);
    let [head, row, ..] = &*table.lines().collect::<Vec<_>>() else { panic!("{table}") };
    let head: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(head, ["MINUTE", "REASON", "NETWORK", "KEY", "COUNT"]);
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[1..4], ["unauthenticated", "127.0.0.0/24", "-"]);
    assert!(cells[0].ends_with(":00Z"), "{row}");
    for (flag, value, found) in [
        ("--reason", "unauthenticated", true),
        ("--reason", "forbidden", false),
        ("--network", "127.0.0.1", true),
        ("--network", "10.0.0.0/8", false),
        ("--key", &model.id, false),
        ("--from", "2020-01-01", true),
        ("--to", "2020-01-01", false),
    ] {
        let listed = desk.json(&[&list[..], &[flag, value]].concat());
        assert_eq!(summed(&listed).is_empty(), !found, "{flag} {value}: {listed}");
    }
    let said = desk.fails(1, &[&list[..], &["--network", "here"]].concat());
    assert!(said.contains("network"), "{said}");
}
