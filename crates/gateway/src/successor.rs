//! A call that takes over the answer of an earlier one.

use std::sync::Arc;

use model::{CompletionRequest, Failure};
use tokio::time::Instant;

use crate::Call;
use crate::complete::{Door, End, Shared, choices, late, stopping};
use crate::takeover::Claim;

/// Runs such a call to its end: its answer comes from the other, and so it asks no upstream. It
/// has a record of its own, in which no token is spent.
pub(crate) async fn succeed(
    shared: Arc<Shared>,
    mut call: Call,
    mut claim: Claim,
    door: Door,
    received: Instant,
) {
    // The other call holds all that is needed to answer both.
    call.request = CompletionRequest {
        model: std::mem::take(&mut call.request.model),
        losses: call.request.losses,
        params: std::mem::take(&mut call.request.params),
        ..CompletionRequest::default()
    };
    call.body = None;
    call.memory = None;
    let (sender, mut sinks) = (door.sender.clone(), door.sinks(choices(&call), None, &shared));
    let deadline = received + call.deadline;
    let answered = async {
        for batch in claim.answer().await.map_err(Some)? {
            if let Some(sink) = sinks.get_mut(usize::from(batch.choice)) {
                sink.send(batch.events).await.map_err(|_| None::<Failure>)?;
            }
        }
        Ok(())
    };
    let ended = tokio::select! {
        biased;
        ended = answered => ended,
        () = sender.closed() => Err(None),
        () = tokio::time::sleep_until(deadline) => Err(Some(late(call.deadline))),
        () = shared.stop.cancelled() => Err(Some(stopping())),
    };
    let mut end = End::new(received, call.request.losses, sinks);
    end.replay_of = Some(claim.of());
    drop(claim);
    end.write_outcome(&shared, &call, ended, door.failed);
}
