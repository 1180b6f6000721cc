//! A scripted upstream and a record that can be read again.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{
    BlockKind, CallId, CompletionEvent, CompletionRequest, Dialect, Failure, FailureKind,
    GenerationParams, LossSet, ModelAlias, ModelName, StopReason, Usage,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::{
    Audit, BoxFuture, Call, CallLog, Caller, EventSink, Finished, Gateway, GatewayLimits,
    GatewayParts, HungUp, Order, Outcome, Outstanding, Received, Upstream, UpstreamStatus,
};

/// The deadline of every call in these tests.
pub(super) const DEADLINE: Duration = Duration::from_secs(100);

/// One step of a scripted answer.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Named(&'static str),
    Send(Vec<CompletionEvent>),
    Sleep(Duration),
    Forever,
    Fail(FailureKind),
    Panic,
    /// Says that an upstream was asked.
    Asked,
    /// Leaves a sampling behind that outlives the call.
    Out,
}

/// The steps of a whole answer in one batch.
pub(super) fn whole(text: &str) -> Vec<Step> {
    let mut events = begin();
    events.extend(piece(text));
    events.extend(end());
    vec![Step::Named("fake"), Step::Send(events)]
}

pub(super) fn begin() -> Vec<CompletionEvent> {
    vec![
        CompletionEvent::Started { model: ModelName::new("fake-model"), losses: LossSet::EMPTY },
        CompletionEvent::BlockStarted { at: 0, kind: BlockKind::Text },
    ]
}

pub(super) fn piece(text: &str) -> Vec<CompletionEvent> {
    let delta = text.to_owned();
    vec![CompletionEvent::BlockDelta { at: 0, delta }]
}

pub(super) fn usage(output: u64) -> Usage {
    Usage { input: 10, output, cached_input: 3, cache_write: 2, reasoning: 1, estimated: true }
}

pub(super) fn end() -> Vec<CompletionEvent> {
    vec![
        CompletionEvent::BlockStopped { at: 0 },
        CompletionEvent::Usage(usage(5)),
        CompletionEvent::Finished { reason: StopReason::EndTurn, stop_sequence: None },
    ]
}

/// Answers each choice by its own script; the last script serves all further choices.
#[derive(Debug)]
pub(super) struct Scripted {
    scripts: Vec<Vec<Step>>,
    pub(super) not_ready: AtomicBool,
    pub(super) started: AtomicUsize,
    /// Batches that the doors have taken into their queues.
    pub(super) sent: AtomicUsize,
    /// Answers that were dropped before their end.
    pub(super) dropped: AtomicUsize,
    /// Samplings that are out.
    pub(super) out: Mutex<Vec<Outstanding>>,
}

struct Answering<'a> {
    dropped: &'a AtomicUsize,
    ended: bool,
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Upstream for Scripted {
    fn ready(&self) -> Result<(), Failure> {
        if self.not_ready.load(Ordering::Relaxed) {
            return Err(Failure::new(FailureKind::NotReady, "nobody is there"));
        }
        Ok(())
    }

    fn statuses(&self) -> Vec<UpstreamStatus> {
        Vec::new()
    }

    fn models(&self) -> Vec<ModelName> {
        Vec::new()
    }

    fn complete<'a>(
        &'a self,
        order: &'a Order,
        sink: &'a mut EventSink,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.started.fetch_add(1, Ordering::Relaxed);
            let mut answering = Answering { dropped: &self.dropped, ended: false };
            let last = self.scripts.len() - 1;
            let script = &self.scripts[usize::from(sink.choice).min(last)];
            let mut outcome = Ok(());
            for step in script {
                match step.clone() {
                    Step::Named(name) => sink.answered_by(name.into()),
                    Step::Send(events) => match sink.send(events).await {
                        Ok(()) => {
                            self.sent.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(HungUp) => break,
                    },
                    Step::Sleep(time) => sleep(time).await,
                    Step::Forever => std::future::pending().await,
                    Step::Fail(kind) => {
                        outcome = Err(Failure::new(kind, "scripted"));
                        break;
                    }
                    Step::Panic => panic!("scripted"),
                    Step::Asked => sink.asked(),
                    Step::Out => {
                        let out = order.bill.as_ref().expect("a bill").outstanding();
                        self.out.lock().unwrap().push(out);
                    }
                }
            }
            answering.ended = true;
            outcome
        })
    }
}

/// How a call ended, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Answered,
    Failed(FailureKind, u16),
    HungUp,
}

/// The TX half, owned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) id: CallId,
    pub(super) model_asked: String,
    pub(super) model_served: Option<String>,
    pub(super) upstream: Option<String>,
    pub(super) ended: Ended,
    pub(super) stop_reason: Option<StopReason>,
    pub(super) usage: Usage,
    pub(super) losses: LossSet,
    pub(super) bytes_out: usize,
    pub(super) first_byte: Option<Duration>,
    pub(super) duration: Duration,
    pub(super) text: Option<String>,
    pub(super) replay_of: Option<CallId>,
}

