//! Who is refused, by which scope, and that it costs nothing.

use std::sync::Arc;
use std::time::Duration;

use model::{Blame, FailureKind, Retry};
use proptest::prelude::*;

use super::{Admission, Ask, Family, all, ask, budget, stopped};
use crate::amounts::{Span, Unit};
use crate::budgets::WallTime;
use crate::keyring::ActiveKey;
use crate::keys::Bounds;
use crate::policy::ModelLimits;
use crate::tests::keys::active;

/// Bounds that let nothing through.
fn shut() -> Bounds {
    Bounds {
        models: vec!["other".parse().unwrap()],
        requests_per_minute: Some(0),
        tokens_per_minute: Some(0),
        concurrency: Some(0),
        budgets: vec![budget(Unit::Tokens, Span::Day, 5)],
        ..Bounds::default()
    }
}

#[test]
fn the_order_is_models_rates_concurrency_budgets_each_from_the_key_upwards() {
    type Lift = fn(&mut Family);
    use FailureKind::{Forbidden, OverBudget, RateLimited};
    let steps: [(&str, &str, FailureKind, Lift); 19] = [
        ("key:cccc", "the model `m`, only other", Forbidden, |f| f.child.bounds.models.clear()),
        ("key:bbbb", "the model `m`", Forbidden, |f| f.top.bounds.models.clear()),
        ("tenant:team", "the model `m`", Forbidden, |f| f.tenant.bounds.models.clear()),
        ("key:cccc", "0 requests in", RateLimited, |f| f.child.bounds.requests_per_minute = None),
        ("key:cccc", "alone may need 100", RateLimited, |f| {
            f.child.bounds.tokens_per_minute = None;
        }),
        ("key:bbbb", "0 requests in", RateLimited, |f| f.top.bounds.requests_per_minute = None),
        ("key:bbbb", "0 tokens in", RateLimited, |f| f.top.bounds.tokens_per_minute = None),
        ("tenant:team", "0 requests in", RateLimited, |f| {
            f.tenant.bounds.requests_per_minute = None;
        }),
        ("tenant:team", "0 tokens in", RateLimited, |f| f.tenant.bounds.tokens_per_minute = None),
        ("model:m", "0 requests in", RateLimited, |f| {
            f.policy.models[0].1.requests_per_minute = None;
        }),
        ("model:m", "0 tokens in", RateLimited, |f| f.policy.models[0].1.tokens_per_minute = None),
        ("model:m", "0 calls at once", RateLimited, |f| f.policy.models[0].1.concurrency = None),
        ("key:cccc", "0 calls at once", RateLimited, |f| f.child.bounds.concurrency = None),
        ("key:bbbb", "0 calls at once", RateLimited, |f| f.top.bounds.concurrency = None),
        ("tenant:team", "0 calls at once", RateLimited, |f| f.tenant.bounds.concurrency = None),
        ("key:cccc", "0 requests in all", OverBudget, |f| f.child.uses = None),
        ("key:cccc", "5 tokens a day", OverBudget, |f| f.child.bounds.budgets.clear()),
        ("key:bbbb", "5 tokens a day", OverBudget, |f| f.top.bounds.budgets.clear()),
        ("tenant:team", "5 tokens a day", OverBudget, |f| f.tenant.bounds.budgets.clear()),
    ];
    let mut family = Family::new();
    (0..3).for_each(|level| *family.bounds(level) = shut());
    family.child.uses = Some(0);
    family.limit_model(ModelLimits {
        requests_per_minute: Some(0),
        tokens_per_minute: Some(0),
        concurrency: Some(0),
    });
    for (scope, phrase, kind, lift) in steps {
        let key = family.key();
        let refused = family.admission().admit(&ask(&key)).unwrap_err();
        let message = &refused.message;
        assert!(message.contains(&format!("`{scope}")) && message.contains(phrase), "{message}");
        assert_eq!((refused.kind, refused.blame), (kind, Blame::Caller), "{message}");
        if kind == FailureKind::OverBudget {
            assert_eq!(refused.retry, Retry::Never, "{message}");
        }
        lift(&mut family);
    }
    let key = family.key();
    assert!(family.admission().admit(&ask(&key)).is_ok());
}

#[test]
fn a_rate_says_when_to_come_again() {
    stopped(async {
        let mut family = Family::new();
        family.tenant.bounds.requests_per_minute = Some(1);
        let (admission, key) = (family.admission(), family.key());
        drop(admission.admit(&ask(&key)));
        tokio::time::advance(Duration::from_secs(20)).await;
        let retry = admission.admit(&ask(&key)).unwrap_err().retry;
        assert_eq!(retry, Retry::After(Duration::from_secs(40)));
        tokio::time::advance(Duration::from_millis(39_999)).await;
        assert!(admission.admit(&ask(&key)).is_err());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(admission.admit(&ask(&key)).is_ok());
    });
}

#[test]
fn the_model_of_who_leaves_the_choice_has_its_limits_too() {
    let mut family = Family::new();
    let limits = ModelLimits { concurrency: Some(0), ..ModelLimits::default() };
    family.policy.models = vec![("auto".parse().unwrap(), limits)];
    let (admission, key) = (family.admission(), family.key());
    for model in ["auto", "", " "] {
        let refused = admission.admit(&Ask { model, ..ask(&key) });
        assert_eq!(refused.map_err(|failure| failure.kind).err(), Some(FailureKind::RateLimited));
    }
}

fn limit(most: u32) -> impl Strategy<Value = Option<u32>> {
    prop::option::of(0..most)
}

