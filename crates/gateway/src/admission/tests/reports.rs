//! What is said to be left is left.

use proptest::prelude::*;

use super::{Ask, Family, ask, stopped};
use crate::policy::ModelLimits;

proptest! {
    #[test]
    fn as_many_are_admitted_as_remain(
        requests in [1_u32..30, 1_u32..30, 1_u32..30, 1_u32..30],
        tokens in [1_u64..30, 1_u64..30, 1_u64..30, 1_u64..30],
        which in 0_u8..2,
        before in prop::collection::vec((0_u64..12, 0_u64..5), 0..8),
    ) {
        stopped(async {
            let mut family = Family::new();
            for level in 0..3 {
                let bounds = family.bounds(level);
                bounds.requests_per_minute = (which == 0).then_some(requests[level]);
                bounds.tokens_per_minute = (which == 1).then_some(tokens[level]);
            }
            family.limit_model(ModelLimits {
                requests_per_minute: (which == 0).then_some(requests[3]),
                tokens_per_minute: (which == 1).then_some(tokens[3]),
                concurrency: None,
            });
            let (admission, key) = (family.admission(), family.key());
            let mut bills = Vec::new();
            for (more, seconds) in before {
                let ask = Ask { input_tokens: 1, max_output: Some(more), ..ask(&key) };
                bills.extend(admission.admit(&ask));
                tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
            }
            let rates = admission.rates(Some(&key), "m");
            let told = if which == 0 { rates.requests } else { rates.tokens };
            let told = told.unwrap();
            assert!(if which == 0 { rates.tokens } else { rates.requests }.is_none());
            // Each of these takes one of whatever counts.
            let ask = Ask { input_tokens: 1, max_output: Some(0), ..ask(&key) };
            let mut admitted = 0;
            while let Ok(bill) = admission.admit(&ask) {
                bills.push(bill);
                admitted += 1;
            }
            assert_eq!(admitted, told.remaining);
            // And all of it is there again when that is said.
            let reset = admission.rates(Some(&key), "m");
            let reset = if which == 0 { reset.requests } else { reset.tokens }.unwrap();
            tokio::time::advance(std::time::Duration::from_millis(reset.reset)).await;
            let again = admission.rates(Some(&key), "m");
            let again = if which == 0 { again.requests } else { again.tokens }.unwrap();
            assert_eq!(again.remaining, again.limit);
        });
    }
}

#[test]
fn usage_names_every_scope_with_what_runs_and_what_is_left() {
    let mut family = Family::new();
    family.child.uses = Some(3);
    family.top.bounds.concurrency = Some(5);
    family.tenant.bounds.budgets =
        vec![super::budget(super::Unit::Tokens, super::Span::Month, 1000)];
    let (admission, key) = (family.admission(), family.key());
    let running = admission.admit(&ask(&key)).unwrap();
    super::end(&admission.admit(&ask(&key)).unwrap(), true, &super::usage(10, 20));
    let [child, top, tenant] = admission.usage(&key).try_into().unwrap();
    let scopes: Vec<_> = [&child, &top, &tenant].map(|one| one.scope.to_string()).into();
    assert_eq!(scopes, ["key:cccccccccccc", "key:bbbbbbbbbbbb", "tenant:team"]);
    assert_eq!((child.budgets[0].spent, child.budgets[0].held, child.budgets[0].left), (1, 1, 1));
    assert_eq!((top.in_flight, child.in_flight), ((1, Some(5)), (1, None)));
    let budget = tenant.budgets[0];
    assert_eq!((budget.spent, budget.held, budget.left), (30, 100, 870));
    drop(running);
    assert_eq!(admission.usage(&key)[2].budgets[0].spent, 130);
}

#[test]
fn of_limits_that_leave_equally_little_the_later_is_told() {
    stopped(async {
        let mut family = Family::new();
        family.child.bounds.requests_per_minute = Some(1);
        family.tenant.bounds.requests_per_minute = Some(2);
        let (admission, key) = (family.admission(), family.key());
        drop(admission.admit(&ask(&key)));
        tokio::time::advance(std::time::Duration::from_secs(20)).await;
        let other = crate::tests::keys::active(&[family.top.clone()], &family.tenant);
        drop(admission.admit(&ask(&other)));
        let told = admission.rates(Some(&key), "m").requests.unwrap();
        assert_eq!((told.remaining, told.reset, told.limit), (0, 60_000, 2));
    });
}
