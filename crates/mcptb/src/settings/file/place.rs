//! Where the file is.
//!
//! Never the working directory: an MCP host starts the bridge in whatever folder is open, and a
//! folder from the network must not be able to change who may come in.

use std::path::PathBuf;

use clap::Args;

use crate::settings::variable;

/// The name of the file.
const NAME: &str = "mcptb.toml";

/// The flag that names the file.
#[derive(Debug, Args)]
pub(crate) struct ConfigPath {
    /// Configuration file; without it, mcptb/mcptb.toml in your configuration folder, if there.
    #[arg(long, value_name = "PATH", env = "MCPTB_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

/// Where the file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Named by the user: it must be there.
    Named(PathBuf),
    /// The usual one: it may be missing.
    Usual(PathBuf),
    /// This account has no folder for configuration.
    Nowhere,
}

impl Place {
    /// The named file, or the usual one.
    pub(crate) fn of(named: Option<PathBuf>) -> Self {
        match named {
            // Absolute, so that messages say which file is meant.
            Some(path) => Self::Named(std::path::absolute(&path).unwrap_or(path)),
            None => configuration_folder()
                .map_or(Self::Nowhere, |folder| Self::Usual(folder.join("mcptb").join(NAME))),
        }
    }

    /// The path, whether there is a file or not.
    pub(crate) fn path(&self) -> Option<&std::path::Path> {
        match self {
            Self::Named(path) | Self::Usual(path) => Some(path),
            Self::Nowhere => None,
        }
    }
}

/// `XDG_CONFIG_HOME` wherever it is set; else what the system's own programs use. A path that is
/// not absolute does not count, as the XDG specification says.
fn configuration_folder() -> Option<PathBuf> {
    let folder = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(folder) = folder("XDG_CONFIG_HOME") {
        return Some(folder);
    }
    if cfg!(windows) {
        folder("APPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library").join("Application Support"))
    } else {
        folder("HOME").map(|home| home.join(".config"))
    }
}
