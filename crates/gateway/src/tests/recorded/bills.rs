//! What a call spends, and when the store is told.

use super::*;
use crate::tests::fakes::{begin, end, whole};
use crate::tests::memory::Write;

/// A sampling that its call leaves behind at the deadline.
fn left() -> Vec<Step> {
    vec![Step::Asked, Step::Out, Step::Forever]
}

async fn hung_up(books: &Books) -> crate::Outstanding {
    let running = books.start();
    books.house.settle().await;
    drop(running);
    books.house.settle().await;
    books.house.upstream.out.lock().unwrap().pop().expect("a sampling is out")
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_is_settled_when_the_host_is_heard_of() {
    for (outcome, tokens) in [(Some(33), 43), (None, 100)] {
        let books = Books::new(left(), Fate::Commits, Fate::Commits);
        let out = hung_up(&books).await;
        let [closed] = books.store.closed().try_into().unwrap();
        assert_eq!((closed.status, &closed.spending), (499, &None));
        let (_, held, in_flight) = books.counted();
        assert_eq!((held.tokens, in_flight), (100, 0));
        assert!(books.store.settled().is_empty());
        match outcome {
            Some(output) => out.answered(Some("m"), output),
            None => drop(out),
        }
        let [(id, spending)] = books.store.settled().try_into().unwrap();
        assert_eq!((id, spending.amounts.tokens), (closed.id, tokens));
        assert_eq!(spending.scopes, books.key.debited);
        books.assert_spent(1, tokens);
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_hears_of_the_end_before_the_settlement() {
    let books = Books::new(left(), Fate::Commits, Fate::Commits);
    let running = books.start();
    books.house.settle().await;
    // The host answers just when the call has ended and its row is about to be closed.
    let out = books.house.upstream.out.lock().unwrap().pop().expect("a sampling is out");
    books.store.before_close(move || out.answered(Some("m"), 1));
    drop(running);
    books.house.settle().await;
    let writes = books.store.writes();
    let [Write::Opened(_), Write::Closed(closed), Write::Settled(_, spending)] = &writes[..] else {
        panic!("{writes:?}")
    };
    assert_eq!((&closed.spending, spending.amounts.tokens), (&None, 11));
    books.assert_spent(1, 11);
}

#[tokio::test(start_paused = true)]
async fn a_sampling_that_was_heard_of_before_the_end_is_in_the_row() {
    let books = Books::new(left(), Fate::Commits, Fate::Commits);
    let running = books.start();
    books.house.settle().await;
    books.house.upstream.out.lock().unwrap().pop().expect("a sampling is out").stopped();
    drop(running);
    books.house.settle().await;
    let [closed] = books.store.closed().try_into().unwrap();
    assert_eq!(closed.spending.map(|spending| spending.amounts.tokens), Some(10));
    assert!(books.store.settled().is_empty());
    books.assert_spent(1, 10);
}

#[tokio::test(start_paused = true)]
async fn an_overrun_is_in_the_row() {
    let mut events = begin();
    events.push(CompletionEvent::Usage(crate::tests::fakes::usage(500)));
    events.extend(end().pop());
    let books = Books::new(vec![Step::Send(events)], Fate::Commits, Fate::Commits);
    read(&mut books.start()).await;
    let [closed] = books.store.closed().try_into().unwrap();
    assert!(closed.overrun);
    assert_eq!(closed.spending.map(|spending| spending.amounts.tokens), Some(515));
    books.assert_spent(1, 515);
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_anybody_was_asked_costs_nothing() {
    for (script, requests) in [
        (vec![Step::Fail(FailureKind::Overloaded)], 0),
        (vec![Step::Asked, Step::Fail(FailureKind::UpstreamFailed)], 1),
    ] {
        let books = Books::new(script, Fate::Commits, Fate::Commits);
        assert!(read(&mut books.start()).await.1.is_some());
        let [closed] = books.store.closed().try_into().unwrap();
        assert_eq!(closed.spending.map(|spending| spending.amounts.requests), Some(requests));
        books.assert_spent(requests, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_rows_say_is_what_a_new_start_knows() {
    let mut bounded = crate::tests::keys::key(1, None);
    bounded.uses = Some(9);
    bounded.bounds.budgets = crate::amounts::Span::ALL
        .map(|span| {
            let unit = crate::amounts::Unit::Tokens;
            crate::amounts::Budget { unit, span, limit: 1 << 40 }
        })
        .into();
    let key = active(&[bounded], &team());
    let books = Books::of(vec![left(), whole("x")], Fate::Commits, Fate::Commits, key);
    let out = hung_up(&books).await;
    // The day goes by before the host is heard of, and the clock is put back for one call.
    let day = 24 * 3_600_000;
    for now in [day, day - 3_600_000, day + 1] {
        books.clock.set(crate::tests::keys::MORNING + now);
        let mut call = books.call();
        call.request.params.choices = Some(2);
        let running = books.house.gateway.complete(call).expect("admitted");
        books.house.settle().await;
        drop(running);
        books.house.settle().await;
    }
    out.answered(Some("m"), 7);
    books.house.upstream.out.lock().unwrap().clear();
    let usage = books.admission.usage(&books.key);
    let again = Arc::new(Admission::new(Policy::default(), Arc::clone(&books.clock) as _));
    again.load(&*books.store).await.unwrap();
    assert_eq!(again.usage(&books.key), usage);
    // All of it in all, and in this minute only the last three.
    let spent: Vec<_> = usage[0].budgets.iter().map(|left| left.spent).collect();
    assert_eq!(spent, [4, 3 * 120, 3 * 120, 3 * 120, 377, 377, 377]);
}

#[tokio::test(start_paused = true)]
async fn usage_beyond_all_measure_breaks_nothing() {
    let mut events = begin();
    events.push(CompletionEvent::Usage(model::Usage {
        input: u64::MAX,
        output: u64::MAX,
        cached_input: u64::MAX,
        cache_write: u64::MAX,
        reasoning: u64::MAX,
        estimated: false,
    }));
    events.extend(end().pop());
    let books = Books::new(vec![Step::Send(events)], Fate::Commits, Fate::Commits);
    let mut both = books.call();
    both.request.params.choices = Some(2);
    let mut running = books.house.gateway.complete(both).expect("admitted");
    assert!(read(&mut running).await.1.is_none());
    assert_eq!(books.counted().0.tokens, u64::MAX);
}

#[tokio::test(start_paused = true)]
async fn readiness_gives_everything_back() {
    let books = Books::new(whole("never"), Fate::Commits, Fate::Commits);
    books.house.upstream.not_ready.store(true, Ordering::Relaxed);
    assert!(books.house.gateway.complete(books.call()).is_err());
    books.assert_spent(0, 0);
    let [(opened, closed)] = books.store.refused().try_into().unwrap();
    assert_eq!((opened.id, closed.status), (closed.id, 503));
    assert_eq!(opened.key, Some(books.key.key.id));
}
