//! The truth takes the place of what was held.

use model::{CallId, FailureKind};

use super::{Ask, Family, Settled, ask, budget, counted, end, per_token, stopped, usage};
use crate::amounts::{Amounts, Span, Unit};
use crate::keys::{KeyKind, ScopeId, VirtualKey};
use crate::policy::{ModelLimits, Policy};
use crate::tests::keys::MORNING;

#[test]
fn an_overrun_is_charged_and_flagged_and_the_next_is_refused() {
    let mut family = Family::new();
    family.top.bounds.budgets = vec![budget(Unit::Tokens, Span::Day, 5_000)];
    let (admission, key) = (family.admission(), family.key());
    let bill = admission.admit(&ask(&key)).unwrap();
    let (spending, overrun) = end(&bill, true, &usage(10, 20_000));
    assert!(overrun);
    let truth = Amounts { requests: 1, tokens: 20_010, cost: 20_010_000 };
    assert_eq!((spending.amounts, spending.admitted), (truth, MORNING));
    assert_eq!(spending.scopes, key.debited);
    let left = admission.usage(&key)[1].budgets[0];
    assert_eq!((left.spent, left.held, left.left), (20_010, 0, 0));
    let refused = admission.admit(&ask(&key)).unwrap_err();
    assert!(refused.message.contains("is used up"), "{}", refused.message);
    // Nobody waits for what ends tomorrow.
    family.clock.set(MORNING + 24 * 3_600_000);
    assert!(admission.admit(&ask(&key)).is_ok());
}

#[test]
fn as_much_as_was_reserved_is_no_overrun_and_less_comes_back() {
    let family = Family::new();
    let (admission, key) = (family.admission(), family.key());
    for output in [0, 89, 90] {
        let bill = admission.admit(&ask(&key)).unwrap();
        let (spending, overrun) = end(&bill, true, &usage(10, output));
        assert!(!overrun);
        assert_eq!(spending.amounts.tokens, 10 + output);
    }
    let (spent, held, in_flight) = counted(&admission, &key.debited[2]);
    assert_eq!((spent.tokens, spent.requests), (30 + 179, 3));
    assert_eq!((held, in_flight), (Amounts::default(), 0));
}

#[test]
fn what_never_reached_anybody_costs_nothing_but_was_a_request() {
    stopped(async {
        let mut family = Family::new();
        family.child.bounds.requests_per_minute = Some(1);
        family.child.bounds.tokens_per_minute = Some(100);
        let (admission, key) = (family.admission(), family.key());
        let bill = admission.admit(&ask(&key)).unwrap();
        let (spending, _) = end(&bill, false, &usage(0, 0));
        assert_eq!(spending.amounts, Amounts::default());
        let rates = admission.rates(Some(&key), "m");
        assert_eq!((rates.requests.unwrap().remaining, rates.tokens.unwrap().remaining), (0, 100));
    });
}

#[test]
fn tokens_of_the_minute_are_corrected_also_those_of_the_model_alone() {
    stopped(async {
        let mut family = Family::new();
        let limits = ModelLimits {
            tokens_per_minute: Some(1_000),
            concurrency: Some(1),
            ..Default::default()
        };
        family.limit_model(limits);
        let (admission, key) = (family.admission(), family.key());
        let left = || admission.rates(None, "m").tokens.unwrap().remaining;
        for key in [None, Some(&*key)] {
            let before = left();
            let bill = admission.admit(&Ask { key, ..ask(&family.key()) }).unwrap();
            assert_eq!(left(), before - 100);
            end(&bill, true, &usage(10, 5));
            assert_eq!(left(), before - 15);
            let bill = admission.admit(&Ask { key, ..ask(&family.key()) }).unwrap();
            bill.give_back();
            assert_eq!(left(), before - 15);
            // An overrun counts too.
            let bill = admission.admit(&Ask { key, ..ask(&family.key()) }).unwrap();
            end(&bill, true, &usage(10, 200));
            assert_eq!(left(), before - 225);
        }
    });
}

