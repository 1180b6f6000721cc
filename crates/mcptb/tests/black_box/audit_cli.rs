//! What the commands that read the record make of what they are told.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Desk, Door};

/// Something that answers every request with the same JSON.
struct Parrot {
    url: String,
    /// What it was asked for.
    paths: Arc<Mutex<Vec<String>>>,
}

impl Parrot {
    fn new(reply: &Value) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let paths = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&paths);
        let reply = reply.to_string();
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut head) = (stream.unwrap(), Vec::new());
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                kept.lock().unwrap().push(head.split(' ').nth(1).unwrap_or_default().to_owned());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{reply}",
                    reply.len()
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, paths }
    }

    fn command(&self, desk: &Desk, args: &[&str]) -> Command {
        let mut command = desk.command(&[args, &["--url", &self.url]].concat());
        command.env("MCPTB_ADMIN_KEY", "mcptb_admin_of_this_test");
        command
    }

    fn run(&self, desk: &Desk, args: &[&str]) -> Output {
        self.command(desk, args).output().unwrap()
    }
}

#[test]
fn an_export_ends_when_its_reader_has_gone() {
    let desk = Desk::new();
    let call = json!({"id": "0195f3a0-1234-7abc-8def-0123456789ab"});
    // There is always another page.
    let parrot = Parrot::new(&json!({"data": [call, call], "next": "more", "lag": 0}));
    for format in ["jsonl", "csv"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let before = parrot.paths.lock().unwrap().len();
        let mut command = parrot.command(&desk, &["audit", "export", "--format", format]);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let asked = parrot.paths.lock().unwrap().len() - before;
        assert!(asked <= 1, "{format}: {asked} pages for nobody");
    }
}

#[test]
fn a_search_says_how_far_its_index_is_behind() {
    let desk = Desk::new();
    let parrot = Parrot::new(&json!({"data": [], "next": null, "lag": 19}));
    let output = parrot.run(&desk, &["audit", "list", "--text", "rain"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("index is behind") && said.contains("19 calls"), "{said}");
    let output = parrot.run(&desk, &["audit", "list", "--text", "rain", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found, json!({"data": [], "lag": 19}));
    // Whoever does not search does not care.
    let parrot = Parrot::new(&json!({"data": [], "next": null, "lag": 0}));
    let output = parrot.run(&desk, &["audit", "list", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((list, output.stderr.as_slice()), (json!({"data": []}), &b""[..]));
    assert!(parrot.paths.lock().unwrap()[0].starts_with("/admin/v1/calls?limit="));
}

#[test]
fn a_terminal_is_told_how_far_an_export_is() {
    let script = Command::new("script").arg("--version").stdout(Stdio::null()).status();
    if !script.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no `script` that could give a terminal");
        return;
    }
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let key = desk.key(&["--sandbox"]);
    for text in ["one", "two", "three"] {
        assert_eq!(rig.fetch(&key.on(Door::Messages.ask(text))).status, 200);
    }
    rig.end();
    for (filter, wanted) in [("", "] 1 of 3"), (" --status 200", "1 so far")] {
        let file = desk.room.path().join(format!("calls{}", filter.len()));
        let program = env!("CARGO_BIN_EXE_mcptb");
        let command = format!("{program} audit export --out {}{filter}", file.display());
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("MCPTB_DATA_DIR", desk.folder())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(wanted) && said.contains("3 calls"), "{said:?}");
        assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 3);
    }
    let output = desk.run(&["audit", "export"]);
    assert!(output.stderr.is_empty(), "{output:?}");
}
