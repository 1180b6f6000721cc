//! Settings as typed, and the configuration as checked.
//!
//! The only place that reads the environment. The token is never a flag: command lines are
//! visible to every process of the machine. The configuration file speaks the flags' own names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dialects::mcp_sampling::Priorities;
use http_doors::access::{AccessRules, AuthMode};
use http_doors::body::BodyLimits;
use http_doors::listener::ServeLimits;
use ipnet::IpNet;
use mcp::stdio;
use model::{ParamsMode, Secret};
use upstreams::host::{HintPolicy, HostSettings, ToolPolicy};

use crate::cli::Problem;
use crate::telemetry::{Colour, LogFormat, LogLevel, LogSettings};

mod checks;
mod file;
mod layers;
mod values;

#[cfg(test)]
pub(crate) use file::Place;
pub(crate) use file::{AuditDurability, BudgetMode, ConfigPath, Sections, Stamp};
use layers::command;
pub(crate) use layers::{Effective, Layers, Loaded, Source};
pub(crate) use values::{Wait, WarmUp};

/// An example of the configuration file.
pub(crate) fn example() -> String {
    file::write_example()
}

/// Flags and variables.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    file: ConfigPath,
    /// Address to listen on (an IP address or `localhost`).
    #[arg(long, env = "MCPTB_HOST", default_value = "127.0.0.1", value_parser = values::address)]
    host: IpAddr,
    /// Port to listen on; 0 takes any free one.
    #[arg(long, env = "MCPTB_PORT", default_value_t = 8000)]
    port: u16,
    /// File that holds the token callers must show (or set `MCPTB_TOKEN`); at least 20 characters.
    #[arg(long, value_name = "PATH", env = "MCPTB_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    folder: DataFolder,
    /// Whether calls are recorded; without it, as the file says, and else on.
    #[arg(long, env = "MCPTB_AUDIT", value_enum)]
    audit: Option<OnOff>,
    /// Address and port of the admin API, such as 127.0.0.1:8001; without it, it is on --port.
    #[arg(long, value_name = "ADDR", env = "MCPTB_ADMIN_ADDR")]
    admin_addr: Option<SocketAddr>,
    /// Who must show the token.
    #[arg(long, env = "MCPTB_AUTH", value_enum, default_value = "auto")]
    auth: Auth,
    /// Host names accepted beside localhost and IP addresses.
    #[arg(long, value_name = "NAME", env = "MCPTB_ALLOW_HOST", value_delimiter = ',')]
    allow_host: Vec<String>,
    /// Origins accepted; every other request with an Origin is refused.
    #[arg(long, value_name = "ORIGIN", env = "MCPTB_ALLOW_ORIGIN", value_delimiter = ',',
        value_parser = values::origin)]
    allow_origin: Vec<String>,
    /// Networks of proxies whose X-Forwarded-For names the caller.
    #[arg(long, value_name = "CIDR", env = "MCPTB_TRUSTED_PROXY", value_delimiter = ',')]
    trusted_proxy: Vec<IpNet>,
    /// Certificate chain (PEM) for HTTPS.
    #[arg(long, value_name = "PEM", env = "MCPTB_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM) for HTTPS.
    #[arg(long, value_name = "PEM", env = "MCPTB_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Samplings at once per host.
    #[arg(long, env = "MCPTB_CONCURRENCY", default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: u32,
    /// Calls that may wait for a host.
    #[arg(long, env = "MCPTB_QUEUE", default_value_t = 1024)]
    queue: u32,
    /// Seconds that a call may take, or `none` (then --max-wait is the bound).
    #[arg(long, env = "MCPTB_HTTP_TIMEOUT", default_value = "300")]
    http_timeout: Wait,
    /// Seconds that any wait may take.
    #[arg(long, env = "MCPTB_MAX_WAIT", default_value_t = 3600,
        value_parser = clap::value_parser!(u64).range(1..=604_800))]
    max_wait: u64,
    /// `maxTokens` of a sampling whose caller names none.
    #[arg(long, env = "MCPTB_MAX_TOKENS", default_value_t = 8192,
        value_parser = clap::value_parser!(u64).range(1..))]
    max_tokens: u64,
    /// Upper bound of `maxTokens`, whatever the caller asks.
    #[arg(long, env = "MCPTB_MAX_TOKENS_CAP", value_parser = clap::value_parser!(u64).range(1..))]
    max_tokens_cap: Option<u64>,
    /// Model preference sent to the host, 0 to 1.
    #[arg(long, env = "MCPTB_PREF_INTELLIGENCE", value_parser = values::priority)]
    pref_intelligence: Option<f64>,
    /// Model preference sent to the host, 0 to 1.
    #[arg(long, env = "MCPTB_PREF_SPEED", value_parser = values::priority)]
    pref_speed: Option<f64>,
    /// Model preference sent to the host, 0 to 1.
    #[arg(long, env = "MCPTB_PREF_COST", value_parser = values::priority)]
    pref_cost: Option<f64>,
    /// Whether the caller's model is passed on as a hint.
    #[arg(long, env = "MCPTB_MODEL_HINTS", value_enum, default_value = "auto")]
    model_hints: Hints,
    /// What becomes of tools where the host has none in sampling.
    #[arg(long, env = "MCPTB_TOOLS", value_enum, default_value = "prompted")]
    tools: Tools,
    /// Whether sampling runs as a task (which can be cancelled) where the host offers it.
    #[arg(long, env = "MCPTB_SAMPLING_TASKS", value_enum, default_value = "auto")]
    sampling_tasks: AutoOff,
    /// Whether one tiny sampling at the start asks for consent: on, off, or the number of tries.
    #[arg(long, env = "MCPTB_WARMUP", default_value = "on")]
    warmup: WarmUp,
    /// Seconds that the warm-up waits for a click.
    #[arg(long, env = "MCPTB_WARMUP_WAIT", default_value_t = 300,
        value_parser = clap::value_parser!(u64).range(1..=604_800))]
    warmup_wait: u64,
    /// What becomes of parameters that cannot be carried; a request may say it itself.
    #[arg(long, env = "MCPTB_PARAMS", value_enum, default_value = "default")]
    params: Params,
    /// Whether a broken stream that is asked for again, unstreamed, is sampled only once.
    #[arg(long, env = "MCPTB_REPLAY_GUARD", value_enum, default_value = "on")]
    replay_guard: OnOff,
    /// Largest request body in bytes.
    #[arg(long, env = "MCPTB_BODY_LIMIT", default_value_t = 32 << 20)]
    body_limit: usize,
    /// Bytes of all request bodies in flight together.
    #[arg(long, env = "MCPTB_BODY_MEMORY", default_value_t = 256 << 20)]
    body_memory: usize,
    /// Seconds to wait for a request head, and for the next piece of a body.
    #[arg(long, env = "MCPTB_READ_TIMEOUT", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    read_timeout: u64,
    /// HTTP connections at once.
    #[arg(long, env = "MCPTB_MAX_CONNECTIONS", default_value_t = 16_384,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// Shape of log lines.
    #[arg(long, env = "MCPTB_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Log full requests and replies, without credentials (1 or 0).
    #[arg(long, env = "MCPTB_LOG_BODIES", value_parser = values::switch,
        default_value = "0", num_args = 0..=1, default_missing_value = "1")]
    log_bodies: bool,
    /// Least severe log lines beside RX and TX.
    #[arg(long, env = "MCPTB_LOG", value_enum, default_value = "warn")]
    log: LogLevel,
    /// Send the prototype's `data: [DONE]` after `message_stop` (1 or 0). Breaks clients.
    #[arg(long, env = "MCPTB_ANTHROPIC_DONE", value_parser = values::switch,
        default_value = "0", num_args = 0..=1, default_missing_value = "1")]
    anthropic_done: bool,
    /// How stdin and stdout are read and written.
    #[arg(long, env = "MCPTB_STDIO", value_enum, default_value = "auto")]
    stdio: Stdio,
}