#[test]
fn a_sandbox_counts_in_rates_and_not_in_budgets() {
    let mut family = Family::new();
    family.child.kind = KeyKind::Sandbox;
    family.top.bounds.budgets = vec![budget(Unit::Requests, Span::Total, 0)];
    family.tenant.bounds.requests_per_minute = Some(3);
    family.tenant.bounds.tokens_per_minute = Some(1_000);
    family.child.bounds.concurrency = Some(1);
    let (admission, key) = (family.admission(), family.key());
    let bill = admission.admit(&ask(&key)).unwrap();
    let refused = admission.admit(&ask(&key)).unwrap_err();
    assert!(refused.message.contains("at once"), "{}", refused.message);
    let (spending, overrun) = end(&bill, true, &usage(10, 20_000));
    assert_eq!((spending.amounts, overrun), (Amounts::default(), false));
    let rates = admission.rates(Some(&key), "m");
    assert_eq!((rates.requests.unwrap().remaining, rates.tokens.unwrap().remaining), (2, 0));
    for scope in &*key.debited {
        assert_eq!(counted(&admission, scope), (Amounts::default(), Amounts::default(), 0));
    }
    // Also when it is lost.
    family.tenant.bounds.tokens_per_minute = Some(30_000);
    let key = family.key();
    let left = || admission.rates(Some(&key), "m").tokens.unwrap().remaining;
    let before = left();
    drop(admission.admit(&ask(&key)).unwrap());
    assert_eq!(left(), before - 100);
    assert_eq!(counted(&admission, &key.debited[0]), Default::default());
}

#[test]
fn the_uses_of_sandbox_keys_count_down_and_nothing_else_does() {
    let mut family = Family::new();
    (family.top.kind, family.child.kind) = (KeyKind::Sandbox, KeyKind::Sandbox);
    family.child.uses = Some(3);
    family.tenant.bounds.budgets = vec![budget(Unit::Requests, Span::Total, 0)];
    let (admission, key) = (family.admission(), family.key());
    let spent = |scope: usize| counted(&admission, &key.debited[scope]);
    let once = Amounts { requests: 1, ..Amounts::default() };
    // One that ends, one that is given back, and one that is lost.
    let bill = admission.admit(&ask(&key)).unwrap();
    assert_eq!(bill.reserved().amounts, once);
    assert_eq!(*bill.reserved().scopes, [ScopeId::Key(key.key.id)]);
    assert_eq!(spent(0), (Amounts::default(), once, 1));
    let (spending, overrun) = end(&bill, true, &usage(10, 20_000));
    assert_eq!(
        (&spending.scopes, spending.amounts, overrun),
        (&bill.reserved().scopes, once, false)
    );
    admission.admit(&ask(&key)).unwrap().give_back();
    drop(admission.admit(&ask(&key)).unwrap());
    assert_eq!(spent(0), (Amounts { requests: 2, ..once }, Amounts::default(), 0));
    assert_eq!(admission.usage(&key)[0].budgets[0].left, 1);
    let last = admission.admit(&ask(&key)).unwrap();
    let (_, explained) = admission.explain(&ask(&key));
    let refused = admission.admit(&ask(&key)).unwrap_err();
    assert_eq!(
        (explained.unwrap_err().kind, refused.kind),
        (refused.kind, FailureKind::OverBudget)
    );
    end(&last, true, &usage(1, 1));
    for scope in [1, 2] {
        assert_eq!(spent(scope), (Amounts::default(), Amounts::default(), 0));
    }
    // A child counts on the uses of the key above it.
    family.top.uses = Some(1);
    family.child = VirtualKey { uses: None, ..crate::tests::keys::key(3, Some(&family.top)) };
    family.child.kind = KeyKind::Sandbox;
    let child = family.key();
    end(&admission.admit(&ask(&child)).unwrap(), true, &usage(1, 1));
    assert!(admission.admit(&ask(&child)).is_err());
}

#[test]
fn a_call_keeps_the_policy_that_admitted_it() {
    let mut family = Family::new();
    let one = ModelLimits { concurrency: Some(1), ..ModelLimits::default() };
    family.limit_model(one);
    let (admission, key) = (family.admission(), family.key());
    let bill = admission.admit(&ask(&key)).unwrap();
    let dearer = Policy {
        prices: vec![("*".parse().unwrap(), per_token(9_000))],
        models: vec![("m*".parse().unwrap(), one)],
        ..family.policy.clone()
    };
    admission.set_policy(dearer);
    let after = admission.admit(&ask(&key)).unwrap();
    assert_eq!(end(&bill, true, &usage(10, 10)).0.amounts.cost, 20 * 1_000);
    // The old pattern's place is free again, and the new one's is taken.
    assert!(admission.admit(&ask(&key)).is_err());
    assert_eq!(end(&after, true, &usage(10, 10)).0.amounts.cost, 20 * 9_000);
    admission.set_policy(family.policy.clone());
    assert!(admission.admit(&ask(&key)).is_ok());
}

