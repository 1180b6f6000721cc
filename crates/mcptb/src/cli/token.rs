//! Where a new token goes: to a terminal, or into a file that only its owner can read.
//!
//! Never to a pipe: what reads it may keep it in a log.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Problem;

/// Where a token will go. Decided before there is one, so that none is made in vain.
#[derive(Debug)]
pub(super) enum TokenPlace {
    Screen,
    File(NewFile),
}

/// Where somebody wants a token.
#[derive(Debug, Args)]
pub(super) struct TokenOut {
    /// File for the token, which must not be there yet; only you can read it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl TokenOut {
    /// Decides, and makes the file. Where there is no place there must be no token: nobody could
    /// use the key, and it would be alive.
    pub(super) fn place(&self) -> Result<TokenPlace, Problem> {
        if let Some(path) = &self.out {
            return NewFile::make(path).map(TokenPlace::File);
        }
        if io::stdout().is_terminal() {
            return Ok(TokenPlace::Screen);
        }
        Err(Problem::new(
            "the token is shown on a terminal only, and stdout is none",
            "add --out FILE: the token is written there, and only you can read it",
        ))
    }
}

/// A file that is not there yet and that only its owner can read. Removed again unless it is
/// kept.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl NewFile {
    /// Makes the file; one that is there already is left alone.
    pub(super) fn make(path: &Path) -> Result<Self, Problem> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let file = options.open(path).map_err(|error| {
            let hint = if error.kind() == io::ErrorKind::AlreadyExists {
                "nothing is overwritten: name a file that is not there yet"
            } else {
                "name a file in a folder that you may write to"
            };
            Problem::new(format!("{} cannot be made: {error}", path.display()), hint)
        })?;
        Ok(Self { path: path.to_owned(), file, kept: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.file.write_all(bytes).map_err(|error| self.failed(&error))
    }

    /// Makes sure that it is on the disk, and keeps it.
    pub(super) fn keep(mut self) -> Result<(), Problem> {
        self.file.sync_all().map_err(|error| self.failed(&error))?;
        self.kept = true;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Problem {
        Problem::refused(
            format!("{} cannot be written: {error}", self.path.display()),
            "free some space; a key that was made for it gets another token by `mcptb keys rotate`",
        )
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
