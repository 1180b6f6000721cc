//! The other end of stdio: a host that does what the test tells it.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

mod wire;

use wire::{Asked, Outcome, Reading, Shared, state_of};

use super::PATIENCE;
use super::lines::Lines;
use super::process::Ends;
use super::profile::Profile;

/// A host. Dropping it closes both streams, as when it is killed.
pub(crate) struct FakeHost {
    shared: Arc<Shared>,
    samplings: Receiver<Sampling>,
    cancelled: Receiver<Value>,
    tasks_cancelled: Receiver<Value>,
    /// Every line that the bridge wrote, as it stands.
    pub(crate) lines: Lines,
}

/// A sampling request that waits for the test's answer.
#[derive(Clone)]
pub(crate) struct Sampling {
    /// The id of the request.
    pub(crate) id: Value,
    pub(crate) params: Value,
    task: Option<String>,
    host: Arc<Shared>,
}

impl FakeHost {
    pub(crate) fn new(profile: Profile, ends: Ends) -> Self {
        let shared = Arc::new(Shared {
            profile,
            to_bridge: Mutex::new(Some(ends.to_bridge)),
            next_id: AtomicU64::new(1),
            replies: Mutex::default(),
            responder: Mutex::default(),
            tasks: Mutex::default(),
            holds_tasks: AtomicBool::new(false),
            faults: Mutex::default(),
            stops_reading: Mutex::default(),
        });
        let (samplings_in, samplings) = channel();
        let (cancelled_in, cancelled) = channel();
        let (tasks_in, tasks_cancelled) = channel();
        let asked =
            Asked { samplings: samplings_in, cancelled: cancelled_in, tasks_cancelled: tasks_in };
        let lines = Lines::default();
        let (ours, log) = (Arc::clone(&shared), lines.clone());
        thread::spawn(move || {
            let from_bridge = ends.from_bridge;
            let mut source = BufReader::new(Reading { from_bridge, host: Arc::clone(&ours) });
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8(std::mem::take(&mut line)).expect("UTF-8");
                let text = text.strip_suffix('\n').expect("whole lines").to_owned();
                log.push(text.clone());
                ours.receive(&text, &asked);
            }
            log.close();
            ours.replies.lock().unwrap().clear();
        });
        Self { shared, samplings, cancelled, tasks_cancelled, lines }
    }

    /// Shakes hands as the profile does, and gives the bridge's answer to `initialize`.
    pub(crate) fn shake_hands(&self) -> Value {
        if self.shared.profile == Profile::CopilotCli {
            let probe = self.request(
                "server/discover",
                &json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}),
            );
            assert_eq!(probe["error"]["code"], -32601, "{probe}");
        }
        let answer = self.request("initialize", &self.shared.profile.initialize());
        assert!(answer["result"].is_object(), "{answer}");
        self.notify("notifications/initialized", &json!({}));
        if self.shared.profile == Profile::FastAgent {
            assert_eq!(self.request("ping", &json!({}))["result"], json!({}));
        }
        answer["result"].clone()
    }

    /// Sends a request and waits for the whole answer.
    pub(crate) fn request(&self, method: &str, params: &Value) -> Value {
        self.begin(method, params).1.recv_timeout(PATIENCE).expect("an answer")
    }

    /// Sends a request; gives its id, and where its answer will come.
    pub(crate) fn begin(&self, method: &str, params: &Value) -> (u64, Receiver<Value>) {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = channel();
        self.shared.replies.lock().unwrap().insert(id.to_string(), sender);
        self.shared.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        (id, receiver)
    }

    pub(crate) fn notify(&self, method: &str, params: &Value) {
        self.shared.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&self, bytes: &[u8]) {
        self.shared.write(bytes);
    }

    /// Calls a tool and gives the text of its result.
    pub(crate) fn tool(&self, name: &str, arguments: &Value) -> String {
        let params = json!({"name": name, "arguments": arguments});
        let answer = self.request("tools/call", &params);
        let text = answer["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text in {answer}")).to_owned()
    }

    /// What `bridge_status` tells.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.tool("bridge_status", &json!({}))).unwrap()
    }

    /// Asks for the status until it fits. Each try waits for the bridge's answer.
    pub(crate) fn wait_status(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if fits(&status) {
                return status;
            }
            assert!(std::time::Instant::now() < deadline, "waited for {what}, had {status}");
        }
    }

    /// Waits until the bridge says that this is the state of the host.
    pub(crate) fn wait_state(&self, state: &str) {
        self.wait_status(state, |status| status["hosts"][0]["state"] == state);
    }

    /// The next sampling request.
    pub(crate) fn sampling(&self) -> Sampling {
        self.samplings.recv_timeout(PATIENCE).expect("a sampling request")
    }

    /// A sampling request that has come and that nobody has taken.
    pub(crate) fn sampling_so_far(&self) -> Option<Sampling> {
        self.samplings.try_recv().ok()
    }

    /// That nothing was asked. The round trip lets whatever was under way arrive first.
    pub(crate) fn assert_not_asked(&self) {
        self.request("ping", &json!({}));
        match self.samplings.recv_timeout(std::time::Duration::ZERO) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(sampling) => panic!("asked without need: {}", sampling.params),
            Err(RecvTimeoutError::Disconnected) => panic!("the bridge has gone"),
        }
    }

    /// The id of the next request that the bridge cancels by notification.
    pub(crate) fn cancelled(&self) -> Value {
        self.cancelled.recv_timeout(PATIENCE).expect("a cancellation")
    }

    /// Whether a cancellation has come that nobody has taken.
    pub(crate) fn has_cancelled(&self) -> bool {
        self.cancelled.try_recv().is_ok()
    }

    /// The id of the next task that the bridge cancels.
    pub(crate) fn task_cancelled(&self) -> Value {
        self.tasks_cancelled.recv_timeout(PATIENCE).expect("a cancelled task")
    }

    /// From now on samplings are answered by `responder`, on the thread that reads.
    pub(crate) fn respond(&self, responder: impl Fn(&Sampling) + Send + 'static) {
        *self.shared.responder.lock().unwrap() = Some(Box::new(responder));
    }

    /// From now on tasks are named only by [`Sampling::name_task`], or as usual again.
    pub(crate) fn hold_tasks(&self, hold: bool) {
        self.shared.holds_tasks.store(hold, Ordering::Relaxed);
    }

    /// From now on it reads the beginning of what comes next, says so here, and never reads again.
    pub(crate) fn stop_reading(&self) -> Receiver<()> {
        let (stops, stopped) = channel();
        *self.shared.stops_reading.lock().unwrap() = Some(stops);
        stopped
    }

    /// Closes the bridge's stdin.
    pub(crate) fn close_stdin(&self) {
        *self.shared.to_bridge.lock().unwrap() = None;
    }

    /// What the bridge did that hurts this host.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().unwrap().clone()
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        self.close_stdin();
    }
}

