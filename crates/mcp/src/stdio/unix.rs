//! Sockets and pipes as non-blocking stdio.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::{Sink, Source};

/// stdin, if it is a socket or a pipe.
pub(super) fn source() -> io::Result<Option<Source>> {
    Ok(match duplicate(io::stdin().as_fd())? {
        Handle::Socket(fd) => Some(Box::pin(socket(fd)?)),
        Handle::Pipe(fd) => {
            // Opening the pipe anew gives us a description of our own: making it non-blocking
            // does not touch whoever shares ours. Where that is not possible the flag is shared,
            // which only matters to a parent that reads our stdin as well.
            let opened = pipe::OpenOptions::new().open_receiver("/dev/stdin");
            Some(Box::pin(match opened {
                Ok(receiver) => receiver,
                Err(_) => pipe::Receiver::from_owned_fd(fd)?,
            }))
        }
        Handle::Other => None,
    })
}

/// stdout, if it is a socket or a pipe.
pub(super) fn sink() -> io::Result<Option<Sink>> {
    Ok(match duplicate(io::stdout().as_fd())? {
        Handle::Socket(fd) => Some(Box::pin(socket(fd)?)),
        Handle::Pipe(fd) => {
            let opened = pipe::OpenOptions::new().open_sender("/dev/stdout");
            Some(Box::pin(match opened {
                Ok(sender) => sender,
                Err(_) => pipe::Sender::from_owned_fd(fd)?,
            }))
        }
        Handle::Other => None,
    })
}

enum Handle {
    Socket(OwnedFd),
    Pipe(OwnedFd),
    Other,
}

fn duplicate(fd: BorrowedFd<'_>) -> io::Result<Handle> {
    let file = File::from(fd.try_clone_to_owned()?);
    let kind = file.metadata()?.file_type();
    Ok(if kind.is_socket() {
        Handle::Socket(file.into())
    } else if kind.is_fifo() {
        Handle::Pipe(file.into())
    } else {
        Handle::Other
    })
}

fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
    let stream = StdUnixStream::from(fd);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
