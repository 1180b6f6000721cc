//! Bills and samplings that outlive their calls, in all orders.

use std::sync::Arc;

use model::CallId;
use proptest::prelude::*;

use super::{Ask, Bill, Family, Settled, ask, counted, usage};
use crate::admission::Outstanding;
use crate::amounts::Amounts;
use crate::store::Store;
use crate::tests::memory::{Fate, Memory, Write};
use crate::{Audit, AuditScope, Redactor};

/// What may happen to a call, or to one of its samplings.
#[derive(Clone, Copy, Debug)]
enum Event {
    Out,
    Answered(u64),
    Stopped,
    Lost,
    GivenBack,
    Ended(bool, u64),
    Dropped,
    /// What holds the settlement back until the store knows of the end is let go.
    Told,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Out),
        1 => (0_u64..200).prop_map(Event::Answered),
        1 => Just(Event::Stopped),
        1 => Just(Event::Lost),
        1 => Just(Event::GivenBack),
        2 => (any::<bool>(), 0_u64..200).prop_map(|(asked, output)| Event::Ended(asked, output)),
        1 => Just(Event::Dropped),
        1 => Just(Event::Told),
    ]
}

/// A call with what it must come to.
struct One {
    id: CallId,
    bill: Option<Arc<Bill>>,
    out: Vec<Outstanding>,
    told: Option<Outstanding>,
    /// Whether it came to an end of its own.
    ended: bool,
    given_back: bool,
    later: bool,
    /// Requests and tokens.
    truth: (u64, u64),
}

impl One {
    fn settle(&mut self, at: usize, tokens: u64, how: fn(Outstanding, u64), output: u64) {
        if self.out.is_empty() {
            return;
        }
        let out = self.out.remove(at % self.out.len());
        how(out, output);
        self.truth.1 += tokens;
    }

    fn happen(&mut self, event: Event, at: usize, audit: &Arc<Audit>) {
        match event {
            Event::Out => {
                if let (Some(bill), false) = (&self.bill, self.ended || self.given_back) {
                    self.out.push(bill.outstanding());
                    self.truth.0 = 1;
                }
            }
            Event::Answered(output) => {
                self.settle(at, 10 + output, |out, output| out.answered(Some("m"), output), output);
            }
            Event::Stopped => self.settle(at, 10, |out, _| out.stopped(), 0),
            Event::Lost => self.settle(at, 100, |out, _| drop(out), 0),
            Event::GivenBack => {
                let untouched = self.truth == (0, 0) && !self.ended;
                // Only of a call that has asked nobody, or afterwards by mistake.
                if let (Some(bill), true) = (&self.bill, untouched || self.ended) {
                    bill.give_back();
                    self.given_back |= untouched;
                }
            }
            Event::Ended(asked, output) => {
                let (Some(bill), false) = (&self.bill, self.ended || self.given_back) else {
                    return;
                };
                self.ended = true;
                self.truth.0 = u64::from(asked || self.truth.0 == 1);
                self.truth.1 += 3 + output;
                match bill.end(self.id, asked, &usage(3, output), None, Some(audit)) {
                    Settled::Now(spending, _) => {
                        assert!(self.out.is_empty());
                        assert_eq!(
                            (spending.amounts.requests, spending.amounts.tokens),
                            self.truth
                        );
                    }
                    Settled::Later(told) => {
                        assert!(!self.out.is_empty());
                        (self.later, self.told) = (true, Some(told));
                    }
                }
            }
            Event::Dropped => self.bill = None,
            Event::Told => self.told = None,
        }
    }

