//! Several choices of one call, and doors that are slower than the upstream.

use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use model::{CompletionEvent, FailureKind};

use super::fakes::{Ended, House, Step, begin, call, end, piece, usage, whole};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn each_choice_has_its_own_events() {
    let house = House::with_choices(vec![
        vec![
            Step::Named("fake"),
            Step::Sleep(2 * SECOND),
            Step::Send(begin()),
            Step::Send(piece("slow")),
            Step::Send(end()),
        ],
        whole("quick"),
        vec![Step::Sleep(SECOND), Step::Send(begin()), Step::Send(piece("mid")), Step::Send(end())],
    ]);
    let mut running = house.gateway.complete(call(Some(3))).expect("admitted");
    let mut texts = vec![String::new(); 3];
    let mut finished = Vec::new();
    while let Some(batch) = running.next().await {
        let batch = batch.expect("no failure");
        for event in batch.events {
            match event {
                CompletionEvent::BlockDelta { delta, .. } => {
                    texts[usize::from(batch.choice)].push_str(&delta);
                }
                CompletionEvent::Finished { .. } => finished.push(batch.choice),
                _ => {}
            }
        }
    }
    assert_eq!(texts, ["slow", "quick", "mid"]);
    assert_eq!(finished, [1, 2, 0], "the choices run at the same time");
    let record = house.only_record().await;
    assert_eq!(record.ended, Ended::Answered);
    assert_eq!(record.usage.output, 3 * usage(5).output);
    assert_eq!(record.usage.cached_input, 3 * usage(5).cached_input);
    assert_eq!(record.bytes_out, "slowquickmid".len());
    assert_eq!((record.first_byte, record.duration), (Some(Duration::ZERO), 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn one_failing_choice_ends_the_call_and_the_others_work() {
    let house = House::with_choices(vec![
        vec![Step::Named("fake"), Step::Send(begin()), Step::Send(piece("lost")), Step::Forever],
        vec![Step::Sleep(SECOND), Step::Fail(FailureKind::Refused)],
        vec![Step::Forever],
    ]);
    let mut running = house.gateway.complete(call(Some(3))).expect("admitted");
    let mut failure = None;
    while let Some(batch) = running.next().await {
        if let Err(why) = batch {
            failure = Some(why.kind);
        }
    }
    assert_eq!(failure, Some(FailureKind::Refused));
    assert_eq!(house.upstream.dropped.load(Ordering::Relaxed), 2);
    let record = house.only_record().await;
    assert_eq!(record.ended, Ended::Failed(FailureKind::Refused, 502));
    assert_eq!((record.upstream.as_deref(), record.bytes_out), (Some("fake"), 4));
    assert_eq!(record.duration, SECOND);
}

#[tokio::test(start_paused = true)]
async fn no_choices_are_one() {
    for choices in [None, Some(0), Some(1)] {
        let house = House::new(whole("x"));
        let mut running = house.gateway.complete(call(choices)).expect("admitted");
        while running.next().await.is_some() {}
        assert_eq!(house.upstream.started.load(Ordering::Relaxed), 1);
        house.only_record().await;
    }
}

/// A script of this many pieces, the first and last of which frame the answer.
fn long(pieces: usize) -> Vec<Step> {
    let mut steps = vec![Step::Send(begin())];
    steps.extend((0..pieces).map(|number| Step::Send(piece(&format!("{number},")))));
    steps
}

#[tokio::test(start_paused = true)]
async fn a_slow_door_holds_the_upstream_back_and_loses_nothing() {
    let mut script = long(100);
    script.push(Step::Send(end()));
    let house = House::new(script);
    let mut running = house.gateway.complete(call(None)).expect("admitted");
    house.settle().await;
    let ahead = house.upstream.sent.load(Ordering::Relaxed);
    assert!((1..=16).contains(&ahead), "{ahead} batches are held for one door");
    let mut text = String::new();
    while let Some(batch) = running.next().await {
        for event in batch.expect("no failure").events {
            if let CompletionEvent::BlockDelta { delta, .. } = event {
                text.push_str(&delta);
            }
        }
        house.settle().await;
    }
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(text, expected.join(",") + ",");
    assert_eq!(house.only_record().await.ended, Ended::Answered);
}

#[tokio::test(start_paused = true)]
async fn a_slow_door_ends_with_the_deadline_and_still_hears_why() {
    let mut script = long(100);
    script.push(Step::Send(end()));
    let house = House::new(script);
    let mut running = house.gateway.complete(call(None)).expect("admitted");
    tokio::time::sleep(1000 * SECOND).await;
    // The call is over; what it left for the door waits without it.
    assert_eq!(house.log.finished.lock().unwrap().len(), 1);
    let mut batches = 0;
    let failure = loop {
        match running.next().await.expect("the failure comes last") {
            Ok(_) => batches += 1,
            Err(failure) => break failure,
        }
    };
    assert!(batches >= 1);
    assert_eq!(failure.kind, FailureKind::UpstreamTimeout);
    assert!(running.next().await.is_none());
    let record = house.only_record().await;
    assert_eq!(record.ended, Ended::Failed(FailureKind::UpstreamTimeout, 504));
}

#[tokio::test(start_paused = true)]
async fn a_door_that_goes_while_the_upstream_waits_for_it() {
    let mut script = long(100);
    script.push(Step::Send(end()));
    let house = House::new(script);
    let running = house.gateway.complete(call(None)).expect("admitted");
    house.settle().await;
    drop(running);
    assert_eq!(house.only_record().await.ended, Ended::HungUp);
}

#[tokio::test(start_paused = true)]
async fn polling_gives_the_same_as_waiting() {
    let house = House::new(vec![Step::Send(begin()), Step::Fail(FailureKind::RateLimited)]);
    let mut running = house.gateway.complete(call(None)).expect("admitted");
    let mut seen = Vec::new();
    std::future::poll_fn(|context| {
        loop {
            match std::task::ready!(running.poll_next(context)) {
                Some(Ok(batch)) => seen.push(Ok(batch.events.len())),
                Some(Err(failure)) => seen.push(Err(failure.kind)),
                None => return Poll::Ready(()),
            }
        }
    })
    .await;
    assert_eq!(seen, [Ok(2), Err(FailureKind::RateLimited)]);
    house.only_record().await;
}
