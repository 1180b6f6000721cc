//! What all commands speak to: the routes of the admin API, reached in one of three ways.
//!
//! By the address of a bridge and an admin key; by the control socket of the bridge that runs on
//! the folder; or, where none runs, by the same routes in this process, over the files themselves.
//! So every rule stands in one place, whoever asks.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{ArgMatches, Args};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::runtime::Runtime;

use super::Problem;
use crate::records::DATABASE;
use crate::settings::{Layers, StorePlace};

mod direct;
mod exchange;
mod remote;

pub(super) use direct::Traces;
use direct::{Direct, Found};
use exchange::Reply;
use remote::Remote;

/// How long a folder that another program holds is waited for: it may be about to end, or about to
/// open its socket.
const HELD: Duration = Duration::from_secs(5);
/// The pause between two looks at it.
const LOOK: Duration = Duration::from_millis(50);
/// The longest wait for a reply.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a command reaches keys and records, and how it prints.
#[derive(Debug, Args)]
pub(super) struct Reach {
    /// Prints JSON for scripts.
    #[arg(long)]
    pub(super) json: bool,
    /// Address of a bridge, such as `https://bridge.example:8000`; asks for an admin key. Without
    /// it, keys and records of this account are meant.
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// File that holds the admin key for --url (or set `MCPTB_ADMIN_KEY`).
    #[arg(long, value_name = "PATH", requires = "url")]
    key_file: Option<PathBuf>,
    /// Certificates (PEM) of those who vouch for the https of --url; else those of the system.
    #[arg(long, value_name = "PEM", requires = "url")]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    _place: StorePlace,
}

/// A way to the routes.
pub(super) struct Client {
    runtime: Runtime,
    way: Way,
}

enum Way {
    Direct(Direct),
    #[cfg(unix)]
    Socket(PathBuf),
    Remote(Box<Remote>),
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
}

impl Ask {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: impl Into<String>, body: &Json) -> Self {
        Self::new(Method::POST, path).body(body)
    }

    pub(super) fn body(self, body: &Json) -> Self {
        Self { body: Some(body.to_string().into_bytes()), ..self }
    }

    /// The same, with the parameters that are there.
    pub(super) fn query(mut self, parameters: &[(&str, Option<&str>)]) -> Self {
        for (name, value) in parameters {
            if let Some(value) = value {
                let mark = if self.path.contains('?') { '&' } else { '?' };
                self.path = format!("{}{mark}{name}={}", self.path, escaped(value));
            }
        }
        self
    }
}

/// A text as it may stand in a path or a query.
pub(super) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            all.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(all, "%{byte:02X}");
        }
        all
    })
}

impl Client {
    /// Finds the way. `make` says that keys and records are begun where there are none yet.
    pub(super) fn open(reach: &Reach, matches: &ArgMatches, make: bool) -> Result<Self, Problem> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Problem::refused(error.to_string(), "free some memory"))?;
        let way = if let Some(url) = &reach.url {
            let (key, ca) = (reach.key_file.as_deref(), reach.ca_file.as_deref());
            Way::Remote(Box::new(Remote::new(url, key, ca)?))
        } else {
            let folder = Layers::of_store(matches).data_dir()?;
            let folder = folder.ok_or_else(|| {
                Problem::new(
                    "this account has no folder for keys and records",
                    "name one with --data-dir or MCPTB_DATA_DIR",
                )
            })?;
            runtime.block_on(local(&folder, make))?
        };
        Ok(Self { runtime, way })
    }

    /// Closes the files where they are open in this process, which keeps a bridge from them.
    pub(super) fn release(self) -> Result<Traces, Self> {
        match self.way {
            Way::Direct(direct) => Ok(direct.close()),
            #[cfg(unix)]
            way @ Way::Socket(_) => Err(Self { way, ..self }),
            way @ Way::Remote(_) => Err(Self { way, ..self }),
        }
    }

    /// Asks, and gives the body of the reply as it came.
    pub(super) fn fetch(&self, ask: &Ask) -> Result<String, Problem> {
        let asked = async {
            let waited = tokio::time::timeout(PATIENCE, self.ask(ask)).await;
            waited.unwrap_or_else(|_| {
                Err(Problem::away("the bridge does not answer", "look at its log, or try again"))
            })
        };
        self.runtime.block_on(asked)
    }

    /// Asks, and reads the reply.
    pub(super) fn read<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, Problem> {
        read(&self.fetch(ask)?)
    }

    /// Runs something that asks more than once at a time.
    pub(super) fn run<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// Asks, however long it takes.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<String, Problem> {
        let reply = match &self.way {
            Way::Direct(direct) => direct.ask(ask).await?,
            #[cfg(unix)]
            Way::Socket(path) => exchange::local(path, ask).await?,
            Way::Remote(remote) => remote.ask(ask).await?,
        };
        accept(reply, &ask.path)
    }
}

