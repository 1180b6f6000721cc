//! The bridge's side put together as the binary does it, and a host that does as it is told.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use dialects::mcp_sampling::Priorities;
use dialects::openai_chat;
use dialects::prompted_tools::NonceSecret;
use gateway::admission::Admission;
use gateway::keyring::ActiveKey;
use gateway::{
    Call, CallLog, Caller, Finished, Gateway, GatewayLimits, GatewayParts, Received, Running,
    Upstream, UpstreamStatus,
};
use mcp::{Connection, Handler, Limits, Peer, PendingReply, Reply, Request, Server};
use model::{CallId, Completion, Dialect, Failure, FailureKind, Fold, ParamsMode};
use serde_json::{Value, json};
use tokio::io::split;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use upstreams::host::{BridgeView, HintPolicy, HostPool, HostService, HostSettings, ToolPolicy};

/// The deadline of a warm-up.
pub(crate) const WARM_UP: Duration = Duration::from_secs(30);
/// The deadline of a call.
pub(crate) const DEADLINE: Duration = Duration::from_secs(100);
/// How long a silent host keeps a cancelled sampling's slot.
pub(crate) const SLOT_RETURN: Duration = Duration::from_mins(1);

/// The longest line that the bridge reads.
pub(crate) const MAX_LINE: usize = 1 << 18;

/// Lets everything run that can run without time passing.
pub(crate) async fn settle() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass.
pub(crate) async fn pass(time: Duration) {
    settle().await;
    tokio::time::sleep(time).await;
    settle().await;
}

/// Settings without a warm-up, for two samplings at once.
pub(crate) fn settings() -> HostSettings {
    HostSettings {
        tools: ToolPolicy::Prompted,
        nonce: Arc::new(ArcSwap::from_pointee(NonceSecret::new([7; 32]))),
        concurrency: 2,
        queue: 100,
        warm_up_wait: WARM_UP,
        max_wait: Duration::from_mins(30),
        slot_return: SLOT_RETURN,
        warm_up_tries: 0,
        default_max_tokens: 8192,
        max_tokens_cap: None,
        hints: HintPolicy::Auto,
        priorities: Priorities::default(),
        tasks: true,
    }
}

#[derive(Debug)]
struct NoLog;

