//! Keys by command, on files that no bridge holds.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{Desk, Door, Request};

fn rights(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_fresh_machine_gets_its_first_admin_key() {
    let desk = Desk::new();
    let said = desk.fails(1, &["keys", "list"]);
    assert!(said.contains("keys create"), "{said}");
    assert!(!desk.folder().exists(), "looking makes nothing");
    let key = desk.key(&["--admin"]);
    assert!(key.token.starts_with(&format!("mcptb_admin_{}_", key.id)), "{key:?}");
    assert_eq!((rights(&key.file), rights(&desk.folder())), (0o600, 0o700));
    let file = key.file.to_str().unwrap();
    let before = std::fs::read(&key.file).unwrap();
    let said = desk.fails(2, &["keys", "create", "--admin", "--out", file]);
    assert!(said.contains(file), "{said}");
    assert_eq!(std::fs::read(&key.file).unwrap(), before, "nothing is overwritten");
    let list = desk.json(&["keys", "list"]);
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(
        (&list["data"][0]["id"], &list["data"][0]["kind"]),
        (&json!(key.id), &json!("admin"))
    );
    assert!(desk.text(&["keys", "list"]).contains(&key.id));
    assert_eq!(desk.json(&["status"])["keys"], json!({"total": 1, "active": 1}));
}

#[test]
fn a_token_goes_to_no_pipe() {
    let desk = Desk::new();
    let said = desk.fails(2, &["keys", "create"]);
    assert!(said.contains("--out"), "{said}");
    assert!(!desk.folder().exists(), "no key is made in vain");
    let said = desk.fails(2, &["keys", "create", "--json"]);
    assert!(said.contains("--out FILE"), "{said}");
    assert!(!desk.folder().exists(), "no script gets a key that nobody can use");
    let key = desk.key(&["--name", "ci"]);
    let before = desk.json(&["keys", "show", &key.id]);
    for more in [&[][..], &["--json"]] {
        let args = [&["keys", "rotate", &key.id], more].concat();
        assert!(desk.fails(2, &args).contains("--out FILE"));
    }
    assert_eq!(desk.json(&["keys", "show", &key.id]), before, "its token is the same");
    for shown in [desk.text(&["keys", "list", "--json"]), desk.text(&["keys", "show", &key.id])] {
        assert!(!shown.contains("mcptb_"), "{shown}");
    }
    // A key that cannot be made leaves no file behind.
    let file = desk.room.path().join("never.key");
    let args = ["keys", "create", "--parent", "abcdefghijkl", "--out", file.to_str().unwrap()];
    let said = desk.fails(1, &args);
    assert!(said.contains("parent") && !file.exists(), "{said}");
}

#[test]
fn a_terminal_shows_the_token_once() {
    let script = Command::new("script").arg("--version").stdout(Stdio::null()).status();
    if !script.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no `script` that could give a terminal");
        return;
    }
    let desk = Desk::new();
    let create = |kind: &str| {
        let command = format!("{} keys create {kind}", env!("CARGO_BIN_EXE_mcptb"));
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("MCPTB_DATA_DIR", desk.folder())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    };
    let said = create("--sandbox");
    assert_eq!(said.matches("mcptb_test_").count(), 1, "{said}");
    assert!(!said.contains("Use it"), "nobody knows where: {said}");
    let launch = desk.launch().arg("--host", "0.0.0.0");
    let rig = launch.arg("--admin-addr", "127.0.0.1:0").env("MCPTB_LOG", "info").ready();
    let port = rig.target.address.port();
    let said = create("--sandbox");
    assert!(said.contains(&format!("curl http://127.0.0.1:{port}/v1/models")), "{said}");
    let line = rig.process.stderr.wait("its address", |line| line.contains("administrators"));
    let apart = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
    let said = create("--admin");
    let wanted = format!("--url http://{} --key-file", apart.trim_matches('"'));
    assert!(said.contains(&wanted), "{wanted}: {said}");
}

