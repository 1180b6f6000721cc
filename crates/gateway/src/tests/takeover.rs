//! Who takes over a sampling, who does not, and how long anything is held.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{CompletionEvent, Dialect, Failure, FailureKind, ParamsMode, Usage};
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::fakes::{DEADLINE, Ended, House, Record, Step, begin, call, end, piece, usage, whole};
use crate::takeover::ReplayGuard;
use crate::{Call, Caller, ReplayKey, Running};

const SECOND: Duration = Duration::from_secs(1);
const KEY: ReplayKey = ReplayKey { session: 1, body: 2 };

/// The stream that breaks.
fn first() -> Call {
    Call { replay: Some(KEY), ..call(None) }
}

/// Its repetition.
fn second() -> Call {
    Call { stream: false, ..first() }
}

/// A host that thinks for a while.
fn slow(seconds: u32) -> Vec<Step> {
    let mut script = vec![Step::Named("fake"), Step::Sleep(SECOND * seconds)];
    script.extend(whole("the answer"));
    script
}

fn start(house: &House, call: Call) -> Running {
    house.gateway.complete(call).expect("admitted")
}

/// Reads to the end: the text, or why there is none.
async fn read(mut running: Running) -> Result<String, FailureKind> {
    let mut text = String::new();
    while let Some(batch) = running.next().await {
        for event in batch.map_err(|failure| failure.kind)?.events {
            if let CompletionEvent::BlockDelta { delta, .. } = event {
                text.push_str(&delta);
            }
        }
    }
    running.delivered();
    Ok(text)
}

/// Starts a call that hangs up once its upstream was asked.
async fn hang_up(house: &House, call: Call) {
    let running = start(house, call);
    house.settle().await;
    drop(running);
}

fn asked(house: &House) -> usize {
    house.upstream.started.load(Ordering::Relaxed)
}

fn cancelled(house: &House) -> usize {
    house.upstream.dropped.load(Ordering::Relaxed)
}

/// The two records of a takeover: the tokens stand in the first, which was paid for.
fn assert_taken_over(records: &[Record], ended: &Ended) {
    let [first, second] = records else { panic!("{records:?}") };
    assert_eq!((&first.ended, &second.ended), (ended, &Ended::Answered));
    assert_eq!((first.replay_of, second.replay_of), (None, Some(first.id)));
    assert_eq!(first.usage, usage(5));
    assert_eq!(second.usage, Usage { estimated: true, ..Usage::default() });
    assert_eq!(second.bytes_out, "the answer".len());
    assert_eq!(second.model_served.as_deref(), Some("fake-model"));
}

