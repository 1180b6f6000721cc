//! The window of tokens against a list of all bookings.

use proptest::prelude::*;

use super::{Monotonic, TokenWindow, Wait};

#[derive(Clone, Debug)]
enum Step {
    Later(u64),
    /// A thread that read the clock before another one and came after it.
    Late(u64),
    Ask {
        limit: u64,
        tokens: u64,
    },
    Take(u64),
    /// Settles a call at this many percent of what it took.
    Settle(prop::sample::Index, u64),
    GiveBack(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![0..3_u64, 0..2_500_u64, 55_000..65_000_u64, Just(1 << 40)]
            .prop_map(Step::Later),
        1 => (1..50_u64).prop_map(Step::Late),
        6 => (0..300_u64, 0..200_u64).prop_map(|(limit, tokens)| Step::Ask { limit, tokens }),
        2 => prop_oneof![0..200_u64, Just(u64::MAX)].prop_map(Step::Take),
        4 => (any::<prop::sample::Index>(), 0..250_u64)
            .prop_map(|(which, percent)| Step::Settle(which, percent)),
        1 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
    ]
}

/// Every booking by the second in which it counts, and nothing clever.
#[derive(Default)]
struct Naive {
    booked: Vec<(u64, u64)>,
    latest: u64,
}

impl Naive {
    fn sum(&self, at: u64) -> u128 {
        let counts = |second: u64| (second + 61) * 1_000 > at;
        self.booked.iter().filter(|(s, _)| counts(*s)).map(|(_, t)| u128::from(*t)).sum()
    }

    fn check(&self, limit: u64, tokens: u64) -> Result<(), Wait> {
        if tokens > limit {
            return Err(Wait::Never);
        }
        let fits = |at: u64| self.sum(at) + u128::from(tokens) <= u128::from(limit);
        if fits(self.latest) {
            return Ok(());
        }
        let second = self.latest / 1_000;
        let at = (second + 1..=second + 61).map(|s| s * 1_000).find(|at| fits(*at));
        Err(Wait::Until(Monotonic(at.expect("an empty window holds the whole limit"))))
    }
}

proptest! {
    #[test]
    fn answers_like_a_list(steps in prop::collection::vec(step(), 0..120)) {
        let mut window = TokenWindow::new();
        let mut naive = Naive::default();
        // Calls in flight: when admitted, what they took, where they are booked.
        let mut flying: Vec<(Monotonic, u64, usize)> = Vec::new();
        let mut clock = 0;
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
                Step::Later(_) => {}
                Step::Late(_) => {
                    let at = window.take(now, 7);
                    prop_assert_eq!(at.0, naive.latest);
                    naive.booked.push((at.0 / 1_000, 7));
                }
                Step::Ask { limit, tokens } => {
                    let answer = window.check(now, limit, tokens);
                    prop_assert_eq!(answer, naive.check(limit, tokens));
                    if answer.is_ok() {
                        let at = window.take(now, tokens);
                        flying.push((at, tokens, naive.booked.len()));
                        naive.booked.push((at.0 / 1_000, tokens));
                    }
                }
                Step::Take(tokens) => {
                    // One bucket holds 64 bits; two such calls in a second are out of reach.
                    let second = naive.latest / 1_000;
                    if tokens < u64::MAX || naive.booked.iter().all(|(s, _)| *s != second) {
                        let at = window.take(now, tokens);
                        naive.booked.push((at.0 / 1_000, tokens));
                        if tokens == u64::MAX {
                            window.give_back(at, tokens - 1_000);
                            naive.booked.last_mut().expect("just pushed").1 = 1_000;
                        }
                    }
                }
                Step::Settle(which, percent) => {
                    if !flying.is_empty() {
                        let (at, took, place) = flying.swap_remove(which.index(flying.len()));
                        let truth = took * percent / 100;
                        let delta = i64::try_from(truth)? - i64::try_from(took)?;
                        window.correct(at, now, delta);
                        if (at.0 / 1_000 + 61) * 1_000 > naive.latest {
                            naive.booked[place].1 = truth;
                        } else if delta > 0 {
                            naive.booked.push((naive.latest / 1_000, delta.unsigned_abs()));
                        }
                    }
                }
                Step::GiveBack(which) => {
                    if !flying.is_empty() {
                        let (at, took, place) = flying.swap_remove(which.index(flying.len()));
                        window.give_back(at, took);
                        naive.booked[place].1 = 0;
                    }
                }
            }
            window.advance(now);
            prop_assert_eq!(window.sum, naive.sum(naive.latest));
            prop_assert_eq!(
                u128::from(window.remaining(now, 300)),
                300_u128.saturating_sub(window.sum)
            );
            let full = naive.booked.iter().filter(|(_, t)| *t > 0).map(|(s, _)| (s + 61) * 1_000);
            prop_assert_eq!(window.reset(now).0, full.max().unwrap_or(0).max(naive.latest));
        }
    }

    #[test]
    fn no_span_of_a_minute_admits_more_than_the_limit(
        limit in 1..500_u64,
        calls in prop::collection::vec((0..4_000_u64, 0..200_u64), 0..150),
    ) {
        let mut window = TokenWindow::new();
        let (mut clock, mut admitted) = (0, Vec::new());
        for (gap, tokens) in calls {
            clock += gap;
            if window.check(Monotonic(clock), limit, tokens).is_ok() {
                admitted.push((window.take(Monotonic(clock), tokens).0, tokens));
            }
        }
        for (from, _) in &admitted {
            let span = admitted.iter().filter(|(at, _)| (*from..from + 60_000).contains(at));
            prop_assert!(span.map(|(_, tokens)| tokens).sum::<u64>() <= limit);
        }
    }

    #[test]
    fn corrections_of_any_size_do_no_harm(
        steps in prop::collection::vec((0..90_000_u64, any::<u64>(), any::<u64>(), any::<i64>()), 0..60),
    ) {
        let mut window = TokenWindow::new();
        for (now, at, tokens, delta) in steps {
            window.take(Monotonic(now), tokens);
            window.correct(Monotonic(at), Monotonic(now), delta);
            let sum: u128 = window.buckets.iter().copied().map(u128::from).sum();
            prop_assert_eq!(sum, window.sum);
        }
    }
}

#[test]
fn what_is_larger_than_the_limit_never_fits() {
    let mut window = TokenWindow::new();
    assert_eq!(window.check(Monotonic(0), 100, 101), Err(Wait::Never));
    assert_eq!(window.check(Monotonic(0), 100, 100), Ok(()));
    assert_eq!(Wait::Never.millis(Monotonic(0)), None);
}

#[test]
fn a_correction_counts_where_the_call_was_admitted() {
    let mut window = TokenWindow::new();
    let at = window.take(Monotonic(500), 100);
    window.correct(at, Monotonic(30_000), 50);
    assert_eq!(window.remaining(Monotonic(30_000), 1_000), 850);
    assert_eq!(window.remaining(Monotonic(60_999), 1_000), 850);
    assert_eq!(window.remaining(Monotonic(61_000), 1_000), 1_000);
    window.correct(at, Monotonic(61_000), -100);
    assert_eq!(window.remaining(Monotonic(61_000), 1_000), 1_000);
    window.correct(at, Monotonic(61_000), 30);
    assert_eq!(window.remaining(Monotonic(61_000), 1_000), 970);
    assert_eq!(window.reset(Monotonic(61_000)), Monotonic(122_000));
}
