//! Laws that hold for any sequence of calls.

use std::collections::BTreeMap;

use gateway::amounts::Amounts;
use gateway::keys::ScopeId;
use gateway::store::{CallFilter, CallRow, Closed, Opened, Progress, Spending};
use proptest::prelude::*;

use super::texts::searchable;
use super::{ALWAYS, Place, all, reopen};
use crate::samples::{MINUTE, START, amounts, closed, key_id, key_scope, opened};

/// Something that happens to a store.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Open { call: u32, key: u8, sandbox: bool },
    Close { call: u32, settled: Option<u64> },
    Settle { call: u32, tokens: u64 },
    Refuse { call: u32 },
    Reopen,
}

/// Any steps on a few calls.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = 0..12_u32;
    let step = prop_oneof![
        6 => (call.clone(), 1..4_u8, prop::bool::weighted(0.2))
            .prop_map(|(call, key, sandbox)| Step::Open { call, key, sandbox }),
        6 => (call.clone(), prop::option::of(0..1000_u64))
            .prop_map(|(call, settled)| Step::Close { call, settled }),
        3 => (call.clone(), 0..1000_u64).prop_map(|(call, tokens)| Step::Settle { call, tokens }),
        1 => call.prop_map(|call| Step::Refuse { call }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 0..40)
}

fn spending(call: u32, key: u8, tokens: u64) -> Spending {
    Spending {
        scopes: [key_scope(key), key_scope(9)].into(),
        admitted: START + i64::from(call) * MINUTE / 3,
        amounts: amounts(1, tokens, tokens * 3),
    }
}

/// Whatever happens, the ledger holds what the calls say that they spent, and the journal is
/// whole. After a load nothing is left unsettled.
pub(crate) async fn the_ledger_is_the_sum_of_the_calls(place: &impl Place, steps: &[Step]) {
    let mut store = place.open();
    let mut keys = BTreeMap::new();
    for step in steps {
        match *step {
            Step::Open { call, key, sandbox } => {
                let reserved = spending(call, key, 5000);
                let start = Opened { key: Some(key_id(key)), sandbox, reserved, ..opened(call) };
                if store.call(opened(call).id).await.unwrap().is_none() {
                    keys.insert(opened(call).id, key);
                }
                store.open(start.into()).await.unwrap();
            }
            Step::Close { call, settled } => {
                let key = keys.get(&opened(call).id).copied().unwrap_or(1);
                let spending = settled.map(|tokens| spending(call, key, tokens));
                store.close(Closed { spending, ..closed(call) }.into()).await.unwrap();
            }
            Step::Settle { call, tokens } => {
                let key = keys.get(&opened(call).id).copied().unwrap_or(1);
                store.settle(opened(call).id, spending(call, key, tokens)).await.unwrap();
            }
            Step::Refuse { call } => {
                let end = Closed { spending: Some(Spending::default()), ..closed(call) };
                let start = Opened { reserved: Spending::default(), ..opened(call) };
                store.refuse(start.into(), end.into());
            }
            Step::Reopen => {
                store = reopen(place, store).await;
                store.load().await.unwrap();
                assert!(all(&store).await.iter().all(|call| call.spent.is_some()));
            }
        }
    }
    // What was refused is written by now if this is.
    store.load().await.unwrap();
    let mut wanted: BTreeMap<ScopeId, Amounts> = BTreeMap::new();
    for call in &all(&store).await {
        let Some(spent) = call.spent.filter(|spent| *spent != Amounts::default()) else {
            continue;
        };
        for scope in [ScopeId::Key(call.key.unwrap()), key_scope(9)] {
            let sum = wanted.entry(scope).or_default();
            sum.requests += spent.requests;
            sum.tokens += spent.tokens;
            sum.cost += spent.cost;
        }
    }
    let total: BTreeMap<_, _> = store.spent(ALWAYS).await.unwrap().into_iter().collect();
    assert_eq!(total, wanted, "the running totals");
    let minutes = START - MINUTE..START + 100 * MINUTE;
    let minutes: BTreeMap<_, _> = store.spent(minutes).await.unwrap().into_iter().collect();
    assert_eq!(minutes, wanted, "the minutes");
    assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
}

/// Calls of every kind that a filter can tell apart, and a filter.
pub(crate) fn filters() -> impl Strategy<Value = (Vec<(u8, bool, u16)>, CallFilter)> {
    let calls = prop::collection::vec((1..3_u8, any::<bool>(), 199..203_u16), 0..30);
    let span = (0..30_i64, 0..30_i64).prop_map(|(from, to)| START + from..START + to);
    let filter = (
        prop::option::of(1..3_u8),
        prop::option::of(any::<bool>()),
        prop::option::of((199..204_u16, 199..204_u16)),
        prop::option::of(span),
        prop::option::of(prop::sample::select(vec!["said", "SAID w1", "w0", "w1 w0"])),
    )
        .prop_map(|(key, model, status, received, text)| CallFilter {
            key: key.map(key_id),
            model: model.map(|asked| if asked { "auto".into() } else { "gpt".into() }),
            status: status.map(|(from, to)| from..to),
            received,
            text: text.map(str::to_owned),
            ..CallFilter::default()
        });
    (calls, filter)
}

/// A filter finds what fits it, in order, whatever index it goes along.
pub(crate) async fn a_filter_finds_what_fits(
    place: &impl Place,
    (calls, filter): (Vec<(u8, bool, u16)>, CallFilter),
) {
    let store = place.open();
    for (number, (key, served, status)) in (0..).zip(calls) {
        let body = Some(format!(r#"{{"text":"said w{}"}}"#, number % 3).into());
        let start = Opened { key: Some(key_id(key)), body, ..opened(number) };
        drop(store.open(start.into()));
        let mut end = Closed { status, ..closed(number) };
        end.model_served = Some(if served { "gpt".into() } else { "auto".into() });
        if status != 199 {
            drop(store.close(end.into()));
        }
    }
    store.load().await.unwrap();
    let fits = |call: &CallRow| {
        filter.key.is_none_or(|key| call.key == Some(key))
            && filter.model.as_ref().is_none_or(|model| {
                call.model == *model || call.model_served.as_ref() == Some(model)
            })
            && filter
                .status
                .as_ref()
                .is_none_or(|range| call.status.is_some_and(|status| range.contains(&status)))
            && filter.received.as_ref().is_none_or(|range| range.contains(&call.received))
            && filter.text.as_ref().is_none_or(|text| {
                let number = call.received - START;
                // What still runs is not searchable.
                call.status.is_some()
                    && text
                        .to_lowercase()
                        .split(' ')
                        .all(|word| word == "said" || word == format!("w{}", number % 3))
            })
    };
    let mut wanted = all(&store).await;
    wanted.retain(fits);
    if filter.text.is_some() {
        searchable(&store).await;
    }
    let found = store.calls(filter.clone(), None, 1000).await.unwrap();
    assert_eq!(found.calls, wanted);
    assert_eq!(found.next, None);
}