impl CallLog for NoLog {
    fn wants_bodies(&self) -> bool {
        false
    }
    fn received(&self, _: &Received<'_>) {}
    fn finished(&self, _: &Finished<'_>) {}
}

#[derive(Debug)]
struct View;

impl BridgeView for View {
    fn url(&self) -> Option<String> {
        Some("http://127.0.0.1:8000".to_owned())
    }
    fn problem(&self) -> Option<String> {
        None
    }
    fn dropped_lines(&self) -> u64 {
        0
    }
}

/// The bridge.
pub(crate) struct Bridge {
    pub(crate) pool: Arc<HostPool>,
    gateway: Gateway,
    /// The key of every caller.
    key: Option<Arc<ActiveKey>>,
    tasks: TaskTracker,
}

/// A call whose answer is read as it comes.
pub(crate) struct Asked(JoinHandle<Result<Completion, Failure>>);

impl Bridge {
    pub(crate) fn new(settings: HostSettings) -> Self {
        Self::of(settings, None)
    }

    /// A bridge whose callers have a key that pays.
    pub(crate) fn with_key(
        settings: HostSettings,
        admission: Arc<Admission>,
        key: Arc<ActiveKey>,
    ) -> Self {
        Self::of(settings, Some((admission, key)))
    }

    fn of(settings: HostSettings, paid: Option<(Arc<Admission>, Arc<ActiveKey>)>) -> Self {
        let (admission, key) = paid.unzip();
        let tasks = TaskTracker::new();
        let pool = HostPool::new(settings, tasks.clone());
        let gateway = Gateway::new(GatewayParts {
            upstream: Arc::clone(&pool) as Arc<dyn Upstream>,
            sandbox: None,
            log: Arc::new(NoLog),
            audit: None,
            admission,
            limits: GatewayLimits { replay_guard: false },
            tasks: tasks.clone(),
            stop: CancellationToken::new(),
        });
        Self { pool, gateway, key, tasks }
    }

    /// A bridge whose one host has done its handshake and offers plain sampling.
    pub(crate) async fn with_host(settings: HostSettings) -> (Self, Host) {
        let bridge = Self::new(settings);
        let host = bridge.attach(&json!({"sampling": {}})).await;
        (bridge, host)
    }

    /// A bridge whose one host has answered already.
    pub(crate) async fn with_granting_host(settings: HostSettings) -> (Self, Host) {
        let (bridge, mut host) = Self::with_host(settings).await;
        bridge.grant(&mut host).await;
        (bridge, host)
    }

    /// Lets a host answer one call.
    pub(crate) async fn grant(&self, host: &mut Host) {
        let asked = self.ask("first");
        host.sampling().await.answer("yes");
        assert_eq!(asked.text().await, "yes");
    }

    /// Connects a host with these capabilities, up to the end of its handshake.
    pub(crate) async fn attach(&self, capabilities: &Value) -> Host {
        let mut host = self.connect("2025-11-25", capabilities).await;
        host.initialized().await;
        host
    }

    /// Connects a host and lets it say `initialize`, no more.
    pub(crate) async fn connect(&self, version: &str, capabilities: &Value) -> Host {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (source, sink) = split(near);
        let limits = Limits { max_line: MAX_LINE, ..Limits::default() };
        let connection = Connection::new(source, sink, limits);
        let server = Server::new(
            HostService::new(
                Arc::clone(&self.pool),
                Arc::new(View),
                self.tasks.clone(),
                CancellationToken::new(),
            ),
            "mcptb",
            "0",
        );
        self.tasks.spawn(async move {
            connection.run(&server, CancellationToken::new()).await;
        });

        let (source, sink) = split(far);
        let connection = Connection::new(source, sink, Limits::default());
        let (heard, hearing) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let host = Host { peer: connection.peer().clone(), heard: hearing, stop: stop.clone() };
        self.tasks.spawn(async move {
            connection.run(&Ears(heard), stop).await;
        });
        let params = json!({"protocolVersion": version, "capabilities": capabilities,
            "clientInfo": {"name": "Test Host", "version": "1"}});
        let reply = host.ask("initialize", &params).await;
        reply.await.expect("initialize is answered");
        host
    }

    /// Makes a call with a body of the Chat dialect; keeps the door in the test's hands.
    pub(crate) fn open(&self, body: &Value) -> Result<Running, Failure> {
        let body = body.to_string();
        let read = openai_chat::read_request(body.as_bytes(), ParamsMode::Default)
            .expect("a valid request");
        self.gateway.complete(Call {
            id: CallId::generate(),
            dialect: Dialect::OpenAiChat,
            endpoint: gateway::keys::Endpoint::Chat,
            caller: Arc::new(Caller {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                loopback: true,
                authenticated: false,
                key: self.key.clone(),
                agent: None,
            }),
            input_tokens: dialects::tokens::estimate_input(&read.request),
            request: Box::new(read.request),
            stream: false,
            bytes_in: body.len(),
            body: None,
            memory: None,
            replay: None,
            deadline: DEADLINE,
            status_of: |_| 500,
        })
    }

    /// Makes a call that is read to its end.
    pub(crate) fn call(&self, body: &Value) -> Asked {
        let running = self.open(body);
        Asked(self.tasks.spawn(async move {
            let mut running = running?;
            let mut fold = Fold::new();
            while let Some(batch) = running.next().await {
                for event in batch.map_err(|failure| *failure)?.events {
                    fold.push(event).expect("events in order");
                }
            }
            Ok(fold.finish().expect("a finished answer"))
        }))
    }

    /// Asks one plain question.
    pub(crate) fn ask(&self, text: &str) -> Asked {
        self.call(&question(text))
    }

    /// The status of the one host.
    pub(crate) fn status(&self) -> UpstreamStatus {
        let mut statuses = self.pool.statuses();
        assert_eq!(statuses.len(), 1, "{statuses:?}");
        statuses.remove(0)
    }
}

/// The body of one plain question.
pub(crate) fn question(text: &str) -> Value {
    json!({"model": "auto", "messages": [{"role": "user", "content": text}]})
}

impl Asked {
    /// The answer, which must have come without time passing.
    pub(crate) async fn now(self) -> Result<Completion, Failure> {
        settle().await;
        assert!(self.0.is_finished(), "the call still waits");
        self.0.await.expect("no panic")
    }

    /// The answer, whenever it comes: work off the async threads takes time of its own.
    pub(crate) async fn end(self) -> Result<Completion, Failure> {
        self.0.await.expect("no panic")
    }

    pub(crate) async fn text(self) -> String {
        self.now().await.expect("an answer").text()
    }

    pub(crate) async fn failure(self) -> Failure {
        self.now().await.expect_err("a failure")
    }

    pub(crate) async fn kind(self) -> FailureKind {
        self.failure().await.kind
    }

    pub(crate) async fn still_waits(&self) -> bool {
        settle().await;
        !self.0.is_finished()
    }
}

/// What a host hears.
enum Heard {
    Request(Request),
    Note(String, Value),
}

struct Ears(mpsc::UnboundedSender<Heard>);

fn parse(params: Option<&Bytes>) -> Value {
    params.map_or(Value::Null, |params| serde_json::from_slice(params).expect("JSON params"))
}

impl Handler for Ears {
    fn request(&self, _: &Peer, request: Request) {
        let _ = self.0.send(Heard::Request(request));
    }

    fn notification(&self, _: &Peer, method: &str, params: Option<Bytes>) {
        let note = Heard::Note(method.to_owned(), parse(params.as_ref()));
        let _ = self.0.send(note);
    }
}

/// A host.
pub(crate) struct Host {
    peer: Peer,
    heard: mpsc::UnboundedReceiver<Heard>,
    stop: CancellationToken,
}

/// A request that the host has heard.
pub(crate) struct Job {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) id: Value,
    request: Request,
}

impl Host {
    /// Finishes the handshake.
    pub(crate) async fn initialized(&mut self) {
        self.note("notifications/initialized", &json!({}));
        settle().await;
    }