    /// Whatever is left goes too: what it came to.
    fn over(&mut self) -> (u64, u64) {
        while !self.out.is_empty() {
            self.settle(0, 100, |out, _| drop(out), 0);
        }
        (self.told, self.bill) = (None, None);
        match (self.given_back, self.ended) {
            (true, _) => (0, 0),
            (false, true) => self.truth,
            // As it was reserved: nobody knows.
            (false, false) => (1, 100),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn all_orders_come_to_the_truth_and_hold_nothing(
        events in prop::collection::vec((0_usize..4, event(), any::<usize>()), 0..60),
    ) {
        let family = Family::new();
        let (admission, key) = (family.admission(), family.key());
        let store = Memory::new(Fate::Commits, Fate::Commits);
        let clock = Arc::clone(&family.clock);
        let audit = Arc::new(Audit::new(Arc::clone(&store) as Arc<dyn Store>, clock, AuditScope::Full, Redactor::new(&[]).unwrap()));
        let admit = |_| One {
            id: CallId::generate(),
            bill: admission.admit(&ask(&key)).ok(),
            out: Vec::new(),
            told: None,
            ended: false,
            given_back: false,
            later: false,
            truth: (0, 0),
        };
        let mut calls: Vec<One> = (0..4).map(admit).collect();
        for (call, event, at) in events {
            calls[call].happen(event, at, &audit);
            let settled: Vec<_> = store.settled().iter().map(|(id, _)| *id).collect();
            for one in &calls {
                let times = settled.iter().filter(|id| **id == one.id).count();
                let due = one.later && one.out.is_empty() && one.told.is_none();
                prop_assert_eq!(times, usize::from(due));
            }
        }
        let mut sum = Amounts::default();
        for one in &mut calls {
            let (requests, tokens) = one.over();
            let amounts = Amounts { requests, tokens, cost: tokens * 1_000 };
            sum = sum.plus(&amounts);
            let settled = store.settled();
            let mut mine = settled.iter().filter(|(id, _)| *id == one.id);
            prop_assert_eq!(mine.next().map(|(_, one)| one.amounts), one.later.then_some(amounts));
            prop_assert!(mine.next().is_none());
        }
        for scope in &*key.debited {
            prop_assert_eq!(counted(&admission, scope), (sum, Amounts::default(), 0));
        }
        // Nothing else was written.
        prop_assert!(store.writes().iter().all(|write| matches!(write, Write::Settled(..))));
    }
}

#[test]
fn each_reply_that_is_out_costs_its_own_share() {
    let family = Family::new();
    let (admission, key) = (family.admission(), family.key());
    let bill = admission.admit(&Ask { choices: 3, ..ask(&key) }).unwrap();
    let [lost, answered, stopped] = [bill.outstanding(), bill.outstanding(), bill.outstanding()];
    let settled = bill.end(CallId::generate(), true, &usage(0, 0), None, None);
    assert!(matches!(&settled, Settled::Later(_)));
    drop((settled, lost));
    answered.answered(Some("m"), 500);
    assert_eq!(counted(&admission, &key.debited[0]).1.tokens, 300);
    stopped.stopped();
    let (spent, held, in_flight) = counted(&admission, &key.debited[0]);
    assert_eq!((spent.tokens, held.tokens, in_flight), (100 + 510 + 10, 0, 0));
}

#[test]
fn samplings_are_heard_of_by_many_threads_and_settled_once() {
    for _ in 0..50 {
        let family = Family::new();
        let (admission, key) = (family.admission(), family.key());
        let store = Memory::new(Fate::Commits, Fate::Commits);
        let clock = Arc::clone(&family.clock);
        let audit = Arc::new(Audit::new(
            Arc::clone(&store) as Arc<dyn Store>,
            clock,
            AuditScope::Full,
            Redactor::new(&[]).unwrap(),
        ));
        let bill = admission.admit(&ask(&key)).unwrap();
        let out: Vec<_> = (0..16).map(|_| bill.outstanding()).collect();
        let now = std::thread::scope(|scope| {
            for one in out {
                scope.spawn(|| one.answered(Some("m"), 1));
            }
            let end = || bill.end(CallId::generate(), true, &usage(0, 0), None, Some(&audit));
            let ended = scope.spawn(end).join().unwrap();
            matches!(ended, Settled::Now(..))
        });
        drop(bill);
        assert_eq!(store.settled().len(), usize::from(!now));
        let (spent, held, in_flight) = counted(&admission, &key.debited[2]);
        assert_eq!((spent.tokens, held.tokens, in_flight), (16 * 11, 0, 0));
    }
}

#[test]
fn a_late_answer_is_paid_at_the_price_of_the_model_that_gave_it() {
    let mut family = Family::new();
    let price = |nanos| super::per_token(nanos);
    family.policy.prices =
        vec![("cheap".parse().unwrap(), price(1)), ("dear".parse().unwrap(), price(1_000))];
    let (admission, key) = (family.admission(), family.key());
    let spent = |served: Option<&str>, late: &[Option<&str>]| {
        let ask = Ask { model: "auto", choices: 3, ..ask(&key) };
        let before = counted(&admission, &key.debited[0]).0.cost;
        let bill = admission.admit(&ask).unwrap();
        let out: Vec<_> = late.iter().map(|_| bill.outstanding()).collect();
        let used = if served.is_some() { usage(10, 20) } else { usage(0, 0) };
        drop(bill.end(CallId::generate(), true, &used, served, None));
        for (out, model) in out.into_iter().zip(late) {
            match model {
                Some(model) => out.answered(Some(model), 50),
                None => drop(out),
            }
        }
        counted(&admission, &key.debited[0]).0.cost - before
    };
    assert_eq!(spent(None, &[Some("cheap")]), 60);
    assert_eq!(spent(None, &[Some("dear")]), 60_000);
    // A host that does not name its model could have asked the dearest.
    assert_eq!(spent(None, &[Some("")]), 60_000);
    assert_eq!(spent(None, &[Some("dear"), Some("cheap"), Some("cheap")]), 60_000 + 120);
    assert_eq!(spent(Some("cheap"), &[Some("dear")]), 30 + 60_000);
    // Of one that nobody hears of more is known only where another of the call has answered.
    assert_eq!(spent(None, &[None, Some("cheap")]), 100_000 + 60);
    assert_eq!(spent(Some("cheap"), &[None]), 30 + 100);
    assert_eq!(spent(None, &[None, None, None]), 300_000);
}

#[test]
fn the_price_of_a_request_is_that_of_the_model_that_answered_late() {
    let mut family = Family::new();
    let each = |nanos: u64| crate::policy::Price {
        per_request: nanos * 1_000,
        multiplier: 333_333,
        ..super::per_token(1)
    };
    family.policy.prices =
        vec![("cheap".parse().unwrap(), each(7)), ("dear".parse().unwrap(), each(7_000))];
    let (admission, key) = (family.admission(), family.key());
    let ask = Ask { model: "auto", ..ask(&key) };
    let late = |out: fn(Outstanding)| {
        let bill = admission.admit(&ask).unwrap();
        let held = bill.outstanding();
        let before = counted(&admission, &key.debited[0]).0.cost;
        drop(bill.end(CallId::generate(), true, &usage(0, 0), None, None));
        out(held);
        (counted(&admission, &key.debited[0]).0.cost - before, bill.reserved().amounts.cost)
    };
    // One call and 60 tokens, a third of each.
    assert_eq!(late(|out| out.answered(Some("cheap"), 50)).0, 23);
    // Not a nano-dollar more than was reserved, however it is rounded.
    let (lost, reserved) = late(drop);
    assert_eq!(lost, reserved);
}
