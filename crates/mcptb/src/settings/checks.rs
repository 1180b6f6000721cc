//! From settings to configuration: everything that can be wrong is found here, before anything
//! begins.

use std::net::{IpAddr, SocketAddr};

use super::{
    AccessRules, Auth, AuthMode, AutoOff, BodyLimits, Config, Duration, HintPolicy, Hints,
    HostSettings, LogSettings, OnOff, Params, ParamsMode, Priorities, Problem, Secret, Sections,
    Settings, Stdio, ToolPolicy, Tools, colour, serve_limits, stdio, values, variable,
};

/// Shortest token: below this, guessing over a network is thinkable.
const SHORTEST_TOKEN: usize = 20;

/// Settings that do not fit each other, or what they name.
pub(super) struct Misfit {
    /// The one to look at first, and then the others.
    pub(super) settings: &'static [&'static str],
    pub(super) problem: Problem,
}

impl Misfit {
    fn new(
        settings: &'static [&'static str],
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { settings, problem: Problem::new(what, hint) }
    }
}

impl Settings {
    /// Checks the settings, with what else the file says.
    pub(super) fn check(self, sections: Sections) -> Result<Config, Misfit> {
        let token = self.token()?;
        let max_wait = Duration::from_secs(self.max_wait);
        let address = self.fits()?;
        let data_dir = data_dir(self.folder.data_dir.as_deref());
        let read_timeout = Duration::from_secs(self.read_timeout);
        Ok(Config {
            address,
            admin_address: self.admin_addr,
            access: AccessRules {
                token,
                keys: None,
                auth: match self.auth {
                    Auth::Auto => AuthMode::Auto,
                    Auth::Required => AuthMode::Required,
                    Auth::OpenLoopback => AuthMode::OpenLoopback,
                },
                allow_hosts: self.allow_host,
                allow_origins: self.allow_origin,
                trusted_proxies: self.trusted_proxy,
            },
            tls: self.tls_cert.zip(self.tls_key),
            host: HostSettings {
                concurrency: self.concurrency as usize,
                queue: self.queue as usize,
                warm_up_wait: Duration::from_secs(self.warmup_wait).min(max_wait),
                max_wait,
                slot_return: Duration::from_mins(1),
                warm_up_tries: self.warmup.0,
                default_max_tokens: self.max_tokens,
                max_tokens_cap: self.max_tokens_cap,
                hints: match self.model_hints {
                    Hints::Auto => HintPolicy::Auto,
                    Hints::On => HintPolicy::On,
                    Hints::Off => HintPolicy::Off,
                },
                priorities: Priorities {
                    intelligence: self.pref_intelligence,
                    speed: self.pref_speed,
                    cost: self.pref_cost,
                },
                tools: match self.tools {
                    Tools::Prompted => ToolPolicy::Prompted,
                    Tools::Reject => ToolPolicy::Reject,
                },
                nonce: std::sync::Arc::new(arc_swap::ArcSwap::from_pointee(
                    values::fresh_nonce_secret(),
                )),
                tasks: matches!(self.sampling_tasks, AutoOff::Auto),
            },
            deadline: self.http_timeout,
            body: BodyLimits {
                max_bytes: self.body_limit,
                idle: read_timeout,
                total: read_timeout * 10,
            },
            body_memory: self.body_memory,
            replay_guard: matches!(self.replay_guard, OnOff::On),
            params: match self.params {
                Params::Strict => ParamsMode::Strict,
                Params::Default => ParamsMode::Default,
                Params::Lenient => ParamsMode::Lenient,
            },
            serve: serve_limits(read_timeout, self.max_connections as usize),
            anthropic_done: self.anthropic_done,
            stdio: match self.stdio {
                Stdio::Auto => stdio::Mode::Auto,
                Stdio::Threads => stdio::Mode::Threads,
            },
            log: LogSettings {
                format: self.log_format,
                level: self.log,
                bodies: self.log_bodies,
                colour: colour(),
            },
            audit: self.audit.map_or(sections.audit.enabled, |audit| matches!(audit, OnOff::On)),
            data_dir,
            sections: std::sync::Arc::new(sections),
        })
    }

