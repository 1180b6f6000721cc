//! A call that takes over the answer of an earlier one.

use std::sync::Arc;

use model::{CompletionRequest, Failure};

use crate::Call;
use crate::complete::Door;
use crate::end::End;
use crate::recorded::{Recorded, deliver};
use crate::takeover::Claim;

/// Runs such a call to its end: its answer comes from the other, and so it asks no upstream. It
/// has a record of its own, in which no token is spent.
pub(crate) async fn succeed(recorded: Recorded, mut call: Box<Call>, mut claim: Claim, door: Door) {
    let shared = recorded.shared();
    let (caller, limit) = (Arc::clone(&call.caller), call.deadline);
    let sender = door.sender.clone();
    let mut cut_short = Box::pin(recorded.cut_short(&caller, limit, sender.closed()));
    if let Err(unopened) = recorded.open(&mut call, &mut cut_short).await {
        return recorded.refuse(&call, unopened, door.failed);
    }
    // The other call holds all that is needed to answer both.
    *call.request = CompletionRequest {
        model: std::mem::take(&mut call.request.model),
        losses: call.request.losses,
        params: std::mem::take(&mut call.request.params),
        ..CompletionRequest::default()
    };
    call.memory = None;
    let mut sinks = door.sinks(&call, None, &shared);
    let answered = async {
        for batch in claim.answer().await.map_err(Some)? {
            if let Some(sink) = sinks.get_mut(usize::from(batch.choice)) {
                sink.send(batch.events).await.map_err(|_| None::<Failure>)?;
            }
        }
        Ok(())
    };
    // First whether it still may have it: the answer may be there already, and the key may not.
    let mut ended = tokio::select! {
        biased;
        why = &mut cut_short => Err(why),
        ended = answered => ended,
    };
    drop(cut_short);
    // It may have come while the call waited for its turn to end.
    if let Some(why) = shared.denied(&caller).filter(|_| ended.is_ok()) {
        ended = Err(Some(why));
    }
    let held: Vec<_> = sinks.iter_mut().filter_map(|sink| sink.held.take()).collect();
    let mut end = End::new(recorded.received(), call.request.losses, sinks);
    end.replays(claim.of());
    drop(claim);
    let (ended, on_record) = recorded.close(&call, end, ended).await;
    let late = if on_record { deliver(&call, &recorded, &sender, held).await } else { None };
    if let Some(failure) = ended.err().flatten().or(late) {
        // A door that has gone does not mind.
        let _ = door.failed.send(Box::new(failure));
    }
}
