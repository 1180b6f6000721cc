//! What a host does by itself with the lines of the bridge.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::Sampling;
use crate::support::profile::Profile;

pub(super) type Responder = Box<dyn Fn(&Sampling) + Send>;

pub(super) struct Shared {
    pub(super) profile: Profile,
    pub(super) to_bridge: Mutex<Option<Box<dyn Write + Send>>>,
    pub(super) next_id: AtomicU64,
    pub(super) replies: Mutex<HashMap<String, Sender<Value>>>,
    pub(super) responder: Mutex<Option<Responder>>,
    pub(super) tasks: Mutex<HashMap<String, Task>>,
    /// Whether the names of tasks are given only when the test says so.
    pub(super) holds_tasks: AtomicBool,
    /// What of VS Code's own would have been cancelled by mistake, and other breaches.
    pub(super) faults: Mutex<Vec<String>>,
    /// Who is told when it has stopped reading, where it is to stop.
    pub(super) stops_reading: Mutex<Option<Sender<()>>>,
}

/// The bridge's stdout, for as long as the host reads.
pub(super) struct Reading {
    pub(super) from_bridge: Box<dyn Read + Send>,
    pub(super) host: Arc<Shared>,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from_bridge.read(buffer)?;
        let stops = self.host.stops_reading.lock().unwrap().take();
        if let Some(stops) = stops {
            let _ = stops.send(());
            loop {
                thread::park();
            }
        }
        Ok(read)
    }
}

#[derive(Default)]
pub(super) struct Task {
    outcome: Option<Outcome>,
    asked_by: Option<Value>,
}

pub(super) type Outcome = Result<Value, (i64, String)>;

/// Where the reader hands on what the bridge asks.
pub(super) struct Asked {
    pub(super) samplings: Sender<Sampling>,
    pub(super) cancelled: Sender<Value>,
    pub(super) tasks_cancelled: Sender<Value>,
}

impl Shared {
    pub(super) fn send(&self, message: &Value) {
        self.write(format!("{message}\n").as_bytes());
    }

    pub(super) fn write(&self, bytes: &[u8]) {
        if let Some(to_bridge) = &mut *self.to_bridge.lock().unwrap() {
            // A bridge that has gone shows itself where the test waits for something.
            let _ = to_bridge.write_all(bytes).and_then(|()| to_bridge.flush());
        }
    }

    pub(super) fn reply(&self, id: &Value, outcome: &Outcome) {
        let mut message = json!({"jsonrpc": "2.0", "id": id});
        match outcome {
            Ok(result) => message["result"] = result.clone(),
            Err((code, text)) => message["error"] = json!({"code": code, "message": text}),
        }
        self.send(&message);
    }

    pub(super) fn receive(self: &Arc<Self>, line: &str, asked: &Asked) {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            self.faults.lock().unwrap().push(format!("not JSON: {line}"));
            return;
        };
        let (id, params) = (message["id"].clone(), message["params"].clone());
        match message["method"].as_str() {
            None => {
                let waiting = self.replies.lock().unwrap().remove(&id.to_string());
                if let Some(waiting) = waiting {
                    let _ = waiting.send(message);
                }
            }
            Some("sampling/createMessage") => self.sampling(id, params, asked),
            Some("notifications/cancelled") => {
                let cancelled = params["requestId"].clone();
                if cancelled.is_number() {
                    let fault = format!("cancelled the host's own request {cancelled}");
                    self.faults.lock().unwrap().push(fault);
                }
                let _ = asked.cancelled.send(cancelled);
            }
            Some("tasks/result") => self.task_result(id, &params),
            Some("tasks/cancel") => self.task_cancel(&id, &params, asked),
            Some("ping") => self.reply(&id, &Ok(json!({}))),
            Some(_) if id.is_null() => {}
            Some(other) => self.reply(&id, &Err((-32601, format!("Method not found: {other}")))),
        }
    }

    fn sampling(self: &Arc<Self>, id: Value, params: Value, asked: &Asked) {
        if self.profile == Profile::NoSampling {
            return self.reply(&id, &Err((-32601, "Method not found".to_owned())));
        }
        if let Some(error) = self.profile.chokes_on(&params) {
            return self.reply(&id, &Err(error));
        }
        let task = params.get("task").map(|_| format!("task-of-{}", id.as_str().unwrap_or("?")));
        if let Some(task) = &task {
            self.tasks.lock().unwrap().insert(task.clone(), Task::default());
            if !self.holds_tasks.load(Ordering::Relaxed) {
                self.reply(&id, &Ok(json!({"task": state_of(task, "working")})));
            }
        }
        let sampling = Sampling { id, params, task, host: Arc::clone(self) };
        match &*self.responder.lock().unwrap() {
            Some(responder) => responder(&sampling),
            None => drop(asked.samplings.send(sampling)),
        }
    }

    fn task_result(&self, id: Value, params: &Value) {
        let mut tasks = self.tasks.lock().unwrap();
        let Some(task) = tasks.get_mut(params["taskId"].as_str().unwrap()) else {
            return self.reply(&id, &Err((-32602, "no such task".to_owned())));
        };
        match &task.outcome {
            Some(outcome) => self.reply(&id, outcome),
            None => task.asked_by = Some(id),
        }
    }

    fn task_cancel(&self, id: &Value, params: &Value, asked: &Asked) {
        let name = params["taskId"].as_str().unwrap();
        self.reply(id, &Ok(state_of(name, "cancelled")));
        self.settle_task(name, &Err((-32603, "The task was cancelled".to_owned())));
        let _ = asked.tasks_cancelled.send(params["taskId"].clone());
    }

    pub(super) fn settle_task(&self, name: &str, outcome: &Outcome) {
        let mut tasks = self.tasks.lock().unwrap();
        let task = tasks.get_mut(name).unwrap();
        task.outcome = Some(outcome.clone());
        if let Some(id) = task.asked_by.take() {
            self.reply(&id, outcome);
        }
    }
}

pub(super) fn state_of(task: &str, status: &str) -> Value {
    json!({
        "taskId": task, "status": status, "ttl": 60_000, "pollInterval": 500,
        "createdAt": "2026-11-22T00:00:00Z", "lastUpdatedAt": "2026-11-22T00:00:00Z",
    })
}