    /// Whether settings fit each other; the address to listen on.
    fn fits(&self) -> Result<SocketAddr, Misfit> {
        if self.body_limit == 0 || self.body_memory < self.body_limit {
            return Err(Misfit::new(
                &["body_memory", "body_limit"],
                format!(
                    "--body-memory {} does not hold one body of --body-limit {}",
                    self.body_memory, self.body_limit
                ),
                "make --body-memory at least as large as --body-limit",
            ));
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(Misfit::new(
                &["tls_cert", "tls_key"],
                "--tls-cert and --tls-key need each other",
                "set both for HTTPS, or none",
            ));
        }
        let address = SocketAddr::new(self.host, self.port);
        if let Some(admin) = self.admin_addr.filter(|admin| is_taken_by(*admin, address)) {
            return Err(Misfit::new(
                &["admin_addr", "port", "host"],
                format!("--admin-addr {admin} is where the bridge itself listens ({address})"),
                "give the admin API another port, or leave --admin-addr out: then it is on --port",
            ));
        }
        Ok(address)
    }

    fn token(&self) -> Result<Option<Secret<String>>, Misfit> {
        let (token, from) = match &self.token_file {
            Some(path) => {
                let token = std::fs::read_to_string(path).map_err(|error| {
                    Misfit::new(
                        &["token_file"],
                        format!("the token file {} cannot be read: {error}", path.display()),
                        "put the token on one line of a file that only you can read",
                    )
                })?;
                (token, format!("the token in {}", path.display()))
            }
            None => match variable("MCPTB_TOKEN").map(std::ffi::OsString::into_string) {
                Some(Ok(token)) => (token, "the token in MCPTB_TOKEN".to_owned()),
                // Set, but to nothing that could be a token: an open door is not what was meant.
                Some(Err(_)) => (String::new(), "the token in MCPTB_TOKEN".to_owned()),
                None => return Ok(None),
            },
        };
        let token = token.trim();
        let plain = token.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        if token.len() < SHORTEST_TOKEN || !plain {
            return Err(Misfit::new(
                &["token_file"],
                format!(
                    "{from} must have at least {SHORTEST_TOKEN} visible ASCII characters and no spaces"
                ),
                "make one with: openssl rand -hex 32",
            ));
        }
        Ok(Some(Secret::new(token.to_owned())))
    }
}

/// Whether a listener on one address keeps another one from its own. Port 0 is any free one.
fn is_taken_by(one: SocketAddr, other: SocketAddr) -> bool {
    let (left, right) = (one.ip().to_canonical(), other.ip().to_canonical());
    // `::` takes the addresses of IPv4 as well.
    let covers =
        |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    let meet = left == right || covers(left, right) || covers(right, left);
    one.port() == other.port() && one.port() != 0 && meet
}

/// The folder of keys and records: the one that is named, or the usual one.
pub(super) fn data_dir(named: Option<&std::path::Path>) -> Option<std::path::PathBuf> {
    match named {
        Some(dir) if dir.as_os_str().is_empty() => None,
        Some(dir) => std::path::absolute(dir).ok(),
        None => data_folder(),
    }
}

/// Where programs of this account keep their data. A path that is not absolute does not count, as
/// the XDG specification says.
fn data_folder() -> Option<std::path::PathBuf> {
    let folder = |name| {
        let path = variable(name).map(std::path::PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let usual = || {
        if cfg!(windows) {
            folder("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            folder("HOME").map(|home| home.join("Library").join("Application Support"))
        } else {
            folder("HOME").map(|home| home.join(".local").join("share"))
        }
    };
    folder("XDG_DATA_HOME").or_else(usual).map(|folder| folder.join("mcptb"))
}
