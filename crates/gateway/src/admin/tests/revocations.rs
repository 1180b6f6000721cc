//! Revocations, which count before anything is written.

use super::*;
use crate::keys::ScopeId;
use crate::store::Change;

type Revoking = tokio::task::JoinHandle<Result<(), AdminError>>;

impl House {
    /// Begins to revoke something, as an administrator does.
    fn revoke(&self, scope: ScopeId) -> Revoking {
        let admin = self.admin.clone();
        self.tasks.spawn(async move {
            match scope {
                ScopeId::Key(id) => admin.key_revoke(id, Actor::Machine).await.map(drop),
                ScopeId::Tenant(id) => admin.tenant_revoke(id, Actor::Machine).await.map(drop),
            }
        })
    }

    /// Lets everything go on that can.
    async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    /// Answers the write that waits, and lets the next one wait.
    async fn write_one(&self) {
        assert_eq!(self.store.held(), 1, "one change at a time");
        self.store.release();
        self.store.hold();
        self.settle().await;
    }

    /// A key of a tenant of that name.
    async fn key_of(&self, tenant: &str) -> Issued {
        let tenant = Some(tenant.parse().unwrap());
        self.create(NewKey { tenant, ..NewKey::default() }).await
    }

    /// When the last change on record says that its key was revoked.
    fn last_written(&self) -> (KeyId, Option<i64>) {
        match self.store.changes().pop().unwrap().0 {
            Change::KeyChanged(key) => (key.id, key.revoked),
            other => panic!("{other:?}"),
        }
    }
}

fn down() -> AdminError {
    AdminError::Store(StoreError::Down("disk full".into()))
}

#[tokio::test]
async fn a_revocation_counts_before_it_is_written_and_is_taken_back_if_it_cannot_be() {
    let house = House::new();
    let team = NewTenant { id: "team".parse().unwrap(), fields: TenantFields::default() };
    house.admin.tenant_create(team, Actor::Machine).await.unwrap();
    let new = NewKey { tenant: Some("team".parse().unwrap()), ..NewKey::default() };
    let issued = house.create(new).await;
    let id = issued.key.key.id;
    for of_tenant in [false, true] {
        house.store.fail(Some("disk full"));
        house.store.hold();
        let admin = house.admin.clone();
        let revoking = house.tasks.spawn(async move {
            if of_tenant {
                let team = "team".parse().unwrap();
                admin.tenant_revoke(team, Actor::Machine).await.map(drop)
            } else {
                admin.key_revoke(id, Actor::Machine).await.map(drop)
            }
        });
        while house.store.held() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(house.show(&issued), Err(Denied::Revoked));
        house.store.release();
        let down = AdminError::Store(StoreError::Down("disk full".into()));
        assert_eq!(revoking.await.unwrap(), Err(down));
        assert_eq!(house.show(&issued), Ok(id));
        // A call that begins now is not ended by what was taken back.
        assert!(!house.admin.key_show(id).unwrap().ended.is_cancelled());
        house.store.fail(None);
    }
    house.admin.key_revoke(id, Actor::Machine).await.unwrap();
    assert_eq!(house.show(&issued), Err(Denied::Revoked));
}

#[tokio::test]
async fn revocations_count_at_once_whatever_is_being_written() {
    let house = House::new();
    let (first, second) = (house.create(NewKey::default()).await, house.key_of("team").await);
    let minting = KeyFields { can_mint: Some(true), ..KeyFields::default() };
    let parent = house.create(NewKey { fields: minting, ..NewKey::default() }).await;
    let child = house.admin.key_mint(parent.key.key.id, KeyFields::default()).await.unwrap();
    house.store.hold();
    let mut revoking = vec![house.revoke(ScopeId::Key(first.key.key.id))];
    house.settle().await;
    // Each of these waits for its turn behind the first.
    revoking.push(house.revoke(ScopeId::Tenant("team".parse().unwrap())));
    let (admin, holder, id) = (house.admin.clone(), parent.key.key.id, child.key.key.id);
    let ending = async move { admin.child_revoke(holder, id).await.map(drop) };
    revoking.push(house.tasks.spawn(ending));
    house.settle().await;
    assert_eq!(house.store.held(), 1);
    for issued in [&first, &second, &child] {
        assert_eq!(house.show(issued), Err(Denied::Revoked));
    }
    assert!(house.show(&parent).is_ok() && second.key.ended.is_cancelled());
    for revoking in revoking {
        house.write_one().await;
        assert_eq!(revoking.await.unwrap(), Ok(()));
    }
    assert_eq!(house.last_written(), (id, Some(NOW)));
}

