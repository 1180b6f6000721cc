//! Refusals: rows for some, counts for all others.

use std::net::IpAddr;

use super::*;
use crate::keys::Endpoint;
use crate::tests::fakes::whole;
use crate::tests::memory::Write;
use crate::{Knock, Refusal};

fn books() -> Books {
    Books::new(whole("never"), Fate::Commits, Fate::Commits)
}

fn refuse(books: &Books, caller: Option<&Caller>) {
    let failure = Failure::new(FailureKind::Unauthenticated, "no");
    books.house.gateway.refused(&Refusal {
        at: Knock {
            id: model::CallId::generate(),
            dialect: model::Dialect::OpenAiChat,
            endpoint: Endpoint::Chat,
            caller,
        },
        bytes_in: 0,
        failure: &failure,
        status: 401,
        duration: SECOND,
    });
}

/// Rows, and what the counts come to.
fn written(books: &Books) -> (usize, u64) {
    books.audit.flush_refusals(true);
    let counts = books.store.writes().into_iter().map(|write| match write {
        Write::Counted(counts) => counts.iter().map(|one| one.count).sum(),
        _ => 0,
    });
    (books.store.refused().len(), counts.sum())
}

#[tokio::test(start_paused = true)]
async fn strangers_are_counted() {
    let books = books();
    let address: IpAddr = "203.0.113.7".parse().unwrap();
    let caller = Caller { address, loopback: false, ..(*call(None).caller).clone() };
    (0..50).for_each(|_| refuse(&books, Some(&caller)));
    assert_eq!(written(&books), (0, 50));
}

#[tokio::test(start_paused = true)]
async fn callers_of_this_machine_and_holders_of_keys_get_rows_up_to_a_rate() {
    let books = books();
    let known = books.call().caller;
    (0..25).for_each(|_| refuse(&books, Some(&known)));
    assert_eq!(written(&books), (10, 15));
    let [(opened, closed), ..] = &books.store.refused()[..] else { panic!("no rows") };
    assert_eq!((opened.key, closed.status), (Some(books.key.key.id), 401));
    assert_eq!(closed.ended - opened.received, 1000);
    assert_eq!(closed.spending.as_ref().map(|one| one.amounts), Some(Amounts::default()));
    assert!(books.store.opened().is_empty() && books.store.closed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn child_keys_get_no_more_rows_for_their_line_but_calls_do() {
    let top = crate::tests::keys::key(1, None);
    let child = |seed| {
        let keys = [top.clone(), crate::tests::keys::key(seed, Some(&top))];
        Caller { key: Some(active(&keys, &team())), ..(*call(None).caller).clone() }
    };
    let scripts = (0..10).map(|_| whole("hello")).collect();
    let key = child(2).key.unwrap();
    let books = Books::of(scripts, Fate::Commits, Fate::Commits, key);
    (2..28).map(child).for_each(|caller| (0..10).for_each(|_| refuse(&books, Some(&caller))));
    assert_eq!(written(&books), (250, 10));
    // Whoever calls has a line that leaves more of a record.
    for _ in 0..10 {
        read(&mut books.start()).await;
    }
    (28..31).for_each(|seed| refuse(&books, Some(&child(seed))));
    assert_eq!(written(&books), (251, 12));
}

#[tokio::test(start_paused = true)]
async fn nobody_fills_the_record_without_a_key() {
    let local = (*call(None).caller).clone();
    let token = Caller { loopback: false, authenticated: true, ..local.clone() };
    for caller in [Some(local), Some(token), None] {
        let books = books();
        (0..100).for_each(|_| refuse(&books, caller.as_ref()));
        let (rows, counted) = written(&books);
        assert!(rows <= 10, "{rows} rows of {caller:?}");
        assert_eq!(rows as u64 + counted, 100);
        assert_eq!(rows == 0, caller.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_admission_refuses_has_a_row_and_asks_nobody() {
    let mut poor = crate::tests::keys::key(1, None);
    poor.uses = Some(0);
    let key = active(&[poor], &team());
    let books = Books::of(vec![whole("never")], Fate::Commits, Fate::Commits, key);
    let refused = books.house.gateway.complete(books.call()).map(drop).unwrap_err();
    assert_eq!(refused.kind, FailureKind::OverBudget);
    let [(opened, closed)] = books.store.refused().try_into().unwrap();
    assert_eq!((&*opened.model, closed.failure), ("asked", Some("over_budget")));
    assert_eq!((books.started(), books.store.opened().len()), (0, 0));
    books.assert_spent(0, 0);
}

#[tokio::test(start_paused = true)]
async fn no_credential_and_no_long_text_stands_in_a_row() {
    let secret = format!("sk-ant-api03-{}", "a1".repeat(20));
    let mut poor = crate::tests::keys::key(1, None);
    poor.bounds.models = vec!["other".parse().unwrap()];
    let key = active(&[poor], &team());
    let books = Books::of(vec![whole("never")], Fate::Commits, Fate::Commits, key);
    let mut asked = books.call();
    asked.request.model = model::ModelAlias::new(format!("{secret} {}", "é".repeat(100_000)));
    let agent = Some(format!("curl {secret} {}", "é".repeat(1_000)));
    asked.caller = Arc::new(Caller { agent, ..(*asked.caller).clone() });
    books.house.gateway.complete(asked).map(drop).unwrap_err();
    let [(opened, closed)] = books.store.refused().try_into().unwrap();
    assert!(opened.model.starts_with("[redacted:") && opened.model.len() <= 256);
    let message = closed.message.unwrap();
    assert!(message.contains("does not allow the model `[redacted:"), "{message}");
    for text in [&*opened.model, &message, opened.agent.as_deref().unwrap()] {
        assert!(!text.contains("sk-ant") && text.len() <= 512, "{text}");
    }
}
