//! A call that takes over the answer of another has rows of its own, and spends nothing.

use super::*;
use crate::ReplayKey;
use crate::tests::fakes::whole;

const KEY: ReplayKey = ReplayKey { session: 1, body: 2 };

fn slow() -> Vec<Step> {
    let mut script = vec![Step::Asked, Step::Sleep(10 * SECOND)];
    script.extend(whole("the answer"));
    script
}

impl Books {
    fn first(&self) -> Running {
        let call = Call { replay: Some(KEY), ..self.call() };
        self.house.gateway.complete(call).expect("admitted")
    }

    fn second(&self) -> Result<Running, Failure> {
        self.house.gateway.complete(Call { replay: Some(KEY), stream: false, ..self.call() })
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_paid_for_once() {
    let books = Books::new(slow(), Fate::Commits, Fate::Commits);
    let first = books.first();
    tokio::time::sleep(SECOND).await;
    drop(first);
    books.house.settle().await;
    let mut second = books.second().expect("admitted");
    assert_eq!(read(&mut second).await.0, "the answer");
    assert_eq!((books.started(), books.store.opened().len()), (1, 2));
    let mut closed = books.store.closed();
    closed.sort_by_key(|one| one.replay_of.is_some());
    let [first, second] = closed.try_into().unwrap();
    assert_eq!((first.status, first.replay_of), (499, None));
    assert_eq!((second.status, second.replay_of), (200, Some(first.id)));
    let spent = |one: &crate::store::Closed| one.spending.as_ref().unwrap().amounts;
    assert_eq!((spent(&first).requests, spent(&first).tokens), (1, 20));
    assert_eq!(spent(&second), Amounts::default());
    assert_eq!((second.input_tokens, second.output_tokens), (0, 0));
    books.assert_spent(1, 20);
}

#[tokio::test(start_paused = true)]
async fn the_last_of_a_limit_lets_it_through_since_it_asks_nobody() {
    let mut narrow = crate::tests::keys::key(1, None);
    narrow.uses = Some(1);
    narrow.bounds.concurrency = Some(1);
    narrow.bounds.tokens_per_minute = Some(100);
    let key = active(&[narrow], &team());
    let books = Books::of(vec![slow()], Fate::Commits, Fate::Commits, key);
    drop(books.first());
    books.house.settle().await;
    // Another question is one too many.
    assert!(books.house.gateway.complete(books.call()).is_err());
    let mut second = books.second().expect("admitted");
    assert_eq!(read(&mut second).await.0, "the answer");
    books.assert_spent(1, 20);
}

#[tokio::test(start_paused = true)]
async fn its_requests_count_and_a_refusal_leaves_the_answer_where_it_is() {
    let mut narrow = crate::tests::keys::key(1, None);
    narrow.bounds.requests_per_minute = Some(1);
    let key = active(&[narrow], &team());
    let books = Books::of(vec![slow()], Fate::Commits, Fate::Commits, key);
    let first = books.first();
    tokio::time::sleep(9 * SECOND).await;
    drop(first);
    tokio::time::sleep(SECOND + SECOND / 2).await;
    let refused = books.second().map(drop).unwrap_err();
    assert_eq!(refused.kind, FailureKind::RateLimited);
    tokio::time::sleep(50 * SECOND).await;
    let mut second = books.second().expect("admitted");
    assert_eq!(read(&mut second).await.0, "the answer");
    assert_eq!(books.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_has_nothing_before_its_own_rows_are_committed() {
    let books = Books::new(slow(), Fate::Waits, Fate::Waits);
    let first = books.first();
    books.house.settle().await;
    books.store.answer(true);
    tokio::time::sleep(SECOND).await;
    drop(first);
    let mut second = books.second().expect("admitted");
    // Its RX, then the TX of the first, then its own.
    for (step, opened, closed) in [(0, 2, 0), (9, 2, 1), (0, 2, 2)] {
        tokio::time::sleep(SECOND * step).await;
        books.house.settle().await;
        let rows = (books.store.opened().len(), books.store.closed().len());
        assert_eq!((rows, books.store.waiting()), ((opened, closed), 1));
        assert_eq!(so_far(&mut second).await, []);
        books.store.answer(true);
    }
    assert_eq!(read(&mut second).await.0, "the answer");
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_own_hang_up_key_and_record() {
    // What ends it, and the status of its row.
    for (what, status) in [("hang-up", 499), ("revocation", 502), ("record", 503)] {
        let closes = if what == "record" { Fate::Fails } else { Fate::Commits };
        let books = Books::new(slow(), Fate::Commits, closes);
        drop(books.first());
        books.house.settle().await;
        let mut second = books.second().expect("admitted");
        books.house.settle().await;
        let kind = match what {
            "hang-up" => {
                drop(second);
                books.house.settle().await;
                None
            }
            "revocation" => {
                books.key.ended.cancel();
                read(&mut second).await.1.map(|failure| failure.kind)
            }
            _ => read(&mut second).await.1.map(|failure| failure.kind),
        };
        let expected = match what {
            "hang-up" => None,
            "revocation" => Some(FailureKind::Unauthenticated),
            _ => Some(FailureKind::NotReady),
        };
        assert_eq!(kind, expected, "{what}");
        let log = books.house.records().await;
        let ended = &log.last().unwrap().ended;
        match (ended, status) {
            (crate::tests::fakes::Ended::HungUp, 499) => {}
            (crate::tests::fakes::Ended::Failed(_, status), expected) => {
                assert_eq!(*status, expected, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_is_not_for_a_key_that_has_ended() {
    let books = Books::new(slow(), Fate::Commits, Fate::Commits);
    let first = books.first();
    tokio::time::sleep(9 * SECOND).await;
    drop(first);
    tokio::time::sleep(2 * SECOND).await;
    let mut second = books.second().expect("admitted");
    // Before its task has run: its row is committed, the answer is there, and the key has ended.
    books.key.ended.cancel();
    let (text, failure) = read(&mut second).await;
    assert_eq!((text.as_str(), failure.unwrap().kind), ("", FailureKind::Unauthenticated));
}
