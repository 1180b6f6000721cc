//! The command line that looks after keys and records, on a folder of its own.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::http::Request;
use super::launch::Launch;

/// A folder of keys and records, and a place for tokens.
pub(crate) struct Desk {
    /// Holds the folder `data`, which is not there until something makes it.
    pub(crate) room: TempDir,
}

/// A key and its token.
#[derive(Clone, Debug)]
pub(crate) struct IssuedKey {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) file: PathBuf,
}

impl IssuedKey {
    /// A request with this key.
    pub(crate) fn on(&self, request: Request) -> Request {
        request.header("authorization", &format!("Bearer {}", self.token))
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { room: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.room.path().join("data")
    }

    /// A bridge on this folder.
    pub(crate) fn launch(&self) -> Launch {
        Launch::new().env("MCPTB_DATA_DIR", self.folder().to_str().unwrap())
    }

    /// Runs the program with these arguments, without a terminal.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcptb"));
        command.args(args).env_clear().env("MCPTB_DATA_DIR", self.folder()).stdin(Stdio::null());
        command
    }

    /// Runs it and gives its stdout; it has to end well.
    pub(crate) fn text(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it with `--json`.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.text(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// Runs it; it has to end with this code. Gives what it says on stderr.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }

    /// Makes a key, with its token in a file.
    pub(crate) fn key(&self, args: &[&str]) -> IssuedKey {
        self.issue(&[&["keys", "create"], args].concat())
    }

    /// Runs a command that gives out a token.
    pub(crate) fn issue(&self, args: &[&str]) -> IssuedKey {
        let file = (0..).map(|n| self.room.path().join(format!("{n}.key")));
        let file = file.into_iter().find(|file| !file.exists()).unwrap();
        let made = self.json(&[args, &["--out", file.to_str().unwrap()]].concat());
        let token = std::fs::read_to_string(&file).unwrap().trim_end().to_owned();
        IssuedKey { id: made["key"]["id"].as_str().unwrap().to_owned(), token, file }
    }
}
