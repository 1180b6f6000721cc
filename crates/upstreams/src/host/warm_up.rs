//! One tiny sampling at the start, so that the consent dialog appears before real traffic.

use std::sync::Arc;
use std::time::Duration;

use dialects::mcp_sampling::{self, Asking, HostFault, Priorities, SamplingOptions};
use gateway::Lane;
use model::{Block, CompletionRequest, Message, Role};
use tokio::time::{Instant, timeout, timeout_at};

use super::HostSession;
use super::sampling::Fault;

/// Tokens that a warm-up answer may have.
const MAX_TOKENS: u64 = 16;

impl HostSession {
    /// Starts the warm-up, if it is on.
    pub(super) fn warm_up(self: &Arc<Self>) {
        if self.settings().warm_up_tries == 0 {
            return;
        }
        if !self.consent().warm_up_begins() {
            return;
        }
        let epoch = self.consent().epoch();
        let session = Arc::clone(self);
        self.spawn(async move {
            session.try_warm_up().await;
            session.consent().warm_up_ends(epoch);
        });
    }

    /// A few tries with growing pauses, and only after failures that are not refusals: each try
    /// may open a dialog and costs tokens. No answer in time ends the warm-up as well, because
    /// the dialog of this try is still open then; a late click is still heard.
    async fn try_warm_up(self: &Arc<Self>) {
        let deadline = Instant::now() + self.settings().warm_up_wait;
        for attempt in 1..=self.settings().warm_up_tries {
            match timeout_at(deadline, self.warm_up_once(deadline)).await {
                Ok(Ok(())) => {
                    tracing::info!(host = %self.name(), attempt, "the host answered the warm-up");
                    return;
                }
                Ok(Err((fault, failure))) => {
                    tracing::warn!(host = %self.name(), attempt, reason = %failure, "the warm-up failed");
                    if matches!(fault, HostFault::Refused | HostFault::NoSampling) {
                        return;
                    }
                }
                Err(_) => {
                    tracing::warn!(host = %self.name(), "the host did not answer the warm-up");
                    return;
                }
            }
            if self.is_gone() || attempt == self.settings().warm_up_tries {
                return;
            }
            let pause = Duration::from_secs(1 << attempt.min(5));
            // Whoever ends the bridge waits for this too.
            if timeout(pause, self.peer().closed()).await.is_ok() {
                return;
            }
        }
    }

    async fn warm_up_once(self: &Arc<Self>, deadline: Instant) -> Result<(), Fault> {
        let request = CompletionRequest {
            messages: vec![Message::new(
                Role::User,
                vec![Block::text("This is a connection test. Reply with: ok")],
            )],
            ..CompletionRequest::default()
        };
        let options = SamplingOptions {
            default_max_tokens: MAX_TOKENS,
            task_ttl_ms: self
                .runs_tasks()
                .then(|| u64::try_from(self.settings().max_wait.as_millis()).unwrap_or(u64::MAX)),
            max_tokens_cap: None,
            hints: false,
            priorities: Priorities::default(),
        };
        let mut outgoing = self.peer().prepare("sampling/createMessage");
        mcp_sampling::write_request(&Asking::plain(&request), &options, outgoing.params())
            .map_err(|failure| (HostFault::Other, failure))?;
        let turn = self
            .turn(&Lane::default(), 0, deadline)
            .await
            .map_err(|failure| (HostFault::Other, failure))?;
        self.sample(outgoing, turn, "", None).await.map(drop)
    }
}
