//! Samplings as tasks (MCP 2025-11-25): the one way in which VS Code can be told to stop.

use std::time::Duration;

use gateway::Running;
use model::FailureKind;
use serde_json::{Value, json};
use upstreams::host::HostSettings;

use crate::script::{Bridge, DEADLINE, Host, Job, SLOT_RETURN, pass, question, settings, settle};

fn capabilities() -> Value {
    json!({"sampling": {}, "tasks": {"cancel": {}, "requests": {"sampling": {"createMessage": {}}}}})
}

fn task(id: &str) -> Value {
    json!({"task": {"taskId": id, "status": "working", "ttl": 1000, "pollInterval": 1}})
}

async fn bridge(settings: HostSettings) -> (Bridge, Host) {
    let bridge = Bridge::new(settings);
    let mut host = bridge.attach(&capabilities()).await;
    bridge.grant(&mut host).await;
    (bridge, host)
}

/// A call whose sampling is out as the task `t-1`, and the request for its result.
async fn out(bridge: &Bridge, host: &mut Host) -> (Running, Job) {
    let door = bridge.open(&question("x")).expect("admitted");
    host.sampling().await.result(&task("t-1"));
    let result = host.job().await;
    assert_eq!(result.method, "tasks/result");
    assert_eq!(result.params, json!({"taskId": "t-1"}));
    (door, result)
}

