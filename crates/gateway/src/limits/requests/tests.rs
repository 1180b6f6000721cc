//! The window of requests against a list of all admissions.

use proptest::prelude::*;

use super::{Entry, Monotonic, RequestWindow, SPAN, Wait};

#[derive(Clone, Debug)]
enum Step {
    Later(u64),
    /// A thread that read the clock before another one and came after it.
    Late(u64),
    Ask(u64),
    /// Takes without asking, as a call does whose limit was lifted meanwhile.
    Take,
    GiveBack(prop::sample::Index),
    /// Gives back something that was never taken, or has been given back before.
    GiveBackNothing(u64),
}

fn step(limits: std::ops::Range<u64>) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![0..3_u64, 0..2_000_u64, 50_000..70_000_u64].prop_map(Step::Later),
        1 => Just(Step::Later(u64::from(u32::MAX) - 5_000)),
        1 => (1..50_u64).prop_map(Step::Late),
        8 => limits.prop_map(Step::Ask),
        1 => Just(Step::Take),
        2 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
        1 => (0..70_000_u64).prop_map(Step::GiveBackNothing),
    ]
}

/// Every admission ever, and nothing clever.
#[derive(Default)]
struct Naive {
    admitted: Vec<u64>,
    latest: u64,
}

impl Naive {
    fn inside(&self, at: u64) -> u64 {
        self.admitted.iter().filter(|time| **time + SPAN > at).count() as u64
    }

    fn check(&self, limit: u64) -> Result<(), Wait> {
        if self.inside(self.latest) < limit {
            return Ok(());
        }
        let mut ends: Vec<u64> = self.admitted.iter().map(|time| time + SPAN).collect();
        ends.sort_unstable();
        let fits = ends.into_iter().find(|end| *end > self.latest && self.inside(*end) < limit);
        Err(fits.map_or(Wait::Never, |end| Wait::Until(Monotonic(end))))
    }
}

proptest! {
    #[test]
    fn answers_like_a_list(
        begin in prop_oneof![Just(0), any::<u32>().prop_map(u64::from)],
        steps in prop::collection::vec(step(0..12), 0..120),
    ) {
        let mut window = RequestWindow::new();
        let mut naive = Naive::default();
        let mut clock = begin;
        for step in steps {
            let mut late = 0;
            match &step {
                Step::Later(by) => clock += by,
                Step::Late(by) => late = (*by).min(clock),
                _ => {}
            }
            let now = Monotonic(clock - late);
            naive.latest = naive.latest.max(now.0);
            match step {
                Step::Later(_) | Step::Late(_) => {}
                Step::Ask(limit) => {
                    let answer = window.check(now, limit);
                    prop_assert_eq!(answer, naive.check(limit));
                    prop_assert_eq!(
                        window.remaining(now, limit),
                        limit.saturating_sub(naive.inside(naive.latest))
                    );
                    if answer.is_ok() {
                        let at = window.take(now);
                        prop_assert_eq!(at.0, naive.latest);
                        naive.admitted.push(at.0);
                    }
                }
                Step::Take => naive.admitted.push(window.take(now).0),
                Step::GiveBack(which) => {
                    if !naive.admitted.is_empty() {
                        let at = naive.admitted.remove(which.index(naive.admitted.len()));
                        window.give_back(Monotonic(at));
                    }
                }
                Step::GiveBackNothing(age) => {
                    let at = clock.saturating_sub(age);
                    if !naive.admitted.contains(&at) {
                        window.give_back(Monotonic(at));
                    }
                }
            }
            let full = naive.admitted.iter().map(|time| time + SPAN).max().unwrap_or(0);
            prop_assert_eq!(window.reset(now).0, full.max(naive.latest));
            let counted: u64 = window.entries.iter().map(|entry| u64::from(entry.count)).sum();
            prop_assert_eq!(counted, window.admitted);
        }
    }

    #[test]
    fn no_span_of_a_minute_has_more_than_the_limit(
        limit in 1..8_u64,
        steps in prop::collection::vec(step(0..1), 0..200),
    ) {
        let mut window = RequestWindow::new();
        let (mut clock, mut admitted) = (0, Vec::new());
        for step in steps {
            match step {
                Step::Later(by) => clock += by,
                Step::GiveBack(which) => {
                    if !admitted.is_empty() {
                        let at = admitted.remove(which.index(admitted.len()));
                        window.give_back(Monotonic(at));
                    }
                }
                Step::GiveBackNothing(_) | Step::Take => {}
                Step::Ask(_) => {
                    if window.check(Monotonic(clock), limit).is_ok() {
                        admitted.push(window.take(Monotonic(clock)).0);
                    }
                }
                Step::Late(by) => {
                    let now = Monotonic(clock.saturating_sub(by));
                    if window.check(now, limit).is_ok() {
                        admitted.push(window.take(now).0);
                    }
                }
            }
        }
        for (first, beyond) in admitted.iter().zip(admitted.iter().skip(usize::try_from(limit)?)) {
            prop_assert!(beyond - first >= SPAN, "{admitted:?}");
        }
    }

    #[test]
    fn a_wait_is_exact(
        limit in 1..6_u64,
        gaps in prop::collection::vec(0..9_000_u64, 6..20),
    ) {
        let mut window = RequestWindow::new();
        let mut now = Monotonic(0);
        for gap in gaps {
            now = now.plus(gap);
            if let Err(wait) = window.check(now, limit) {
                let millis = wait.millis(now).ok_or(TestCaseError::fail("never"))?;
                prop_assert!(millis > 0);
                prop_assert!(window.check(now.plus(millis - 1), limit).is_err());
                now = now.plus(millis);
                prop_assert!(window.check(now, limit).is_ok());
            }
            window.take(now);
        }
    }
}

