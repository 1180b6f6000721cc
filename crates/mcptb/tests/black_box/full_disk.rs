//! A disk that is full: calls are refused and come back by themselves, and no answer that anybody
//! got is missing from the record.
//!
//! The disk is a small one of its own in memory. To mount it takes root on Linux; where that is
//! refused, nothing is tested here and the test says so.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use gateway::keys::{Endpoint, KeyKind};
use serde_json::json;
use tempfile::TempDir;

use crate::audit::{assert_unavailable, wait_readiness};
use crate::support::endpoints::{CALLING, ask_with_key};
use crate::support::keyring::of_kind;
use crate::support::{Books, Key, PATIENCE, Reply, Request, Rig};

/// Bytes of the disk.
const SIZE: &str = "20m";
/// Bytes of a question, so that it does not take many to need more room.
const LONG: usize = 64 * 1024;

/// A small disk. Dropping it takes it away.
struct Disk {
    at: TempDir,
}

impl Disk {
    /// `None` where it may not be mounted.
    fn mount() -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={SIZE},mode=700"), "mcptb-test"]);
        let output = command.arg(at.path()).stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => Some(Self { at }),
            refused => {
                eprintln!("skipped: a small disk cannot be mounted here: {refused:?}");
                None
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.at.path().join("ballast")
    }

    /// Takes whatever room is left.
    fn fill(&self) {
        let mut ballast =
            OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for piece in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![1; piece]).is_ok() {}
        }
    }

    /// Gives it back.
    fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}

/// A text that does not become small by packing.
fn noise() -> String {
    let mut bytes = vec![0; LONG];
    let read = File::open(Path::new("/dev/urandom"));
    std::io::Read::read_exact(&mut read.unwrap(), &mut bytes).unwrap();
    let letter =
        |byte: &u8| char::from(b"abcdefghijklmnopqrstuvwxyz012345"[usize::from(byte % 32)]);
    bytes.iter().map(letter).collect()
}

/// What callers were told.
#[derive(Default)]
struct Told {
    answered: Vec<String>,
    refused: Vec<String>,
}

impl Told {
    fn note(&mut self, reply: &Reply) {
        let id = reply.header("x-request-id").expect("a GUID").to_owned();
        if reply.status == 200 { &mut self.answered } else { &mut self.refused }.push(id);
    }

    /// Calls until a call is refused, and checks how.
    fn call_until_refused(&mut self, rig: &Rig, endpoint: Endpoint, streamed: bool, key: &Key) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = ask_with_key(endpoint, &noise(), streamed, &key.token);
            let reply = rig.fetch(&request);
            self.note(&reply);
            if reply.status != 200 {
                return assert_unavailable(endpoint, &reply);
            }
            assert!(Instant::now() < deadline, "the disk is never full");
        }
    }
}

#[test]
fn a_full_disk_refuses_calls_and_forgets_none() {
    let Some(disk) = Disk::mount() else { return };
    let books = Books::within(disk.at.path());
    let [key, admin] = books.keys([of_kind(KeyKind::Model), of_kind(KeyKind::Admin)]);
    let rig = books.launch().ready();
    rig.host.respond(|sampling| sampling.answer("an answer"));
    let mut told = Told::default();
    told.note(&rig.fetch(&ask_with_key(Endpoint::Chat, "before", false, &key.token)));
    assert_eq!(told.answered.len(), 1);

    for endpoint in CALLING {
        for streamed in [false, true] {
            disk.fill();
            told.call_until_refused(&rig, endpoint, streamed, &key);
        }
    }
    // What is no call is answered, and readiness tells what is wrong.
    disk.fill();
    assert_eq!(rig.fetch(&Request::get("/healthz")).status, 200);
    let look = Request::get("/v1/usage").header("x-api-key", &key.token);
    assert_eq!(rig.fetch(&look).status, 200, "the key is no stranger's");
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The last room may do for one more small change.
        disk.fill();
        let made = Request::post("/admin/v1/keys").json(&json!({"notes": "n".repeat(4000)}));
        let reply = rig.fetch(&made.header("x-api-key", &admin.token));
        if reply.status != 201 {
            assert_eq!(reply.status, 503, "{}", reply.json());
            assert_eq!(reply.json()["error"]["code"], "store_unavailable");
            assert!(reply.header("retry-after").is_some());
            break;
        }
        assert!(Instant::now() < deadline, "the disk is never full");
    }
    let reply = wait_readiness(&rig, 503, &key);
    assert!(reply.header("retry-after").is_some());
    assert!(reply.json()["reason"].as_str().unwrap().contains("record"), "{}", reply.json());

    disk.free();
    wait_readiness(&rig, 200, &key);
    for endpoint in CALLING {
        for streamed in [false, true] {
            let reply = rig.fetch(&ask_with_key(endpoint, "after", streamed, &key.token));
            assert_eq!(reply.status, 200, "it heals: {}", String::from_utf8_lossy(&reply.body));
            told.note(&reply);
        }
    }
    rig.end();

    let record = books.record();
    for id in &told.answered {
        let call = record.call(id);
        assert_eq!(call.row.status, Some(200), "{call:?}");
        assert!(call.request.is_some() && call.reply.is_some(), "{id} has its bodies");
    }
    for id in &told.refused {
        let found = record.rows().find(|row| row.id.to_string() == *id);
        assert!(found.is_none_or(|row| row.status != Some(200)), "{found:?}");
    }
    let answered = record.rows().filter(|row| row.status == Some(200)).count();
    assert_eq!(answered, told.answered.len());
}