impl Sampling {
    /// Names the task, where that was held back.
    pub(crate) fn name_task(&self) {
        let task = self.task.as_deref().expect("a task");
        self.host.reply(&self.id, &Ok(json!({"task": state_of(task, "working")})));
    }

    /// Answers with text, as the host's profile does.
    pub(crate) fn answer(&self, text: &str) {
        self.result(&self.host.profile.result(text));
    }

    /// Answers with this result.
    pub(crate) fn result(&self, result: &Value) {
        self.settle(&Ok(result.clone()));
    }

    /// Answers with this error.
    pub(crate) fn error(&self, code: i64, message: &str) {
        self.settle(&Err((code, message.to_owned())));
    }

    /// The person says no.
    pub(crate) fn refuse(&self) {
        self.settle(&self.host.profile.refusal());
    }

    /// The model behind the host fails.
    pub(crate) fn fail(&self, what: &str) {
        self.settle(&Err(self.host.profile.failure(what)));
    }

    /// What the last message says.
    pub(crate) fn asked(&self) -> String {
        let seen = self.host.profile.sees(&self.params);
        seen.last().expect("a message").1.clone()
    }

    fn settle(&self, outcome: &Outcome) {
        match &self.task {
            Some(task) => self.host.settle_task(task, outcome),
            None => self.host.reply(&self.id, outcome),
        }
    }
}
