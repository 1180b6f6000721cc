//! The process's own stdin and stdout as an MCP transport.
//!
//! Tokio's own stdio goes through its blocking thread pool: one hop per read and per write. Hosts
//! give us sockets (Node, hence VS Code) or pipes (Python, shells), and both can be non-blocking.
//! Everything else (files, Windows) gets two threads with big buffers.
//!
//! The handles are duplicated, so nothing that prints by accident is cut off; stdout still belongs
//! to MCP alone.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

mod threads;
#[cfg(unix)]
mod unix;

/// Which implementation to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Non-blocking where the handle allows it, threads elsewhere.
    #[default]
    Auto,
    /// Threads always: the implementation that Windows and macOS files get.
    Threads,
}

/// The reading end.
pub type Source = Pin<Box<dyn AsyncRead + Send>>;
/// The writing end.
pub type Sink = Pin<Box<dyn AsyncWrite + Send>>;

/// Opens stdin and stdout. Must be called inside a Tokio runtime.
pub fn open(mode: Mode) -> io::Result<(Source, Sink)> {
    #[cfg(unix)]
    if mode == Mode::Auto {
        let source = match unix::source()? {
            Some(source) => source,
            None => threads::source()?.0,
        };
        let sink = match unix::sink()? {
            Some(sink) => sink,
            None => threads::sink(None)?,
        };
        return Ok((source, sink));
    }
    let _ = mode;
    let (source, failing) = threads::source()?;
    Ok((source, threads::sink(Some(failing))?))
}
