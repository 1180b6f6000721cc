//! Starts a bridge with a host attached.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use serde_json::Value;

use super::host::FakeHost;
use super::http::{Call, Reply, Request, Target};
use super::process::{Plumbing, Process};
use super::profile::Profile;

/// How a bridge is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    plumbing: Plumbing,
    profile: Profile,
    args: Vec<String>,
    env: Vec<(String, String)>,
    read_stderr: bool,
    records: bool,
}

/// A bridge, its host, and where it listens.
pub(crate) struct Rig {
    pub(crate) process: Process,
    pub(crate) host: FakeHost,
    pub(crate) target: Target,
}

impl Default for Launch {
    fn default() -> Self {
        Self::new()
    }
}

impl Launch {
    /// A bridge on any free port of 127.0.0.1.
    pub(crate) fn new() -> Self {
        Self {
            plumbing: Plumbing::default(),
            profile: Profile::default(),
            args: Vec::new(),
            env: vec![("MCPTB_PORT".to_owned(), "0".to_owned())],
            read_stderr: true,
            records: true,
        }
    }

    pub(crate) fn plumbing(mut self, plumbing: Plumbing) -> Self {
        self.plumbing = plumbing;
        self
    }

    pub(crate) fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    pub(crate) fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.to_owned(), value.to_owned()]);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a warm-up: consent is unknown until the first call.
    pub(crate) fn cold(self) -> Self {
        self.env("MCPTB_WARMUP", "off")
    }

    /// Nobody reads its stderr.
    pub(crate) fn stderr_unread(mut self) -> Self {
        self.read_stderr = false;
        self
    }

    /// It has no records, or cannot have them: they are not waited for.
    pub(crate) fn without_records(mut self) -> Self {
        self.records = false;
        self
    }

    /// Starts the process. Nobody has said anything to it yet.
    pub(crate) fn spawn(&self) -> (Process, FakeHost) {
        let (process, ends) =
            Process::start(self.plumbing, &self.args, &self.env, self.read_stderr);
        (process, FakeHost::new(self.profile, ends))
    }

    /// Starts it, shakes hands, and waits until it listens and keeps records: before, calls may get
    /// 503, and a command could take the folder. A warm-up may be waiting.
    pub(crate) fn attach(&self) -> Rig {
        let (process, host) = self.spawn();
        host.shake_hands();
        let rig = Rig::listening(process, host);
        if self.records {
            rig.wait_records();
        }
        rig
    }

    /// Starts it and answers the warm-up, so that calls can be taken.
    pub(crate) fn ready(&self) -> Rig {
        let rig = self.attach();
        rig.host.sampling().answer("ok");
        rig.host.wait_state("ready");
        rig
    }
}

impl Rig {
    /// Waits until the bridge listens.
    pub(crate) fn listening(process: Process, host: FakeHost) -> Self {
        let status = host.wait_status("a URL", |status| status["url"].is_string());
        let address = address_of(&status);
        Self { process, host, target: Target::plain(address) }
    }

    /// Waits until its records are open.
    pub(crate) fn wait_records(&self) {
        self.host.wait_status("its records", |_| self.process.has_records());
    }

    pub(crate) fn send(&self, request: &Request) -> Call {
        self.target.send(request)
    }

    pub(crate) fn fetch(&self, request: &Request) -> Reply {
        self.target.fetch(request)
    }

    /// Ends it as a host does, waits until everything is written, and gives what it said.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.host.close_stdin();
        let said = self.process.stderr.wait_end();
        assert_eq!(self.process.wait().code(), Some(0), "{said:#?}");
        said
    }

    /// The details that `/readyz` gives of the host.
    pub(crate) fn readiness(&self) -> (u16, Value) {
        let reply = self.fetch(&Request::get("/readyz"));
        (reply.status, reply.json())
    }
}

/// Where the bridge listens, seen from this machine.
pub(crate) fn address_of(status: &Value) -> SocketAddr {
    let url = status["url"].as_str().unwrap();
    let address: SocketAddr = url.split("//").nth(1).unwrap().parse().unwrap();
    if address.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    } else {
        address
    }
}

/// A port that nobody uses at the moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