#[tokio::test(start_paused = true)]
async fn a_successor_takes_over_the_sampling_that_runs() {
    for patience in [0, 1999] {
        let house = House::new(slow(60));
        let stream = start(&house, first());
        sleep(10 * SECOND).await;
        drop(stream);
        sleep(Duration::from_millis(patience)).await;
        let again = start(&house, second());
        let begun = Instant::now();
        assert_eq!(read(again).await.as_deref(), Ok("the answer"));
        assert_eq!(begun.elapsed() + Duration::from_millis(patience), 50 * SECOND);
        assert_eq!((asked(&house), cancelled(&house)), (1, 0));
        assert_taken_over(&house.records().await, &Ended::HungUp);
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_may_come_before_the_hang_up_is_noticed() {
    let house = House::new(slow(60));
    let stream = start(&house, first());
    sleep(SECOND).await;
    let again = start(&house, second());
    house.settle().await;
    sleep(10 * SECOND).await;
    drop(stream);
    assert_eq!(read(again).await.as_deref(), Ok("the answer"));
    assert_eq!(asked(&house), 1);
    assert_taken_over(&house.records().await, &Ended::HungUp);
}

#[tokio::test(start_paused = true)]
async fn nobody_comes_within_two_seconds() {
    let house = House::new(slow(60));
    drop(start(&house, first()));
    house.settle().await;
    sleep(Duration::from_millis(1999)).await;
    house.settle().await;
    assert_eq!(cancelled(&house), 0);
    sleep(Duration::from_millis(2)).await;
    house.settle().await;
    assert_eq!(cancelled(&house), 1);
    assert_eq!(read(start(&house, second())).await.as_deref(), Ok("the answer"));
    assert_eq!(asked(&house), 2);
    let records = house.records().await;
    assert_eq!((&records[0].ended, &records[1].ended), (&Ended::HungUp, &Ended::Answered));
    assert_eq!(records[0].duration, 2 * SECOND);
    assert_eq!((records[1].replay_of, records[1].usage), (None, usage(5)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_read_to_its_end_is_kept_for_a_minute() {
    // The answer comes in the two seconds after the hang-up, or before it.
    for (thinks, ended) in [(1, Ended::HungUp), (0, Ended::Answered)] {
        for (waits, expected) in [(59, 1), (61, 2)] {
            let house = House::new(slow(thinks));
            let mut stream = start(&house, first());
            if thinks == 0 {
                // Its events are taken, but never handed to the caller to the end.
                assert!(stream.next().await.is_some_and(|batch| batch.is_ok()));
                house.settle().await;
            }
            drop(stream);
            sleep(SECOND * thinks).await;
            house.settle().await;
            sleep(SECOND * waits).await;
            house.settle().await;
            assert_eq!(read(start(&house, second())).await.as_deref(), Ok("the answer"));
            assert_eq!(asked(&house), expected, "thinks {thinks}, waits {waits}");
            let records = house.records().await;
            if expected == 1 {
                assert_taken_over(&records, &ended);
            } else {
                assert!(records.iter().all(|record| record.replay_of.is_none()));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_taken_over_once() {
    let house = House::new(slow(0));
    drop(start(&house, first()));
    sleep(SECOND).await;
    for expected in [1, 2] {
        assert_eq!(read(start(&house, second())).await.as_deref(), Ok("the answer"));
        assert_eq!(asked(&house), expected);
    }
    // One that waits has no rival either.
    let house = House::new(slow(10));
    drop(start(&house, first()));
    let waiting = start(&house, second());
    let rival = start(&house, second());
    house.settle().await;
    assert_eq!(asked(&house), 2);
    assert_eq!((read(waiting).await.is_ok(), read(rival).await.is_ok()), (true, true));
}

#[tokio::test(start_paused = true)]
async fn a_stream_read_to_its_end_is_not_replayed() {
    let house = House::new(slow(1));
    assert_eq!(read(start(&house, first())).await.as_deref(), Ok("the answer"));
    assert_eq!(read(start(&house, second())).await.as_deref(), Ok("the answer"));
    assert_eq!(asked(&house), 2);
    let records = house.records().await;
    assert!(records.iter().all(|record| record.ended == Ended::Answered));
    assert!(records.iter().all(|record| record.replay_of.is_none() && record.usage == usage(5)));
}

#[tokio::test(start_paused = true)]
async fn everything_else_samples_anew() {
    let stranger = |loopback, authenticated| {
        Arc::new(Caller { loopback, authenticated, ..(*call(None).caller).clone() })
    };
    let other = |change: &dyn Fn(&mut Call)| {
        let mut other = second();
        change(&mut other);
        other
    };
    let others = [
        other(&|call| call.replay = Some(ReplayKey { session: 9, ..KEY })),
        other(&|call| call.replay = Some(ReplayKey { body: 9, ..KEY })),
        other(&|call| call.replay = None),
        other(&|call| call.dialect = Dialect::AnthropicMessages),
        other(&|call| call.request.mode = ParamsMode::Lenient),
        other(&|call| call.caller = stranger(false, false)),
        other(&|call| call.caller = stranger(true, true)),
        other(&|call| call.stream = true),
    ];
    for call in others {
        let house = House::new(slow(1));
        hang_up(&house, first()).await;
        assert_eq!(read(start(&house, call)).await.as_deref(), Ok("the answer"));
        assert_eq!(asked(&house), 2);
        assert!(house.records().await.iter().all(|record| record.replay_of.is_none()));
    }
    // First unstreamed: nothing is kept, and its hang-up is told at once.
    let house = House::new(slow(5));
    hang_up(&house, second()).await;
    house.settle().await;
    assert_eq!(cancelled(&house), 1);
    assert_eq!(read(start(&house, second())).await.as_deref(), Ok("the answer"));
    assert_eq!(asked(&house), 2);
    // Switched off.
    let house = House::unguarded(slow(5));
    assert!(house.gateway.replay_hasher().is_none());
    hang_up(&house, first()).await;
    house.settle().await;
    assert_eq!(cancelled(&house), 1);
    assert_eq!(read(start(&house, second())).await.as_deref(), Ok("the answer"));
    assert_eq!(asked(&house), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_for_no_token_has_no_answer_to_take_over() {
    let house = House::new(slow(1));
    let mut warm = first();
    warm.request.params.max_tokens = Some(0);
    drop(start(&house, warm));
    house.settle().await;
    assert_eq!(read(start(&house, second())).await.as_deref(), Ok("the answer"));
    assert_eq!(asked(&house), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_handed_over_and_not_kept() {
    let script = vec![Step::Sleep(5 * SECOND), Step::Fail(FailureKind::RateLimited)];
    let house = House::new(script.clone());
    drop(start(&house, first()));
    assert_eq!(read(start(&house, second())).await, Err(FailureKind::RateLimited));
    let records = house.records().await;
    assert_eq!(records[0].ended, Ended::Failed(FailureKind::RateLimited, 502));
    assert_eq!(records[1].ended, records[0].ended);
    // A stream that failed has nothing to take over.
    let house = House::new(script);
    assert_eq!(read(start(&house, first())).await, Err(FailureKind::RateLimited));
    assert_eq!(read(start(&house, second())).await, Err(FailureKind::RateLimited));
    assert_eq!(asked(&house), 2);
    // The deadline of the sampling is that of the call that began it.
    let house = House::new(vec![Step::Forever]);
    let stream = start(&house, first());
    let begun = Instant::now();
    sleep(99 * SECOND).await;
    drop(stream);
    assert_eq!(read(start(&house, second())).await, Err(FailureKind::UpstreamTimeout));
    assert_eq!(begun.elapsed(), DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn whoever_claims_is_told_how_it_ended() {
    let guard = Arc::new(ReplayGuard::default());
    let watch = || guard.watch(&first()).expect("guarded");
    // Nobody can come between the failure and the end of the call.
    let failed = watch();
    failed.failed(Failure::new(FailureKind::UpstreamTimeout, "late"));
    assert!(guard.claim(&second()).is_none());
    drop(failed);
    // However the call ends, who has come does not wait for ever.
    let broken = watch();
    let mut claim = guard.claim(&second()).expect("there is one");
    drop(broken);
    let told = tokio::time::timeout(SECOND, claim.answer()).await.expect("told");
    assert_eq!(told.map(drop).map_err(|failure| failure.kind), Err(FailureKind::Internal));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_gives_up_or_is_claimed_but_never_both() {
    let tasks = TaskTracker::new();
    for _ in 0..20_000 {
        let guard = Arc::new(ReplayGuard::default());
        let guarded = guard.watch(&first()).expect("guarded");
        let (claimed, told) = tokio::sync::oneshot::channel();
        tasks.spawn(async move { claimed.send(guard.claim(&second())) });
        let gave_up = tasks.spawn(async move {
            tokio::select! {
                biased;
                () = guarded.abandoned() => true,
                claim = told => claim.expect("an end").is_none(),
            }
        });
        assert!(!gave_up.await.expect("an end"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_goes_too_ends_the_sampling() {
    let house = House::new(slow(60));
    drop(start(&house, first()));
    house.settle().await;
    let again = start(&house, second());
    house.settle().await;
    sleep(10 * SECOND).await;
    assert_eq!(cancelled(&house), 0);
    drop(again);
    house.settle().await;
    assert_eq!(cancelled(&house), 1);
    let records = house.records().await;
    assert!(records.iter().all(|record| record.ended == Ended::HungUp));
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_bodies_is_not_held_for_what_is_kept() {
    let memory = Arc::new(Semaphore::new(10));
    let share = || Some(Arc::clone(&memory).try_acquire_many_owned(4).expect("free"));
    let house = House::new(slow(1));
    drop(start(&house, Call { memory: share(), ..first() }));
    house.settle().await;
    assert_eq!(memory.available_permits(), 6, "the sampling still needs its body");
    sleep(SECOND).await;
    house.settle().await;
    assert_eq!(memory.available_permits(), 10, "the answer is kept without it");
    assert_eq!(read(start(&house, second())).await.as_deref(), Ok("the answer"));
    // Nor does a successor hold its own body while it waits.
    let house = House::new(slow(60));
    drop(start(&house, Call { memory: share(), ..first() }));
    let again = start(&house, Call { memory: share(), ..second() });
    house.settle().await;
    assert_eq!((asked(&house), memory.available_permits()), (1, 6));
    assert_eq!(read(again).await.as_deref(), Ok("the answer"));
    assert_eq!(house.records().await.len(), 2);
    assert_eq!(memory.available_permits(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_bounded() {
    // More than all answers together may hold.
    let long = "x".repeat(17 << 20);
    let house = House::new(whole(&long));
    let stream = start(&house, first());
    house.settle().await;
    drop(stream);
    assert_eq!(read(start(&house, second())).await.map(|text| text.len()), Ok(long.len()));
    assert_eq!(asked(&house), 2);
    // A hang-up in the middle of one is a hang-up at once.
    let steps = [begin(), piece(&long)].map(Step::Send).into_iter().chain([Step::Forever]);
    let house = House::new(steps.collect());
    let stream = start(&house, first());
    house.settle().await;
    drop(stream);
    house.settle().await;
    assert_eq!(cancelled(&house), 1);
    // So many streams and no more are guarded.
    let house = House::new(slow(30));
    let keyed = |body| Some(ReplayKey { body, ..KEY });
    let streams = (0..300).map(|body| start(&house, Call { replay: keyed(body), ..first() }));
    let streams: Vec<_> = streams.collect();
    house.settle().await;
    drop(streams);
    house.settle().await;
    assert_eq!(cancelled(&house), 300 - 256);
    sleep(3 * SECOND).await;
    house.settle().await;
    assert_eq!(cancelled(&house), asked(&house));
    let records = house.records().await;
    assert_eq!(records.len(), 300);
    assert!(records.iter().all(|record| record.ended == Ended::HungUp));
    assert_eq!(records.iter().filter(|record| record.duration.is_zero()).count(), 44);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_bridge_waits_for_nobody() {
    let house = House::new(slow(1));
    drop(start(&house, first()));
    sleep(SECOND).await;
    house.settle().await;
    house.stop.cancel();
    let refused = house.gateway.complete(second()).map(drop).map_err(|failure| failure.kind);
    assert_eq!(refused, Err(FailureKind::NotReady));
    let begun = Instant::now();
    house.records().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

proptest! {
    /// Whenever either caller comes and goes: one end for each beginning, the host is asked twice
    /// only if nothing could be taken over, and no token is counted twice.
    #[test]
    fn no_token_is_counted_twice(
        thinks in 0_u64..8000,
        leaves in 0_u64..8000,
        comes in 0_u64..70_000,
        stays in prop::option::of(0_u64..9000),
        reads in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let mut script = vec![Step::Sleep(Duration::from_millis(thinks))];
            script.extend([begin(), piece("the answer"), end()].map(Step::Send));
            let house = House::new(script);
            let mut stream = start(&house, first());
            let early = async {
                sleep(Duration::from_millis(leaves)).await;
                if reads {
                    while let Ok(Some(_)) = tokio::time::timeout(SECOND, stream.next()).await {}
                }
                drop(stream);
            };
            let late = async {
                sleep(Duration::from_millis(comes)).await;
                let again = start(&house, second());
                match stays {
                    None => Some(read(again).await),
                    Some(stays) => {
                        sleep(Duration::from_millis(stays)).await;
                        None
                    }
                }
            };
            let ((), said) = tokio::join!(early, late);
            assert!(said.is_none_or(|said| said.as_deref() == Ok("the answer")));
            let asked = asked(&house);
            let records = house.records().await;
            assert_eq!(records.len(), 2);
            let replayed = records[1].replay_of.is_some();
            assert_eq!(asked, if replayed { 1 } else { 2 });
            let spent: u64 = records.iter().map(|record| record.usage.output).sum();
            assert!(spent <= 5 * asked as u64);
        });
    }
}
