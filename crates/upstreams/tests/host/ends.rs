//! Hosts that go, come again, and stand beside each other.

use std::time::Duration;

use gateway::Upstream;
use model::FailureKind;
use serde_json::json;
use tokio::time::Instant;

use crate::script::{Bridge, question, settings, settle};

#[tokio::test(start_paused = true)]
async fn no_host_at_all() {
    let bridge = Bridge::new(settings());
    let failure = bridge.ask("x").failure().await;
    assert_eq!(failure.kind, FailureKind::NotReady);
    assert!(failure.message.contains("No MCP host is attached"), "{failure}");
    assert!(bridge.pool.statuses().is_empty() && bridge.pool.models().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_death_of_a_host_fails_its_calls_at_once_and_those_that_wait_for_it() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let begun = Instant::now();
    let calls: Vec<_> = (0..6).map(|number| bridge.ask(&number.to_string())).collect();
    let _jobs = [host.sampling().await, host.sampling().await];
    assert_eq!(bridge.status().waiting, 4);
    host.die().await;
    let mut kinds = Vec::new();
    for call in calls {
        kinds.push(call.kind().await);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(kinds[..2], [FailureKind::UpstreamFailed; 2]);
    assert_eq!(kinds[2..], [FailureKind::NotReady; 4]);
    assert_eq!((bridge.status().state, bridge.status().ready), ("gone", false));
    assert_eq!((bridge.status().in_flight, bridge.status().waiting), (0, 0));
    assert_eq!(bridge.ask("x").kind().await, FailureKind::NotReady);
}

#[tokio::test(start_paused = true)]
async fn the_death_of_a_host_fails_those_that_wait_for_consent() {
    let (bridge, mut host) = Bridge::with_host(settings()).await;
    let calls: Vec<_> = (0..3).map(|number| bridge.ask(&number.to_string())).collect();
    let _job = host.sampling().await;
    host.die().await;
    for call in calls {
        let kind = call.kind().await;
        assert!(matches!(kind, FailureKind::UpstreamFailed | FailureKind::NotReady), "{kind:?}");
    }
    assert_eq!((bridge.status().in_flight, bridge.status().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_death_of_a_host_gives_back_the_slots_of_cancelled_samplings() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let door = bridge.open(&question("x")).expect("admitted");
    let _job = host.sampling().await;
    drop(door);
    settle().await;
    assert_eq!(bridge.status().in_flight, 1);
    host.die().await;
    assert_eq!(bridge.status().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_comes_again_is_a_new_one() {
    let (bridge, host) = Bridge::with_granting_host(settings()).await;
    host.die().await;
    let mut host = bridge.attach(&json!({"sampling": {}})).await;
    assert_eq!(bridge.status().state, "consent_unknown");
    bridge.grant(&mut host).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_starts_over_on_its_connection_takes_its_own_place() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let call = bridge.ask("goes on");
    let job = host.sampling().await;
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"sampling": {}}});
    host.ask("initialize", &params).await.await.expect("answered");
    assert_eq!((bridge.status().state, bridge.status().name.as_str()), ("handshake", "Test Host"));
    job.answer("yes");
    assert_eq!(call.text().await, "yes");
    host.initialized().await;
    assert_eq!(bridge.status().state, "ready");
}

#[tokio::test(start_paused = true)]
async fn starting_over_lifts_no_refusal_and_frees_no_slot() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let (one, two) = (bridge.ask("1"), bridge.ask("2"));
    let (first, second) = (host.sampling().await, host.sampling().await);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"sampling": {}}});
    let again = host.ask("initialize", &params).await;
    again.await.expect("answered");
    host.initialized().await;
    assert_eq!(bridge.status().in_flight, 2);
    let three = bridge.ask("3");
    host.hears_nothing().await;
    first.fail(-1, "User rejected sampling request");
    assert_eq!(one.kind().await, FailureKind::Refused);
    assert_eq!(three.kind().await, FailureKind::Refused);
    second.answer("late");
    assert_eq!(two.text().await, "late");
    let again = host.ask("initialize", &params).await;
    again.await.expect("answered");
    host.initialized().await;
    assert_eq!(bridge.status().state, "refused");
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn calls_go_to_the_host_with_the_least_to_do() {
    let (bridge, mut first) = Bridge::with_granting_host(settings()).await;
    let mut second = bridge.attach(&json!({"sampling": {}})).await;
    let calls = [bridge.ask("0")];
    settle().await;
    let other = bridge.ask("1");
    first.sampling().await.answer("first");
    second.sampling().await.answer("second");
    for call in calls {
        assert_eq!(call.text().await, "first");
    }
    assert_eq!(other.text().await, "second");
    // One that refuses or is gone is passed over.
    let (zero, one) = (bridge.ask("0"), bridge.open(&question("1")).expect("admitted"));
    first.sampling().await.fail(-1, "User rejected sampling request");
    assert_eq!(zero.kind().await, FailureKind::Refused);
    drop(one);
    for _ in 0..3 {
        let call = bridge.ask("x");
        assert!(bridge.pool.ready().is_ok());
        loop {
            let job = second.job_or_note().await;
            if let Some(job) = job
                && job.question() == "x"
            {
                job.answer("second");
                break;
            }
        }
        assert_eq!(call.text().await, "second");
    }
    first.hears_nothing().await;
    second.die().await;
    assert!(bridge.pool.ready().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_goes_is_forgotten_when_another_comes() {
    let (bridge, host) = Bridge::with_granting_host(settings()).await;
    host.die().await;
    assert_eq!(bridge.pool.statuses().len(), 1, "its end can be seen");
    let _host = bridge.attach(&json!({"sampling": {}})).await;
    assert_eq!(bridge.status().state, "consent_unknown");
}
