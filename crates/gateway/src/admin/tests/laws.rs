//! What holds whatever is done in whatever order.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::keyring::ActiveKey;
use crate::keys::{Bounds, Glob, UnixMillis};

/// One thing that somebody may try. Numbers choose among the keys that there are.
#[derive(Clone, Debug)]
enum Step {
    Create {
        parent: Option<usize>,
        sandbox: bool,
        fields: KeyFields,
    },
    Mint {
        holder: usize,
        fields: KeyFields,
    },
    Edit {
        key: usize,
        fields: KeyFields,
    },
    Rotate {
        key: usize,
    },
    Revoke {
        key: usize,
    },
    /// Where nothing can be written.
    RevokeInVain {
        key: usize,
    },
    /// While an edit of the same key is being written.
    RevokeMeanwhile {
        key: usize,
        fields: KeyFields,
    },
    /// Edits the tenant that all of them have.
    Tenant {
        bounds: BoundsFields,
    },
    Delete {
        key: usize,
    },
    Wait {
        time: UnixMillis,
    },
}

const UNITS: [Unit; 3] = [Unit::Requests, Unit::Tokens, Unit::Cost];
/// So few that keys above each other often have the same, and often have not.
const SPANS: [Span; 3] = [Span::Hour, Span::Day, Span::Total];

fn double<T: Clone + std::fmt::Debug + 'static>(
    some: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<Option<T>>> {
    prop_oneof![3 => Just(None), 1 => Just(Some(None)), 3 => some.prop_map(|some| Some(Some(some)))]
}

fn models() -> impl Strategy<Value = Option<Vec<Glob>>> {
    let glob = prop::sample::select(vec!["*", "a*", "ab*", "a?", "ab", "b*", "?"]);
    let glob = glob.prop_map(|text| text.parse().unwrap());
    prop::option::of(prop::collection::vec(glob, 0..3))
}

