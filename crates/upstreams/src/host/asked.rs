//! A sampling that is out at the host.
//!
//! Its slot must not come back early: the host may go on working, and billing, after the caller
//! has gone. So when a call is dropped, a watcher takes over: it tells the host to stop, keeps the
//! slot until the host is known to have stopped or a minute is over, and still listens for an
//! answer that decides consent.

use std::sync::Arc;

use bytes::Bytes;
use dialects::mcp_sampling::{self, HostFault, SamplingReply};
use dialects::tokens;
use gateway::{Bill, Outstanding, Slot};
use mcp::{LateReply, PendingReply, Reply, ReplyError};
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::HostSession;
use super::consent::{Epoch, Probe};

/// The right to ask, held while the host works.
#[derive(Debug)]
pub(super) struct Turn {
    _slot: Slot,
    _probe: Option<Probe>,
    /// Which asking the answer will belong to.
    pub(super) epoch: Epoch,
}

impl Turn {
    pub(super) fn new(slot: Slot, probe: Option<Probe>, epoch: Epoch) -> Self {
        Self { _slot: slot, _probe: probe, epoch }
    }
}

/// A request that is out. Dropping it before the answer cancels it.
#[derive(Debug)]
pub(super) struct Asked {
    session: Arc<HostSession>,
    pending: Option<PendingReply>,
    turn: Option<Turn>,
    /// Whether the request asked for a task: such a one is cancelled by `tasks/cancel` only.
    as_task: bool,
    /// The task's id, once it is known.
    task: Option<String>,
    /// What the call owes: its part of it is settled by whoever hears of the sampling last.
    bill: Option<Arc<Bill>>,
}

#[derive(Serialize)]
struct TaskParams<'a> {
    #[serde(rename = "taskId")]
    task_id: &'a str,
}

impl Asked {
    pub(super) fn new(
        session: Arc<HostSession>,
        pending: PendingReply,
        turn: Turn,
        as_task: bool,
        bill: Option<Arc<Bill>>,
    ) -> Self {
        Self { session, pending: Some(pending), turn: Some(turn), as_task, task: None, bill }
    }

    /// Charges what a sampling costs that has failed, so that whoever stays to hear of it pays what a
    /// hang-up would. Where a person said no, or the host tells that it asked no model, that is nothing.
    pub(super) fn charge(&mut self, fault: HostFault, reply: &Reply) {
        let free = match fault {
            HostFault::Refused
            | HostFault::Declined
            | HostFault::NoSampling
            | HostFault::ModelPreferences => true,
            HostFault::RateLimited
            | HostFault::UnknownModel
            | HostFault::ContextTooLong
            | HostFault::InvalidParams
            | HostFault::Other => false,
        };
        if let Some(bill) = self.bill.take().filter(|_| !free) {
            settle(bill.outstanding(), reply);
        }
    }

    /// Waits for the answer. Not to be called again after it has resolved.
    pub(super) async fn answer(&mut self) -> Reply {
        let Some(pending) = &mut self.pending else {
            return Err(ReplyError::Closed);
        };
        let reply = pending.await;
        self.pending = None;
        reply
    }

    /// The host runs the sampling as a task: asks for its result, which comes when it is done.
    pub(super) async fn follow_task(&mut self, id: String) -> Reply {
        let mut request = self.session.peer().prepare("tasks/result");
        write_task_params(request.params(), &id);
        self.task = Some(id);
        let reply = match self.session.peer().send(request).await {
            Ok(pending) => {
                self.pending = Some(pending);
                self.answer().await
            }
            Err(_) => Err(ReplyError::Closed),
        };
        self.task = None;
        reply
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let task = self.task.take();
        let late = match self.pending.take() {
            Some(pending) if self.as_task || task.is_some() => pending.detach(),
            Some(pending) => pending.cancel("the call has ended"),
            None => None,
        };
        if late.is_none() && task.is_none() {
            return;
        }
        let Some(turn) = self.turn.take() else { return };
        let session = Arc::clone(&self.session);
        let outstanding = self.bill.take().map(|bill| bill.outstanding());
        let cancels = (self.as_task || task.is_some()).then(|| session.cancellation());
        let left = Left { late, as_task: self.as_task, task, cancels };
        session.spawn(watch(Arc::clone(&session), left, turn, outstanding));
    }
}

