//! The meter against a list of all calls, under a clock that goes to and fro.

use proptest::prelude::*;

use super::{Amounts, Budget, Exceeded, Hold, Meter, Unit};
use crate::budgets::{Calendar, Span, WallTime, Window};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// 2025-03-29 22:30 in Berlin: the day, the month and daylight saving are about to change.
const EVENING: i64 = 1_743_283_800_000;

fn amounts(tokens: u64) -> Amounts {
    Amounts { requests: 1, tokens, cost: tokens * 3 }
}

fn budget(unit: Unit, span: Span, limit: u64) -> Budget {
    Budget { unit, span, limit }
}

fn berlin() -> Calendar {
    Calendar::new("Europe/Berlin").expect("a zone")
}

fn meter() -> Meter {
    Meter::new(WallTime(EVENING), &Calendar::default())
}

#[derive(Clone, Debug)]
enum Step {
    Jump(i64),
    Ask(u64),
    /// Settles a call at this many percent of what it wanted.
    Settle(prop::sample::Index, u64),
    Release(prop::sample::Index),
    Charge(prop::sample::Index, u64),
}

fn step(percent: std::ops::Range<u64>) -> impl Strategy<Value = Step> {
    let jump = prop_oneof![
        4 => 0..90_000_i64,
        2 => 0..3 * HOUR,
        1 => 0..40 * DAY,
        2 => -3 * HOUR..0,
        1 => -40 * DAY..0,
    ];
    prop_oneof![
        4 => jump.prop_map(Step::Jump),
        8 => (0..100_u64).prop_map(Step::Ask),
        4 => (any::<prop::sample::Index>(), percent).prop_map(|(which, p)| Step::Settle(which, p)),
        2 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => (any::<prop::sample::Index>(), 0..50_u64).prop_map(|(which, t)| Step::Charge(which, t)),
    ]
}

fn budgets() -> impl Strategy<Value = Vec<Budget>> {
    let unit = prop::sample::select(&[Unit::Requests, Unit::Tokens, Unit::Cost][..]);
    let one = (unit, prop::sample::select(&Span::ALL[..]), 0..1_000_u64)
        .prop_map(|(unit, span, limit)| budget(unit, span, limit));
    prop::collection::vec(one, 0..4)
}

/// One call that was admitted.
struct Call {
    at: WallTime,
    windows: [Window; 6],
    want: Amounts,
    /// `None` once it has ended.
    hold: Option<Hold>,
    cost: Amounts,
}

fn sum<'a>(
    calls: impl Iterator<Item = &'a Call>,
    place: usize,
    window: Window,
    what: impl Fn(&Call) -> Amounts,
) -> Amounts {
    calls
        .filter(|call| call.windows[place] == window)
        .fold(Amounts::default(), |sum, call| sum.plus(&what(call)))
}

/// Plays the steps. `judge` sees the meter after each of them.
fn play(
    steps: Vec<Step>,
    budgets: &[Budget],
    judge: impl Fn(&Meter) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let calendar = berlin();
    let mut clock = EVENING;
    let mut latest = clock;
    let mut meter = Meter::new(WallTime(clock), &calendar);
    let mut calls: Vec<Call> = Vec::new();
    for step in steps {
        if let Step::Jump(by) = step {
            clock += by;
            latest = latest.max(clock);
        }
        meter.roll(WallTime(clock), &calendar);
        match step {
            Step::Ask(tokens) => {
                let want = amounts(tokens);
                let fits = budgets.iter().all(|budget| {
                    let used = meter.spent(budget.span).plus(&meter.held(budget.span));
                    used.plus(&want).get(budget.unit) <= budget.limit
                });
                prop_assert_eq!(meter.check(budgets, &want).is_ok(), fits);
                if fits {
                    let hold = meter.hold(&want);
                    let at = hold.admitted_at();
                    prop_assert_eq!(at, WallTime(latest));
                    let windows = Span::ALL.map(|span| calendar.window(span, at));
                    for (window, span) in windows.iter().zip(Span::ALL) {
                        prop_assert_eq!(hold.window_start(span), window.start);
                    }
                    let cost = Amounts::default();
                    calls.push(Call { at, windows, want, hold: Some(hold), cost });
                }
            }
            Step::Settle(which, percent) if !calls.is_empty() => {
                let call = which.get_mut(&mut calls);
                if let Some(hold) = call.hold.take() {
                    let truth = amounts(call.want.tokens * percent / 100);
                    call.cost = call.cost.plus(&truth);
                    meter.settle(hold, &truth);
                }
            }
            Step::Release(which) if !calls.is_empty() => {
                if let Some(hold) = which.get_mut(&mut calls).hold.take() {
                    meter.release(hold);
                }
            }
            Step::Charge(which, tokens) if !calls.is_empty() => {
                let call = which.get_mut(&mut calls);
                call.cost = call.cost.plus(&amounts(tokens));
                meter.charge(call.at, &amounts(tokens));
            }
            Step::Jump(_) | Step::Settle(..) | Step::Release(_) | Step::Charge(..) => {}
        }
        for (place, span) in Span::ALL.into_iter().enumerate() {
            let window = calendar.window(span, WallTime(latest));
            prop_assert_eq!(meter.window(span), window, "{}", span.as_str());
            let spent = sum(calls.iter(), place, window, |call| call.cost);
            prop_assert_eq!(meter.spent(span), spent, "{}", span.as_str());
            let flying = calls.iter().filter(|call| call.hold.is_some());
            let held = sum(flying, place, window, |call| call.want);
            prop_assert_eq!(meter.held(span), held, "{}", span.as_str());
        }
        judge(&meter)?;
    }
    for hold in calls.iter_mut().filter_map(|call| call.hold.take()) {
        meter.release(hold);
    }
    for span in Span::ALL {
        prop_assert_eq!(meter.held(span), Amounts::default());
    }
    Ok(())
}

