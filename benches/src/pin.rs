//! Fixes on which core things run, so that a comparison does not measure the scheduler's mood.
//!
//! With one call in flight most of the time can be the machine's own. When caller, target and host
//! happen to share a core, handing over costs a few microseconds; when they happen to sit on two, a
//! sleeping core must be woken each time, which on a virtual machine costs many times that. The
//! kernel changes between the two as it likes, between one run and the next.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::error::Outcome;

/// Who runs where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pin {
    /// As the kernel likes.
    No,
    /// Everything on one core: what is left is the work and its context switches.
    Same,
    /// The target on one core, the callers and the host on another: every hand-over wakes a core.
    Apart,
}

impl Pin {
    /// Moves this process to its core; threads that start later follow.
    ///
    /// # Errors
    /// When `taskset` (util-linux) is missing or a core is.
    pub(crate) fn pin_self(self) -> Outcome<()> {
        if self == Self::No {
            return Ok(());
        }
        let pid = std::process::id().to_string();
        let mut command = Command::new("taskset");
        command.args(["--all-tasks", "--cpu-list", "--pid", "0", &pid]).stdout(Stdio::null());
        let done = command.status().map_err(|error| {
            format!("cannot start taskset: {error}\nhint: --pin needs the util-linux package")
        })?;
        if done.success() { Ok(()) } else { Err("taskset could not pin this process".into()) }
    }

    /// A command that runs a program on the target's core.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let core = match self {
            Self::No => return Command::new(program),
            Self::Same => "0",
            Self::Apart => "1",
        };
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", core]).arg(program);
        command
    }
}