prop_compose! {
    fn bounds()(
        requests_per_minute in limit(6),
        tokens in limit(900),
        concurrency in limit(5),
        unit in prop::sample::select(&[Unit::Requests, Unit::Tokens, Unit::Cost][..]),
        most in limit(900),
    ) -> Bounds {
        let most = most.map(u64::from);
        let limit = most.map(|most| match unit {
            Unit::Requests => most / 150,
            Unit::Tokens => most,
            Unit::Cost => most * 1000,
        });
        Bounds {
            requests_per_minute,
            tokens_per_minute: tokens.map(u64::from),
            concurrency,
            budgets: limit.map(|limit| budget(unit, Span::Hour, limit)).into_iter().collect(),
            ..Bounds::default()
        }
    }
}

/// Tells every window what time it is, which is no part of what is counted.
fn look(admission: &Admission, key: &ActiveKey) {
    let (now, wall) = (admission.monotonic(), WallTime(admission.clock.now()));
    let mut state = admission.lock();
    for scope in &*key.debited {
        let account = state.account(scope, wall, &admission.policy());
        let windows = &mut account.unwrap().windows;
        windows.requests.remaining(now, 1);
        windows.tokens.remaining(now, 1);
    }
    let windows = state.model(&"m".parse().unwrap()).unwrap();
    windows.requests.remaining(now, 1);
    windows.tokens.remaining(now, 1);
}

proptest! {
    #[test]
    fn a_refusal_takes_nothing_from_anybody_and_an_explanation_foretells_it(
        all_bounds in [bounds(), bounds(), bounds()],
        model in (limit(6), limit(900), limit(5)),
        calls in prop::collection::vec((0_u64..50, 0_u64..200, 1_u64..3, any::<bool>()), 1..20),
    ) {
        stopped(async {
            let mut family = Family::new();
            for (level, bounds) in all_bounds.into_iter().enumerate() {
                *family.bounds(level) = bounds;
            }
            family.limit_model(ModelLimits {
                requests_per_minute: model.0,
                tokens_per_minute: model.1.map(u64::from),
                concurrency: model.2,
            });
            let (admission, key) = (family.admission(), family.key());
            look(&admission, &key);
            let mut bills = Vec::new();
            for (input_tokens, output, choices, leaves) in calls {
                let ask = Ask { input_tokens, max_output: Some(output), choices, ..ask(&key) };
                let foretold = admission.explain(&ask).1;
                let before = all(&admission);
                match (admission.admit(&ask), foretold) {
                    (Ok(bill), Ok(())) if leaves => {
                        // As if it had never been.
                        bill.give_back();
                        assert!(all(&admission) == before);
                    }
                    (Ok(bill), Ok(())) => bills.push(Arc::clone(&bill)),
                    (Err(failure), Err(foretold)) => {
                        assert_eq!(failure.message, foretold.message);
                        assert!(all(&admission) == before);
                    }
                    (admitted, foretold) => panic!("{admitted:?} {foretold:?}"),
                }
            }
        });
    }
}

/// Whoever waits as long as they are told is admitted, whichever scopes refuse now.
#[test]
fn the_wait_is_enough_for_all_scopes() {
    stopped(async {
        let mut family = Family::new();
        family.child.bounds.requests_per_minute = Some(2);
        family.top.bounds.tokens_per_minute = Some(1_500);
        family.tenant.bounds.requests_per_minute = Some(4);
        family.limit_model(ModelLimits { tokens_per_minute: Some(2_000), ..Default::default() });
        let (admission, key) = (family.admission(), family.key());
        let other = active(&[family.top.clone()], &family.tenant);
        // The own requests and the tenant's are there again after 60 s, the tokens above later.
        let small = Ask { max_output: Some(10), ..ask(&key) };
        drop(admission.admit(&small));
        drop(admission.admit(&small));
        tokio::time::advance(Duration::from_secs(20)).await;
        drop(admission.admit(&ask(&other)));
        drop(admission.admit(&Ask { max_output: Some(1_340), ..ask(&other) }));
        tokio::time::advance(Duration::from_secs(10)).await;
        let refused = admission.admit(&ask(&key)).unwrap_err();
        assert!(refused.message.contains("`key:bbbb"), "{refused}");
        let Retry::After(wait) = refused.retry else { panic!("{refused:?}") };
        // Tokens are counted by the second.
        assert_eq!(wait, Duration::from_secs(51));
        tokio::time::advance(Duration::from_millis(50_999)).await;
        assert!(admission.admit(&ask(&key)).is_err());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(admission.admit(&ask(&key)).is_ok());
    });
}

#[test]
fn of_several_budgets_the_last_to_begin_anew_is_named() {
    let mut family = Family::new();
    family.child.bounds.budgets = vec![budget(Unit::Requests, Span::Hour, 1)];
    family.top.bounds.budgets = vec![budget(Unit::Requests, Span::Day, 1)];
    family.tenant.bounds.budgets = vec![budget(Unit::Requests, Span::Minute, 1)];
    let (admission, key) = (family.admission(), family.key());
    drop(admission.admit(&ask(&key)));
    let refused = admission.admit(&ask(&key)).unwrap_err();
    assert!(
        refused.message.contains("`key:bbbb") && refused.message.contains("a day"),
        "{refused}"
    );
    // Nor does a rate that comes back hide a call that fits into no minute.
    family.child.bounds.requests_per_minute = Some(1);
    family.tenant.bounds.tokens_per_minute = Some(99);
    let key = family.key();
    let admission = family.admission();
    drop(admission.admit(&Ask { max_output: Some(1), ..ask(&key) }));
    let refused = admission.admit(&ask(&key)).unwrap_err();
    assert_eq!(refused.retry, Retry::Never, "{refused}");
    assert_eq!(refused.scope.as_deref(), Some("tenant:team"));
}
