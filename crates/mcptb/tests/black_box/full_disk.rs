//! No room: calls are refused and come back by themselves, and no answer that anybody got is missing
//! from the record.
//!
//! Room ends in two ways. Files may not grow beyond what the account is allowed, which needs no
//! rights to try. And a disk is full: a small one of its own in memory. To mount it takes root on
//! Linux; where that is refused, that part is not tested and the test says so.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use gateway::keys::{Endpoint, KeyKind};
use serde_json::json;
use tempfile::TempDir;

use crate::audit::{assert_unavailable, wait_readiness};
#[cfg(target_os = "linux")]
use crate::support::Desk;
use crate::support::endpoints::{CALLING, ask_with_key};
use crate::support::keyring::of_kind;
#[cfg(target_os = "linux")]
use crate::support::process::Process;
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
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}

/// What has no room to spare.
trait Room {
    /// A bridge that has only that, ready for calls.
    fn launch(&self, books: &Books) -> Rig;
    /// Takes whatever room is left.
    fn fill(&self);
    /// Gives it back.
    fn free(&self, rig: &Rig);
}

impl Room for Disk {
    fn launch(&self, books: &Books) -> Rig {
        books.launch().ready()
    }

    fn fill(&self) {
        let mut ballast =
            OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for piece in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![1; piece]).is_ok() {}
        }
    }

    fn free(&self, _: &Rig) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

/// Files that may not grow beyond [`Allowed::BYTES`]. A process that does not see to it is killed
/// when it tries.
#[cfg(target_os = "linux")]
struct Allowed;

#[cfg(target_os = "linux")]
impl Allowed {
    /// Bytes of a file.
    const BYTES: &str = "4194304";

    /// Sets what a process may write. What a limit is can be changed from outside, as long as it is
    /// not hard.
    fn set(process: &Process, bytes: &str) {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &process.pid().to_string(), &format!("--fsize={bytes}:unlimited")]);
        assert!(command.status().expect("util-linux is there").success());
    }
}

#[cfg(target_os = "linux")]
impl Room for Allowed {
    fn launch(&self, books: &Books) -> Rig {
        // It opens nothing before a host has attached.
        let (process, host) = books.launch().spawn();
        Self::set(&process, Self::BYTES);
        host.shake_hands();
        let rig = Rig::listening(process, host);
        rig.wait_records();
        rig.host.sampling().answer("ok");
        rig.host.wait_state("ready");
        rig
    }

    fn fill(&self) {}

    fn free(&self, rig: &Rig) {
        Self::set(&rig.process, "unlimited");
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
            assert!(Instant::now() < deadline, "there is always room");
        }
    }
}

#[test]
fn a_full_disk_refuses_calls_and_forgets_none() {
    let Some(disk) = Disk::mount() else { return };
    refuses_calls_and_forgets_none(&Books::within(disk.at.path()), &disk);
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_may_not_grow_refuse_calls_and_forget_none() {
    refuses_calls_and_forgets_none(&Books::new(), &Allowed);
}

fn refuses_calls_and_forgets_none(books: &Books, room: &impl Room) {
    let [key, admin] = books.keys([of_kind(KeyKind::Model), of_kind(KeyKind::Admin)]);
    let rig = room.launch(books);
    rig.host.respond(|sampling| sampling.answer("an answer"));
    let mut told = Told::default();
    told.note(&rig.fetch(&ask_with_key(Endpoint::Chat, "before", false, &key.token)));
    assert_eq!(told.answered.len(), 1);

    for endpoint in CALLING {
        for streamed in [false, true] {
            room.fill();
            told.call_until_refused(&rig, endpoint, streamed, &key);
        }
    }
    // What is no call is answered, and readiness tells what is wrong.
    room.fill();
    assert_eq!(rig.fetch(&Request::get("/healthz")).status, 200);
    let look = Request::get("/v1/usage").header("x-api-key", &key.token);
    assert_eq!(rig.fetch(&look).status, 200, "the key is no stranger's");
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The last room may do for one more small change.
        room.fill();
        let made = Request::post("/admin/v1/keys").json(&json!({"notes": "n".repeat(4000)}));
        let reply = rig.fetch(&made.header("x-api-key", &admin.token));
        if reply.status != 201 {
            assert_eq!(reply.status, 503, "{}", reply.json());
            assert_eq!(reply.json()["error"]["code"], "store_unavailable");
            assert!(reply.header("retry-after").is_some());
            break;
        }
        assert!(Instant::now() < deadline, "there is always room");
    }
    let reply = wait_readiness(&rig, 503, &key);
    assert!(reply.header("retry-after").is_some());
    assert!(reply.json()["reason"].as_str().unwrap().contains("record"), "{}", reply.json());

    room.free(&rig);
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

/// The command line opens the files itself where no bridge runs.
#[cfg(target_os = "linux")]
#[test]
fn a_command_that_may_not_write_says_so() {
    let desk = Desk::new();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -f 0; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_mcptb")]);
    shell
        .args(["keys", "create", "--out"])
        .arg(desk.room.path().join("token"))
        .env_clear()
        .env("MCPTB_DATA_DIR", desk.folder());
    let output = shell.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("File too large"), "{said}");
}
