//! The slots of a host and the queue before them.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use model::{Failure, FailureKind, Retry};
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::{Lane, Slot, Slots};

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn far() -> Instant {
    Instant::now() + Duration::from_hours(1)
}

#[tokio::test(start_paused = true)]
async fn no_more_slots_than_there_are() {
    let slots = Slots::new("host:a", 2, 10);
    assert_eq!((slots.concurrency(), slots.in_flight()), (2, 0));
    let one = slots.take_free(&Lane::default()).expect("free");
    let two = slots.take_free(&Lane::default()).expect("free");
    assert!(slots.take_free(&Lane::default()).is_none());
    assert_eq!(slots.in_flight(), 2);
    drop(one);
    assert_eq!(slots.in_flight(), 1);
    let _three = slots.take_free(&Lane::default()).expect("free again");
    drop(two);
    assert_eq!(Slots::new("host:a", 0, 0).concurrency(), 1, "one at least");
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served() {
    let slots = Arc::new(Slots::new("host:a", 1, 100));
    let served = Arc::new(Mutex::new(Vec::new()));
    let tasks = TaskTracker::new();
    let held = slots.take_free(&Lane::default()).expect("free");
    for number in 0..50 {
        let (slots, served) = (Arc::clone(&slots), Arc::clone(&served));
        tasks.spawn(async move {
            let place = slots.enter_queue(&Lane::default(), 0).expect("room");
            let slot = slots.wait(place, far()).await.expect("a turn");
            served.lock().unwrap().push(number);
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(slot);
        });
    }
    tasks.close();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(slots.waiting(), 50);
    drop(held);
    assert!(slots.take_free(&Lane::default()).is_none(), "nobody overtakes the queue");
    tasks.wait().await;
    assert_eq!(*served.lock().unwrap(), (0..50).collect::<Vec<_>>());
    assert_eq!((slots.waiting(), slots.in_flight()), (0, 0));
}

fn retry_after(failure: &Failure) -> Duration {
    match failure.retry {
        Retry::After(time) => time,
        other => panic!("no time to come again: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_says_when_to_come_again() {
    let slots = Slots::new("host:a", 2, 7);
    let places: Vec<_> =
        (0..7).map(|_| slots.enter_queue(&Lane::default(), 0).expect("room")).collect();
    let refused = slots.enter_queue(&Lane::default(), 0).expect_err("full");
    assert_eq!(refused.kind, FailureKind::Overloaded);
    assert_eq!(retry_after(&refused), Duration::from_secs(3));
    assert_eq!(refused.scope.as_deref(), Some("host:a"));
    assert!(refused.message.contains("`host:a`"), "{refused}");
    assert_eq!(slots.waiting(), 7, "a refusal takes no place");
    // A free slot is nothing to a call that has to wait for something else.
    assert!(slots.room(&Lane::default(), 0, false).is_ok());
    assert!(slots.room(&Lane::default(), 0, true).is_err());
    drop(places);
    assert_eq!(slots.waiting(), 0);
    slots.enter_queue(&Lane::default(), 0).expect("room again");

    let none =
        Slots::new("host:a", 4, 0).enter_queue(&Lane::default(), 0).expect_err("no queue at all");
    assert_eq!(retry_after(&none), Duration::from_secs(1));
    let deep = Slots::new("host:a", 1, 1000);
    let _places: Vec<_> =
        (0..1000).map(|_| deep.enter_queue(&Lane::default(), 0).expect("room")).collect();
    let refused = deep.enter_queue(&Lane::default(), 0).expect_err("full");
    assert_eq!(retry_after(&refused), Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn the_wait_ends_at_the_deadline() {
    let slots = Slots::new("host:a", 1, 5);
    let held = slots.take_free(&Lane::default()).expect("free");
    let place = slots.enter_queue(&Lane::default(), 0).expect("room");
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(5);
    let failure = slots.wait(place, deadline).await.expect_err("no turn came");
    assert_eq!(failure.kind, FailureKind::Overloaded);
    assert!(retry_after(&failure) >= Duration::from_secs(1));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert_eq!((slots.waiting(), slots.in_flight()), (0, 1));
    drop(held);
    // A free slot is given even when the deadline has passed.
    let place = slots.enter_queue(&Lane::default(), 0).expect("room");
    slots.wait(place, deadline).await.expect("free");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_leaves_the_queue() {
    let slots = Slots::new("host:a", 1, 5);
    let held = slots.take_free(&Lane::default()).expect("free");
    let (first, second) = (
        slots.enter_queue(&Lane::default(), 0).unwrap(),
        slots.enter_queue(&Lane::default(), 0).unwrap(),
    );
    let mut gone = Box::pin(slots.wait(first, far()));
    let mut stays = pin!(slots.wait(second, far()));
    assert!(poll(gone.as_mut()).is_pending());
    assert!(poll(stays.as_mut()).is_pending());
    drop(gone);
    assert_eq!(slots.waiting(), 1);
    drop(held);
    assert!(poll(stays).is_ready(), "the slot goes to the next");
    assert_eq!(slots.in_flight(), 0);
}

/// What a caller may do.
#[derive(Clone, Debug)]
enum Move {
    TakeFree,
    Queue,
    GiveBack(Index),
    GiveUp(Index),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        Just(Move::TakeFree),
        Just(Move::Queue),
        any::<Index>().prop_map(Move::GiveBack),
        any::<Index>().prop_map(Move::GiveUp),
    ]
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Slot, Failure>> + 'a>>;

proptest! {
    #[test]
    fn in_flight_never_exceeds_the_slots(
        concurrency in 1_usize..5, queue in 0_usize..6, moves in prop::collection::vec(moves(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        let _inside = runtime.enter();
        let slots = Slots::new("host:a", concurrency, queue);
        let mut held: Vec<Slot> = Vec::new();
        let mut waiting: Vec<Waiting<'_>> = Vec::new();
        for step in moves {
            match step {
                Move::TakeFree => {
                    let free = held.len() < concurrency && waiting.is_empty();
                    let taken = slots.take_free(&Lane::default());
                    prop_assert_eq!(taken.is_some(), free);
                    held.extend(taken);
                }
                Move::Queue => match slots.enter_queue(&Lane::default(), 0) {
                    Ok(place) => waiting.push(Box::pin({
                        let slots = &slots;
                        async move { slots.wait(place, far()).await }
                    })),
                    Err(failure) => {
                        prop_assert_eq!(failure.kind, FailureKind::Overloaded);
                        prop_assert_eq!(failure.scope.as_deref(), Some("host:a"));
                        prop_assert_eq!(waiting.len(), queue);
                    }
                },
                Move::GiveBack(which) if !held.is_empty() => {
                    let which = which.index(held.len());
                    held.swap_remove(which);
                }
                Move::GiveUp(which) if !waiting.is_empty() => {
                    let which = which.index(waiting.len());
                    drop(waiting.remove(which));
                }
                Move::GiveBack(_) | Move::GiveUp(_) => {}
            }
            // Who waits gets its turn in order of arrival, and never past another.
            let mut blocked = false;
            let mut still = Vec::new();
            for mut wait in waiting {
                match poll(wait.as_mut()) {
                    Poll::Ready(slot) => {
                        prop_assert!(!blocked, "someone was overtaken");
                        held.push(slot.expect("no deadline has passed"));
                    }
                    Poll::Pending => {
                        blocked = true;
                        still.push(wait);
                    }
                }
            }
            waiting = still;
            prop_assert!(held.len() <= concurrency);
            prop_assert_eq!(slots.in_flight(), held.len());
            prop_assert_eq!(slots.waiting(), waiting.len());
            prop_assert!(waiting.is_empty() || held.len() == concurrency, "a slot lies idle");
        }
    }
}