#[tokio::test]
async fn an_edit_that_is_being_written_does_not_bring_a_key_back() {
    let house = House::new();
    let issued = house.create(NewKey::default()).await;
    let id = issued.key.key.id;
    house.store.hold();
    let (admin, fields) =
        (house.admin.clone(), KeyFields { uses: Some(Some(5)), ..KeyFields::default() });
    let editing =
        house.tasks.spawn(async move { admin.key_edit(id, fields, Actor::Machine).await });
    house.settle().await;
    let revoking = house.revoke(ScopeId::Key(id));
    house.settle().await;
    assert_eq!(house.show(&issued), Err(Denied::Revoked));
    house.write_one().await;
    editing.await.unwrap().unwrap();
    assert_eq!(house.show(&issued), Err(Denied::Revoked));
    house.write_one().await;
    revoking.await.unwrap().unwrap();
    assert_eq!(house.last_written(), (id, Some(NOW)));
    // Nothing of the edit is lost by that.
    let key = house.admin.key_show(id).unwrap();
    assert_eq!((key.key.uses, key.key.revoked), (Some(5), Some(NOW)));
    let loaded = crate::store::Store::load(&*house.store).await.unwrap();
    assert_eq!(loaded.keys, std::slice::from_ref(&key.key));
}

#[tokio::test]
async fn what_was_edited_meanwhile_stays_if_a_revocation_is_taken_back() {
    let house = House::new();
    let issued = house.create(NewKey::default()).await;
    let id = issued.key.key.id;
    house.store.hold();
    let (admin, fields) =
        (house.admin.clone(), KeyFields { uses: Some(Some(5)), ..KeyFields::default() });
    let editing =
        house.tasks.spawn(async move { admin.key_edit(id, fields, Actor::Machine).await });
    house.settle().await;
    let revoking = house.revoke(ScopeId::Key(id));
    house.settle().await;
    house.store.fail(Some("disk full"));
    house.write_one().await;
    editing.await.unwrap().unwrap();
    house.write_one().await;
    assert_eq!(revoking.await.unwrap(), Err(down()));
    assert_eq!(house.show(&issued), Ok(id));
    assert_eq!(house.admin.key_show(id).unwrap().key.uses, Some(5));
}

#[tokio::test]
async fn of_two_who_revoke_the_same_each_tries_to_write_it() {
    let house = House::new();
    let issued = house.create(NewKey::default()).await;
    let id = issued.key.key.id;
    for works in [false, true] {
        house.store.hold();
        house.store.fail(Some("disk full"));
        let revoking = [house.revoke(ScopeId::Key(id)), house.revoke(ScopeId::Key(id))];
        house.settle().await;
        if works {
            house.store.fail(None);
        }
        house.write_one().await;
        // The first could not, and the second still may.
        assert_eq!(house.show(&issued), Err(Denied::Revoked));
        house.write_one().await;
        let [first, second] = revoking;
        assert_eq!(first.await.unwrap(), Err(down()));
        assert_eq!(second.await.unwrap(), if works { Ok(()) } else { Err(down()) });
        assert_eq!(house.show(&issued), if works { Err(Denied::Revoked) } else { Ok(id) });
    }
    // What is on record is not written again.
    let changes = house.store.changes().len();
    house.store.release();
    house.revoke(ScopeId::Key(id)).await.unwrap().unwrap();
    assert_eq!(house.store.changes().len(), changes);
}

#[tokio::test]
async fn who_revokes_their_own_key_still_has_it_written() {
    let house = House::new();
    let new = NewKey { kind: Some(KeyKind::Admin), ..NewKey::default() };
    let (mine, other) = (house.create(new.clone()).await, house.create(new).await);
    let (mine, other) = (mine.key.key.id, other.key.key.id);
    house.store.hold();
    let admin = house.admin.clone();
    let own = house.tasks.spawn(async move { admin.key_revoke(mine, Actor::Key(mine)).await });
    house.settle().await;
    // The key has ended, and may do nothing more.
    let refused = house.admin.key_revoke(other, Actor::Key(mine)).await;
    assert!(matches!(refused, Err(AdminError::Forbidden(_))), "{refused:?}");
    house.write_one().await;
    own.await.unwrap().unwrap();
    assert_eq!(house.last_written(), (mine, Some(NOW)));
}

/// What an edit has put on record cannot be taken back: the next start would know it all the same.
#[tokio::test]
async fn a_revocation_that_an_edit_has_put_on_record_holds() {
    let house = House::new();
    let team = NewTenant { id: "team".parse().unwrap(), fields: TenantFields::default() };
    house.admin.tenant_create(team, Actor::Machine).await.unwrap();
    let (of_team, other) = (house.key_of("team").await, house.create(NewKey::default()).await);
    house.store.hold();
    let mut all = vec![house.revoke(ScopeId::Key(other.key.key.id))];
    house.settle().await;
    let admin = house.admin.clone();
    all.push(house.tasks.spawn(async move {
        let fields = TenantFields { weight: Some(3), ..TenantFields::default() };
        admin.tenant_edit("team".parse().unwrap(), fields, Actor::Machine).await.map(drop)
    }));
    house.settle().await;
    all.push(house.revoke(ScopeId::Tenant("team".parse().unwrap())));
    house.settle().await;
    for _ in 0..2 {
        house.write_one().await;
    }
    assert_eq!(house.store.held(), 0, "nothing is left to write, and so nothing can fail");
    for one in all {
        assert_eq!(one.await.unwrap(), Ok(()));
    }
    assert_eq!(house.show(&of_team), Err(Denied::Revoked));
    let Change::TenantChanged(written) = house.store.changes().pop().unwrap().0 else { panic!() };
    assert_eq!((written.weight, written.revoked), (3, Some(NOW)));
}
