//! Rates over a start, from the record of the last minute.

use std::sync::Arc;

use gateway::admission::{Admission, Ask};
use gateway::clock::WallClock;
use gateway::keyring::Keyring;
use gateway::keys::token::InstallSecret;
use gateway::keys::{KeyId, KeyKind, SecretDigest, Tenant, UnixMillis, VirtualKey};
use gateway::policy::Policy;
use gateway::store::{Loaded, Opened, Spending};
use model::{FailureKind, Retry};

use super::Directory;
use crate::contract::Place;
use crate::samples::{START, amounts, id, key_id, key_scope, opened};

/// Other callers' calls: more than are read at once, many times.
const CROWD: u32 = 12_000;

#[derive(Debug)]
struct At(UnixMillis);

impl WallClock for At {
    fn now(&self) -> UnixMillis {
        self.0
    }
}

fn key(id: KeyId) -> VirtualKey {
    VirtualKey::new(KeyKind::Model, "team".parse().unwrap(), id, SecretDigest([0; 32]), 0)
}

#[tokio::test]
async fn a_call_of_half_a_minute_ago_counts_however_many_came_since() {
    let (place, quiet, loud) = (Directory::new(), key_id(1), key_id(2));
    let call = |number: u32, key: u8, received: UnixMillis| Opened {
        id: id(number, received),
        received,
        key: Some(key_id(key)),
        reserved: Spending {
            scopes: [key_scope(key)].into(),
            admitted: received,
            amounts: amounts(1, 1, 0),
        },
        body: None,
        ..opened(number)
    };
    let store = place.open();
    store.open(call(0, 1, START).into()).await.unwrap();
    let crowd = (1..=CROWD).map(|number| call(number, 2, START + 30_000 + i64::from(number)));
    let written: Vec<_> = crowd.map(|call| store.open(call.into())).collect();
    for written in written {
        written.await.unwrap();
    }
    let mut once = key(quiet);
    once.bounds.requests_per_minute = Some(1);
    let keys = vec![once, key(loud)];
    let tenants = vec![Tenant::new("team".parse().unwrap(), 0)];
    let loaded = Loaded { keys, tenants, ..Loaded::default() };
    let snapshot = Keyring::new(InstallSecret::new([1; 32]), loaded).snapshot();
    let admission = Admission::new(Policy::default(), Arc::new(At(START + 45_000)));
    let admission = Arc::new(admission);
    admission.load_rates(&*store, &snapshot).await.unwrap();
    let ask = |id| Ask {
        key: snapshot.key(id).map(|key| &**key),
        model: "auto",
        input_tokens: 1,
        max_output: None,
        choices: 1,
        samplings: 1,
    };
    let refused = admission.admit(&ask(quiet)).unwrap_err();
    assert_eq!(refused.kind, FailureKind::RateLimited);
    let Retry::After(wait) = refused.retry else { panic!("{refused:?}") };
    assert!((14..=15).contains(&wait.as_secs()), "{wait:?}");
    admission.admit(&ask(loud)).unwrap();
}
