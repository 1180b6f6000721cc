//! The command line of the benchmark.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::error::Outcome;
use crate::pin::Pin;
use crate::stdio::StdioKind;

/// Measures mcptb beside the floors of the same run.
#[derive(Debug, Parser)]
#[command(name = "mcptb-bench", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    scenario: Option<Scenario>,

    /// A smoke run: one round of one second per cell, and fewer calls elsewhere.
    #[arg(long, global = true)]
    pub(crate) quick: bool,

    /// Prints one JSON object instead of the tables.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Measures the floors alone, without mcptb.
    #[arg(long, global = true)]
    pub(crate) floors_only: bool,

    /// The mcptb program; the default is the one beside this program.
    #[arg(long, global = true, value_name = "PATH")]
    mcptb: Option<PathBuf>,

    /// Calls in flight, one group of rows for each.
    #[arg(long, global = true, value_delimiter = ',', default_values_t = [1, 16, 256])]
    pub(crate) in_flight: Vec<usize>,

    /// Rounds per cell (default 7, with --quick 1); the table shows the median of them.
    #[arg(long, global = true, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: Option<u32>,

    /// Seconds measured per round (default 1), after a warm-up of a quarter of that.
    #[arg(long, global = true, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,

    /// What connects the host with the target.
    #[arg(long, global = true, value_enum, default_value_t = StdioKind::Socketpair)]
    pub(crate) stdio: StdioKind,

    /// Fixes who runs on which core; of use with one call in flight.
    #[arg(long, global = true, value_enum, default_value_t = Pin::No)]
    pub(crate) pin: Pin,

    /// Milliseconds the host takes for each answer in the table.
    #[arg(long, global = true, value_name = "MS", default_value_t = 0)]
    host_delay: u64,

    /// Calls per second that come in the open loop.
    #[arg(long, global = true, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// One more argument for mcptb, repeatable, for example one that turns a rule on.
    #[arg(long = "with", global = true, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub(crate) with: Vec<String>,
}

/// What to measure. The hidden ones are the child processes that the benchmark starts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum Scenario {
    /// Latency, throughput, CPU and memory at several loads, floors beside mcptb (the default).
    Table,
    /// 256 calls in flight against a host that takes 50 ms.
    SlowHost,
    /// Latency of calls that come at a constant rate, whether or not earlier ones are answered.
    OpenLoop,
    /// Memory of 10,000 calls that wait, at the host and in the queue.
    Waiting,
    /// Memory of 1,000 streams at once.
    Streams,
    /// Time from the host's answer to the first byte of it on a stream.
    FirstByte,
    /// Time from `initialize` to the first HTTP answer; idle memory; size of the program.
    Start,
    /// Time from the revocation of a key to the refusal of its calls and the end of its streams.
    Revoke,
    /// Everything above, one after the other.
    All,
    #[command(hide = true)]
    FloorHttp {
        #[arg(long)]
        port: u16,
    },
    #[command(hide = true)]
    FloorStdio,
    #[command(hide = true)]
    WholePath {
        #[arg(long)]
        port: u16,
    },
}

impl Arguments {
    /// What to run.
    pub(crate) fn scenario(&self) -> Scenario {
        self.scenario.unwrap_or(Scenario::Table)
    }

    /// Rounds per cell.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 7 })
    }

    /// The measured part of a round.
    pub(crate) fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(1))
    }

    /// The part of a round that fills caches and pools and is thrown away.
    pub(crate) fn warm_up(&self) -> Duration {
        self.measured() / 4
    }

    /// How long the host takes for each answer in the table.
    pub(crate) fn host_delay(&self) -> Duration {
        Duration::from_millis(self.host_delay)
    }

    /// The program under measurement.
    ///
    /// # Errors
    /// When there is no such file; the message says how to build it.
    pub(crate) fn mcptb(&self) -> Outcome<PathBuf> {
        let path = match &self.mcptb {
            Some(path) => path.clone(),
            None => std::env::current_exe()?
                .with_file_name(format!("mcptb{}", std::env::consts::EXE_SUFFIX)),
        };
        if path.is_file() {
            return Ok(path);
        }
        Err(format!(
            "no program at {}\nhint: `cargo build --release -p mcptb` builds it; `--mcptb PATH` names another; `--floors-only` measures without it",
            path.display()
        )
        .into())
    }
}
