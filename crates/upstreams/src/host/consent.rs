//! Whether the person at the host lets us sample.
//!
//! Consent is unknown until the first answer. While it is unknown one call at a time goes to the
//! host, so that a person sees one dialog and not a wall of them; its answer decides for all that
//! wait. A refusal is final until a person asks for another try: asking again unasked would
//! override the user's no (VS Code lets the next request pass after "Not Now").

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing yet, and the warm-up sampling is still out.
    WarmingUp,
    /// Nothing yet; the next call decides.
    Unknown,
    /// The host has answered.
    Granted,
    /// A person said no.
    Refused,
}

const STATES: [State; 4] = [
    State::WarmingUp,
    State::Unknown,
    State::Granted,
    State::Refused,
];

/// The consent of one host.
#[derive(Debug)]
pub(super) struct Consent {
    state: AtomicU8,
    gate: Arc<Semaphore>,
}

/// The right to be the one call that decides. Dropping it lets the next one try.
#[derive(Debug)]
pub(super) struct Probe {
    _permit: OwnedSemaphorePermit,
}

impl Consent {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU8::new(State::Unknown as u8),
            gate: Arc::new(Semaphore::new(1)),
        }
    }

    pub(super) fn state(&self) -> State {
        let state = usize::from(self.state.load(Ordering::Acquire));
        STATES.get(state).copied().unwrap_or(State::Unknown)
    }

    /// The warm-up sampling goes out.
    pub(super) fn warm_up_begins(&self) {
        self.change(|state| (state == State::Unknown).then_some(State::WarmingUp));
    }

    /// The warm-up is over, whatever came of it.
    pub(super) fn warm_up_ends(&self) {
        self.change(|state| (state == State::WarmingUp).then_some(State::Unknown));
    }

    /// The host has answered. A refusal stays.
    pub(super) fn grant(&self) {
        self.change(|state| (state != State::Refused).then_some(State::Granted));
    }

    /// A person said no.
    pub(super) fn refuse(&self) {
        self.state.store(State::Refused as u8, Ordering::Release);
    }

    /// A person asked for another try; whether a refusal was lifted.
    pub(super) fn ask_again(&self) -> bool {
        self.change(|state| (state == State::Refused).then_some(State::Unknown))
    }

    /// Waits for the right to decide; `None` where consent is known by then.
    pub(super) async fn probe(&self) -> Option<Probe> {
        if !self.is_open() {
            return None;
        }
        // The semaphore is never closed; if it were, the call would go on without a probe.
        let permit = Arc::clone(&self.gate).acquire_owned().await.ok()?;
        self.is_open().then_some(Probe { _permit: permit })
    }

    /// Whether nothing is known yet.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state(), State::Unknown | State::WarmingUp)
    }

    fn change(&self, next: impl Fn(State) -> Option<State>) -> bool {
        self.state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                let state = STATES
                    .get(usize::from(state))
                    .copied()
                    .unwrap_or(State::Unknown);
                next(state).map(|state| state as u8)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Consent, State};

    #[test]
    fn a_refusal_is_final_until_a_person_acts() {
        let consent = Consent::new();
        consent.refuse();
        consent.grant();
        consent.warm_up_begins();
        consent.warm_up_ends();
        assert_eq!(consent.state(), State::Refused);
        assert!(consent.ask_again());
        assert_eq!(consent.state(), State::Unknown);
        assert!(!consent.ask_again());
    }

    #[test]
    fn warm_up_ends_without_an_answer() {
        let consent = Consent::new();
        consent.warm_up_begins();
        assert_eq!(consent.state(), State::WarmingUp);
        consent.warm_up_ends();
        assert_eq!(consent.state(), State::Unknown);
        consent.grant();
        consent.warm_up_begins();
        assert_eq!(consent.state(), State::Granted);
    }

    #[tokio::test]
    async fn one_call_at_a_time_decides_for_all() {
        let consent = Consent::new();
        let probe = consent.probe().await;
        assert!(probe.is_some());
        let waiting = consent.probe();
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_poll(waiting.as_mut()).is_pending());
        consent.grant();
        drop(probe);
        assert!(waiting.await.is_none());
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        let waker = std::task::Waker::noop();
        future.poll(&mut std::task::Context::from_waker(waker))
    }
}
