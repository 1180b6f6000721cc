//! The program as a command: help, demo, and stdio that is neither pipe nor socket.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{Launch, Plumbing, Profile, in_every_plumbing, process::Process};

in_every_plumbing!(a_host_that_stops_reading_is_gone);

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcptb"));
    command.args(args).env_clear().stdin(Stdio::null()).output().unwrap()
}

#[test]
fn help_names_the_defaults() {
    let output = run(&["--help"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for part in ["--host", "127.0.0.1", "8000", "MCPTB_HTTP_TIMEOUT", "--token-file", "demo"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("--token "), "a token is never an argument: {said}");
    let version = run(&["--version"]).stdout;
    assert_eq!(version, concat!("mcptb ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
    assert_eq!(run(&["--no-such-flag"]).status.code(), Some(2));
    assert_eq!(run(&["no-such-command"]).status.code(), Some(2));
}

#[test]
fn the_demo_shows_its_calls_and_ends() {
    let output = run(&["demo", "--once", "--port", "0"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("simulated"), "it is labelled as such: {said}");
    for part in ["/v1/chat/completions", "/v1/messages", "tool_calls", "404"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn stdio_may_be_files() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let lines = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": Profile::NoSampling.initialize()}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}),
    ];
    let mut file = File::create(&input).unwrap();
    for line in &lines {
        writeln!(file, "{line}").unwrap();
    }
    let status = Command::new(env!("CARGO_BIN_EXE_mcptb"))
        .env_clear()
        .env("MCPTB_PORT", "0")
        .stdin(File::open(&input).unwrap())
        .stdout(File::create(&output).unwrap())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    let said = std::fs::read_to_string(&output).unwrap();
    let answers: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2, "{said}");
    assert_eq!(answers[0]["result"]["serverInfo"]["name"], "mcptb");
    assert_eq!(answers[1], json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
}

fn a_host_that_stops_reading_is_gone(plumbing: Plumbing) {
    let env = [("MCPTB_PORT".to_owned(), "0".to_owned())];
    let (mut process, mut ends) = Process::start(plumbing, &[], &env, true);
    drop(ends.from_bridge);
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": Profile::Plain.initialize()});
    ends.to_bridge.write_all(format!("{hello}\n").as_bytes()).unwrap();
    // Its stdin stays open, and yet nobody is there any more.
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn another_address_of_this_machine() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let rig = Launch::new().arg("--host", "::1").ready();
    let url = rig.host.status()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("http://[::1]:"), "{url}");
    let door = crate::support::Door::Chat;
    let mut call = rig.send(&door.ask("over IPv6"));
    rig.host.sampling().answer("hello");
    assert_eq!(door.text(&call.finish()), "hello");
}
