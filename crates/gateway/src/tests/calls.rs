//! Every way out of a call: its one record, and what becomes of the upstream's work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{CallId, CompletionEvent, Dialect, Failure, FailureKind, Loss, LossSet, StopReason};
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::fakes::{DEADLINE, Ended, House, Step, begin, call, end, piece, usage, whole};
use crate::{Knock, Refusal, Running};

const SECOND: Duration = Duration::from_secs(1);

/// Reads a call to its end: the text, and the failure that ended it.
async fn read(running: &mut Running) -> (String, Option<Failure>) {
    let mut text = String::new();
    while let Some(batch) = running.next().await {
        match batch {
            Ok(batch) => text.extend(batch.events.into_iter().filter_map(|event| match event {
                CompletionEvent::BlockDelta { delta, .. } => Some(delta),
                _ => None,
            })),
            Err(failure) => {
                assert!(running.next().await.is_none(), "nothing follows a failure");
                return (text, Some(*failure));
            }
        }
    }
    (text, None)
}

#[tokio::test(start_paused = true)]
async fn an_answer() {
    let house = House::new(vec![
        Step::Named("fake"),
        Step::Sleep(2 * SECOND),
        Step::Send(begin()),
        Step::Sleep(SECOND),
        Step::Send(piece("hello ")),
        Step::Send(piece("world")),
        Step::Send(end()),
    ]);
    let call = call(None);
    let id = call.id;
    let mut running = house.gateway.complete(call).expect("admitted");
    assert_eq!(read(&mut running).await.0, "hello world");
    assert!(running.next().await.is_none());
    let record = house.only_record().await;
    assert_eq!(record.id, id);
    assert_eq!(record.ended, Ended::Answered);
    assert_eq!((record.model_asked.as_str(), record.upstream.as_deref()), ("asked", Some("fake")));
    assert_eq!(record.model_served.as_deref(), Some("fake-model"));
    assert_eq!(record.stop_reason, Some(StopReason::EndTurn));
    assert_eq!(record.usage, usage(5));
    assert_eq!(record.bytes_out, "hello world".len());
    assert_eq!(record.first_byte, Some(2 * SECOND));
    assert_eq!(record.duration, 3 * SECOND);
    assert_eq!(record.text, None);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_asks_for_no_token_asks_nobody() {
    let house = House::new(whole("never"));
    let mut nothing = call(Some(2));
    nothing.request.params.max_tokens = Some(0);
    let mut running = house.gateway.complete(nothing).expect("admitted");
    assert_eq!(read(&mut running).await.0, "");
    assert_eq!(house.upstream.started.load(Ordering::Relaxed), 0);
    let record = house.only_record().await;
    assert_eq!(record.ended, Ended::Answered);
    assert_eq!(record.stop_reason, Some(StopReason::MaxTokens));
    assert_eq!((record.usage.input, record.usage.output), (0, 0));
    assert!(record.losses.contains(Loss::NoTokens));
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_upstream() {
    let house = House::new(vec![
        Step::Named("fake"),
        Step::Send(begin()),
        Step::Send(piece("half")),
        Step::Fail(FailureKind::RateLimited),
    ]);
    let mut running = house.gateway.complete(call(None)).expect("admitted");
    let (text, failure) = read(&mut running).await;
    assert_eq!(text, "half");
    assert_eq!(failure.map(|failure| failure.kind), Some(FailureKind::RateLimited));
    let record = house.only_record().await;
    assert_eq!(record.ended, Ended::Failed(FailureKind::RateLimited, 502));
    assert_eq!((record.bytes_out, record.upstream.as_deref()), (4, Some("fake")));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off() {
    for script in
        [vec![], vec![Step::Send(begin())], vec![Step::Send(begin()), Step::Send(piece("x"))]]
    {
        let house = House::new(script);
        let mut running = house.gateway.complete(call(None)).expect("admitted");
        let failure = read(&mut running).await.1.expect("not a short answer");
        assert_eq!(failure.kind, FailureKind::UpstreamFailed);
        let record = house.only_record().await;
        assert_eq!(record.ended, Ended::Failed(FailureKind::UpstreamFailed, 502));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_upstream() {
    for script in [vec![Step::Panic], vec![Step::Send(begin()), Step::Sleep(SECOND), Step::Panic]] {
        let house = House::new(script);
        let mut running = house.gateway.complete(call(None)).expect("admitted");
        let failure = read(&mut running).await.1.expect("a failure");
        assert_eq!(failure.kind, FailureKind::Internal);
        assert!(!failure.message.contains("scripted"));
        let record = house.only_record().await;
        assert_eq!(record.ended, Ended::Failed(FailureKind::Internal, 502));
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline() {
    let house = House::new(vec![
        Step::Named("fake"),
        Step::Send(begin()),
        Step::Send(piece("some")),
        Step::Forever,
    ]);
    let mut running = house.gateway.complete(call(None)).expect("admitted");
    let failure = read(&mut running).await.1.expect("a failure");
    assert_eq!(failure.kind, FailureKind::UpstreamTimeout);
    assert_eq!(house.upstream.dropped.load(Ordering::Relaxed), 1);
    let record = house.only_record().await;
    assert_eq!(record.ended, Ended::Failed(FailureKind::UpstreamTimeout, 504));
    assert_eq!(record.duration, DEADLINE);
    // What was seen until then is in the record.
    assert_eq!((record.bytes_out, record.upstream.as_deref()), (4, Some("fake")));
    assert_eq!(record.first_byte, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_drops_the_work_at_once() {
    let house = House::new(vec![
        Step::Named("fake"),
        Step::Send(begin()),
        Step::Send(piece("some")),
        Step::Forever,
    ]);
    let running = house.gateway.complete(call(None)).expect("admitted");
    house.settle().await;
    assert_eq!(house.upstream.started.load(Ordering::Relaxed), 1);
    assert_eq!(house.upstream.dropped.load(Ordering::Relaxed), 0);
    drop(running);
    house.settle().await;
    assert_eq!(house.upstream.dropped.load(Ordering::Relaxed), 1);
    let record = house.only_record().await;
    assert_eq!(record.ended, Ended::HungUp);
    assert_eq!(record.duration, Duration::ZERO);
    assert_eq!(record.upstream.as_deref(), Some("fake"));
    assert_eq!(record.model_served.as_deref(), Some("fake-model"));
    assert_eq!(record.bytes_out, 4);
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_that_the_answer_meets_is_a_hang_up() {
    for last in [Step::Send(end()), Step::Fail(FailureKind::UpstreamFailed)] {
        let house = House::new(vec![Step::Send(begin()), last]);
        let running = house.gateway.complete(call(None)).expect("admitted");
        // Before the call has run at all.
        drop(running);
        let record = house.only_record().await;
        assert_eq!(record.ended, Ended::HungUp);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_bridge() {
    let house = House::new(vec![Step::Send(begin()), Step::Forever]);
    let mut running = house.gateway.complete(call(None)).expect("admitted");
    house.settle().await;
    house.stop.cancel();
    let failure = read(&mut running).await.1.expect("a failure");
    assert_eq!(failure.kind, FailureKind::NotReady);
    assert_eq!(house.upstream.dropped.load(Ordering::Relaxed), 1);
    let record = house.only_record().await;
    assert_eq!(record.ended, Ended::Failed(FailureKind::NotReady, 503));

    let stopped = House::new(whole("never"));
    stopped.stop.cancel();
    let refused = stopped.gateway.complete(call(None)).map(drop);
    assert_eq!(refused.map_err(|failure| failure.kind), Err(FailureKind::NotReady));
    assert!(stopped.gateway.ready().is_err());
    assert_eq!(stopped.upstream.started.load(Ordering::Relaxed), 0);
    stopped.only_record().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_readiness_leaves_a_record() {
    let house = House::new(whole("never"));
    house.upstream.not_ready.store(true, Ordering::Relaxed);
    let refused = house.gateway.complete(call(None)).map(drop);
    assert_eq!(refused.map_err(|failure| failure.kind), Err(FailureKind::NotReady));
    assert_eq!(house.upstream.started.load(Ordering::Relaxed), 0);
    let record = house.only_record().await;
    assert_eq!(record.ended, Ended::Failed(FailureKind::NotReady, 503));
    assert_eq!((record.model_asked.as_str(), record.bytes_out), ("asked", 0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_door_leaves_a_record() {
    let house = House::new(whole("never"));
    let failure = Failure::new(FailureKind::Unauthenticated, "no");
    let id = CallId::generate();
    house.gateway.refused(&Refusal {
        at: Knock {
            id,
            dialect: Dialect::AnthropicMessages,
            endpoint: crate::keys::Endpoint::Messages,
            caller: None,
        },
        bytes_in: 3,
        failure: &failure,
        status: 401,
        duration: SECOND,
    });
    let record = house.only_record().await;
    assert_eq!(record.id, id);
    assert_eq!(record.ended, Ended::Failed(FailureKind::Unauthenticated, 401));
    assert_eq!(record.duration, SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_record_names_losses_and_keeps_text_only_when_asked() {
    let mut lossy = call(None);
    lossy.request.losses.insert(Loss::TopK);
    let mut events = vec![CompletionEvent::Started {
        model: model::ModelName::new("m"),
        losses: [Loss::UsageEstimated].into_iter().collect::<LossSet>(),
    }];
    events.extend(begin().split_off(1));
    events.extend(piece("text"));
    events.extend(end());
    let house = House::new(vec![Step::Send(events)]);
    house.log.bodies.store(true, Ordering::Relaxed);
    assert!(house.gateway.wants_bodies(&lossy.caller));
    let mut running = house.gateway.complete(lossy).expect("admitted");
    assert!(running.losses().contains(Loss::TopK));
    read(&mut running).await;
    let record = house.only_record().await;
    assert_eq!(record.losses.to_string(), "usage-estimated, top-k");
    assert_eq!(record.text.as_deref(), Some("text"));
}

#[tokio::test(start_paused = true)]
async fn the_body_memory_is_held_until_the_end_of_the_call() {
    let house = House::new(vec![Step::Sleep(SECOND), Step::Fail(FailureKind::UpstreamFailed)]);
    let memory = Arc::new(Semaphore::new(10));
    let mut heavy = call(None);
    heavy.memory = Some(Arc::clone(&memory).try_acquire_many_owned(7).expect("free"));
    let mut running = house.gateway.complete(heavy).expect("admitted");
    house.settle().await;
    assert_eq!(memory.available_permits(), 3);
    read(&mut running).await;
    house.only_record().await;
    assert_eq!(memory.available_permits(), 10);
}

/// Steps of every kind.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => "[a-z]{0,4}".prop_map(|text| Step::Send(piece(&text))),
        2 => (0_u64..40).prop_map(|seconds| Step::Sleep(SECOND * u32::try_from(seconds).unwrap())),
        1 => Just(Step::Send(end())),
        1 => Just(Step::Fail(FailureKind::ContextTooLong)),
        1 => Just(Step::Panic),
        1 => Just(Step::Forever),
    ]
}

proptest! {
    #[test]
    fn every_call_has_one_beginning_and_one_end(
        scripts in prop::collection::vec(prop::collection::vec(step(), 0..14), 1..4),
        choices in prop::option::of(0_u8..5),
        read_batches in prop::option::of(0_usize..12),
        stop_after in prop::option::of(0_u64..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let expected = usize::from(choices.unwrap_or(1).max(1));
            let house = House::with_choices(scripts);
            let mut running = house.gateway.complete(call(choices)).expect("admitted");
            let stop = house.stop.clone();
            let stopping = async {
                if let Some(seconds) = stop_after {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    stop.cancel();
                }
            };
            let reading = async {
                let mut failures = 0;
                let mut left = read_batches.unwrap_or(usize::MAX);
                while left > 0 {
                    left -= 1;
                    match running.next().await {
                        Some(batch) => failures += usize::from(batch.is_err()),
                        None => break,
                    }
                }
                drop(running);
                failures
            };
            let (failures, ()) = tokio::join!(reading, stopping);
            let upstream = Arc::clone(&house.upstream);
            let record = house.only_record().await;
            assert!(failures <= 1);
            if read_batches.is_none() {
                // Whoever reads to the end is told how it ended.
                assert_eq!(failures == 0, record.ended == Ended::Answered, "{record:?}");
            }
            assert!(record.duration <= DEADLINE);
            assert!(upstream.started.load(Ordering::Relaxed) <= expected);
        });
    }
}