/// A record in memory.
#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) bodies: AtomicBool,
    pub(super) received: Mutex<Vec<CallId>>,
    pub(super) finished: Mutex<Vec<Record>>,
}

impl CallLog for Recording {
    fn wants_bodies(&self) -> bool {
        self.bodies.load(Ordering::Relaxed)
    }

    fn received(&self, received: &Received<'_>) {
        self.received.lock().unwrap().push(received.id);
    }

    fn finished(&self, finished: &Finished<'_>) {
        self.finished.lock().unwrap().push(Record {
            id: finished.id,
            model_asked: finished.model_asked.to_owned(),
            model_served: finished.model_served.map(str::to_owned),
            upstream: finished.upstream.map(str::to_owned),
            ended: match finished.outcome {
                Outcome::Answered => Ended::Answered,
                Outcome::Failed(failure, status) => Ended::Failed(failure.kind, status),
                Outcome::HungUp => Ended::HungUp,
            },
            stop_reason: finished.stop_reason,
            usage: finished.usage,
            losses: finished.losses,
            bytes_out: finished.bytes_out,
            first_byte: finished.first_byte,
            duration: finished.duration,
            text: finished.text.map(str::to_owned),
            replay_of: finished.replay_of,
        });
    }
}

/// A gateway before a scripted upstream.
pub(super) struct House {
    pub(super) gateway: Gateway,
    pub(super) upstream: Arc<Scripted>,
    pub(super) log: Arc<Recording>,
    pub(super) stop: CancellationToken,
    tasks: TaskTracker,
}

impl House {
    /// Every choice is answered by the same script.
    pub(super) fn new(script: Vec<Step>) -> Self {
        Self::with_choices(vec![script])
    }

    pub(super) fn with_choices(scripts: Vec<Vec<Step>>) -> Self {
        Self::build(scripts, true)
    }

    /// Without the guard against paying twice.
    pub(super) fn unguarded(script: Vec<Step>) -> Self {
        Self::build(vec![script], false)
    }

    fn build(scripts: Vec<Vec<Step>>, replay_guard: bool) -> Self {
        Self::kept(scripts, replay_guard, None, None)
    }

    /// With a durable record, and with limits.
    pub(super) fn kept(
        scripts: Vec<Vec<Step>>,
        replay_guard: bool,
        audit: Option<Arc<Audit>>,
        admission: Option<Arc<Admission>>,
    ) -> Self {
        let upstream = Arc::new(Scripted {
            scripts,
            not_ready: AtomicBool::new(false),
            started: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            out: Mutex::default(),
        });
        let log = Arc::new(Recording::default());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let gateway = Gateway::new(GatewayParts {
            upstream: Arc::clone(&upstream) as Arc<dyn Upstream>,
            sandbox: None,
            log: Arc::clone(&log) as Arc<dyn CallLog>,
            audit,
            admission,
            limits: GatewayLimits { replay_guard },
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        Self { gateway, upstream, log, stop, tasks }
    }

    /// Lets everything run that can run without time passing.
    pub(super) async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for all calls, and gives back the one record that there must be.
    pub(super) async fn only_record(self) -> Record {
        let [record] = self.records().await.try_into().expect("one record");
        record
    }

    /// Waits for all calls, and gives back their records in the order in which they came in.
    pub(super) async fn records(self) -> Vec<Record> {
        self.tasks.close();
        self.tasks.wait().await;
        let received = self.log.received.lock().unwrap().clone();
        let mut finished = self.log.finished.lock().unwrap().clone();
        finished.sort_by_key(|record| received.iter().position(|id| *id == record.id));
        let ids: Vec<_> = finished.iter().map(|record| record.id).collect();
        assert_eq!(ids, received, "one end for each beginning");
        finished
    }
}

/// A call that asks for this many choices.
pub(super) fn call(choices: Option<u8>) -> Call {
    Call {
        id: CallId::generate(),
        dialect: Dialect::OpenAiChat,
        endpoint: crate::keys::Endpoint::Chat,
        caller: Arc::new(Caller {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            loopback: true,
            authenticated: false,
            key: None,
            agent: None,
        }),
        request: Box::new(CompletionRequest {
            model: ModelAlias::new("asked"),
            params: GenerationParams { choices, ..GenerationParams::default() },
            ..CompletionRequest::default()
        }),
        stream: true,
        input_tokens: 10,
        bytes_in: 100,
        body: None,
        memory: None,
        deadline: DEADLINE,
        replay: None,
        status_of: |failure| match failure.kind {
            FailureKind::NotReady => 503,
            FailureKind::UpstreamTimeout => 504,
            _ => 502,
        },
    }
}
