//! The files of a store: who holds them, who may read them, and the secrets beside the database.
//!
//! The secrets lie in files of their own, so that a copy of the database alone opens nothing and
//! proves nothing. A secret that is missing beside a database is an error: a new one in its place
//! would silently shut out every key, or make an old journal look forged.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use gateway::store::StoreError;

use super::journal::Tip;

const DATABASE: &str = "audit.db";
const TEXT: [&str; 3] = ["text.db", "text.db-wal", "text.db-shm"];
const REDO: [&str; 2] = ["redo.0", "redo.1"];
const LOCK: &str = "lock";
const INSTALL_SECRET: &str = "install.secret";
const JOURNAL_KEY: &str = "journal.key";
const CHECKPOINT: &str = "journal.checkpoint";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{path} is in use by another mcptb ({holder}); stop it, or choose another directory")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it: `pid 123`, as far as it says so.
        holder: String,
    },
    /// A secret is missing beside a database that needs it.
    #[error(
        "{path} is missing, but there is a database that was made with it; bring it back from \
         a backup, or move the whole directory away to start anew"
    )]
    SecretMissing {
        /// The file.
        path: PathBuf,
    },
    /// The database is missing beside secrets and a checkpoint that belong to one.
    #[error(
        "{path} is missing, but a journal was kept in it; bring it back from a backup, or move \
         the whole directory away to start anew"
    )]
    DatabaseMissing {
        /// The file.
        path: PathBuf,
    },
    /// A file is not what it has to be.
    #[error("{path} {what}")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The system did not let us.
    #[error("cannot use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no randomness for new secrets.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The files of a store.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

