//! A call that takes over the answer of an earlier one.

use model::{CompletionRequest, Failure};

use crate::Call;
use crate::complete::{Door, late, stopping};
use crate::end::End;
use crate::recorded::{Recorded, deliver};
use crate::takeover::Claim;

/// Runs such a call to its end: its answer comes from the other, and so it asks no upstream. It
/// has a record of its own, in which no token is spent.
pub(crate) async fn succeed(recorded: Recorded, mut call: Call, mut claim: Claim, door: Door) {
    let shared = recorded.shared();
    if let Err(failure) = recorded.open(&mut call).await {
        return recorded.refuse(&call, failure, door.failed);
    }
    // The other call holds all that is needed to answer both.
    call.request = CompletionRequest {
        model: std::mem::take(&mut call.request.model),
        losses: call.request.losses,
        params: std::mem::take(&mut call.request.params),
        ..CompletionRequest::default()
    };
    call.memory = None;
    let (sender, mut sinks) = (door.sender.clone(), door.sinks(&call, None, &shared));
    let deadline = recorded.received() + call.deadline;
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
        () = shared.parts.stop.cancelled() => Err(Some(stopping())),
        failure = recorded.key_ends(&call.caller) => Err(Some(failure)),
    };
    let held: Vec<_> = sinks.iter_mut().filter_map(|sink| sink.held.take()).collect();
    let mut end = End::new(recorded.received(), call.request.losses, sinks);
    end.replays(claim.of());
    drop(claim);
    let (ended, on_record) = recorded.close(&call, end, ended).await;
    if on_record {
        deliver(&sender, held, deadline, &shared.parts.stop).await;
    }
    if let Err(Some(failure)) = ended {
        // A door that has gone does not mind.
        let _ = door.failed.send(Box::new(failure));
    }
}
