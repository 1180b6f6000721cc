//! Nobody has the end of an answer before its TX row is committed.

use super::*;
use crate::keys::AuditPolicy;
use crate::tests::fakes::{Ended, begin, end, piece, whole};

fn streamed() -> Vec<Step> {
    vec![
        Step::Asked,
        Step::Send(begin()),
        Step::Send(piece("one ")),
        Step::Sleep(SECOND),
        Step::Send(piece("two")),
        Step::Send(end()),
    ]
}

#[tokio::test(start_paused = true)]
async fn of_an_answer_that_comes_whole_nothing_is_told_before() {
    let books = Books::new(whole("hello"), Fate::Commits, Fate::Waits);
    let mut running = books.start();
    books.house.settle().await;
    assert_eq!((books.started(), books.store.waiting()), (1, 1));
    assert_eq!(so_far(&mut running).await, []);
    let closed = &books.store.closed()[0];
    assert_eq!((closed.status, closed.stop_reason), (200, Some("end_turn")));
    assert_eq!((closed.input_tokens, closed.output_tokens, closed.cached_tokens), (10, 5, 3));
    assert!(closed.body.as_ref().is_some_and(|body| body.windows(5).any(|part| part == b"hello")));
    books.store.answer(true);
    assert_eq!(so_far(&mut running).await.len(), 6);
    assert!(running.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn of_a_stream_the_deltas_pass_and_the_end_waits() {
    let books = Books::new(streamed(), Fate::Commits, Fate::Waits);
    let mut running = books.start();
    books.house.settle().await;
    assert_eq!(so_far(&mut running).await.len(), 3);
    tokio::time::sleep(2 * SECOND).await;
    books.house.settle().await;
    let events = so_far(&mut running).await;
    assert!(matches!(&events[..], [CompletionEvent::BlockDelta { .. }]), "{events:?}");
    // What was spent is settled meanwhile: the row says so.
    books.assert_spent(1, 20);
    let closed = &books.store.closed()[0];
    assert_eq!(closed.spending.as_ref().map(|spending| spending.amounts.tokens), Some(20));
    assert!(!closed.overrun);
    books.store.answer(true);
    let events = so_far(&mut running).await;
    assert!(matches!(events.last(), Some(CompletionEvent::Finished { .. })), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_other_events_follow_waits_too() {
    let mut events = end();
    events.push(CompletionEvent::Usage(crate::tests::fakes::usage(7)));
    let mut script = streamed();
    script.pop();
    script.extend([Step::Send(events), Step::Send(piece("late"))]);
    let books = Books::new(script, Fate::Commits, Fate::Waits);
    let mut running = books.start();
    tokio::time::sleep(2 * SECOND).await;
    books.house.settle().await;
    let before = so_far(&mut running).await;
    assert!(!before.iter().any(|event| matches!(event, CompletionEvent::Finished { .. })));
    books.store.answer(true);
    let after = so_far(&mut running).await;
    assert_eq!((before.len(), after.len()), (4, 5));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_not_answered() {
    for script in [whole("hello"), streamed()] {
        let books = Books::new(script, Fate::Commits, Fate::Fails);
        let mut running = books.start();
        let mut finished = false;
        let failure = loop {
            match running.next().await.expect("not a short answer") {
                Ok(batch) => {
                    let ends = |event: &_| matches!(event, CompletionEvent::Finished { .. });
                    finished |= batch.events.iter().any(ends);
                }
                Err(failure) => break failure,
            }
        };
        assert_unavailable(&failure);
        assert!(!finished);
        // The tokens are spent all the same.
        books.assert_spent(1, 20);
        let record = books.house.only_record().await;
        assert_eq!(record.ended, Ended::Failed(FailureKind::NotReady, 503));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_waited_for_ten_seconds() {
    let books = Books::new(whole("hello"), Fate::Commits, Fate::Waits);
    let begun = tokio::time::Instant::now();
    let (text, failure) = read(&mut books.start()).await;
    assert_unavailable(&failure.expect("no answer"));
    assert_eq!((text.as_str(), begun.elapsed()), ("", 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_while_it_is_closed_changes_nothing_of_what_is_on_record() {
    let books = Books::new(whole("hello"), Fate::Commits, Fate::Waits);
    let running = books.start();
    books.house.settle().await;
    drop(running);
    books.house.settle().await;
    books.store.answer(true);
    books.house.settle().await;
    assert_eq!(books.store.closed().len(), 1);
    books.assert_spent(1, 20);
    books.house.only_record().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_survives_the_deadline_and_the_end_of_the_bridge() {
    for stops in [false, true] {
        let books = Books::new(whole("hello"), Fate::Commits, Fate::Waits);
        let call = Call { deadline: SECOND, ..books.call() };
        let mut running = books.house.gateway.complete(call).expect("admitted");
        books.house.settle().await;
        if stops {
            books.house.stop.cancel();
        } else {
            tokio::time::sleep(2 * SECOND).await;
        }
        books.store.answer(true);
        assert_eq!(read(&mut running).await.0, "hello");
        assert_eq!(books.store.closed()[0].status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_door_that_is_too_slow_for_the_end_is_told_that_it_has_none() {
    for stops in [false, true] {
        let mut script: Vec<_> = (0..8).map(|_| Step::Send(piece("x"))).collect();
        script.push(Step::Send(end()));
        let books = Books::new(script, Fate::Commits, Fate::Commits);
        let mut running = books.start();
        books.house.settle().await;
        assert_eq!(books.store.closed().len(), 1);
        let kind = if stops {
            books.house.stop.cancel();
            FailureKind::NotReady
        } else {
            tokio::time::sleep(2 * crate::tests::fakes::DEADLINE).await;
            FailureKind::UpstreamTimeout
        };
        books.house.settle().await;
        let (text, failure) = read(&mut running).await;
        assert_eq!((text.len(), failure.map(|failure| failure.kind)), (8, Some(kind)));
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_replies_no_end_is_told_before_the_one_row() {
    let mut slow = vec![Step::Sleep(SECOND)];
    slow.extend(whole("second"));
    let key = active(&[key(1, None)], &team());
    let books = Books::of(vec![whole("first"), slow], Fate::Commits, Fate::Waits, key);
    let mut both = books.call();
    both.request.params.choices = Some(2);
    let mut running = books.house.gateway.complete(both).expect("admitted");
    tokio::time::sleep(2 * SECOND).await;
    books.house.settle().await;
    assert_eq!(so_far(&mut running).await, []);
    let [closed] = books.store.closed().try_into().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&closed.body.unwrap()).unwrap();
    assert_eq!(body[0]["content"][0]["text"], "first");
    assert_eq!(body[1]["content"][0]["text"], "second");
    assert_eq!((closed.input_tokens, closed.output_tokens), (20, 10));
    books.assert_spent(1, 2 * 20);
    books.store.answer(true);
    assert_eq!(read(&mut running).await.0, "firstsecond");
}

#[tokio::test(start_paused = true)]
async fn bodies_are_kept_where_policy_says_so() {
    let mut quiet = crate::tests::keys::key(1, None);
    quiet.audit = crate::keys::AuditPolicy::Metadata;
    let key = active(&[quiet], &team());
    let books = Books::of(vec![whole("hello")], Fate::Commits, Fate::Commits, key);
    assert!(!books.house.gateway.wants_bodies(&books.call().caller));
    read(&mut books.start()).await;
    assert_eq!((&books.store.opened()[0].body, &books.store.closed()[0].body), (&None, &None));
    assert_eq!(books.store.closed()[0].bytes_out, 5);
}

#[tokio::test(start_paused = true)]
async fn without_bodies_a_failure_is_kept_by_its_kind_only() {
    for (audit, kept) in [(AuditPolicy::Full, true), (AuditPolicy::Metadata, false)] {
        let mut quiet = crate::tests::keys::key(1, None);
        quiet.audit = audit;
        quiet.bounds.models = vec!["asked".parse().unwrap()];
        let key = active(&[quiet], &team());
        let books = Books::of(
            vec![vec![Step::Fail(FailureKind::UpstreamFailed)]],
            Fate::Commits,
            Fate::Commits,
            key,
        );
        read(&mut books.start()).await;
        let [closed] = books.store.closed().try_into().unwrap();
        assert_eq!((closed.failure, closed.status), (Some("upstream_failed"), 502));
        assert_eq!(closed.message.is_some(), kept);
        // Nor where a call is refused by the words that it asks for.
        let mut other = books.call();
        other.request.model = model::ModelAlias::new("the patient's name is Ann");
        books.house.gateway.complete(other).map(drop).unwrap_err();
        let [(_, refused)] = books.store.refused().try_into().unwrap();
        assert_eq!((refused.failure, refused.message.is_some()), (Some("forbidden"), kept));
    }
}
