//! Starting and ending what is measured: the floors and mcptb, each as a child process.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::arguments::Arguments;
use crate::error::Outcome;
use crate::host::{Host, Pace};
use crate::house::House;
use crate::load;
use crate::stdio;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP without a host.
    HttpFloor,
    /// A host without HTTP.
    StdioFloor,
    /// The least bridge.
    WholePath,
    /// The product with everything off that can be.
    Mcptb,
    /// The product with everything on: a key, limits, budgets, and the audit with bodies.
    Full,
}

impl Kind {
    /// How the reports name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HttpFloor => "http floor",
            Self::StdioFloor => "stdio floor",
            Self::WholePath => "whole-path floor",
            Self::Mcptb => "mcptb",
            Self::Full => "mcptb full",
        }
    }

    /// Whether a text travels from an HTTP caller to a host and back.
    pub(crate) fn is_bridge(self) -> bool {
        self == Self::WholePath || self.is_ours()
    }

    /// Whether it is the product, and no floor.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Mcptb | Self::Full)
    }
}

/// How to start a target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Samplings that mcptb may have at the host at once.
    pub(crate) concurrency: usize,
    /// Calls that mcptb may let wait beyond those.
    pub(crate) queue: usize,
    /// When the host answers.
    pub(crate) pace: Pace,
    /// Whether the host remembers when it answered each call.
    pub(crate) timed: bool,
}

impl Setting {
    /// A host that answers at once and takes as many samplings as there are calls in flight.
    pub(crate) fn at_once(in_flight: usize) -> Self {
        Self {
            concurrency: in_flight.max(8),
            queue: in_flight.max(1024),
            pace: Pace::AtOnce,
            timed: false,
        }
    }
}

/// A running target. Dropping it ends the child process.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it is.
    pub(crate) kind: Kind,
    /// Where it listens on the loopback interface; nowhere for the floor of the wires.
    pub(crate) port: u16,
    /// The other end of its wires; none for the HTTP floor.
    host: Option<Host>,
    child: Child,
    last_words: Arc<Mutex<Vec<u8>>>,
    /// Where it keeps things, if it is ours; goes when the child has gone.
    house: Option<House>,
}

impl Target {
    /// Starts the process and nothing more: no handshake yet.
    pub(crate) fn spawn(kind: Kind, arguments: &Arguments, setting: Setting) -> Outcome<Self> {
        let port = free_port()?;
        let (ends, child_ends) = stdio::wires(arguments.stdio)?;
        let house = match kind {
            Kind::Mcptb => Some(House::empty()?),
            Kind::Full => Some(House::full()?),
            Kind::HttpFloor | Kind::StdioFloor | Kind::WholePath => None,
        };
        let mut command = match kind {
            Kind::Mcptb | Kind::Full => arguments.pin.command(arguments.mcptb()?),
            Kind::HttpFloor | Kind::StdioFloor | Kind::WholePath => {
                arguments.pin.command(std::env::current_exe()?)
            }
        };
        let port_text = port.to_string();
        match kind {
            Kind::HttpFloor => command.args(["floor-http", "--port", &port_text]),
            Kind::StdioFloor => command.arg("floor-stdio"),
            Kind::WholePath => command.args(["whole-path", "--port", &port_text]),
            Kind::Mcptb | Kind::Full => {
                // What the person at the keyboard has set for a bridge of theirs must not change
                // what is measured.
                for (name, _) in std::env::vars_os() {
                    if name.as_encoded_bytes().starts_with(b"MCPTB_") {
                        command.env_remove(name);
                    }
                }
                if let Some(house) = &house {
                    house.tell(&mut command);
                }
                command.env("MCPTB_WARMUP", "off").args([
                    "--host",
                    "127.0.0.1",
                    "--port",
                    &port_text,
                ]);
                command.arg("--concurrency").arg(setting.concurrency.to_string());
                command.arg("--queue").arg(setting.queue.to_string()).args(&arguments.with)
            }
        };
        command.stdin(child_ends.stdin).stdout(child_ends.stdout).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        // The command keeps the child's ends open until it is dropped; then the child's end is the
        // end of the wires.
        drop(command);
        let last_words = Arc::new(Mutex::default());
        if let Some(stderr) = child.stderr.take() {
            drain(stderr, Arc::clone(&last_words))?;
        }
        let host = Host::start(ends, setting.pace, setting.timed)?;
        Ok(Self { kind, port, host: Some(host), child, last_words, house })
    }

    /// Starts the process, performs the handshake and makes one verified call.
    pub(crate) fn start(kind: Kind, arguments: &Arguments, setting: Setting) -> Outcome<Self> {
        let quick_host = Setting { pace: Pace::AtOnce, ..setting };
        let target = Self::spawn(kind, arguments, quick_host)?;
        let ready = target.make_ready();
        match ready {
            Ok(()) => {
                if setting.pace != Pace::AtOnce {
                    target.host()?.set_pace(setting.pace)?;
                }
                Ok(target)
            }
            Err(error) => {
                Err(format!("{} does not start: {error}{}", kind.name(), target.last_words())
                    .into())
            }
        }
    }

    fn make_ready(&self) -> Outcome<()> {
        if self.kind.is_bridge() {
            self.host()?.initialize()?;
        }
        if self.kind == Kind::StdioFloor {
            return Ok(());
        }
        load::first_answers(self, Instant::now() + Duration::from_secs(10)).map(drop)
    }

    /// The host at the other end of the wires.
    pub(crate) fn host(&self) -> Outcome<&Host> {
        self.host.as_ref().ok_or_else(|| "the host is gone".into())
    }

    /// Lets the process stand still until [`Target::resume`].
    pub(crate) fn pause(&self) -> Outcome<()> {
        self.signal(Signal::STOP)
    }

    /// Lets the process go on.
    pub(crate) fn resume(&self) -> Outcome<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Outcome<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or("a process has no number")?, signal)?)
    }

    /// The process, for its CPU time and memory.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The key that its callers show.
    pub(crate) fn token(&self) -> Option<&str> {
        self.house.as_ref().and_then(House::token)
    }

    /// Where it is administered, if it is ours.
    pub(crate) fn control(&self) -> Option<PathBuf> {
        self.house.as_ref().map(House::control)
    }

    /// Whether it gives back the request and not a host's answer.
    pub(crate) fn echoes(&self) -> bool {
        self.kind == Kind::HttpFloor
    }

    /// The end of what the process wrote to standard error, for a message about its failure.
    pub(crate) fn last_words(&self) -> String {
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        match words.as_slice() {
            [] => String::new(),
            words => format!("\nits last words:\n{}", String::from_utf8_lossy(words)),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // The end of its input ends a well-behaved child that is awake; the rest is ended here.
        let _awake = self.resume();
        self.host = None;
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Reads standard error as fast as it comes and keeps only the last piece.
fn drain(mut stderr: impl Read + Send + 'static, last_words: Arc<Mutex<Vec<u8>>>) -> Outcome<()> {
    std::thread::Builder::new().name("stderr".to_owned()).spawn(move || {
        let mut piece = vec![0; 1 << 16];
        while let Ok(read @ 1..) = stderr.read(&mut piece) {
            let mut words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
            words.clear();
            let from = read.saturating_sub(2048);
            words.extend_from_slice(piece.get(from..read).unwrap_or_default());
        }
    })?;
    Ok(())
}

/// A port that was free a moment ago. Another program may take it first; then the target fails to
/// start and says so.
fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