fn networks() -> impl Strategy<Value = Option<Vec<ipnet::IpNet>>> {
    let net = prop::sample::select(vec!["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "::/0"]);
    let net = net.prop_map(|text| text.parse().unwrap());
    prop::option::of(prop::collection::vec(net, 0..3))
}

fn bounds_fields() -> impl Strategy<Value = BoundsFields> {
    let doors = prop::sample::subsequence(Endpoint::ALL.to_vec(), 0..3);
    let (unit, span) = (prop::sample::select(UNITS.to_vec()), prop::sample::select(SPANS.to_vec()));
    let budget = (unit, span, 1u64..4).prop_map(|(unit, span, limit)| Budget { unit, span, limit });
    let budgets = prop::collection::vec(budget, 0..3);
    (
        (models(), prop::option::of(doors), networks(), prop::option::of(budgets)),
        (double(1u64..4), double(1u64..4), double(1u32..4), double(1u64..4), double(1u32..4)),
    )
        .prop_map(|((models, endpoints, networks, budgets), numbers)| {
            let (max_output, max_body, requests_per_minute, tokens_per_minute, concurrency) =
                numbers;
            BoundsFields {
                models,
                endpoints,
                networks,
                max_output,
                max_body,
                requests_per_minute,
                tokens_per_minute,
                concurrency,
                budgets,
            }
        })
}

/// Often nothing or little is said: else hardly any child would be made.
fn fields() -> impl Strategy<Value = KeyFields> {
    let all = (
        prop::option::of(any::<bool>()),
        double((1..6i64).prop_map(|hours| NOW + hours * HOUR)),
        double(1u64..4),
        prop::option::of(98u8..102),
        prop::option::of(prop::sample::select(vec![AuditPolicy::Full, AuditPolicy::Metadata])),
        bounds_fields(),
        prop::option::of("[a-z]{1,3}"),
    );
    let all = all.prop_map(|(can_mint, expires, uses, priority, audit, bounds, name)| KeyFields {
        notes: name.clone(),
        name,
        expires,
        uses,
        can_mint,
        priority,
        audit,
        bounds,
    });
    let all = all.boxed();
    let some = (all.clone(), 0..9).prop_map(|(all, which)| {
        let mut some = KeyFields { can_mint: Some(true), ..KeyFields::default() };
        match which {
            0 => some.bounds.models = all.bounds.models,
            1 => some.bounds.networks = all.bounds.networks,
            2 => some.bounds.budgets = all.bounds.budgets,
            3 => some.bounds.concurrency = all.bounds.concurrency,
            4 => (some.priority, some.audit) = (all.priority, all.audit),
            5 => some.bounds.endpoints = all.bounds.endpoints,
            6 => {
                some.bounds.max_output = all.bounds.max_output;
                some.bounds.max_body = all.bounds.max_body;
            }
            7 => {
                some.bounds.requests_per_minute = all.bounds.requests_per_minute;
                some.bounds.tokens_per_minute = all.bounds.tokens_per_minute;
            }
            _ => (some.expires, some.uses) = (all.expires, all.uses),
        }
        some
    });
    prop_oneof![1 => all, 3 => some]
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0usize..8;
    prop_oneof![
        3 => (prop::option::of(key()), prop::bool::weighted(0.2), fields())
            .prop_map(|(parent, sandbox, fields)| Step::Create { parent, sandbox, fields }),
        6 => (key(), fields()).prop_map(|(holder, fields)| Step::Mint { holder, fields }),
        4 => (key(), fields()).prop_map(|(key, fields)| Step::Edit { key, fields }),
        1 => key().prop_map(|key| Step::Rotate { key }),
        1 => key().prop_map(|key| Step::Revoke { key }),
        1 => key().prop_map(|key| Step::RevokeInVain { key }),
        1 => (key(), fields()).prop_map(|(key, fields)| Step::RevokeMeanwhile { key, fields }),
        1 => bounds_fields().prop_map(|bounds| Step::Tenant { bounds }),
        1 => key().prop_map(|key| Step::Delete { key }),
        1 => (1..HOUR).prop_map(|time| Step::Wait { time }),
    ]
}

/// What a call of a key may do: the tightest of all its scopes, tried on samples.
struct Effective {
    models: Vec<bool>,
    doors: Vec<bool>,
    callers: Vec<bool>,
    numbers: Vec<u64>,
}

fn effective(scopes: &[(&Bounds, Option<u64>)], expires: UnixMillis, priority: u8) -> Effective {
    let all = |check: &dyn Fn(&Bounds) -> bool| scopes.iter().all(|(bounds, _)| check(bounds));
    let least = |pick: &dyn Fn(&Bounds) -> Option<u64>| {
        scopes.iter().filter_map(|(bounds, _)| pick(bounds)).min().unwrap_or(u64::MAX)
    };
    let model = |name: &&str| {
        all(&|bounds| bounds.models.is_empty() || bounds.models.iter().any(|g| g.matches(name)))
    };
    let door = |door: &Endpoint| {
        all(&|bounds| bounds.endpoints.is_empty() || bounds.endpoints.contains(door))
    };
    let caller = |text: &&str| {
        let address: IpAddr = text.parse().unwrap();
        let within = |net: &ipnet::IpNet| net.contains(&address);
        all(&|bounds| bounds.networks.is_empty() || bounds.networks.iter().any(within))
    };
    let mut numbers = vec![
        u64::try_from(expires).unwrap(),
        u64::from(priority),
        scopes.iter().filter_map(|(_, uses)| *uses).min().unwrap_or(u64::MAX),
        least(&|bounds| bounds.max_output),
        least(&|bounds| bounds.max_body),
        least(&|bounds| bounds.requests_per_minute.map(u64::from)),
        least(&|bounds| bounds.tokens_per_minute),
        least(&|bounds| bounds.concurrency.map(u64::from)),
    ];
    // A budget of another span takes nothing away: what may be spent of a unit in one span is that
    // of all scopes, whatever they say of others.
    for (unit, span) in UNITS.into_iter().flat_map(|unit| SPANS.map(|span| (unit, span))) {
        let same = |budget: &&Budget| (budget.unit, budget.span) == (unit, span);
        numbers.push(least(&|bounds| {
            bounds.budgets.iter().filter(same).map(|budget| budget.limit).min()
        }));
    }
    Effective {
        models: ["", "a", "ab", "abc", "b", "c", "xyz"].iter().map(model).collect(),
        doors: Endpoint::ALL.iter().map(door).collect(),
        callers: ["10.1.2.3", "10.9.9.9", "192.0.2.1", "::1"].iter().map(caller).collect(),
        numbers,
    }
}

impl Effective {
    /// At enforcement: with everything above it.
    fn of(key: &ActiveKey) -> Self {
        let scopes: Vec<_> = key.scopes.iter().map(|scope| (&*scope.bounds, scope.uses)).collect();
        effective(&scopes, key.expires, key.priority)
    }

    /// As its own fields say, to people.
    fn said(key: &ActiveKey) -> Self {
        let key = &key.key;
        effective(&[(&key.bounds, key.uses)], key.expires.unwrap_or(i64::MAX), key.priority)
    }

    fn within(&self, above: &Self) -> bool {
        let implied = |low: &[bool], high: &[bool]| low.iter().zip(high).all(|(l, h)| *h || !*l);
        implied(&self.models, &above.models)
            && implied(&self.doors, &above.doors)
            && implied(&self.callers, &above.callers)
            && self.numbers.iter().zip(&above.numbers).all(|(low, high)| low <= high)
    }
}

/// Takes a step and says which key it gave fields to, if it was allowed.
async fn take(house: &House, step: Step) -> Option<KeyId> {
    let mut ids: Vec<KeyId> =
        house.admin.keyring().snapshot().keys().map(|key| key.key.id).collect();
    ids.sort();
    let pick = |at: usize| ids.get(at % ids.len().max(1)).copied();
    let (admin, by) = (&house.admin, Actor::Machine);
    match step {
        Step::Create { parent, sandbox, fields } => {
            let (parent, kind) = (parent.and_then(pick), sandbox.then_some(KeyKind::Sandbox));
            let new = NewKey { kind, parent, fields, ..NewKey::default() };
            admin.key_create(new, by).await.ok().map(|issued| issued.key.key.id)
        }
        Step::Mint { holder, fields } => {
            let minted = admin.key_mint(pick(holder)?, fields).await;
            minted.ok().map(|issued| issued.key.key.id)
        }
        Step::Edit { key, fields } => {
            drop(admin.key_edit(pick(key)?, fields, by).await);
            None
        }
        Step::Rotate { key } => {
            drop(admin.key_rotate(pick(key)?, Duration::from_secs(9), by).await);
            None
        }
        Step::Revoke { key } => {
            drop(admin.key_revoke(pick(key)?, by).await);
            None
        }
        Step::RevokeInVain { key } => {
            let key = pick(key)?;
            house.store.fail(Some("disk full"));
            drop(admin.key_revoke(key, by).await);
            house.store.fail(None);
            None
        }
        Step::RevokeMeanwhile { key, fields } => {
            let key = pick(key)?;
            house.store.hold();
            let both = async {
                let editing = admin.key_edit(key, fields, by.clone());
                let (_, revoked) = tokio::join!(editing, admin.key_revoke(key, by.clone()));
                assert!(revoked.unwrap().alive(admin.now()).is_err());
            };
            let writing = async {
                loop {
                    tokio::task::yield_now().await;
                    house.store.release();
                    house.store.hold();
                }
            };
            tokio::select! {
                () = both => {}
                () = writing => {}
            }
            house.store.release();
            assert!(admin.key_show(key).unwrap().alive(admin.now()).is_err());
            None
        }
        Step::Tenant { bounds } => {
            let fields = TenantFields { bounds, ..TenantFields::default() };
            drop(admin.tenant_edit("default".parse().unwrap(), fields, by).await);
            None
        }
        Step::Delete { key } => {
            drop(admin.key_delete(pick(key)?, by).await);
            None
        }
        Step::Wait { time } => {
            house.clock.advance(time);
            None
        }
    }
}

/// What holds at any time, for each key and the one right above it (and so all above).
fn check(house: &House, fresh: Option<KeyId>) -> Result<usize, TestCaseError> {
    let (snapshot, now) = (house.admin.keyring().snapshot(), house.admin.now());
    let mut children = 0;
    for key in snapshot.keys() {
        let Some(parent) = key.key.parent else { continue };
        let Some(parent) = snapshot.key(parent) else {
            prop_assert!(key.alive(now).is_err(), "an orphan lives");
            continue;
        };
        children += 1;
        prop_assert!(parent.alive(now).is_ok() || key.alive(now).is_err(), "a child outlives");
        prop_assert!(Effective::of(key).within(&Effective::of(parent)), "{key:?} {parent:?}");
        prop_assert!(parent.can_mint || !key.can_mint, "{key:?} {parent:?}");
        prop_assert_eq!(key.audit, parent.audit);
        prop_assert_eq!((key.key.kind, &key.key.tenant), (parent.key.kind, &parent.key.tenant));
        if fresh == Some(key.key.id) {
            prop_assert!(Effective::said(key).within(&Effective::said(parent)), "{key:?}");
        }
    }
    Ok(children)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// No sequence of operations gives a key more than any above it, or lets it outlive them; and
    /// what is in memory is what a restart would load.
    #[test]
    fn no_child_ever_has_more(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let house = House::new();
            for step in steps {
                let fresh = take(&house, step).await;
                check(&house, fresh)?;
            }
            let loaded = crate::store::Store::load(&*house.store).await.unwrap();
            let mut keys = loaded.keys;
            keys.sort_by_key(|key| key.id);
            let snapshot = house.admin.keyring().snapshot();
            let mut kept: Vec<_> = snapshot.keys().map(|key| key.key.clone()).collect();
            kept.sort_by_key(|key| key.id);
            prop_assert_eq!(keys, kept);
            Ok(())
        })?;
    }
}

/// The law says something only if children are made at all.
#[test]
fn the_steps_make_children() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut most = 0;
    for _ in 0..20 {
        let steps = prop::collection::vec(step(), 40).new_tree(&mut runner).unwrap().current();
        most = most.max(runtime.block_on(async {
            let house = House::new();
            for step in steps {
                take(&house, step).await;
            }
            check(&house, None).unwrap()
        }));
    }
    assert!(most >= 5, "{most}");
}
