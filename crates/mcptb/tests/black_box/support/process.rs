//! The bridge as a child process.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::PATIENCE;
use super::lines::Lines;

/// How the host is connected to the bridge, and which code reads it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plumbing {
    /// Pipes, as Python and shells give them.
    Pipes,
    /// A socket pair for each stream, as Node gives them.
    Sockets,
    /// Pipes, read and written by the threads that other systems need.
    Threads,
}

impl Default for Plumbing {
    /// Pipes, or what `MCPTB_TEST_STDIO` (`pipes`, `sockets`, `threads`) names: so that the whole
    /// suite can be run over each.
    fn default() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the bridge")]
        let named = std::env::var("MCPTB_TEST_STDIO");
        match named.as_deref() {
            Ok("sockets") => Self::Sockets,
            Ok("threads") => Self::Threads,
            Ok("pipes") | Err(_) => Self::Pipes,
            Ok(other) => panic!("MCPTB_TEST_STDIO={other}"),
        }
    }
}

/// A running bridge. Killed on drop.
pub(crate) struct Process {
    pid: u32,
    ended: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    /// What it says on stderr; empty where nobody reads it.
    pub(crate) stderr: Lines,
    /// Kept open and unread where nobody reads stderr.
    _unread: Option<Box<dyn Read + Send>>,
    /// Where it keeps its records.
    folder: PathBuf,
    /// The same, unless it was told otherwise.
    _data: tempfile::TempDir,
}

/// The host's ends of stdin and stdout.
pub(crate) struct Ends {
    pub(crate) to_bridge: Box<dyn Write + Send>,
    pub(crate) from_bridge: Box<dyn Read + Send>,
}

impl Process {
    /// Starts the program with these arguments and nothing in its environment but `env`.
    pub(crate) fn start(
        plumbing: Plumbing,
        args: &[String],
        env: &[(String, String)],
        read_stderr: bool,
    ) -> (Self, Ends) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcptb"));
        command.args(args).env_clear().stderr(Stdio::piped());
        // Each bridge has records of its own, unless the test says where they are.
        let data = tempfile::tempdir().unwrap();
        command.env("MCPTB_DATA_DIR", data.path());
        if plumbing == Plumbing::Threads {
            command.env("MCPTB_STDIO", "threads");
        }
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let told = env.iter().rev().find(|(name, _)| name == "MCPTB_DATA_DIR");
        let folder = told.map_or_else(|| data.path().to_owned(), |(_, told)| PathBuf::from(told));
        let sockets = (plumbing == Plumbing::Sockets).then(|| {
            let (stdin, to_bridge) = UnixStream::pair().unwrap();
            let (stdout, from_bridge) = UnixStream::pair().unwrap();
            command.stdin(Stdio::from(OwnedFd::from(stdin)));
            command.stdout(Stdio::from(OwnedFd::from(stdout)));
            Ends { to_bridge: Box::new(to_bridge), from_bridge: Box::new(from_bridge) }
        });
        if sockets.is_none() {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        }
        let mut child = command.spawn().expect("mcptb starts");
        // The command holds our copies of the child's ends.
        drop(command);
        let ends = sockets.unwrap_or_else(|| Ends {
            to_bridge: Box::new(child.stdin.take().unwrap()),
            from_bridge: Box::new(child.stdout.take().unwrap()),
        });
        let stderr = child.stderr.take().unwrap();
        let (lines, unread): (_, Option<Box<dyn Read + Send>>) = if read_stderr {
            (Lines::collect(stderr), None)
        } else {
            (Lines::default(), Some(Box::new(stderr)))
        };
        let pid = child.id();
        let (sender, ended) = channel();
        thread::spawn(move || {
            let _ = sender.send(child.wait().unwrap());
        });
        let process =
            Self { pid, ended, status: None, stderr: lines, _unread: unread, folder, _data: data };
        (process, ends)
    }

    /// Whether its records are open: the control socket is there from then on.
    pub(crate) fn has_records(&self) -> bool {
        UnixStream::connect(self.folder.join("control.sock")).is_ok()
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        // Signals cannot be sent by safe code of the standard library; every shell can.
        let sent = Command::new("/bin/sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &self.pid.to_string()])
            .stderr(Stdio::null())
            .status();
        assert!(sent.is_ok(), "there is a shell");
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_within(PATIENCE)
    }

    /// Waits for the end, which must come within this time.
    pub(crate) fn wait_within(&mut self, patience: Duration) -> ExitStatus {
        if self.status.is_none() {
            let ended = self.ended.recv_timeout(patience);
            self.status = Some(ended.unwrap_or_else(|_| panic!("no end within {patience:?}")));
        }
        self.status.unwrap()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.ended.try_recv().ok();
        }
        self.status.is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            self.signal("KILL");
        }
    }
}