/// What a call that has ended leaves at its host.
struct Left {
    late: Option<LateReply>,
    as_task: bool,
    task: Option<String>,
    /// There while a task has to be cancelled: the bridge does not hang up before.
    cancels: Option<TaskTrackerToken>,
}

/// Follows a cancelled sampling until its slot may come back.
async fn watch(
    session: Arc<HostSession>,
    left: Left,
    turn: Turn,
    mut outstanding: Option<Outstanding>,
) {
    let (epoch, as_task) = (turn.epoch, left.as_task);
    let mut turn = Some(turn);
    let stopped = stopped(&session, left);
    let mut stopped = std::pin::pin!(stopped);
    let settings = session.settings();
    tokio::select! {
        reply = &mut stopped => {
            if let Some(outstanding) = outstanding {
                settle(outstanding, &reply);
            }
            return session.note_late(&reply, epoch, as_task);
        }
        () = sleep(settings.slot_return) => {
            // Nobody knows what it costs: it is charged as reserved.
            drop((turn.take(), outstanding.take()));
        }
    }
    if session.consent().is_open() {
        // A dialog may still be open: the click will be heard as long as a call may take.
        if let Ok(reply) = tokio::time::timeout(settings.max_wait, stopped).await {
            session.note_late(&reply, epoch, as_task);
        }
    }
}

/// Settles what a sampling costs that brings its call no answer, by what has been heard of it. A host
/// that has gone, or whose answer is lost, may still be billed for it: charged as reserved.
fn settle(outstanding: Outstanding, reply: &Reply) {
    let result = match reply {
        // It was cancelled.
        Ok(result) if result.is_empty() => return outstanding.stopped(),
        Ok(result) => result,
        Err(ReplyError::Host { .. }) => return outstanding.stopped(),
        Err(ReplyError::TooLarge | ReplyError::Malformed | ReplyError::Closed) => return,
    };
    match mcp_sampling::read_result(result) {
        Ok(SamplingReply::Completion(completion)) => {
            let output = tokens::estimate_output(&completion).max(1);
            outstanding.answered(Some(completion.model.as_str()), output);
        }
        Ok(SamplingReply::Cancelled) => outstanding.stopped(),
        // Whatever runs there goes on.
        Ok(SamplingReply::Task { .. }) => drop(outstanding),
        Err(_) => {
            let written = tokens::estimate_text(&String::from_utf8_lossy(result));
            outstanding.answered(None, written);
        }
    }
}

/// Waits until the host is known to have stopped, by an answer or by a confirmed cancellation.
async fn stopped(session: &HostSession, left: Left) -> Reply {
    let Left { late, as_task, task, cancels } = left;
    let (id, late) = match (task, late) {
        (Some(id), late) => (id, late),
        (None, None) => return Err(ReplyError::Closed),
        (None, Some(late)) => {
            let reply = late.await;
            match reply.as_deref().map(mcp_sampling::read_result) {
                // The task's id comes late: now it can be cancelled.
                Ok(Ok(SamplingReply::Task { id })) if as_task => (id, None),
                _ => return reply,
            }
        }
    };
    let result = async {
        match late {
            Some(late) => late.await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        Some(reply) = cancel_task(session, &id, cancels) => reply,
        reply = result => reply,
    }
}

/// Cancels a task; `None` if the host did not do it, and so may still be working.
async fn cancel_task(
    session: &HostSession,
    id: &str,
    cancels: Option<TaskTrackerToken>,
) -> Option<Reply> {
    let mut request = session.peer().prepare("tasks/cancel");
    write_task_params(request.params(), id);
    let sent = session.peer().send(request).await;
    drop(cancels);
    let Ok(pending) = sent else { return Some(Err(ReplyError::Closed)) };
    match pending.detach()?.await {
        // Its result is the task's state, not an answer of a model: nothing to note in it.
        Ok(_) => Some(Ok(Bytes::new())),
        Err(ReplyError::Closed) => Some(Err(ReplyError::Closed)),
        // Neither does its error say anything of sampling: many hosts do not know the method.
        Err(_) => None,
    }
}

fn write_task_params(out: &mut Vec<u8>, id: &str) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(out, &TaskParams { task_id: id });
}