    pub(crate) fn note(&self, method: &str, params: &Value) {
        let sent = self.peer.notify(method, |out| {
            out.extend_from_slice(params.to_string().as_bytes());
        });
        sent.expect("one line");
    }

    /// Sends a request to the bridge.
    pub(crate) async fn ask(&self, method: &str, params: &Value) -> PendingReply {
        let mut request = self.peer.prepare(method);
        let out = request.params();
        out.extend_from_slice(params.to_string().as_bytes());
        self.peer.send(request).await.expect("an open connection")
    }

    /// Calls a tool and waits for its answer.
    pub(crate) async fn tool(&self, name: &str, arguments: &Value) -> Value {
        let params = json!({"name": name, "arguments": arguments});
        let reply = self.ask("tools/call", &params).await;
        settle().await;
        parse(Some(&reply.await.expect("a result")))
    }

    fn heard(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }

    /// The next request, which must be there without time passing.
    pub(crate) async fn job(&mut self) -> Job {
        settle().await;
        match self.heard() {
            Some(Heard::Request(request)) => Job::new(request),
            Some(Heard::Note(method, params)) => panic!("a notification: {method} {params}"),
            None => panic!("the host hears nothing"),
        }
    }

    /// The next message, if it is a request.
    pub(crate) async fn job_or_note(&mut self) -> Option<Job> {
        settle().await;
        match self.heard().expect("the host hears nothing") {
            Heard::Request(request) => Some(Job::new(request)),
            Heard::Note(..) => None,
        }
    }

    /// The next sampling, whenever it comes.
    pub(crate) async fn later_sampling(&mut self) -> Job {
        match self.heard.recv().await {
            Some(Heard::Request(request)) => Job::new(request),
            Some(Heard::Note(method, params)) => panic!("a notification: {method} {params}"),
            None => panic!("the bridge has gone"),
        }
    }

    /// The next request, a sampling.
    pub(crate) async fn sampling(&mut self) -> Job {
        let job = self.job().await;
        assert_eq!(job.method, "sampling/createMessage");
        job
    }

    /// The next message, a notification.
    pub(crate) async fn noted(&mut self) -> (String, Value) {
        settle().await;
        match self.heard() {
            Some(Heard::Note(method, params)) => (method, params),
            Some(Heard::Request(request)) => panic!("a request: {}", request.method),
            None => panic!("the host hears nothing"),
        }
    }

    /// Checks that the host is told to stop this job.
    pub(crate) async fn is_told_to_stop(&mut self, job: &Job) {
        let (method, params) = self.noted().await;
        assert_eq!(method, "notifications/cancelled");
        assert_eq!(params["requestId"], job.id);
        assert!(job.id.is_string(), "a numeric id could end a request of the host's own");
    }

    /// Checks that nothing has been said to the host.
    pub(crate) async fn hears_nothing(&mut self) {
        settle().await;
        match self.heard() {
            Some(Heard::Request(request)) => panic!("a request: {}", request.method),
            Some(Heard::Note(method, params)) => panic!("a notification: {method} {params}"),
            None => {}
        }
    }

    /// The host closes its connection.
    pub(crate) fn hang_up(&self) {
        self.stop.cancel();
    }

    /// The host's process ends.
    pub(crate) async fn die(self) {
        self.hang_up();
        settle().await;
    }
}

impl Job {
    fn new(request: Request) -> Self {
        Self {
            method: request.method.clone(),
            params: parse(request.params.as_ref()),
            id: serde_json::from_str(request.raw_id()).expect("an id"),
            request,
        }
    }

    pub(crate) fn result(self, result: &Value) {
        self.request.reply(|out| {
            out.extend_from_slice(result.to_string().as_bytes());
        });
    }

    /// Answers with these bytes, whatever they are.
    pub(crate) fn raw(self, result: &[u8]) {
        self.request.reply(|out| out.extend_from_slice(result));
    }

    pub(crate) fn answer(self, text: &str) {
        self.result(&json!({"role": "assistant", "model": "host-model",
            "content": {"type": "text", "text": text}, "stopReason": "endTurn"}));
    }

    pub(crate) fn fail(self, code: i64, message: &str) {
        self.request.fail(code, message);
    }

    /// What the person at the host was asked.
    pub(crate) fn question(&self) -> &str {
        self.params["messages"][0]["content"]["text"].as_str().expect("a text")
    }
}

/// Several samplings of the host, by what they ask.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Vec<String>>);

impl Seen {
    pub(crate) fn add(&self, job: &Job) {
        self.0.lock().unwrap().push(job.question().to_owned());
    }

    pub(crate) fn sorted(self) -> Vec<String> {
        let mut all = self.0.into_inner().unwrap();
        all.sort_unstable();
        all
    }
}

/// Reads a reply of the bridge.
pub(crate) fn value(reply: Reply) -> Value {
    parse(Some(&reply.expect("a result")))
}