#[test]
fn every_field_can_be_said_changed_and_taken_away() {
    let desk = Desk::new();
    let all = [
        ["--tenant", "team"],
        ["--name", "ci"],
        ["--notes", "for builds"],
        ["--expires", "7d"],
        ["--uses", "9"],
        ["--model", "gpt-*,claude-*"],
        ["--endpoint", "chat"],
        ["--network", "10.0.0.0/8"],
        ["--max-output", "100"],
        ["--max-body", "10000"],
        ["--rpm", "60"],
        ["--tpm", "1000"],
        ["--concurrency", "2"],
        ["--budget", "tokens/day=5000"],
        ["--budget", "cost/month=2.50"],
        ["--priority", "7"],
        ["--audit", "metadata"],
    ];
    let id = desk.key(&[all.concat().as_slice(), &["--can-mint"]].concat()).id;
    let key = desk.json(&["keys", "show", &id]);
    assert_eq!(
        key["bounds"],
        json!({
            "models": ["gpt-*", "claude-*"], "endpoints": ["chat"], "networks": ["10.0.0.0/8"],
            "max_output": 100, "max_body": 10000, "requests_per_minute": 60,
            "tokens_per_minute": 1000, "concurrency": 2, "budgets": [
                {"unit": "tokens", "span": "day", "limit": 5000},
                {"unit": "cost", "span": "month", "limit": "2.50"}
            ],
        })
    );
    for (name, value) in [
        ("tenant", json!("team")),
        ("name", json!("ci")),
        ("notes", json!("for builds")),
        ("uses", json!(9)),
        ("can_mint", json!(true)),
        ("priority", json!(7)),
        ("audit", json!("metadata")),
    ] {
        assert_eq!(key[name], value, "{name}");
    }
    assert!(key["expires"].is_string(), "{key}");
    let edited = desk.json(&[
        "keys",
        "edit",
        &id,
        "--name",
        "other",
        "--expires",
        "never",
        "--can-mint=false",
        "--clear",
        "uses,model,budget",
        "--rpm",
        "5",
    ]);
    assert_eq!((&edited["name"], &edited["expires"]), (&json!("other"), &json!(null)));
    assert_eq!((&edited["uses"], &edited["can_mint"]), (&json!(null), &json!(false)));
    assert_eq!(edited["bounds"]["models"], json!([]));
    assert_eq!(edited["bounds"]["budgets"], json!([]));
    assert_eq!(edited["bounds"]["requests_per_minute"], 5);
    assert_eq!(edited["bounds"]["concurrency"], 2, "what is not said stays");
    desk.fails(2, &["keys", "edit", &id]);
    desk.fails(2, &["keys", "create", "--budget", "tokens", "--json"]);
    let file = desk.room.path().join("apples.key");
    let out = ["keys", "create", "--budget", "apples/day=1", "--out", file.to_str().unwrap()];
    let said = desk.fails(1, &out);
    assert!(said.contains("requests, tokens, cost"), "{said}");
}

#[test]
fn keys_and_tenants_live_and_end() {
    let desk = Desk::new();
    let made = desk.json(&["tenants", "create", "team", "--weight", "3", "--rpm", "100"]);
    assert_eq!((&made["weight"], &made["bounds"]["requests_per_minute"]), (&json!(3), &json!(100)));
    let parent = desk.key(&["--tenant", "team", "--can-mint"]);
    let child = desk.key(&["--parent", &parent.id, "--rpm", "5"]);
    let below = desk.json(&["keys", "list", "--parent", &parent.id]);
    assert_eq!(below["data"][0]["id"], json!(child.id));
    assert_eq!(desk.json(&["keys", "list", "--limit", "1"])["data"].as_array().unwrap().len(), 1);
    let rotated = desk.issue(&["keys", "rotate", &child.id, "--overlap", "0s"]);
    assert_eq!(rotated.id, child.id);
    assert_ne!(rotated.token, child.token);
    let said = desk.fails(1, &["keys", "delete", &parent.id]);
    assert!(said.contains("hint: "), "{said}");
    assert_eq!(desk.json(&["keys", "revoke", &parent.id])["state"], "revoked");
    let ended = desk.json(&["keys", "list", "--state", "ended"]);
    assert_eq!(ended["data"].as_array().unwrap().len(), 2, "the child dies with it: {ended}");
    for key in [&child, &parent] {
        assert_eq!(desk.json(&["keys", "delete", &key.id])["deleted"], true);
        desk.fails(1, &["keys", "show", &key.id]);
    }
    assert_eq!(desk.json(&["tenants", "edit", "team", "--clear", "rpm"])["id"], "team");
    assert_eq!(desk.json(&["tenants", "revoke", "team"])["state"], "revoked");
    for (args, hint) in [
        (["keys", "show", &child.id], "mcptb keys list"),
        (["tenants", "show", "nobody"], "mcptb tenants list"),
        (["audit", "show", "x"], "mcptb audit list"),
    ] {
        let said = desk.fails(1, &args);
        assert!(said.contains(&format!("hint: see what there is: {hint}")), "{said}");
    }
    assert_eq!(desk.json(&["tenants", "delete", "team"])["deleted"], true);
    assert_eq!(desk.json(&["tenants", "list"])["data"], json!([]));
    assert_eq!(desk.json(&["audit", "verify"])["intact"], true);
}