proptest! {
    #[test]
    fn counts_like_a_list(
        steps in prop::collection::vec(step(0..300), 0..80),
        budgets in budgets(),
    ) {
        play(steps, &budgets, |meter| {
            for left in meter.left(&budgets) {
                let used = left.spent + left.held;
                prop_assert_eq!(left.left, left.budget.limit.saturating_sub(used));
            }
            prop_assert_eq!(meter.left(&budgets).count(), budgets.len());
            Ok(())
        })?;
    }

    #[test]
    fn nobody_overspends_who_costs_no_more_than_was_held(
        steps in prop::collection::vec(step(0..101), 0..80),
        budgets in budgets(),
    ) {
        let honest = |step: &Step| !matches!(step, Step::Charge(..));
        play(steps.into_iter().filter(honest).collect(), &budgets, |meter| {
            for left in meter.left(&budgets) {
                prop_assert!(left.spent + left.held <= left.budget.limit, "{left:?}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_numbers_do_no_harm(
        numbers in prop::collection::vec((any::<u64>(), any::<u64>(), any::<i64>()), 0..20),
        budgets in budgets(),
    ) {
        let calendar = berlin();
        let mut meter = meter();
        for (want, truth, now) in numbers {
            let want = Amounts { requests: want, tokens: want, cost: want };
            let truth = Amounts { requests: truth, tokens: truth, cost: truth };
            meter.roll(WallTime(now), &calendar);
            let first = meter.hold(&want);
            let second = meter.hold(&want);
            let _ = meter.check(&budgets, &want);
            meter.settle(first, &truth);
            meter.roll(WallTime(i64::MAX), &calendar);
            meter.release(second);
            meter.charge(WallTime(now), &truth);
        }
    }
}

#[test]
fn the_last_unit_is_given_once_and_comes_back_when_it_was_not_used() {
    let mut meter = meter();
    let budgets = [budget(Unit::Requests, Span::Day, 1)];
    assert_eq!(meter.check(&budgets, &amounts(5)), Ok(()));
    let hold = meter.hold(&amounts(5));
    assert_eq!(hold.amounts(), amounts(5));
    let refused = meter.check(&budgets, &amounts(5)).expect_err("held");
    assert_eq!((refused.left, refused.resets_at), (0, Some(meter.window(Span::Day).end)));
    meter.release(hold);
    assert_eq!(meter.check(&budgets, &amounts(5)), Ok(()));
}

#[test]
fn an_overrun_is_spent_and_refuses_the_next_call() {
    let mut meter = meter();
    let budgets = [budget(Unit::Tokens, Span::Total, 100)];
    let hold = meter.hold(&amounts(50));
    meter.settle(hold, &amounts(150));
    let left: Vec<_> = meter.left(&budgets).collect();
    assert_eq!((left[0].spent, left[0].held, left[0].left), (150, 0, 0));
    assert!(meter.check(&budgets, &amounts(0)).is_err());
}

#[test]
fn the_budget_that_keeps_a_call_waiting_longest_is_named() {
    let mut meter = meter();
    let hold = meter.hold(&amounts(90));
    meter.settle(hold, &amounts(90));
    let minute = budget(Unit::Tokens, Span::Minute, 100);
    let week = budget(Unit::Tokens, Span::Week, 100);
    let day = budget(Unit::Requests, Span::Day, 1);
    let exceeded = meter.check(&[minute, week, day], &amounts(20)).expect_err("too much");
    let expected = Exceeded {
        budget: 1,
        unit: Unit::Tokens,
        span: Span::Week,
        left: 10,
        resets_at: Some(meter.window(Span::Week).end),
    };
    assert_eq!(exceeded, expected);
    let total = budget(Unit::Cost, Span::Total, 270);
    let exceeded = meter.check(&[week, total], &amounts(20)).expect_err("too much");
    assert_eq!((exceeded.budget, exceeded.resets_at), (1, None));
    // Waiting helps nobody who wants more than all of it.
    let exceeded = meter.check(&[week, minute], &amounts(101)).expect_err("too much");
    assert_eq!((exceeded.budget, exceeded.left, exceeded.resets_at), (0, 10, None));
}

#[test]
fn a_clock_that_jumps_gives_nobody_a_fresh_budget() {
    let utc = Calendar::default();
    let mut meter = meter();
    let budgets = [budget(Unit::Tokens, Span::Day, 100)];
    let evening = WallTime(EVENING);
    let tomorrow = WallTime(EVENING + DAY);
    meter.roll(tomorrow, &utc);
    let hold = meter.hold(&amounts(100));
    meter.settle(hold, &amounts(100));
    for now in [evening, tomorrow, WallTime(EVENING - 400 * DAY), tomorrow] {
        meter.roll(now, &utc);
        assert!(meter.check(&budgets, &amounts(1)).is_err(), "{now:?}");
    }
    // What was admitted while the clock was back counts in the window that had been reached.
    meter.roll(evening, &utc);
    let hold = meter.hold(&amounts(7));
    assert_eq!(hold.admitted_at(), tomorrow);
    meter.roll(tomorrow, &utc);
    meter.settle(hold, &amounts(7));
    assert_eq!(meter.spent(Span::Day).tokens, 107);
    meter.roll(WallTime(EVENING + 2 * DAY), &utc);
    assert_eq!(meter.check(&budgets, &amounts(100)), Ok(()));
}

#[test]
fn what_the_ledger_knows_is_spent() {
    let mut meter = meter();
    let budgets = [budget(Unit::Cost, Span::Month, 100), budget(Unit::Cost, Span::Total, 1_000)];
    meter.load(Span::Month, Amounts { cost: 90, ..Amounts::default() });
    meter.load(Span::Total, Amounts { cost: 900, ..Amounts::default() });
    meter.charge(WallTime(EVENING - 60 * DAY), &Amounts { cost: 50, ..Amounts::default() });
    let left: Vec<_> = meter.left(&budgets).map(|left| left.left).collect();
    assert_eq!(left, [10, 50], "an old call counts in the total alone");
}

#[test]
fn another_zone_counts_from_the_end_of_the_window() {
    let utc = Calendar::default();
    let mut meter = meter();
    let hold = meter.hold(&amounts(5));
    meter.settle(hold, &amounts(5));
    let day = meter.window(Span::Day);
    let berlin = berlin();
    // In Berlin the next day has begun an hour ago.
    meter.roll(WallTime(day.end.0 - 1), &berlin);
    assert_eq!((meter.window(Span::Day), meter.spent(Span::Day).tokens), (day, 5));
    meter.roll(day.end, &berlin);
    assert_eq!(meter.window(Span::Day), berlin.window(Span::Day, day.end));
    assert_eq!(meter.spent(Span::Day).tokens, 0);
    assert_eq!(meter.window(Span::Total), utc.window(Span::Total, day.end));
}

/// Begins anew, with what the ledger knows.
fn restart(now: WallTime, calendar: &Calendar, ledger: &[(WallTime, Amounts)]) -> Meter {
    let mut meter = Meter::new(now, calendar);
    for span in Span::ALL {
        let inside = ledger.iter().filter(|(at, _)| meter.window(span).contains(*at));
        let spent = inside.fold(Amounts::default(), |sum, (_, spent)| sum.plus(spent));
        meter.load(span, spent);
    }
    let minute = |at: WallTime| WallTime(at.0.div_euclid(60_000) * 60_000);
    for (at, spent) in ledger.iter().filter(|(at, _)| minute(*at) > now) {
        meter.foresee(minute(*at), *spent);
    }
    meter
}

proptest! {
    #[test]
    fn no_window_is_handed_out_twice_whatever_the_clock_does_and_whenever_it_starts_anew(
        // Where the clock is set, whether everything starts anew then, and what is asked for.
        steps in prop::collection::vec((-40..40_i64, any::<bool>(), 0..100_u64), 0..40),
        span in prop::sample::select(&Span::ALL[..]),
    ) {
        let (calendar, budget) = (berlin(), budget(Unit::Tokens, span, 150));
        let (mut meter, mut ledger) = (meter(), Vec::new());
        for (hours, anew, tokens) in steps {
            let now = WallTime(EVENING + hours * HOUR);
            if anew {
                meter = restart(now, &calendar, &ledger);
            }
            meter.roll(now, &calendar);
            if meter.check(&[budget], &amounts(tokens)).is_ok() {
                let hold = meter.hold(&amounts(tokens));
                ledger.push((hold.admitted_at(), amounts(tokens)));
                meter.settle(hold, &amounts(tokens));
            }
        }
        for (at, _) in &ledger {
            let window = calendar.window(span, *at);
            let inside = ledger.iter().filter(|(at, _)| window.contains(*at));
            let spent: u64 = inside.map(|(_, spent)| spent.tokens).sum();
            prop_assert!(spent <= budget.limit, "{window:?}: {spent}");
        }
    }
}
