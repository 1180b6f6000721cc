//! The admin API over HTTP, and the record of calls that were made.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::launch::free_port;
use crate::support::{Desk, Door, Request, Rig, Target};

const KEYS: &str = "/admin/v1/keys";

fn url(rig: &Rig) -> String {
    format!("http://{}", rig.target.address)
}

#[test]
fn without_an_admin_key_there_is_no_such_path() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let unknown = |path| {
        let reply = rig.fetch(&Request::get(path));
        let said = reply.json()["error"]["message"].as_str().unwrap().replace(path, "PATH");
        (reply.status, said)
    };
    assert_eq!(unknown(KEYS), unknown("/no/such/path"));
    assert_eq!(unknown(KEYS).0, 404);
    let model = desk.key(&[]);
    let asked = model.on(Request::get(KEYS));
    assert_eq!(rig.fetch(&asked).status, 404, "a key that calls makes no door");
    let admin = desk.key(&["--admin"]);
    assert_eq!(rig.fetch(&admin.on(Request::get(KEYS))).status, 200, "at once");
    assert_eq!(rig.fetch(&asked).status, 403, "a model key does not administer");
    assert_eq!(rig.fetch(&Request::get(KEYS)).status, 401);
    let wrong = Request::get(KEYS).header("x-api-key", &format!("{}x", admin.token));
    assert_eq!(rig.fetch(&wrong).status, 401);
    let child = Request::post("/v1/keys").json(&json!({}));
    assert_eq!(rig.fetch(&model.on(child)).status, 403, "it may not mint");
}

