//! What is known of spending after a start.

use std::sync::Arc;

use model::CallId;

use super::{Family, ask, budget, end, usage};
use crate::amounts::{Span, Unit};
use crate::store::Store;
use crate::tests::keys::MORNING;
use crate::tests::memory::{Fate, Memory};

const DAY: i64 = 24 * 3_600_000;

#[tokio::test]
async fn a_clock_that_was_ahead_before_a_start_hands_out_no_day_twice() {
    let mut family = Family::new();
    family.child.bounds.budgets = vec![budget(Unit::Tokens, Span::Day, 200)];
    let (store, key) = (Memory::new(Fate::Commits, Fate::Commits), family.key());
    let spend = async |admission: &Arc<super::Admission>| {
        let bill = admission.admit(&ask(&key))?;
        let (spending, _) = end(&bill, true, &usage(10, 90));
        store.settle(CallId::generate(), spending).await.unwrap();
        Ok::<_, model::Failure>(())
    };
    let start = async || {
        let admission = family.admission();
        admission.load(&*store).await.unwrap();
        admission
    };
    // The clock is a day ahead, and all of that day is spent.
    family.clock.set(MORNING + DAY);
    let admission = start().await;
    spend(&admission).await.unwrap();
    spend(&admission).await.unwrap();
    spend(&admission).await.unwrap_err();
    // It is corrected, and the bridge starts anew: today has not been spent.
    family.clock.set(MORNING);
    let admission = start().await;
    spend(&admission).await.unwrap();
    // Then tomorrow comes.
    family.clock.set(MORNING + DAY - 3_600_000);
    spend(&admission).await.unwrap_err();
    let left = admission.usage(&key)[0].budgets[0];
    assert_eq!((left.spent, left.left), (200, 0));
    family.clock.set(MORNING + 2 * DAY);
    spend(&admission).await.unwrap();
}
