//! The command line beside a running bridge: the control socket.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Desk, Door, PATIENCE, Request, Rig, sse};

fn models(rig: &Rig, request: &Request) -> u16 {
    rig.fetch(request).status
}

#[test]
fn the_socket_is_the_owners_and_goes_with_the_bridge() {
    let desk = Desk::new();
    let mut rig = desk.launch().ready();
    desk.key(&["--admin"]);
    let socket = desk.folder().join("control.sock");
    let found = std::fs::symlink_metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let folder = std::fs::metadata(desk.folder()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    // Somebody who dawdles there does not hold up the end.
    let mut dawdling = UnixStream::connect(&socket).unwrap();
    dawdling.write_all(b"POST /admin/v1/keys HTTP/1.1\r\nhost: loc").unwrap();
    assert_eq!(desk.json(&["status"])["keys"]["total"], 1);
    rig.process.signal("TERM");
    assert_eq!(rig.process.wait_within(Duration::from_secs(2)).code(), Some(0));
    assert!(!socket.exists());
    assert_eq!(desk.json(&["keys", "list"])["data"][0]["kind"], "admin", "now from the files");
}

#[test]
fn a_socket_that_a_dead_bridge_left_is_replaced() {
    let desk = Desk::new();
    let mut dead = desk.launch().ready();
    desk.key(&[]);
    dead.process.signal("KILL");
    dead.process.wait();
    assert!(desk.folder().join("control.sock").exists(), "it had no time to remove it");
    assert_eq!(desk.json(&["keys", "list"])["data"].as_array().unwrap().len(), 1);
    let rig = desk.launch().ready();
    let key = desk.key(&[]);
    assert_eq!(models(&rig, &key.on(Request::get("/v1/models"))), 200);
}

#[test]
fn a_key_counts_at_once_and_ends_at_once() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    assert_eq!(models(&rig, &Request::get("/v1/models")), 200, "nobody has made a key");
    let key = desk.key(&[]);
    assert_eq!(models(&rig, &Request::get("/v1/models")), 401, "now everybody shows one");
    let mut streams = Door::BOTH.map(|door| rig.send(&key.on(door.ask_streamed("forever"))));
    let samplings = [rig.host.sampling(), rig.host.sampling()];
    for stream in &mut streams {
        assert_eq!(stream.head().status, 200);
    }
    assert_eq!(desk.json(&["keys", "revoke", &key.id])["state"], "revoked");
    let [chat, messages] = &mut streams;
    let error = sse::read_chat(chat).error.expect("an error");
    assert!(error["message"].as_str().unwrap().contains("revoked"), "{error}");
    let error = sse::read_messages(messages).error.expect("an error");
    assert!(error["message"].as_str().unwrap().contains("revoked"), "{error}");
    drop(samplings);
    for door in Door::BOTH {
        let reply = rig.fetch(&key.on(door.ask("hi")));
        assert_eq!(reply.status, 401);
        door.error(&reply);
    }
}

#[test]
fn two_bridges_on_one_folder_do_not_share_it() {
    let desk = Desk::new();
    let first = desk.launch().ready();
    let second = desk.launch().without_records().attach();
    let told = second.process.stderr.wait("a word about it", |line| line.contains("in use"));
    assert!(told.contains("pid "), "{told}");
    let key = desk.key(&["--sandbox"]);
    assert_eq!(first.fetch(&key.on(Door::Chat.ask("hi"))).status, 200, "the first has it");
    assert_eq!(second.fetch(&key.on(Door::Chat.ask("hi"))).status, 503);
    let mut first = first;
    first.process.signal("TERM");
    first.process.wait();
    let deadline = Instant::now() + PATIENCE;
    while second.fetch(&key.on(Door::Chat.ask("hi"))).status != 200 {
        assert!(Instant::now() < deadline, "the second never takes over");
    }
    assert_eq!(desk.json(&["keys", "list"])["data"][0]["id"], json!(key.id));
}

#[test]
fn a_bridge_that_keeps_nothing_hears_of_the_first_key() {
    let desk = Desk::new();
    let rig = desk.launch().env("MCPTB_AUDIT", "off").without_records().ready();
    assert_eq!(models(&rig, &Request::get("/v1/models")), 200);
    assert!(!desk.folder().exists());
    let key = desk.key(&[]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = rig.fetch(&Request::get("/v1/models"));
        match reply.status {
            401 => break,
            other => assert_eq!(other, 200, "open until it is known, and never broken"),
        }
        assert!(Instant::now() < deadline, "the key is never seen");
    }
    assert_eq!(models(&rig, &key.on(Request::get("/v1/models"))), 200);
    let said = rig.process.stderr.so_far();
    assert!(!said.iter().any(|line| line.contains("cannot be opened")), "{said:?}");
}

#[test]
fn files_that_something_else_holds_are_left_alone() {
    let desk = Desk::new();
    desk.key(&[]);
    let lock = std::fs::File::open(desk.folder().join("lock")).unwrap();
    lock.lock().unwrap();
    let said = desk.fails(1, &["keys", "list"]);
    assert!(said.contains("in use") && said.contains("--url"), "{said}");
}

#[test]
fn the_socket_has_the_routes_of_administrators_only() {
    let desk = Desk::new();
    let _rig = desk.launch().ready();
    desk.key(&[]);
    for (path, status) in [("/admin/v1/keys", "200"), ("/v1/models", "404"), ("/v1/keys", "404")] {
        let mut stream = UnixStream::connect(desk.folder().join("control.sock")).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {reply}");
        assert!(!reply.contains("mcptb_"), "{reply}");
    }
}