#[test]
fn the_command_line_reaches_a_bridge_by_its_address() {
    let desk = Desk::new();
    let rig = desk.launch().env("MCPTB_LOG", "debug").ready();
    let admin = desk.key(&["--admin"]);
    let (url, file) = (url(&rig), admin.file.to_str().unwrap().to_owned());
    // A desk elsewhere, without any files.
    let far = Desk::new();
    let there = ["--url", url.as_str(), "--key-file", file.as_str()];
    let made = far.issue(&[["keys", "create"].as_slice(), &["--sandbox"], &there].concat());
    assert_eq!(rig.fetch(&made.on(Door::Chat.ask("hi"))).status, 200);
    let listed = far.json(&[["keys", "list"].as_slice(), &there].concat());
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    assert!(!far.folder().exists());
    let by_variable = far
        .command(&["status", "--url", &format!("{url}/")])
        .env("MCPTB_ADMIN_KEY", &admin.token)
        .output()
        .unwrap();
    assert_eq!(by_variable.status.code(), Some(0), "{by_variable:?}");
    assert!(far.fails(2, &["status", "--url", &url]).contains("MCPTB_ADMIN_KEY"));
    far.fails(2, &["status", "--url", "ftp://x", "--key-file", &file]);
    let other = made.file.to_str().unwrap();
    let said = far.fails(1, &["status", "--url", &url, "--key-file", other]);
    assert!(!said.contains("mcptb_test_"), "{said}");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    assert!(far.fails(1, &["status", "--url", &nobody, "--key-file", &file]).contains("reached"));
    let log = rig.process.stderr.so_far().join("\n");
    for secret in [&admin, &made].map(|key| key.token.rsplit('_').next().unwrap()) {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn over_tls_only_those_are_trusted_who_are_named() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let desk = Desk::new();
    let file = |name: &str, text: String| {
        let path = desk.room.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cert = file("cert.pem", made.cert.pem());
    let key = file("key.pem", made.signing_key.serialize_pem());
    let rig = desk.launch().arg("--tls-cert", &cert).arg("--tls-key", &key).ready();
    let admin = desk.key(&["--admin"]);
    let url = format!("https://localhost:{}", rig.target.address.port());
    let there = ["--url", url.as_str(), "--key-file", admin.file.to_str().unwrap()];
    let trusted = [["status"].as_slice(), &there, &["--ca-file", &cert]].concat();
    assert_eq!(desk.json(&trusted)["keys"]["total"], 1);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = file("other.pem", other.cert.pem());
    let said = desk.fails(1, &[["status"].as_slice(), &there, &["--ca-file", &other]].concat());
    assert!(said.contains("trusted"), "{said}");
}

#[test]
fn administrators_may_have_a_listener_of_their_own() {
    let desk = Desk::new();
    let admin = desk.key(&["--admin"]);
    let minter = desk.key(&["--can-mint"]);
    let rig = desk.launch().arg("--admin-addr", "127.0.0.1:0").env("MCPTB_LOG", "info").ready();
    let line = rig.process.stderr.wait("its address", |line| line.contains("administrators"));
    let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
    let apart = Target::plain(address.trim_matches('"').parse().unwrap());
    assert_eq!(apart.fetch(&admin.on(Request::get(KEYS))).status, 200);
    assert_eq!(rig.fetch(&minter.on(Request::get(KEYS))).status, 404, "not at the public doors");
    assert_eq!(rig.fetch(&admin.on(Request::get(KEYS))).status, 403, "as with any path there");
    let child = Request::post("/v1/keys").json(&json!({}));
    assert_eq!(rig.fetch(&minter.on(child.clone())).status, 201, "children are made there");
    assert_eq!(apart.fetch(&minter.on(child)).status, 404);
    assert_eq!(apart.fetch(&minter.on(Request::get("/v1/models"))).status, 404);
}

#[test]
fn calls_are_on_record() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let key = desk.key(&["--tenant", "team"]);
    let mut ids = Vec::new();
    for door in Door::BOTH {
        let mut call = rig.send(&key.on(door.ask("what is on record?")));
        rig.host.sampling().answer("this, =1+1");
        let reply = call.finish();
        ids.push(reply.json()["id"].as_str().unwrap().to_owned());
    }
    rig.fetch(&key.on(Request::post("/v1/messages").text("{")));
    let list = desk.json(&["audit", "list"]);
    let calls = list["data"].as_array().unwrap();
    assert_eq!(calls.len(), 3, "{list}");
    assert!(calls.iter().all(|call| call["key"] == key.id.as_str() && call["tenant"] == "team"));
    let failed = desk.json(&["audit", "list", "--status", "4xx", "--tenant", "team"]);
    assert_eq!(failed["data"].as_array().unwrap().len(), 1, "{failed}");
    assert_eq!(desk.json(&["audit", "list", "--limit", "2"])["data"].as_array().unwrap().len(), 2);
    assert!(desk.text(&["audit", "list"]).contains("team"));
    for id in &ids {
        let shown = desk.json(&["audit", "show", id]);
        assert!(shown["request"].as_str().unwrap().contains("what is on record?"), "{shown}");
        assert!(shown["reply"].as_str().unwrap().contains("this, =1+1"), "{shown}");
        assert!(desk.text(&["audit", "show", id]).contains("what is on record?"));
        let guid = shown["call"]["id"].as_str().unwrap();
        assert_eq!(desk.json(&["audit", "show", guid]), shown);
    }
    desk.fails(1, &["audit", "show", "msg_00000000000070008000000000000000"]);
    exported(&desk);
    for (by, name) in [("key", key.id.as_str()), ("tenant", "team")] {
        let usage = desk.json(&["usage", "--by", by]);
        assert_eq!(usage["data"][0]["name"], name, "{usage}");
        assert_eq!(usage["data"][0]["calls"], 3, "{usage}");
    }
    assert!(desk.text(&["usage", "--by", "model"]).contains("auto"));
    assert_eq!(desk.json(&["audit", "verify"])["intact"], true);
    assert!(desk.text(&["audit", "verify"]).contains("intact"));
}

fn exported(desk: &Desk) {
    let lines = desk.text(&["audit", "export"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    let whole = desk.text(&["audit", "export", "--bodies"]);
    assert_eq!(whole.matches("what is on record?").count(), 2, "{whole}");
    let file = desk.room.path().join("calls.csv");
    let args = ["audit", "export", "--format", "csv", "--out", file.to_str().unwrap()];
    desk.text(&args);
    let table = std::fs::read_to_string(&file).unwrap();
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.starts_with("id,received,"), "{table}");
    desk.fails(2, &args);
}
