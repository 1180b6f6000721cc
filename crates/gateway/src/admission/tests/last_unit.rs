//! A thousand callers on the last unit of each kind of limit.

use std::sync::{Arc, Barrier, Mutex};

use super::{Family, ask, budget};
use crate::amounts::{Span, Unit};
use crate::keys::Bounds;
use crate::policy::ModelLimits;

const CALLERS: usize = 1_000;

/// Exactly one of all callers is admitted, and the others have taken nothing.
fn one_of_them(what: &str, family: &Family) {
    let (admission, key) = (family.admission(), family.key());
    let barrier = Barrier::new(CALLERS);
    let bills = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            let small = std::thread::Builder::new().stack_size(128 << 10);
            let caller = || {
                barrier.wait();
                // Kept, so that nobody gets what another gives back.
                if let Ok(bill) = admission.admit(&ask(&key)) {
                    bills.lock().unwrap().push(bill);
                }
            };
            small.spawn_scoped(scope, caller).unwrap();
        }
    });
    let bills = bills.into_inner().unwrap();
    assert_eq!(bills.len(), 1, "{what}");
    for scope in &*key.debited {
        let (spent, held, in_flight) = super::counted(&admission, scope);
        let (spent, held) = (spent.requests, (held.requests, held.tokens));
        assert_eq!((spent, held, in_flight), (0, (1, 100), 1), "{what} at {scope}");
    }
    bills[0].give_back();
    assert!(admission.admit(&ask(&key)).is_ok(), "{what}: it came back");
}

#[test]
fn of_any_limit_of_a_key_an_ancestor_or_a_tenant() {
    type Bound = fn(&mut Bounds);
    let kinds: [(&str, Bound); 6] = [
        ("requests a minute", |bounds| bounds.requests_per_minute = Some(1)),
        ("tokens a minute", |bounds| bounds.tokens_per_minute = Some(199)),
        ("calls at once", |bounds| bounds.concurrency = Some(1)),
        ("a budget of requests", |bounds| {
            bounds.budgets = vec![budget(Unit::Requests, Span::Day, 1)];
        }),
        ("a budget of tokens", |bounds| {
            bounds.budgets = vec![
                budget(Unit::Cost, Span::Day, 1 << 40),
                budget(Unit::Tokens, Span::Month, 199),
            ];
        }),
        ("a budget of money", |bounds| {
            bounds.budgets = vec![budget(Unit::Cost, Span::Minute, 199_999)];
        }),
    ];
    for (kind, bound) in kinds {
        for level in 0..3 {
            let mut family = Family::new();
            bound(family.bounds(level));
            one_of_them(&format!("{kind}, level {level}"), &family);
        }
    }
}

#[test]
fn of_the_uses_of_a_key_or_an_ancestor() {
    let mut family = Family::new();
    family.child.uses = Some(1);
    one_of_them("uses", &family);
    let mut family = Family::new();
    family.top.uses = Some(1);
    one_of_them("uses above", &family);
}

#[test]
fn of_any_limit_of_a_model() {
    let none = ModelLimits::default();
    for limits in [
        ModelLimits { requests_per_minute: Some(1), ..none },
        ModelLimits { tokens_per_minute: Some(199), ..none },
        ModelLimits { concurrency: Some(1), ..none },
    ] {
        let mut family = Family::new();
        family.limit_model(limits);
        one_of_them(&format!("{limits:?}"), &family);
    }
}

#[test]
fn among_many_keys_of_a_tenant_and_callers_without_a_key() {
    let mut family = Family::new();
    family.limit_model(ModelLimits { requests_per_minute: Some(7), ..ModelLimits::default() });
    let (admission, key) = (family.admission(), family.key());
    let admitted = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for caller in 0..64 {
            let (admission, key, admitted) = (Arc::clone(&admission), &key, &admitted);
            scope.spawn(move || {
                let ask = super::Ask { key: (caller % 2 == 0).then_some(&**key), ..ask(key) };
                admitted.lock().unwrap().extend(admission.admit(&ask));
            });
        }
    });
    assert_eq!(admitted.into_inner().unwrap().len(), 7);
}