#[test]
fn the_model_that_answered_has_its_own_price() {
    let mut family = Family::new();
    family.policy.prices =
        vec![("dear".parse().unwrap(), per_token(5_000)), ("m".parse().unwrap(), per_token(1_000))];
    let (admission, key) = (family.admission(), family.key());
    for (served, price) in [(Some("dear"), 5_000), (Some("unknown"), 1_000), (None, 1_000)] {
        let bill = admission.admit(&ask(&key)).unwrap();
        let settled = bill.end(CallId::generate(), true, &usage(10, 10), served, None);
        let Settled::Now(spending, overrun) = settled else { panic!("nothing is out") };
        assert_eq!(spending.amounts.cost, 20 * price);
        // More money than was thought, though not more tokens.
        assert!(!overrun);
    }
    let bill = admission.admit(&ask(&key)).unwrap();
    let settled = bill.end(CallId::generate(), true, &usage(10, 80), Some("dear"), None);
    assert!(matches!(settled, Settled::Now(_, true)));
}

#[test]
fn bounds_may_be_edited_while_calls_run() {
    let mut family = Family::new();
    let (admission, key) = (family.admission(), family.key());
    let bills: Vec<_> = (0..3).map(|_| admission.admit(&ask(&key)).unwrap()).collect();
    // What runs counts under the new bounds, though there were none when it came.
    family.child.bounds.concurrency = Some(3);
    family.child.bounds.budgets = vec![budget(Unit::Tokens, Span::Day, 350)];
    let edited = family.key();
    assert!(admission.admit(&ask(&edited)).is_err());
    end(&bills[0], true, &usage(10, 10));
    let refused = admission.admit(&Ask { input_tokens: 41, ..ask(&edited) }).unwrap_err();
    assert!(refused.message.contains("has 130 tokens left"), "{}", refused.message);
    assert!(admission.admit(&ask(&edited)).is_ok());
    drop(bills);
    let (spent, held, in_flight) = counted(&admission, &edited.debited[0]);
    assert_eq!((spent.tokens, held.tokens, in_flight), (20 + 100 + 100 + 100, 0, 0));
}

#[test]
fn a_clock_that_is_put_back_leaves_all_scopes_of_a_call_in_one_window() {
    let mut family = Family::new();
    let (admission, key) = (family.admission(), family.key());
    end(&admission.admit(&ask(&key)).unwrap(), true, &usage(1, 1));
    family.clock.set(MORNING - 3_600_000);
    // A key that has not called before, of a tenant that has.
    family.child = crate::tests::keys::key(9, Some(&family.top));
    let other = family.key();
    let bill = admission.admit(&ask(&other)).unwrap();
    // The ledger debits all of them under this time, and so does the memory.
    let admitted = bill.reserved().admitted;
    for scope in &*other.debited {
        let accounts = admission.lock();
        let window = accounts.find(scope).unwrap().meter.window(Span::Hour);
        assert!(window.contains(crate::budgets::WallTime(admitted)), "{scope}");
    }
}

#[test]
fn a_bill_is_settled_once_whatever_follows() {
    let family = Family::new();
    let (admission, key) = (family.admission(), family.key());
    let bill = admission.admit(&ask(&key)).unwrap();
    let other = admission.admit(&ask(&key)).unwrap();
    end(&bill, true, &usage(10, 10));
    let once = super::all(&admission);
    bill.give_back();
    end(&bill, true, &usage(10, 10));
    drop(bill);
    assert!(super::all(&admission) == once);
    other.give_back();
    other.give_back();
    assert_eq!(end(&other, true, &usage(10, 10)).0.amounts, Amounts::default());
    let (spent, held, in_flight) = counted(&admission, &key.debited[0]);
    assert_eq!((spent.tokens, held.tokens, in_flight), (20, 0, 0));
}
