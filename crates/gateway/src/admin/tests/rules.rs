//! Each rule of administering by itself.

use super::*;
use crate::admin::keys::{LINE, MINTS};

fn bounded() -> KeyFields {
    KeyFields {
        expires: Some(Some(NOW + HOUR)),
        uses: Some(Some(100)),
        priority: Some(50),
        bounds: BoundsFields {
            models: Some(vec!["gpt-*".parse().unwrap(), "auto".parse().unwrap()]),
            endpoints: Some(vec![Endpoint::Chat, Endpoint::Messages]),
            networks: Some(vec!["10.0.0.0/8".parse().unwrap()]),
            max_output: Some(Some(1000)),
            max_body: Some(Some(1000)),
            requests_per_minute: Some(Some(60)),
            tokens_per_minute: Some(Some(1000)),
            concurrency: Some(Some(4)),
            budgets: Some(vec![budget(Unit::Tokens, 500)]),
        },
        ..KeyFields::default()
    }
}

fn budget(unit: Unit, limit: u64) -> Budget {
    Budget { unit, span: Span::Day, limit }
}

fn bounds(change: impl FnOnce(&mut BoundsFields)) -> KeyFields {
    let mut fields = KeyFields::default();
    change(&mut fields.bounds);
    fields
}

/// Each field, as much as the bounded parent has, and more.
fn each_field() -> Vec<(&'static str, KeyFields, Vec<KeyFields>)> {
    let mut out = vec![
        (
            "expires",
            KeyFields { expires: Some(Some(NOW + HOUR)), ..KeyFields::default() },
            [Some(NOW + HOUR + 1), None]
                .map(|expires| KeyFields { expires: Some(expires), ..KeyFields::default() })
                .to_vec(),
        ),
        (
            "uses",
            KeyFields { uses: Some(Some(100)), ..KeyFields::default() },
            [Some(101), None]
                .map(|uses| KeyFields { uses: Some(uses), ..KeyFields::default() })
                .to_vec(),
        ),
        (
            "priority",
            KeyFields { priority: Some(50), ..KeyFields::default() },
            vec![KeyFields { priority: Some(51), ..KeyFields::default() }],
        ),
        (
            "audit",
            KeyFields { audit: Some(AuditPolicy::Full), ..KeyFields::default() },
            vec![KeyFields { audit: Some(AuditPolicy::Metadata), ..KeyFields::default() }],
        ),
        (
            "bounds.models",
            bounds(|bounds| bounds.models = Some(vec!["gpt-4*".parse().unwrap()])),
            vec![
                bounds(|bounds| bounds.models = Some(vec![])),
                bounds(|bounds| bounds.models = Some(vec!["gpt*".parse().unwrap()])),
            ],
        ),
        (
            "bounds.endpoints",
            bounds(|bounds| bounds.endpoints = Some(vec![Endpoint::Chat])),
            vec![
                bounds(|bounds| bounds.endpoints = Some(vec![])),
                bounds(|bounds| bounds.endpoints = Some(vec![Endpoint::Responses])),
            ],
        ),
        (
            "bounds.networks",
            bounds(|bounds| bounds.networks = Some(vec!["10.1.0.0/16".parse().unwrap()])),
            vec![
                bounds(|bounds| bounds.networks = Some(vec![])),
                bounds(|bounds| bounds.networks = Some(vec!["10.0.0.0/7".parse().unwrap()])),
                bounds(|bounds| bounds.networks = Some(vec!["::/0".parse().unwrap()])),
            ],
        ),
        (
            "bounds.budgets",
            bounds(|bounds| bounds.budgets = Some(vec![budget(Unit::Tokens, 500)])),
            vec![bounds(|bounds| bounds.budgets = Some(vec![budget(Unit::Tokens, 501)]))],
        ),
    ];
    macro_rules! number {
        ($name:literal, $field:ident, $most:literal) => {
            out.push((
                $name,
                bounds(|bounds| bounds.$field = Some(Some($most))),
                vec![
                    bounds(|bounds| bounds.$field = Some(Some($most + 1))),
                    bounds(|bounds| bounds.$field = Some(None)),
                ],
            ));
        };
    }
    number!("bounds.max_output", max_output, 1000);
    number!("bounds.max_body", max_body, 1000);
    number!("bounds.requests_per_minute", requests_per_minute, 60);
    number!("bounds.tokens_per_minute", tokens_per_minute, 1000);
    number!("bounds.concurrency", concurrency, 4);
    out
}