/// The flag that names the folder of keys and records.
#[derive(Debug, Args)]
pub(crate) struct DataFolder {
    /// Folder of keys and records; without it, the usual one for data of your account.
    #[arg(long, value_name = "PATH", env = "MCPTB_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

/// Where the store is, for a command that goes to it by itself.
#[derive(Debug, Args)]
pub(crate) struct StorePlace {
    #[command(flatten)]
    _file: ConfigPath,
    #[command(flatten)]
    _folder: DataFolder,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Auth {
    /// With a token everybody; without one this machine is open and everybody else refused.
    Auto,
    /// Everybody, always.
    Required,
    /// Everybody but this machine.
    OpenLoopback,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hints {
    /// Until the host fails on it.
    Auto,
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tools {
    /// They are described in the prompt, and calls are read from the answer's text.
    Prompted,
    /// The call is refused.
    Reject,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Params {
    /// Whatever would be lost is refused.
    Strict,
    /// What would break the answer is refused, the rest is named as lost.
    Default,
    /// Whatever can be left out is left out, and named as lost.
    Lenient,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnOff {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AutoOff {
    Auto,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stdio {
    /// Non-blocking where possible.
    Auto,
    /// Threads, as on Windows.
    Threads,
}

/// The configuration as checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) address: SocketAddr,
    /// The listener of the admin API, where it has one of its own.
    pub(crate) admin_address: Option<SocketAddr>,
    pub(crate) access: AccessRules,
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) host: HostSettings,
    /// Of a call, within `host.max_wait`.
    pub(crate) deadline: Wait,
    pub(crate) body: BodyLimits,
    pub(crate) body_memory: usize,
    pub(crate) params: ParamsMode,
    pub(crate) replay_guard: bool,
    pub(crate) serve: ServeLimits,
    pub(crate) anthropic_done: bool,
    pub(crate) stdio: stdio::Mode,
    pub(crate) log: LogSettings,
    /// Folder of keys and records; `None` where this account has none.
    pub(crate) data_dir: Option<PathBuf>,
    /// Whether calls are recorded.
    pub(crate) audit: bool,
    /// What only the configuration file can say.
    pub(crate) sections: Arc<Sections>,
}

impl Config {
    /// The defaults, on a port of this machine.
    pub(crate) fn local(port: u16) -> Self {
        let second = Duration::from_secs(1);
        let deadline = 300 * second;
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
            admin_address: None,
            access: AccessRules {
                token: None,
                keys: None,
                auth: AuthMode::Auto,
                allow_hosts: Vec::new(),
                allow_origins: Vec::new(),
                trusted_proxies: Vec::new(),
            },
            tls: None,
            host: HostSettings {
                concurrency: 8,
                queue: 1024,
                warm_up_wait: deadline,
                max_wait: 3600 * second,
                slot_return: 60 * second,
                warm_up_tries: WarmUp::DEFAULT_TRIES,
                default_max_tokens: 8192,
                max_tokens_cap: None,
                hints: HintPolicy::Auto,
                priorities: Priorities { intelligence: None, speed: None, cost: None },
                tools: ToolPolicy::Prompted,
                nonce: std::sync::Arc::new(arc_swap::ArcSwap::from_pointee(
                    values::fresh_nonce_secret(),
                )),
                tasks: true,
            },
            deadline: Wait::Seconds(deadline),
            body: BodyLimits { max_bytes: 32 << 20, idle: 30 * second, total: 300 * second },
            body_memory: 256 << 20,
            params: ParamsMode::Default,
            replay_guard: true,
            serve: serve_limits(30 * second, 16_384),
            anthropic_done: false,
            stdio: stdio::Mode::Auto,
            log: LogSettings {
                format: LogFormat::Text,
                level: LogLevel::Warn,
                bodies: false,
                colour: colour(),
            },
            // Nothing is kept of a demo.
            data_dir: None,
            audit: false,
            sections: Arc::default(),
        }
    }
}

fn serve_limits(head_timeout: Duration, max_connections: usize) -> ServeLimits {
    ServeLimits {
        head_timeout,
        tls_handshake: Duration::from_secs(10),
        max_connections,
        max_head_bytes: 64 * 1024,
    }
}

fn colour() -> Colour {
    if switch("MCPTB_NO_COLOR") || switch("NO_COLOR") {
        Colour::Never
    } else if switch("MCPTB_FORCE_COLOR") {
        Colour::Always
    } else {
        Colour::Terminal
    }
}

/// The admin key in the environment, for a bridge that is reached by its address.
pub(crate) fn admin_key() -> Option<Secret<String>> {
    let key = variable("MCPTB_ADMIN_KEY")?.into_string().ok()?;
    Some(Secret::new(key.trim().to_owned()))
}

/// A variable that is set to something other than nothing and `0`.
fn switch(name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty() && value != "0")
}

/// A variable that is set, to whatever.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    std::env::var_os(name)
}
