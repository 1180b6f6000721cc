//! Whether the person at the host lets us sample.
//!
//! Consent is unknown until the first answer. While it is unknown one call at a time goes to the
//! host, so that a person sees one dialog and not a wall of them; its answer decides for all that
//! wait. A refusal is final until a person asks for another try: asking again unasked would
//! override the user's no (VS Code lets the next request pass after "Not Now").

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

const STATES: [State; 4] = [State::WarmingUp, State::Unknown, State::Granted, State::Refused];

/// Which asking an answer belongs to: a person's "ask again" begins a new one, and the answers to
/// dialogs of the old one decide nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// The consent of one host.
#[derive(Debug)]
pub(super) struct Consent {
    /// The epoch above the lowest two bits, the index of the state in them.
    word: AtomicU64,
    gate: Arc<Semaphore>,
}

/// The right to be the one call that decides. Dropping it lets the next one try.
#[derive(Debug)]
pub(super) struct Probe {
    _permit: OwnedSemaphorePermit,
}

impl Consent {
    pub(super) fn new() -> Self {
        Self { word: AtomicU64::new(State::Unknown as u64), gate: Arc::new(Semaphore::new(1)) }
    }

    pub(super) fn state(&self) -> State {
        unpack(self.word.load(Ordering::Acquire)).1
    }

    pub(super) fn epoch(&self) -> Epoch {
        unpack(self.word.load(Ordering::Acquire)).0
    }

    /// The warm-up sampling may go out; whether it should: only while nothing is known.
    pub(super) fn warm_up_begins(&self) -> bool {
        self.change(None, |state| (state == State::Unknown).then_some(State::WarmingUp))
    }

    /// The warm-up is over, whatever came of it.
    pub(super) fn warm_up_ends(&self, epoch: Epoch) {
        self.change(Some(epoch), |state| (state == State::WarmingUp).then_some(State::Unknown));
    }

    /// The host has answered. A refusal stays.
    pub(super) fn grant(&self, epoch: Epoch) {
        self.change(Some(epoch), |state| self::is_open(state).then_some(State::Granted));
    }

    /// A person said no.
    pub(super) fn refuse(&self, epoch: Epoch) {
        self.change(Some(epoch), |_| Some(State::Refused));
    }

    /// A person asked for another try; whether a refusal was lifted.
    pub(super) fn ask_again(&self) -> bool {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let (Epoch(epoch), state) = unpack(word);
                (state == State::Refused).then(|| pack(Epoch(epoch + 1), State::Unknown))
            })
            .is_ok()
    }

    /// The right to decide, if nothing is known and nobody has it.
    pub(super) fn try_probe(&self) -> Option<Probe> {
        if !self.is_open() {
            return None;
        }
        let permit = Arc::clone(&self.gate).try_acquire_owned().ok()?;
        self.is_open().then_some(Probe { _permit: permit })
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
        is_open(self.state())
    }

    /// Whether nothing is known yet and somebody has the right to decide: others wait.
    pub(super) fn is_being_decided(&self) -> bool {
        self.is_open() && self.gate.available_permits() == 0
    }

    /// Changes the state if the epoch still is the expected one; whether it did.
    fn change(&self, expected: Option<Epoch>, next: impl Fn(State) -> Option<State>) -> bool {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let (epoch, state) = unpack(word);
                if expected.is_some_and(|expected| expected != epoch) {
                    return None;
                }
                next(state).map(|state| pack(epoch, state))
            })
            .is_ok()
    }
}

fn is_open(state: State) -> bool {
    matches!(state, State::Unknown | State::WarmingUp)
}

fn pack(Epoch(epoch): Epoch, state: State) -> u64 {
    (epoch << 2) | state as u64
}

fn unpack(word: u64) -> (Epoch, State) {
    let index = usize::try_from(word & 0b11).unwrap_or_default();
    (Epoch(word >> 2), STATES.get(index).copied().unwrap_or(State::Unknown))
}

#[cfg(test)]
mod tests {
    use super::{Consent, State};

    #[test]
    fn a_refusal_is_final_until_a_person_acts() {
        let consent = Consent::new();
        consent.refuse(consent.epoch());
        consent.grant(consent.epoch());
        consent.warm_up_begins();
        consent.warm_up_ends(consent.epoch());
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
        consent.warm_up_ends(consent.epoch());
        assert_eq!(consent.state(), State::Unknown);
        consent.grant(consent.epoch());
        consent.warm_up_begins();
        assert_eq!(consent.state(), State::Granted);
    }

    #[test]
    fn answers_to_an_old_dialog_decide_nothing() {
        let consent = Consent::new();
        let old = consent.epoch();
        consent.refuse(old);
        assert!(consent.ask_again());
        assert!(consent.warm_up_begins());
        consent.refuse(old);
        consent.grant(old);
        consent.warm_up_ends(old);
        assert_eq!(consent.state(), State::WarmingUp);
        consent.grant(consent.epoch());
        assert_eq!(consent.state(), State::Granted);
        assert!(!consent.warm_up_begins());
    }

    #[tokio::test]
    async fn one_call_at_a_time_decides_for_all() {
        let consent = Consent::new();
        let probe = consent.probe().await;
        assert!(probe.is_some());
        let waiting = consent.probe();
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_poll(waiting.as_mut()).is_pending());
        consent.grant(consent.epoch());
        drop(probe);
        assert!(waiting.await.is_none());
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        let waker = std::task::Waker::noop();
        future.poll(&mut std::task::Context::from_waker(waker))
    }
}
