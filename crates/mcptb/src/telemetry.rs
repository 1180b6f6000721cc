//! What goes to stderr: one RX and one TX line per call, and what else there is to say.
//!
//! Lines go through a bounded queue to one thread, because a host may never read our stderr: then
//! lines are dropped and counted, and no call waits. Nothing of a body is printed unless
//! `MCPTB_LOG_BODIES=1`; control characters in anything that a caller or host named are escaped.

use std::io::IsTerminal;
use std::sync::Arc;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

mod calls;
mod escape;
mod events;
mod queue;

pub(crate) use calls::CallLines;
pub(crate) use escape::Plain;
pub(crate) use queue::LineQueue;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Which lines are printed beside RX and TX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// None; RX and TX lines are off as well.
    Off,
    /// Something is broken.
    Error,
    /// A person should look.
    Warn,
    /// What happens.
    Info,
    /// Everything.
    Debug,
}

/// Whether lines are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Always.
    Always,
    /// Never.
    Never,
    /// If stderr is a terminal.
    Terminal,
}

/// What is printed, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSettings {
    pub(crate) format: LogFormat,
    pub(crate) level: LogLevel,
    pub(crate) bodies: bool,
    pub(crate) colour: Colour,
}

/// How one line is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) format: LogFormat,
    pub(crate) colour: bool,
}

/// Starts the writer thread and sends `tracing` events to it. Once per process.
pub(crate) fn start(settings: LogSettings) -> (Arc<LineQueue>, Arc<CallLines>, LevelControl) {
    let colour = match settings.colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Terminal => std::io::stderr().is_terminal(),
    };
    let style =
        Style { format: settings.format, colour: colour && settings.format == LogFormat::Text };
    let queue = Arc::new(LineQueue::start(style));
    let (filter, handle) = reload::Layer::new(settings.level.filter());
    let layer = events::EventLines::new(Arc::clone(&queue), style);
    // A second subscriber in one process can only come from a test; the first one stays.
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
    let on = settings.level != LogLevel::Off;
    let calls = Arc::new(CallLines::new(Arc::clone(&queue), style, on, settings.bodies));
    let level = LevelControl { filter: handle, calls: Arc::clone(&calls) };
    (queue, calls, level)
}

impl LogLevel {
    fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
        }
    }
}

/// Changes which lines are printed, while the bridge runs.
#[derive(Clone, Debug)]
pub(crate) struct LevelControl {
    filter: reload::Handle<LevelFilter, Registry>,
    calls: Arc<CallLines>,
}

impl LevelControl {
    /// Prints these lines from now on. A call in flight may so have one of its lines only.
    pub(crate) fn set(&self, level: LogLevel) {
        // Without a subscriber there is nothing to filter.
        let _ = self.filter.reload(level.filter());
        self.calls.switch(level != LogLevel::Off);
    }
}

/// Now, in RFC 3339 with milliseconds.
fn now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(std::time::SystemTime::now())
}