#[test]
fn a_key_made_before_the_bridge_works_in_it() {
    let desk = Desk::new();
    let key = desk.key(&[]);
    let rig = desk.launch().ready();
    for door in Door::BOTH {
        assert_eq!(rig.fetch(&door.ask("hi")).status, 401);
        let mut call = rig.send(&key.on(door.ask("hi")));
        rig.host.sampling().answer("hello");
        assert_eq!(door.text(&call.finish()), "hello");
    }
    assert_eq!(rig.fetch(&key.on(Request::get("/v1/models"))).status, 200);
}

#[test]
fn commands_that_meet_wait_for_each_other() {
    let desk = Desk::new();
    let started: Vec<_> = (0..4)
        .map(|n| desk.room.path().join(format!("{n}.key")))
        .map(|file| desk.command(&["keys", "create", "--out", file.to_str().unwrap()]))
        .map(|mut command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    for mut child in started {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(desk.json(&["keys", "list"])["data"].as_array().unwrap().len(), 4);
    assert_eq!(desk.json(&["audit", "verify"])["intact"], true);
}

#[test]
fn shells_and_readers_are_served() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(desk.text(&["completions", shell]).contains("tenants"), "{shell}");
    }
    assert!(desk.text(&["man"]).contains(".TH mcptb"));
    assert!(desk.text(&["man", "keys", "create"]).contains("budget"));
    desk.fails(2, &["man", "nothing"]);
    assert!(!desk.folder().exists());
}

#[test]
fn a_damaged_record_is_found() {
    let desk = Desk::new();
    desk.key(&["--name", "genuine"]);
    desk.key(&["--name", "second"]);
    assert_eq!(desk.run(&["audit", "verify"]).status.code(), Some(0));
    let database = desk.folder().join("audit.db");
    let bytes = std::fs::read(&database).unwrap();
    let at = bytes.windows(7).position(|window| window == b"genuine").expect("in the clear");
    let mut forged = bytes;
    forged[at..at + 7].copy_from_slice(b"forgery");
    std::fs::write(&database, forged).unwrap();
    let output = desk.run(&["audit", "verify", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["intact"], false, "{verdict}");
    assert!(verdict["finding"]["sequence"].is_u64(), "{verdict}");
}

#[test]
fn what_is_left_of_the_uses_of_a_key_is_shown() {
    let desk = Desk::new();
    let key = desk.key(&["--uses", "3"]);
    let left = || {
        let table = desk.text(&["keys", "list"]);
        let (head, row) = table.trim_end().split_once('\n').unwrap();
        // The columns stand where their heads do.
        let place = head.find("USES LEFT").unwrap();
        let shown = row[place..].split_whitespace().next().unwrap().to_owned();
        (desk.json(&["keys", "show", &key.id])["uses_left"].clone(), shown)
    };
    assert_eq!(left(), (json!(3), "3".to_owned()));
    let rig = desk.launch().ready();
    let mut call = rig.send(&key.on(Door::Chat.ask("hi")));
    let sampling = rig.host.sampling();
    assert_eq!(left(), (json!(2), "2".to_owned()), "one runs");
    sampling.answer("ok");
    assert_eq!(call.finish().status, 200);
    assert_eq!(left(), (json!(2), "2".to_owned()));
    rig.end();
    assert_eq!(left(), (json!(2), "2".to_owned()), "from the files alone");
}

/// What an administrator does leaves no call.
#[test]
fn the_last_use_of_an_admin_key_outlives_the_bridge() {
    let desk = Desk::new();
    let admin = desk.key(&["--admin"]);
    let last = || desk.json(&["keys", "show", &admin.id])["last_used"].clone();
    assert_eq!(last(), json!(null));
    let rig = desk.launch().ready();
    let look = Request::get("/admin/v1/keys").header("x-api-key", &admin.token);
    assert_eq!(rig.fetch(&look).status, 200);
    let used = last();
    assert!(used.is_string(), "{used}");
    rig.end();
    assert_eq!(last(), used, "from the files");
    let rig = desk.launch().ready();
    assert_eq!(last(), used, "from the next bridge");
    rig.end();
}
