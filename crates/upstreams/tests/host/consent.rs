//! Warm-up, consent and readiness.

use std::time::Duration;

use gateway::Upstream;
use model::FailureKind;
use serde_json::json;
use tokio::time::Instant;
use upstreams::host::HostSettings;

use crate::script::{Bridge, SLOT_RETURN, Seen, WARM_UP, pass, question, settings, settle};

const SECOND: Duration = Duration::from_secs(1);

fn warming_up(tries: u32) -> HostSettings {
    HostSettings { warm_up_tries: tries, ..settings() }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_before_the_handshake_is_over() {
    let bridge = Bridge::new(warming_up(3));
    let mut host = bridge.connect("2025-11-25", &json!({"sampling": {}})).await;
    host.hears_nothing().await;
    assert_eq!(bridge.status().state, "handshake");
    assert_eq!(bridge.ask("x").kind().await, FailureKind::NotReady);
    host.hears_nothing().await;
    host.initialized().await;
    host.sampling().await;
}

#[tokio::test(start_paused = true)]
async fn the_warm_up_opens_the_dialog_and_makes_ready() {
    let (bridge, mut host) = Bridge::with_host(warming_up(3)).await;
    let job = host.sampling().await;
    assert_eq!(job.params["maxTokens"], 16);
    assert_eq!(job.params.get("modelPreferences"), None);
    assert_eq!(bridge.status().state, "awaiting_consent");
    let refused = bridge.ask("too early").failure().await;
    assert_eq!(refused.kind, FailureKind::NotReady);
    assert!(refused.message.contains("look for a dialog in Test Host"), "{refused}");
    host.hears_nothing().await;
    job.answer("ok");
    settle().await;
    assert_eq!((bridge.status().state, bridge.status().in_flight), ("ready", 0));
    assert_eq!(bridge.pool.models()[0].as_str(), "host-model");
    bridge.grant(&mut host).await;
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_warm_up_the_first_call_decides() {
    let (bridge, mut host) = Bridge::with_host(warming_up(0)).await;
    host.hears_nothing().await;
    assert_eq!(bridge.status().state, "consent_unknown");
    assert!(bridge.pool.ready().is_ok());
    bridge.grant(&mut host).await;
    assert_eq!(bridge.status().state, "ready");
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_warm_up_leaves_it_to_the_first_call() {
    let (bridge, mut host) = Bridge::with_host(warming_up(3)).await;
    let begun = Instant::now();
    for (seconds, message) in [(0, "Error: no model yet"), (2, ""), (6, "rate limit")] {
        pass((begun + SECOND * seconds).duration_since(Instant::now())).await;
        let job = host.sampling().await;
        assert_eq!(begun.elapsed(), SECOND * seconds);
        assert_eq!(bridge.status().state, "awaiting_consent");
        job.fail(-32603, message);
        host.hears_nothing().await;
    }
    assert_eq!(bridge.status().state, "consent_unknown");
    pass(Duration::from_hours(1)).await;
    host.hears_nothing().await;
    bridge.grant(&mut host).await;
    assert_eq!(bridge.status().state, "ready");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_until_a_person_asks_again() {
    for refusal in ["user rejected", "denied", "success"] {
        let (bridge, mut host) = Bridge::with_host(warming_up(3)).await;
        let job = host.sampling().await;
        match refusal {
            "user rejected" => job.fail(-1, "User rejected sampling request"),
            "denied" => job.fail(-32000, "The user has denied permission to call this method."),
            _ => job.result(&json!({"model": "", "role": "assistant", "stopReason": "cancelled",
                "content": {"type": "text", "text": ""}})),
        }
        pass(Duration::from_hours(24)).await;
        host.hears_nothing().await;
        assert_eq!(bridge.status().state, "refused", "{refusal}");
        let failure = bridge.ask("please").failure().await;
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("ask_again"), "it says what a person can do");
        host.hears_nothing().await;

        let status = host.tool("bridge_status", &json!({"ask_again": true})).await;
        let text = status["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("\"asked_again\": true"), "{text}");
        host.sampling().await.answer("ok");
        settle().await;
        assert_eq!(bridge.status().state, "ready");
        bridge.grant(&mut host).await;
    }
}

#[tokio::test(start_paused = true)]
async fn asking_again_without_a_warm_up_lets_the_next_call_ask() {
    let (bridge, mut host) = Bridge::with_host(warming_up(0)).await;
    let asked = bridge.ask("first");
    host.sampling().await.fail(-1, "no");
    assert_eq!(asked.kind().await, FailureKind::Refused);
    assert_eq!(bridge.status().state, "refused");
    host.tool("bridge_status", &json!({"ask_again": true})).await;
    host.hears_nothing().await;
    assert_eq!(bridge.status().state, "consent_unknown");
    bridge.grant(&mut host).await;
}

#[tokio::test(start_paused = true)]
async fn asking_again_does_nothing_where_nobody_refused() {
    let (bridge, mut host) = Bridge::with_granting_host(warming_up(0)).await;
    let status = host.tool("bridge_status", &json!({"ask_again": true})).await;
    let text = status["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"asked_again\": false"), "{text}");
    host.hears_nothing().await;
    assert_eq!(bridge.status().state, "ready");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_call_stops_all_further_ones() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let (one, two) = (bridge.ask("one"), bridge.ask("two"));
    let (first, second) = (host.sampling().await, host.sampling().await);
    let waiting = bridge.ask("waits for a slot");
    first.fail(-1, "User rejected sampling request");
    assert_eq!(one.kind().await, FailureKind::Refused);
    // What is out goes on; what waits is not sent any more.
    assert_eq!(waiting.kind().await, FailureKind::Refused);
    host.hears_nothing().await;
    second.answer("yes");
    assert_eq!(two.text().await, "yes");
    assert_eq!(bridge.status().state, "refused");
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_warm_up_ends_and_a_late_click_is_heard() {
    let (bridge, mut host) = Bridge::with_host(warming_up(3)).await;
    let job = host.sampling().await;
    pass(WARM_UP).await;
    host.is_told_to_stop(&job).await;
    assert_eq!((bridge.status().state, bridge.status().in_flight), ("consent_unknown", 1));
    // No further try: the dialog of this one is still open.
    pass(SLOT_RETURN).await;
    host.hears_nothing().await;
    assert_eq!(bridge.status().in_flight, 0);
    pass(Duration::from_mins(5)).await;
    job.answer("ok");
    settle().await;
    assert_eq!(bridge.status().state, "ready");
    assert_eq!(bridge.pool.models()[0].as_str(), "host-model");
}

#[tokio::test(start_paused = true)]
async fn a_late_no_is_heard_as_well() {
    let (bridge, mut host) = Bridge::with_host(warming_up(3)).await;
    let job = host.sampling().await;
    pass(WARM_UP + SLOT_RETURN).await;
    host.is_told_to_stop(&job).await;
    job.fail(-1, "User rejected sampling request");
    settle().await;
    assert_eq!(bridge.status().state, "refused");
    assert_eq!(bridge.ask("x").kind().await, FailureKind::Refused);
}

#[tokio::test(start_paused = true)]
async fn one_call_at_a_time_while_nothing_is_known() {
    let (bridge, mut host) = Bridge::with_host(warming_up(0)).await;
    let calls: Vec<_> = (0..3).map(|number| bridge.ask(&number.to_string())).collect();
    let first = host.sampling().await;
    host.hears_nothing().await;
    pass(10 * SECOND).await;
    host.hears_nothing().await;
    assert_eq!((bridge.status().in_flight, bridge.status().waiting), (1, 2));
    first.answer("yes");
    // Now all that wait go, as far as there are slots.
    for _ in 0..2 {
        host.sampling().await.answer("yes");
    }
    for call in calls {
        assert_eq!(call.text().await, "yes");
    }
    assert_eq!((bridge.status().in_flight, bridge.status().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failing_call_lets_the_next_one_decide() {
    let (bridge, mut host) = Bridge::with_host(warming_up(0)).await;
    let calls: Vec<_> = (0..6).map(|number| bridge.ask(&number.to_string())).collect();
    let seen = Seen::default();
    for _ in 0..5 {
        let job = host.sampling().await;
        seen.add(&job);
        host.hears_nothing().await;
        job.fail(-32603, "the provider is down");
    }
    let last = host.sampling().await;
    seen.add(&last);
    last.answer("yes");
    let mut answers = 0;
    for call in calls {
        match call.now().await {
            Ok(_) => answers += 1,
            Err(failure) => assert_eq!(failure.kind, FailureKind::UpstreamFailed),
        }
    }
    assert_eq!(answers, 1);
    assert_eq!(seen.sorted(), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(bridge.status().state, "ready");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_answers_all_that_wait_for_it() {
    let (bridge, mut host) = Bridge::with_host(warming_up(0)).await;
    let calls: Vec<_> = (0..4).map(|number| bridge.ask(&number.to_string())).collect();
    host.sampling().await.fail(-1, "User rejected sampling request");
    for call in calls {
        assert_eq!(call.kind().await, FailureKind::Refused);
    }
    host.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_deciding_call_that_hangs_up_does_not_block_the_others_for_ever() {
    let (bridge, mut host) = Bridge::with_host(warming_up(0)).await;
    let first = bridge.open(&question("first")).expect("admitted");
    let job = host.sampling().await;
    let second = bridge.ask("second");
    drop(first);
    host.is_told_to_stop(&job).await;
    // The dialog may still be open: no second one beside it for a minute.
    pass(SLOT_RETURN.saturating_sub(SECOND)).await;
    host.hears_nothing().await;
    pass(SECOND).await;
    host.sampling().await.answer("yes");
    assert_eq!(second.text().await, "yes");
}

#[tokio::test(start_paused = true)]
async fn the_late_answer_of_a_call_decides_for_the_others() {
    let (bridge, mut host) = Bridge::with_host(warming_up(0)).await;
    let first = bridge.open(&question("first")).expect("admitted");
    let job = host.sampling().await;
    let second = bridge.ask("second");
    drop(first);
    host.is_told_to_stop(&job).await;
    job.answer("too late for the caller");
    host.sampling().await.answer("yes");
    assert_eq!(second.text().await, "yes");
    assert_eq!(bridge.status().state, "ready");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_consent_until_its_deadline_says_so() {
    let (bridge, mut host) = Bridge::with_host(warming_up(0)).await;
    let first = bridge.ask("first");
    let _job = host.sampling().await;
    let second = bridge.ask("second");
    pass(crate::script::DEADLINE).await;
    assert_eq!(first.kind().await, FailureKind::UpstreamTimeout);
    let failure = second.failure().await;
    assert_eq!(failure.kind, FailureKind::NotReady);
    assert!(failure.message.contains("look for a dialog in Test Host"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn no_queue_is_no_deadlock() {
    for tries in [0, 1] {
        let (bridge, mut host) =
            Bridge::with_host(HostSettings { queue: 0, concurrency: 1, ..warming_up(tries) }).await;
        for _ in 0..tries {
            host.sampling().await.answer("ok");
            settle().await;
        }
        let first = bridge.ask("first");
        let job = host.sampling().await;
        assert_eq!(bridge.ask("second").kind().await, FailureKind::Overloaded);
        job.answer("yes");
        assert_eq!(first.text().await, "yes");
        bridge.grant(&mut host).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_without_sampling_is_named() {
    let bridge = Bridge::new(warming_up(3));
    let mut host = bridge.attach(&json!({"roots": {}})).await;
    host.hears_nothing().await;
    let failure = bridge.ask("x").failure().await;
    assert_eq!(failure.kind, FailureKind::NotReady);
    assert!(failure.message.contains("Test Host does not offer sampling"), "{failure}");
    assert_eq!(bridge.status().state, "no_sampling");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_know_the_method_is_not_asked_again() {
    for tries in [0, 3] {
        let (bridge, mut host) = Bridge::with_host(warming_up(tries)).await;
        let asked = (tries == 0).then(|| bridge.ask("x"));
        host.sampling().await.fail(-32601, "Method not found");
        if let Some(asked) = asked {
            assert_eq!(asked.kind().await, FailureKind::NotReady);
        }
        pass(Duration::from_hours(1)).await;
        assert_eq!(bridge.status().state, "no_sampling");
        assert_eq!(bridge.ask("y").kind().await, FailureKind::NotReady);
        host.hears_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_callers_word_passes_for_a_persons_no() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    for model in ["user denied", "denied permission", "model_preferences", "429"] {
        for code in [-32603, -32000] {
            let body = json!({"model": model, "messages": [{"role": "user", "content": "x"}]});
            let call = bridge.call(&body);
            host.sampling().await.fail(code, &format!("Unknown model '{model}'"));
            assert_eq!(call.kind().await, FailureKind::UnknownModel, "{model} {code}");
            assert_eq!(bridge.status().state, "ready", "{model} {code}");
        }
    }
    let call = bridge.ask("x");
    host.sampling().await.fail(-32603, "Error in sampling: rejected by the user");
    assert_eq!(call.kind().await, FailureKind::Refused);
    assert_eq!(bridge.status().state, "ready");
}

#[tokio::test(start_paused = true)]
async fn an_old_dialog_decides_nothing_after_asking_again() {
    let (bridge, mut host) = Bridge::with_granting_host(settings()).await;
    let (one, two) = (bridge.ask("1"), bridge.ask("2"));
    let (first, second) = (host.sampling().await, host.sampling().await);
    first.fail(-1, "User rejected sampling request");
    assert_eq!(one.kind().await, FailureKind::Refused);
    host.tool("bridge_status", &json!({"ask_again": true})).await;
    second.fail(-1, "User rejected sampling request");
    assert_eq!(two.kind().await, FailureKind::Refused);
    assert_eq!(bridge.status().state, "consent_unknown");
    bridge.grant(&mut host).await;
    assert_eq!(bridge.status().state, "ready");
}

#[tokio::test(start_paused = true)]
async fn the_hosts_word_that_it_has_stopped_is_no_refusal() {
    let (bridge, mut host) = Bridge::with_host(settings()).await;
    let door = bridge.open(&question("x")).expect("admitted");
    let job = host.sampling().await;
    drop(door);
    host.is_told_to_stop(&job).await;
    job.fail(-32000, "The request was cancelled");
    settle().await;
    assert_eq!(bridge.status().state, "consent_unknown");
    bridge.grant(&mut host).await;
}