async fn cancelled(host: &mut Host) -> Job {
    let cancel = host.job().await;
    assert_eq!(cancel.method, "tasks/cancel");
    assert_eq!(cancel.params, json!({"taskId": "t-1"}));
    cancel
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_task_is_the_answer() {
    let (bridge, mut host) = bridge(settings()).await;
    let call = bridge.ask("x");
    let job = host.sampling().await;
    let ttl = u64::try_from(settings().max_wait.as_millis()).unwrap();
    assert_eq!(job.params["task"], json!({"ttl": ttl}));
    job.result(&task("t-1"));
    let result = host.job().await;
    assert_eq!(
        (result.method.as_str(), &result.params),
        ("tasks/result", &json!({"taskId": "t-1"}))
    );
    pass(Duration::from_secs(50)).await;
    assert_eq!(bridge.status().in_flight, 1);
    result.answer("done");
    assert_eq!(call.text().await, "done");
    assert_eq!(bridge.status().in_flight, 0);
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_may_answer_at_once_all_the_same() {
    let (bridge, mut host) = bridge(settings()).await;
    let call = bridge.ask("x");
    host.sampling().await.answer("direct");
    assert_eq!(call.text().await, "direct");
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_task_is_a_refusal() {
    let (bridge, mut host) = bridge(settings()).await;
    let call = bridge.ask("x");
    host.sampling().await.result(&task("t-1"));
    host.job().await.fail(-1, "User rejected sampling request");
    assert_eq!(call.kind().await, FailureKind::Refused);
    assert_eq!(bridge.status().state, "refused");
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_cancels_the_task() {
    let (bridge, mut host) = bridge(settings()).await;
    let (door, _result) = out(&bridge, &mut host).await;
    drop(door);
    let cancel = cancelled(&mut host).await;
    host.hears_nothing().await;
    assert_eq!(bridge.status().in_flight, 1);
    cancel.result(&json!({"taskId": "t-1", "status": "cancelled"}));
    settle().await;
    // The host has confirmed: no need to wait for the task's result as well.
    assert_eq!((bridge.status().in_flight, bridge.status().state), (0, "ready"));
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_cancels_the_task() {
    let (bridge, mut host) = bridge(settings()).await;
    let call = bridge.ask("x");
    host.sampling().await.result(&task("t-1"));
    let result = host.job().await;
    pass(DEADLINE).await;
    assert_eq!(call.kind().await, FailureKind::UpstreamTimeout);
    let _cancel = cancelled(&mut host).await;
    assert_eq!(bridge.status().in_flight, 1);
    result.fail(-32603, "task was cancelled");
    settle().await;
    assert_eq!((bridge.status().in_flight, bridge.status().state), (0, "ready"));
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_before_the_task_is_known_cancels_it_when_it_is() {
    let (bridge, mut host) = bridge(settings()).await;
    let door = bridge.open(&question("x")).expect("admitted");
    let job = host.sampling().await;
    drop(door);
    // A task is not cancelled by the id of its request.
    host.hears_nothing().await;
    pass(Duration::from_secs(5)).await;
    job.result(&task("t-1"));
    let cancel = cancelled(&mut host).await;
    assert_eq!(bridge.status().in_flight, 1);
    cancel.result(&json!({"taskId": "t-1", "status": "cancelled"}));
    settle().await;
    assert_eq!((bridge.status().in_flight, bridge.status().state), (0, "ready"));
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_cancel_tasks_keeps_its_slot_and_its_name() {
    for early in [true, false] {
        let (bridge, mut host) = bridge(settings()).await;
        let _result = if early {
            let door = bridge.open(&question("x")).expect("admitted");
            let job = host.sampling().await;
            drop(door);
            settle().await;
            job.result(&task("t-1"));
            None
        } else {
            let (door, result) = out(&bridge, &mut host).await;
            drop(door);
            Some(result)
        };
        cancelled(&mut host).await.fail(-32601, "Method not found");
        pass(SLOT_RETURN / 2).await;
        // It may still be working, and it still offers sampling.
        assert_eq!((bridge.status().in_flight, bridge.status().state), (1, "ready"), "{early}");
        pass(SLOT_RETURN / 2).await;
        assert_eq!(bridge.status().in_flight, 0);
        bridge.grant(&mut host).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_of_a_task_decides_consent() {
    let bridge = Bridge::new(settings());
    let mut host = bridge.attach(&capabilities()).await;
    let (door, result) = out(&bridge, &mut host).await;
    drop(door);
    cancelled(&mut host).await.fail(-32602, "the task has ended");
    assert_eq!(bridge.status().state, "consent_unknown");
    result.answer("was just done");
    settle().await;
    assert_eq!((bridge.status().state, bridge.status().in_flight), ("ready", 0));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_give_results_still_samples() {
    let (bridge, mut host) = bridge(settings()).await;
    let call = bridge.ask("x");
    host.sampling().await.result(&task("t-1"));
    host.job().await.fail(-32601, "Method not found");
    assert_eq!(call.kind().await, FailureKind::UpstreamFailed);
    assert_eq!((bridge.status().state, bridge.status().in_flight), ("ready", 0));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_answers_with_a_task_is_a_failure() {
    let (bridge, mut host) = bridge(settings()).await;
    let call = bridge.ask("x");
    host.sampling().await.result(&task("t-1"));
    host.job().await.result(&task("t-2"));
    assert_eq!(call.kind().await, FailureKind::UpstreamFailed);
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_host_ends_the_wait_for_its_task() {
    let (bridge, mut host) = bridge(settings()).await;
    let call = bridge.ask("x");
    host.sampling().await.result(&task("t-1"));
    let _result = host.job().await;
    host.die().await;
    assert_eq!(call.kind().await, FailureKind::UpstreamFailed);
}

#[tokio::test(start_paused = true)]
async fn tasks_are_asked_for_only_where_they_exist() {
    let off = HostSettings { tasks: false, ..settings() };
    for (settings, version, capabilities) in [
        (off, "2025-11-25", capabilities()),
        (settings(), "2025-06-18", capabilities()),
        (settings(), "2025-11-25", json!({"sampling": {}})),
        (settings(), "2025-11-25", json!({"sampling": {}, "tasks": {"requests": {}}})),
    ] {
        let bridge = Bridge::new(settings);
        let mut host = bridge.connect(version, &capabilities).await;
        host.initialized().await;
        let door = bridge.open(&question("x")).expect("admitted");
        let job = host.sampling().await;
        assert_eq!(job.params.get("task"), None);
        drop(door);
        host.is_told_to_stop(&job).await;
    }
}
