//! Keys and tenants.

use gateway::keys::{AuditPolicy, KeyKind, VirtualKey};
use gateway::store::{Actor, Change, Opened, Progress, StoreError};

use super::{Place, reopen};
use crate::samples::{START, key, key_id, opened, tenant};

pub(crate) async fn keys_and_tenants_come_back_as_they_were(place: &impl Place) {
    let store = place.open();
    let plain = VirtualKey {
        parent: None,
        kind: KeyKind::Model,
        expires: None,
        revoked: Some(START),
        earlier: None,
        uses: None,
        can_mint: false,
        audit: AuditPolicy::Full,
        bounds: gateway::keys::Bounds::default(),
        ..key(2)
    };
    for change in [
        Change::TenantCreated(tenant("team").into()),
        Change::KeyCreated(key(1).into()),
        Change::KeyCreated(key(2).into()),
        Change::KeyCreated(key(3).into()),
    ] {
        store.change(change, Actor::Machine).await.unwrap();
    }
    let by_key = Actor::Key(key_id(3));
    store.change(Change::KeyChanged(plain.clone().into()), by_key.clone()).await.unwrap();
    store.change(Change::KeyDeleted(key_id(3)), by_key).await.unwrap();
    let store = reopen(place, store).await;
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.keys, [key(1), plain]);
    assert_eq!(loaded.tenants, [tenant("team")]);
    let verdict = store.verify(Progress::default()).await.unwrap();
    assert_eq!((verdict.finding, verdict.checked), (None, 6));
}

pub(crate) async fn what_is_there_cannot_be_made_and_what_is_not_cannot_be_changed(
    place: &impl Place,
) {
    let store = place.open();
    let change = async |change| store.change(change, Actor::Machine).await;
    change(Change::KeyCreated(key(1).into())).await.unwrap();
    change(Change::TenantCreated(tenant("a").into())).await.unwrap();
    let (conflict, missing) = (Err(StoreError::Conflict), Err(StoreError::Missing));
    assert_eq!(change(Change::KeyCreated(key(1).into())).await, conflict);
    assert_eq!(change(Change::TenantCreated(tenant("a").into())).await, conflict);
    assert_eq!(change(Change::KeyChanged(key(2).into())).await, missing);
    assert_eq!(change(Change::TenantChanged(tenant("b").into())).await, missing);
    assert_eq!(change(Change::KeyDeleted(key_id(2))).await, missing);
    assert_eq!(change(Change::TenantDeleted("b".parse().unwrap())).await, missing);
    change(Change::TenantChanged(tenant("a").into())).await.unwrap();
    change(Change::TenantDeleted("a".parse().unwrap())).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.keys.len(), loaded.tenants.len()), (1, 0));
}

pub(crate) async fn the_last_use_of_a_key_is_known(place: &impl Place) {
    let store = place.open();
    for number in [1, 2, 3] {
        store.change(Change::KeyCreated(key(number).into()), Actor::Machine).await.unwrap();
    }
    store.open(opened(5).into()).await.unwrap();
    store.open(Opened { received: START, ..opened(3) }.into()).await.unwrap();
    let store = reopen(place, store).await;
    assert_eq!(store.load().await.unwrap().last_used, [(key_id(1), START + 5)]);
    // Not every use is a call. What is earlier than what is known changes nothing.
    store.note_used(vec![(key_id(2), START + 7), (key_id(1), START + 4), (key_id(9), START)]);
    store.note_used(vec![(key_id(2), START + 6)]);
    let store = reopen(place, store).await;
    let used = [(key_id(1), START + 5), (key_id(2), START + 7)];
    assert_eq!(store.load().await.unwrap().last_used, used);
    store.open(opened(8).into()).await.unwrap();
    let used = [(key_id(1), START + 8), (key_id(2), START + 7)];
    assert_eq!(store.load().await.unwrap().last_used, used);
}