#[tokio::test]
async fn a_child_is_within_its_parent_in_every_field() {
    let house = House::new();
    let parent = house.parent(bounded()).await;
    for (name, fits, wider) in each_field() {
        let child = house.admin.key_mint(parent, fits.clone()).await.unwrap();
        let id = child.key.key.id;
        for wider in wider {
            let minted = house.admin.key_mint(parent, wider.clone()).await.unwrap_err();
            assert_eq!(field(&minted), name);
            // An administrator is held to it too.
            let new = NewKey { parent: Some(parent), fields: wider.clone(), ..NewKey::default() };
            let made = house.admin.key_create(new, Actor::Machine).await.unwrap_err();
            assert_eq!(field(&made), name);
            let edited = house.admin.key_edit(id, wider, Actor::Machine).await.unwrap_err();
            assert_eq!(field(&edited), name);
        }
        house.admin.child_revoke(parent, id).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_said_of_a_child_is_as_with_its_parent() {
    let house = House::new();
    let parent = house.parent(bounded()).await;
    let parent = house.admin.key_show(parent).unwrap();
    let mint = |fields| house.admin.key_mint(parent.key.id, fields);
    let child = mint(KeyFields::default()).await.unwrap().key;
    assert_eq!(child.key.bounds, parent.key.bounds);
    assert_eq!(
        (child.key.expires, child.key.uses, child.key.priority, child.key.parent),
        (parent.key.expires, Some(100), 50, Some(parent.key.id)),
    );
    assert!(!child.key.can_mint && !child.can_mint);
    let requests = budget(Unit::Requests, 5);
    let child = mint(bounds(|bounds| bounds.budgets = Some(vec![requests]))).await.unwrap().key;
    assert_eq!(child.key.bounds.budgets, [requests, budget(Unit::Tokens, 500)]);
    let refused = house.admin.key_mint(child.key.id, KeyFields::default()).await.unwrap_err();
    assert_eq!(refused, AdminError::Forbidden("This key may not make child keys."));
}

#[tokio::test]
async fn fields_that_cannot_be_are_refused_by_name() {
    let house = House::new();
    let twice = vec![budget(Unit::Cost, 1), budget(Unit::Cost, 2)];
    let many = vec!["a".parse().unwrap(); 65];
    let text = |name: &str, notes: &str| KeyFields {
        name: Some(name.to_owned()),
        notes: Some(notes.to_owned()),
        ..KeyFields::default()
    };
    for (name, fields) in [
        ("name", text(&"ü".repeat(101), "")),
        ("name", text("a\u{1b}[2J", "")),
        ("notes", text("", &"x".repeat(4097))),
        ("notes", text("", "a\rb")),
        ("expires", KeyFields { expires: Some(Some(NOW)), ..KeyFields::default() }),
        ("expires", KeyFields { expires: Some(Some(i64::MAX)), ..KeyFields::default() }),
        ("uses", KeyFields { uses: Some(Some(0)), ..KeyFields::default() }),
        ("uses", KeyFields { uses: Some(Some(u64::MAX)), ..KeyFields::default() }),
        ("bounds.models", bounds(|bounds| bounds.models = Some(many))),
        ("bounds.concurrency", bounds(|bounds| bounds.concurrency = Some(Some(0)))),
        ("bounds.budgets", bounds(|bounds| bounds.budgets = Some(twice))),
        ("bounds.budgets", bounds(|bounds| bounds.budgets = Some(vec![budget(Unit::Cost, 0)]))),
    ] {
        let new = NewKey { fields, ..NewKey::default() };
        let error = house.admin.key_create(new, Actor::Machine).await.unwrap_err();
        assert_eq!(field(&error), name, "{error}");
    }
    let good = KeyFields { ..text(&"ü".repeat(100), &"x\n".repeat(2048)) };
    house.create(NewKey { fields: good, ..NewKey::default() }).await;
}

#[tokio::test]
async fn an_admin_key_takes_no_bound_that_would_never_hold() {
    let house = House::new();
    let admin = |fields| NewKey { kind: Some(KeyKind::Admin), fields, ..NewKey::default() };
    let limited = bounds(|bounds| bounds.max_output = Some(Some(1)));
    let error = house.admin.key_create(admin(limited), Actor::Machine).await.unwrap_err();
    assert_eq!(field(&error), "bounds.max_output");
    let minting = KeyFields { can_mint: Some(true), ..KeyFields::default() };
    let error = house.admin.key_create(admin(minting), Actor::Machine).await.unwrap_err();
    assert_eq!(field(&error), "can_mint");
}

#[tokio::test]
async fn an_admin_key_cannot_lift_the_bounds_of_its_own_tenant() {
    let house = House::new();
    let networks = |nets: &[&str]| TenantFields {
        bounds: BoundsFields {
            networks: Some(nets.iter().map(|net| net.parse().unwrap()).collect()),
            ..BoundsFields::default()
        },
        ..TenantFields::default()
    };
    let admin = house.create(NewKey { kind: Some(KeyKind::Admin), ..NewKey::default() }).await;
    let model = house.create(NewKey::default()).await;
    let own = admin.key.key.tenant.clone();
    house.admin.tenant_edit(own.clone(), networks(&["10.0.0.0/8"]), Actor::Machine).await.unwrap();
    let by = Actor::Key(admin.key.key.id);
    for wider in [&[][..], &["0.0.0.0/0"]] {
        let edited = house.admin.tenant_edit(own.clone(), networks(wider), by.clone()).await;
        assert!(matches!(edited, Err(AdminError::Forbidden(_))), "{edited:?}");
    }
    // Those of others are its work, and without bounds it may also change its own.
    let other = model.key.key.tenant.clone();
    house.admin.tenant_edit(other, networks(&["10.0.0.0/8"]), by.clone()).await.unwrap();
    house.admin.tenant_edit(own.clone(), networks(&[]), Actor::Machine).await.unwrap();
    house.admin.tenant_edit(own, networks(&["10.0.0.0/8"]), by).await.unwrap();
}

#[tokio::test]
async fn a_bounded_admin_key_cannot_get_around_its_bounds() {
    let house = House::new();
    let make = |fields| NewKey { kind: Some(KeyKind::Admin), fields, ..NewKey::default() };
    let full = house.create(make(KeyFields::default())).await.key.key.id;
    let ends = KeyFields { expires: Some(Some(NOW + HOUR)), ..KeyFields::default() };
    let brief = house.create(make(ends)).await.key.key.id;
    let inside = bounds(|bounds| bounds.networks = Some(vec!["10.0.0.0/8".parse().unwrap()]));
    let local = house.create(make(inside)).await.key.key.id;
    let forever = KeyFields { expires: Some(None), ..KeyFields::default() };
    for by in [brief, local].map(Actor::Key) {
        let admin = &house.admin;
        let new = make(KeyFields::default());
        let tries = [
            admin.key_create(new, by.clone()).await.map(drop),
            admin.key_edit(brief, forever.clone(), by.clone()).await.map(drop),
            admin.key_rotate(full, Duration::ZERO, by.clone()).await.map(drop),
        ];
        for tried in tries {
            assert!(matches!(tried, Err(AdminError::Forbidden(_))), "{tried:?}");
        }
        house.admin.key_create(NewKey::default(), by).await.unwrap();
    }
    house.clock.advance(HOUR);
    let late = house.admin.key_create(NewKey::default(), Actor::Key(brief)).await;
    assert!(matches!(late, Err(AdminError::Forbidden(_))));
    house.admin.key_create(make(KeyFields::default()), Actor::Key(full)).await.unwrap();
}

#[tokio::test]
async fn a_tenant_is_made_with_its_first_key() {
    let house = House::new();
    let team = NewKey { tenant: Some("team".parse().unwrap()), ..NewKey::default() };
    let first = house.create(team.clone()).await;
    assert_eq!(house.show(&first), Ok(first.key.key.id));
    house.create(team.clone()).await;
    house.create(NewKey::default()).await;
    house.create(NewKey { kind: Some(KeyKind::Admin), ..NewKey::default() }).await;
    let page = house.admin.tenant_list(None, 2);
    let names: Vec<&str> = page.items.iter().map(|tenant| tenant.id.as_str()).collect();
    assert_eq!((names, page.next.clone()), (vec!["admin", "default"], "default".parse().ok()));
    let rest = house.admin.tenant_list(page.next.as_ref(), 2);
    assert_eq!((rest.items.len(), rest.next), (1, None));
    let id = "team".parse().unwrap();
    house.admin.tenant_revoke(id, Actor::Machine).await.unwrap();
    assert_eq!(house.show(&first), Err(Denied::Revoked));
    let refused = house.admin.key_create(team, Actor::Machine).await;
    assert!(matches!(refused, Err(AdminError::Conflict(_))));
}

#[tokio::test]
async fn a_tenant_with_keys_cannot_be_forgotten() {
    let house = House::new();
    let new = NewTenant {
        id: "team".parse().unwrap(),
        fields: TenantFields { weight: Some(3), ..TenantFields::default() },
    };
    let admin = &house.admin;
    assert_eq!(admin.tenant_create(new.clone(), Actor::Machine).await.unwrap().weight, 3);
    let again = admin.tenant_create(new.clone(), Actor::Machine).await;
    assert!(matches!(again, Err(AdminError::Conflict(_))));
    let nothing = TenantFields { weight: Some(0), ..TenantFields::default() };
    let error = admin.tenant_edit(new.id.clone(), nothing, Actor::Machine).await.unwrap_err();
    assert_eq!(field(&error), "weight");
    let key = NewKey { tenant: Some(new.id.clone()), ..NewKey::default() };
    let key = house.create(key).await.key.key.id;
    let refused = admin.tenant_delete(new.id.clone(), Actor::Machine).await;
    assert!(matches!(refused, Err(AdminError::Conflict(_))));
    admin.key_delete(key, Actor::Machine).await.unwrap();
    admin.tenant_delete(new.id.clone(), Actor::Machine).await.unwrap();
    assert_eq!(admin.tenant_show(&new.id), Err(AdminError::NotFound("tenant")));
}

#[tokio::test]
async fn a_store_that_fails_leaves_everything_as_it_was() {
    let house = House::new();
    let issued = house.create(NewKey::default()).await;
    let id = issued.key.key.id;
    house.store.fail(Some("disk full"));
    let admin = &house.admin;
    let down = AdminError::Store(StoreError::Down("disk full".into()));
    let by = || Actor::Machine;
    assert_eq!(admin.key_create(NewKey::default(), by()).await.unwrap_err(), down);
    assert_eq!(admin.key_revoke(id, by()).await.unwrap_err(), down);
    assert_eq!(admin.key_delete(id, by()).await.unwrap_err(), down);
    assert_eq!(admin.key_rotate(id, Duration::ZERO, by()).await.unwrap_err(), down);
    assert_eq!(house.show(&issued), Ok(id));
    assert_eq!(admin.key_list(&KeyFilter::default(), None, 9).items.len(), 1);
    house.store.fail(None);
    admin.key_revoke(id, by()).await.unwrap();
    assert_eq!(house.show(&issued), Err(Denied::Revoked));
}

#[tokio::test]
async fn a_change_counts_when_it_is_committed_and_although_nobody_waits() {
    let house = House::new();
    let issued = house.create(NewKey::default()).await;
    house.store.hold();
    let rotating = house.admin.key_rotate(issued.key.key.id, Duration::ZERO, Actor::Machine);
    tokio::select! {
        biased;
        _ = rotating => panic!("nothing was committed"),
        () = async { while house.store.held() == 0 { tokio::task::yield_now().await } } => {}
    }
    // The future is gone, and the commit has not been answered.
    assert!(house.show(&issued).is_ok());
    house.store.release();
    house.tasks.close();
    house.tasks.wait().await;
    assert_eq!(house.show(&issued), Err(Denied::Unknown));
}

#[tokio::test]
async fn both_secrets_work_for_the_time_of_the_overlap() {
    let house = House::new();
    let first = house.create(NewKey::default()).await;
    let id = first.key.key.id;
    let rotate = |overlap| house.admin.key_rotate(id, overlap, Actor::Machine);
    let second = rotate(Duration::from_mins(1)).await.unwrap();
    assert_eq!((house.show(&first), house.show(&second)), (Ok(id), Ok(id)));
    house.clock.advance(60_000);
    assert_eq!((house.show(&first), house.show(&second)), (Err(Denied::Unknown), Ok(id)));
    let third = rotate(Duration::ZERO).await.unwrap();
    assert_eq!((house.show(&second), house.show(&third)), (Err(Denied::Unknown), Ok(id)));
    let long = rotate(Duration::from_hours(30 * 24 + 1)).await.unwrap_err();
    assert_eq!(field(&long), "overlap");
    house.admin.key_revoke(id, Actor::Machine).await.unwrap();
    let late = rotate(Duration::ZERO).await;
    assert!(matches!(late, Err(AdminError::Conflict(_))));
}

#[tokio::test]
async fn a_key_with_living_children_is_revoked_first() {
    let house = House::new();
    let parent = house.parent(KeyFields::default()).await;
    let child = house.admin.key_mint(parent, KeyFields::default()).await.unwrap();
    let delete = || house.admin.key_delete(parent, Actor::Machine);
    assert!(matches!(delete().await, Err(AdminError::Conflict(_))));
    house.admin.key_revoke(parent, Actor::Machine).await.unwrap();
    assert_eq!(house.show(&child), Err(Denied::Revoked));
    delete().await.unwrap();
    assert_eq!(house.show(&child), Err(Denied::Revoked));
}

#[tokio::test]
async fn holders_see_and_end_what_hangs_on_their_key_only() {
    let house = House::new();
    let (mine, other) = (house.parent(KeyFields::default()).await, house.parent(bounded()).await);
    let minting = KeyFields { can_mint: Some(true), ..KeyFields::default() };
    let child = house.admin.key_mint(mine, minting).await.unwrap().key.key.id;
    let grandchild = house.admin.key_mint(child, KeyFields::default()).await.unwrap().key.key.id;
    let filter = KeyFilter { below: Some(mine), ..KeyFilter::default() };
    assert_eq!(house.admin.key_list(&filter, None, 9).items.len(), 2);
    let none = AdminError::NotFound("key");
    for (holder, id) in [(mine, other), (mine, mine), (other, child), (grandchild, child)] {
        assert_eq!(house.admin.child_show(holder, id).unwrap_err(), none);
        assert_eq!(house.admin.child_revoke(holder, id).await.unwrap_err(), none);
    }
    house.admin.child_show(mine, grandchild).unwrap();
    house.admin.child_revoke(mine, grandchild).await.unwrap();
    let (change, by) = house.store.changes().pop().unwrap();
    assert!(matches!(change, Change::KeyChanged(key) if key.id == grandchild));
    assert_eq!(by, Actor::Key(mine));
}

#[tokio::test]
async fn lines_have_an_end_and_full_ones_make_room() {
    let house = House::new();
    let top = house.parent(KeyFields::default()).await;
    let minting = KeyFields { can_mint: Some(true), ..KeyFields::default() };
    let mut last = top;
    for _ in 1..MAX_DEPTH {
        last = house.admin.key_mint(last, minting.clone()).await.unwrap().key.key.id;
    }
    let deepest = house.admin.key_mint(last, minting.clone()).await;
    assert!(matches!(deepest, Err(AdminError::Forbidden(_))));
    let new = NewKey { parent: Some(last), ..NewKey::default() };
    let error = house.admin.key_create(new, Actor::Machine).await.unwrap_err();
    assert_eq!(field(&error), "parent");
    let mut children = Vec::new();
    for _ in MAX_DEPTH..=LINE {
        let child = house.admin.key_mint(top, KeyFields::default()).await.unwrap();
        children.push(child.key.key.id);
    }
    let full = house.admin.key_mint(top, KeyFields::default()).await;
    assert!(matches!(full, Err(AdminError::Conflict(_))), "{full:?}");
    house.admin.child_revoke(top, children[1]).await.unwrap();
    house.admin.key_mint(top, KeyFields::default()).await.unwrap();
    assert!(
        house.admin.key_show(children[1]).is_err() && house.admin.key_show(children[0]).is_ok()
    );
}

#[tokio::test]
async fn keys_are_listed_newest_first_by_the_page() {
    let house = House::new();
    for age in 0..5 {
        // Two are as old as each other, and stand side by side.
        house.clock.set(NOW + age / 2);
        house.create(NewKey::default()).await;
    }
    let (mut seen, mut after): (Vec<KeyId>, Option<KeyCursor>) = (Vec::new(), None);
    loop {
        let page = house.admin.key_list(&KeyFilter::default(), after, 2);
        seen.extend(page.items.iter().map(|key| key.key.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let all = house.admin.key_list(&KeyFilter::default(), None, 9).items;
    assert_eq!(seen, all.iter().map(|key| key.key.id).collect::<Vec<_>>());
    assert!(all.is_sorted_by(|a, b| a.key.created >= b.key.created) && seen.len() == 5);
    house.admin.key_revoke(seen[0], Actor::Machine).await.unwrap();
    let dead = KeyFilter { alive: Some(false), ..KeyFilter::default() };
    assert_eq!(house.admin.key_list(&dead, None, 9).items.len(), 1);
}

#[tokio::test]
async fn holders_cannot_fill_the_record_with_keys() {
    let house = House::new();
    let top = house.parent(KeyFields::default()).await;
    let mint = async |holder| house.admin.key_mint(holder, KeyFields::default()).await;
    let minting = KeyFields { can_mint: Some(true), ..KeyFields::default() };
    let below = house.admin.key_mint(top, minting).await.unwrap().key.key.id;
    // A key below counts as the one above.
    let mut made = 1;
    let refused = loop {
        assert!(made <= MINTS, "nothing holds it back");
        match mint(if made % 4 == 1 { below } else { top }).await {
            Ok(key) => {
                made += 1;
                house.admin.child_revoke(top, key.key.key.id).await.unwrap();
            }
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, AdminError::Conflict(_)), "{refused:?}");
    assert_eq!(made, MINTS);
    // Others, and administrators, go on; and so does it in the next minute.
    let other = house.parent(KeyFields::default()).await;
    mint(other).await.unwrap();
    house.admin.key_revoke(below, Actor::Machine).await.unwrap();
    house.clock.advance(HOUR / 60);
    mint(top).await.unwrap();
}

#[tokio::test]
async fn no_child_keeps_its_parent_from_ending_it() {
    let house = House::new();
    let top = house.parent(KeyFields::default()).await;
    let mint = async |holder| house.admin.key_mint(holder, KeyFields::default()).await;
    let minting = KeyFields { can_mint: Some(true), ..KeyFields::default() };
    let leaked = house.admin.key_mint(top, minting).await.unwrap().key.key.id;
    // Where the line is full of living keys, nothing is made and nothing counts.
    for _ in 2..=LINE {
        mint(leaked).await.unwrap();
    }
    for _ in 0..=MINTS {
        assert!(matches!(mint(leaked).await, Err(AdminError::Conflict(_))));
    }
    house.admin.child_revoke(top, leaked).await.unwrap();
    for _ in LINE..usize::try_from(MINTS).unwrap() {
        let made = mint(top).await.unwrap().key.key.id;
        house.admin.child_revoke(top, made).await.unwrap();
    }
    assert!(matches!(mint(top).await, Err(AdminError::Conflict(_))));
}