/// What was asked for at a path, or why it is not there.
fn accept(Reply { status, body }: Reply, path: &str) -> Result<String, Problem> {
    if status.is_success() {
        return String::from_utf8(body).map_err(|_| no_bridge());
    }
    let said: Json = serde_json::from_slice(&body).map_err(|_| no_bridge())?;
    let message = said.pointer("/error/message").and_then(Json::as_str);
    let message = message.ok_or_else(no_bridge)?;
    let code = said.pointer("/error/code").and_then(Json::as_str).unwrap_or_default();
    let hint = match (status, code) {
        (StatusCode::UNAUTHORIZED, _) => {
            "show an admin key of that bridge, with --key-file or MCPTB_ADMIN_KEY"
        }
        (StatusCode::NOT_FOUND, "not_found") => match path.split('/').nth(3) {
            Some("keys") => "see what there is: mcptb keys list",
            Some("tenants") => "see what there is: mcptb tenants list",
            Some("calls") => "see what there is: mcptb audit list; old calls are taken away",
            _ => "see docs/keys.md, or add --help",
        },
        (StatusCode::NOT_FOUND, _) => {
            "the admin API is there once that bridge has an admin key (mcptb keys create \
             --admin, on its machine), and maybe at an address of its own (--admin-addr)"
        }
        (StatusCode::SERVICE_UNAVAILABLE, _) => {
            return Err(Problem::away(message, "nothing has changed; try again in a moment"));
        }
        _ => "see docs/keys.md, or add --help",
    };
    Err(Problem::refused(message.to_owned(), hint))
}

/// Reads the body of a reply.
pub(super) fn read<T: DeserializeOwned>(body: &str) -> Result<T, Problem> {
    serde_json::from_str(body).map_err(|_| no_bridge())
}

fn no_bridge() -> Problem {
    Problem::refused("the answer is not that of a bridge", "check the address in --url")
}

/// The files themselves, or the socket of the bridge that holds them.
async fn local(folder: &Path, make: bool) -> Result<Way, Problem> {
    crate::bridge::outlive_file_limits();
    let until = Instant::now() + HELD;
    loop {
        if !make && !folder.join(DATABASE).exists() {
            return Err(Problem::refused(
                format!("there are no keys and records in {} yet", folder.display()),
                "make a key with `mcptb keys create`, or name the folder with --data-dir",
            ));
        }
        let holder = match Direct::open(folder).await? {
            Found::Open(direct) => return Ok(Way::Direct(direct)),
            Found::Held(holder) => holder,
        };
        #[cfg(unix)]
        {
            let socket = folder.join(crate::control::SOCKET);
            if tokio::net::UnixStream::connect(&socket).await.is_ok() {
                return Ok(Way::Socket(socket));
            }
        }
        if Instant::now() >= until {
            return Err(Problem::away(
                format!(
                    "{} is in use by another mcptb ({holder}) that has no control socket there",
                    folder.display()
                ),
                "speak to it with --url, or stop it",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::Ask;

    #[test]
    fn what_is_asked_for_stays_one_parameter() {
        let ask = Ask::get("/calls").query(&[
            ("text", Some("a&b=c d/é")),
            ("key", None),
            ("to", Some("2027-01-15T08:00:00Z")),
        ]);
        assert_eq!(ask.path, "/calls?text=a%26b%3Dc%20d%2F%C3%A9&to=2027-01-15T08%3A00%3A00Z");
    }
}
