//! The wires between a host and its child process, without blocking on either side.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use clap::ValueEnum;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;

/// The kind of wire: hosts written for Node give their children socket pairs, others pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StdioKind {
    /// Two Unix socket pairs, as Node gives its children.
    Socketpair,
    /// Two pipes, as most others do.
    Pipe,
}

/// The host's side of the wires.
#[derive(Debug)]
pub(crate) struct HostEnds {
    /// Reads what the child writes to its standard output.
    pub(crate) read: OwnedFd,
    /// Writes to the child's standard input.
    pub(crate) write: OwnedFd,
}

/// The child's side of the wires.
#[derive(Debug)]
pub(crate) struct ChildEnds {
    /// The child's standard input.
    pub(crate) stdin: Stdio,
    /// The child's standard output.
    pub(crate) stdout: Stdio,
}

/// Makes the wires for one child.
pub(crate) fn wires(kind: StdioKind) -> io::Result<(HostEnds, ChildEnds)> {
    match kind {
        StdioKind::Socketpair => {
            let (write, stdin) = UnixStream::pair()?;
            let (read, stdout) = UnixStream::pair()?;
            Ok((
                HostEnds { read: read.into(), write: write.into() },
                ChildEnds {
                    stdin: OwnedFd::from(stdin).into(),
                    stdout: OwnedFd::from(stdout).into(),
                },
            ))
        }
        StdioKind::Pipe => {
            let (stdin, write) = io::pipe()?;
            let (read, stdout) = io::pipe()?;
            Ok((
                HostEnds { read: read.into(), write: write.into() },
                ChildEnds { stdin: stdin.into(), stdout: stdout.into() },
            ))
        }
    }
}

/// A reader that a runtime can wait on.
pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// A writer that a runtime can wait on.
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Turns an end into a reader; needs a running tokio runtime.
pub(crate) fn reader(end: OwnedFd) -> io::Result<Reader> {
    let (end, socket) = socket_or_pipe(end)?;
    if socket {
        Ok(Box::new(stream(end)?))
    } else {
        Ok(Box::new(pipe::Receiver::from_owned_fd(end)?))
    }
}

/// Turns an end into a writer; needs a running tokio runtime.
pub(crate) fn writer(end: OwnedFd) -> io::Result<Writer> {
    let (end, socket) = socket_or_pipe(end)?;
    if socket {
        Ok(Box::new(stream(end)?))
    } else {
        Ok(Box::new(pipe::Sender::from_owned_fd(end)?))
    }
}

fn socket_or_pipe(end: OwnedFd) -> io::Result<(OwnedFd, bool)> {
    let file = File::from(end);
    let socket = file.metadata()?.file_type().is_socket();
    Ok((file.into(), socket))
}

fn stream(end: OwnedFd) -> io::Result<tokio::net::UnixStream> {
    let stream = UnixStream::from(end);
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

/// This process's standard input and output, for the floors that are children themselves.
pub(crate) fn own_ends() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok((io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?))
}