/// The hold on a directory. It ends when this is dropped, or with the process.
#[derive(Debug)]
pub(super) struct Hold(#[expect(dead_code, reason = "held, not used")] File);

/// The secrets beside the database.
pub(super) struct Secrets {
    pub(super) install: [u8; 32],
    pub(super) journal: [u8; 32],
}

impl Files {
    /// Makes the directory if need be, takes hold of it, and reads or makes its secrets.
    pub(super) fn open(directory: &Path) -> Result<(Self, Hold, Secrets), OpenError> {
        make_directory(directory).map_err(|source| io_error(directory, source))?;
        // SQLite refuses links in the whole path, but a link above the directory is the user's.
        let directory = directory.canonicalize().map_err(|source| io_error(directory, source))?;
        let files = Self { directory };
        let hold = files.hold()?;
        let plain = [DATABASE, "audit.db-wal", "audit.db-shm", INSTALL_SECRET, JOURNAL_KEY];
        for name in plain.into_iter().chain(TEXT).chain(REDO) {
            refuse_link(&files.path(name))?;
        }
        let database = files.database();
        let size = match fs::metadata(&database) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(io_error(&database, source)),
        };
        if size == 0 && files.path(CHECKPOINT).exists() {
            return Err(OpenError::DatabaseMissing { path: database });
        }
        let secrets = Secrets {
            install: files.secret(INSTALL_SECRET, size == 0)?,
            journal: files.secret(JOURNAL_KEY, size == 0)?,
        };
        // SQLite gives its other files the rights of this one.
        private().append(true).open(&database).map_err(|source| io_error(&database, source))?;
        let secret = [INSTALL_SECRET, JOURNAL_KEY, CHECKPOINT, LOCK];
        let databases = [DATABASE, "audit.db-wal", "audit.db-shm"];
        for name in secret.into_iter().chain(databases).chain(TEXT).chain(REDO) {
            make_private(&files.path(name))
                .map_err(|source| io_error(&files.path(name), source))?;
        }
        Ok((files, hold, secrets))
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        self.path(DATABASE)
    }

    /// The index of texts.
    pub(super) fn text(&self) -> PathBuf {
        self.path(TEXT[0])
    }

    /// The files of the index of texts.
    pub(super) fn text_files(&self) -> [PathBuf; 3] {
        TEXT.map(|name| self.path(name))
    }

    /// Makes an empty file for the index of texts if there is none. SQLite gives its other files
    /// the rights of this one.
    pub(super) fn make_text(&self) -> io::Result<()> {
        private().append(true).open(self.text()).map(|_| ())
    }

    /// Bytes of the log of the index of texts.
    pub(super) fn text_log_bytes(&self) -> u64 {
        self.size(TEXT[1])
    }

    /// Makes one of the files of the redo log so long, if it is not.
    pub(super) fn redo(&self, number: usize, size: u64) -> io::Result<Named> {
        let path = self.path(REDO.get(number).copied().unwrap_or(REDO[0]));
        let file = private().write(true).truncate(false).open(&path)?;
        let found = file.metadata()?;
        if found.len() != size {
            file.set_len(0)?;
            file.set_len(size)?;
        }
        Ok(Named { file, place: Place::new(&self.directory, path)?, identity: identity(&found) })
    }

    /// One of the files of the redo log; `None` where it is not there.
    pub(super) fn read_redo(&self, number: usize) -> io::Result<Option<File>> {
        match File::open(self.path(REDO.get(number).copied().unwrap_or(REDO[0]))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Bytes of the database, of the index of texts, and of all logs.
    pub(super) fn bytes(&self) -> u64 {
        let [text, text_log, _] = TEXT;
        let databases = [DATABASE, "audit.db-wal", text, text_log];
        databases.into_iter().chain(REDO).map(|name| self.size(name)).sum()
    }

    /// Which file lies in the place of the database; `None` where there is none. Some systems
    /// do not tell one file from another.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        identity_at(&self.path(DATABASE)).ok()
    }

    /// Which file is the index of texts; `None` where there is none.
    pub(super) fn text_identity(&self) -> Option<(u64, u64)> {
        identity_at(&self.text()).ok()
    }

    fn size(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).map_or(0, |found| found.len())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn hold(&self) -> Result<Hold, OpenError> {
        let path = self.path(LOCK);
        refuse_link(&path)?;
        let mut file = private()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| io_error(&path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = (&mut file).take(200).read_to_string(&mut text);
                let first = text.lines().next().filter(|line| line.starts_with("pid "));
                let holder = first.filter(|_| read.is_ok()).unwrap_or("its pid is not known");
                return Err(OpenError::Locked {
                    path: self.directory.clone(),
                    holder: holder.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(&path, source)),
        }
        let text = format!(
            "pid {}\nThis process has the store in this directory open. The file is only a mark: \
             removing it unlocks nothing.\n",
            std::process::id(),
        );
        file.set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(|source| io_error(&path, source))?;
        Ok(Hold(file))
    }

    fn secret(&self, name: &str, may_make: bool) -> Result<[u8; 32], OpenError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => bytes.try_into().map_err(|_| OpenError::Unfit {
                path,
                what: "is damaged: it has to hold 32 bytes; bring it back from a backup",
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => {
                let mut secret = [0; 32];
                getrandom::fill(&mut secret).map_err(OpenError::Randomness)?;
                self.replace(name, &secret, true).map_err(|source| io_error(&path, source))?;
                Ok(secret)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(OpenError::SecretMissing { path })
            }
            Err(source) => Err(io_error(&path, source)),
        }
    }

    /// Writes a file as a whole: readers see the earlier text or this one.
    fn replace(&self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        let fresh = self.path(&format!("{name}.new"));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private().write(true).create_new(true).open(&fresh)?;
        file.write_all(bytes)?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&fresh, self.path(name))?;
        if sync { sync_directory(&self.directory) } else { Ok(()) }
    }

    /// Writes where the journal was.
    pub(super) fn write_checkpoint(&self, tip: Tip) -> io::Result<()> {
        let mut text = format!("{} ", tip.seq);
        for byte in tip.mac {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        self.replace(CHECKPOINT, text.as_bytes(), false)
    }

    /// Where the journal was when that was written last. `None` where there is no such file, an
    /// error where it is not readable.
    pub(super) fn read_checkpoint(&self) -> io::Result<Option<Tip>> {
        let text = match fs::read_to_string(self.path(CHECKPOINT)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let tip = text.trim_end().split_once(' ').and_then(|(seq, hex)| {
            let mac = read_hex(hex)?;
            Some(Tip { seq: seq.parse().ok()?, mac })
        });
        tip.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// An open file that has a name.
#[derive(Debug)]
pub(super) struct Named {
    /// The file.
    pub(super) file: File,
    place: Place,
    identity: (u64, u64),
}

impl Named {
    /// Fails where the name is that of another file by now, or of none: what is written to a file
    /// that nobody will look for is lost with the process.
    pub(super) fn is_there(&self) -> io::Result<()> {
        self.is_this(self.place.look()?)
    }

    /// The same, down the whole path: also where the directory itself was moved.
    pub(super) fn is_in_place(&self) -> io::Result<()> {
        self.is_this(identity_at(&self.place.path)?)
    }

    fn is_this(&self, found: (u64, u64)) -> io::Result<()> {
        if found == self.identity { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fn read_hex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}

/// A file in place of a link could be anywhere, with other rights, and shared with another store.
fn refuse_link(path: &Path) -> Result<(), OpenError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_file() => Err(OpenError::Unfit {
            path: path.to_owned(),
            what: "has to be a plain file, not a link or a directory",
        }),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn private() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

#[cfg(not(unix))]
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true);
    options
}

#[cfg(unix)]
fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let rights = fs::metadata(path)?.permissions();
    if rights.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// A name in a directory. Where the directory itself is moved, its database goes with it: that is
/// seen with the next commit.
#[derive(Debug)]
struct Place {
    /// Looking there is cheaper than going down the whole path.
    #[cfg(target_os = "linux")]
    directory: File,
    path: PathBuf,
}

impl Place {
    #[cfg(target_os = "linux")]
    fn new(directory: &Path, path: PathBuf) -> io::Result<Self> {
        Ok(Self { directory: File::open(directory)?, path })
    }

    /// Which file lies there. Its times are not asked for: on Linux 6.13 and later the next write
    /// would have to renew them.
    #[cfg(target_os = "linux")]
    fn look(&self) -> io::Result<(u64, u64)> {
        use rustix::fs::{AtFlags, StatxFlags, makedev, statx};
        let name = self.path.file_name().unwrap_or_default();
        match statx(&self.directory, name, AtFlags::empty(), StatxFlags::INO) {
            Ok(found) => Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino)),
            // An older system, or one that has it forbidden.
            Err(_) => identity_at(&self.path),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn new(_directory: &Path, path: PathBuf) -> io::Result<Self> {
        Ok(Self { path })
    }

    #[cfg(not(target_os = "linux"))]
    fn look(&self) -> io::Result<(u64, u64)> {
        identity_at(&self.path)
    }
}

/// Which file lies at a path.
fn identity_at(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| identity(&found))
}

#[cfg(unix)]
fn identity(found: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (found.dev(), found.ino())
}

#[cfg(not(unix))]
fn identity(_found: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}

/// Makes a new name survive a power loss.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn make_private(_path: &Path) -> io::Result<()> {
    Ok(())
}
