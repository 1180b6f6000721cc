//! A sampling that is out at the host.
//!
//! Its slot must not come back early: the host may go on working, and billing, after the caller
//! has gone. So when a call is dropped, a watcher takes over: it tells the host to stop, keeps the
//! slot until the host is known to have stopped or a minute is over, and still listens for an
//! answer that decides consent.

use std::sync::Arc;

use bytes::Bytes;
use dialects::mcp_sampling::{self, SamplingReply};
use gateway::Slot;
use mcp::{LateReply, PendingReply, Reply, ReplyError};
use serde::Serialize;
use tokio::time::sleep;

use super::HostSession;
use super::consent::Probe;

/// The right to ask, held while the host works.
#[derive(Debug)]
pub(super) struct Turn {
    _slot: Slot,
    _probe: Option<Probe>,
}

impl Turn {
    pub(super) fn new(slot: Slot, probe: Option<Probe>) -> Self {
        Self {
            _slot: slot,
            _probe: probe,
        }
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
    ) -> Self {
        Self {
            session,
            pending: Some(pending),
            turn: Some(turn),
            as_task,
            task: None,
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
        match self.session.peer().send(request).await {
            Ok(pending) => self.pending = Some(pending),
            Err(_) => return Err(ReplyError::Closed),
        }
        self.answer().await
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let late = if self.as_task {
            pending.detach()
        } else {
            pending.cancel("the caller has gone")
        };
        let (Some(late), Some(turn)) = (late, self.turn.take()) else {
            return;
        };
        let session = Arc::clone(&self.session);
        let watch = watch(
            Arc::clone(&session),
            late,
            turn,
            self.as_task,
            self.task.take(),
        );
        session.spawn(watch);
    }
}

/// Follows a cancelled sampling until its slot may come back.
async fn watch(
    session: Arc<HostSession>,
    late: LateReply,
    turn: Turn,
    as_task: bool,
    task: Option<String>,
) {
    let mut turn = Some(turn);
    let stopped = async {
        match task {
            // The result of a cancelled task is an error that says so; it confirms the stop.
            Some(id) => tokio::join!(cancel_task(&session, &id), late).1,
            None => match late.await {
                Ok(result) if as_task => match mcp_sampling::read_result(&result) {
                    // The task's id comes late: now it can be cancelled.
                    Ok(SamplingReply::Task { id }) => cancel_task(&session, &id).await,
                    _ => Ok(result),
                },
                reply => reply,
            },
        }
    };
    let mut stopped = std::pin::pin!(stopped);
    let settings = session.settings();
    tokio::select! {
        reply = &mut stopped => return session.note_late(&reply),
        () = sleep(settings.slot_return) => drop(turn.take()),
    }
    if session.consent().is_open() {
        // A dialog may still be open: the click will be heard as long as a call may take.
        if let Ok(reply) = tokio::time::timeout(settings.max_wait, stopped).await {
            session.note_late(&reply);
        }
    }
}

async fn cancel_task(session: &HostSession, id: &str) -> Reply {
    let mut request = session.peer().prepare("tasks/cancel");
    write_task_params(request.params(), id);
    match session.peer().send(request).await {
        // Its result is the task's state, not an answer of a model: nothing to note in it.
        Ok(pending) => match pending.detach() {
            Some(reply) => reply.await.map(|_| Bytes::new()),
            None => Err(ReplyError::Closed),
        },
        Err(_) => Err(ReplyError::Closed),
    }
}

fn write_task_params(out: &mut Vec<u8>, id: &str) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(out, &TaskParams { task_id: id });
}