#[test]
fn a_full_window_of_a_high_limit_stays_small() {
    let limit = 1_000_000;
    let mut window = RequestWindow::new();
    let mut admitted = 0;
    for millis in 0..SPAN {
        for _ in 0..17 {
            if window.check(Monotonic(millis), limit).is_ok() {
                window.take(Monotonic(millis));
                admitted += 1;
            }
        }
    }
    assert_eq!(admitted, limit);
    assert!(window.entries.capacity() * size_of::<Entry>() <= 600_000);
    assert_eq!(window.check(Monotonic(SPAN - 1), limit), Err(Wait::Until(Monotonic(SPAN))));
    assert_eq!(window.remaining(Monotonic(SPAN), limit), 17);
    assert_eq!(window.remaining(Monotonic(3 * SPAN), limit), limit);
    assert_eq!(window.entries.capacity(), 0, "the room comes back");
}

#[test]
fn a_lowered_limit_waits_for_enough_to_leave() {
    let mut window = RequestWindow::new();
    for second in 0..5 {
        window.take(Monotonic(second * 1_000));
    }
    let now = Monotonic(10_000);
    assert_eq!(window.check(now, 6), Ok(()));
    assert_eq!(window.check(now, 2), Err(Wait::Until(Monotonic(63_000))));
    assert_eq!(window.check(now, 0), Err(Wait::Never));
    assert_eq!(window.remaining(now, 2), 0);
}

#[test]
fn more_than_a_counter_holds_is_not_forgotten() {
    let mut window = RequestWindow::new();
    window.take(Monotonic(5));
    window.entries[0].count = u32::MAX;
    window.admitted = u64::from(u32::MAX);
    window.take(Monotonic(5));
    assert!(window.check(Monotonic(5), u64::from(u32::MAX) + 1).is_err());
    window.give_back(Monotonic(5));
    assert_eq!(window.check(Monotonic(5), u64::from(u32::MAX) + 1), Ok(()));
    assert_eq!(window.remaining(Monotonic(5 + SPAN), 7), 7);
}
