//! What a sampling costs that brings its call no answer: the same for whoever stays to hear of it as
//! for whoever has hung up.

use std::sync::Arc;

use dialects::{openai_chat, tokens};
use gateway::admission::Admission;
use gateway::amounts::{Budget, Span, Unit};
use gateway::clock::SystemClock;
use gateway::keyring::{ActiveKey, Keyring};
use gateway::keys::token::InstallSecret;
use gateway::keys::{Bounds, KeyId, KeyKind, SecretDigest, Tenant, VirtualKey};
use gateway::policy::{Policy, Price};
use gateway::store::Loaded;
use model::ParamsMode;
use serde_json::json;

use crate::script::{Bridge, Host, Job, MAX_LINE, SLOT_RETURN, pass, question, settings, settle};

/// What a token of the dearest model costs, whichever is asked for; one of `host-model` costs 1.
const DEAREST: u64 = 1_000;
/// Tokens of output that are reserved.
const EXPECTED: u64 = 500;

/// A bridge whose callers have a key that pays, and what tells what it has spent.
struct House {
    bridge: Bridge,
    admission: Arc<Admission>,
    key: Arc<ActiveKey>,
}

impl House {
    fn new() -> Self {
        let most = |unit| Budget { unit, span: Span::Total, limit: 1 << 40 };
        let tenant = || "team".parse().expect("a name");
        let id = KeyId::from_entropy([7; 12]);
        let key = VirtualKey {
            bounds: Bounds {
                budgets: [Unit::Requests, Unit::Tokens, Unit::Cost].map(most).into(),
                ..Bounds::default()
            },
            ..VirtualKey::new(KeyKind::Model, tenant(), id, SecretDigest([0; 32]), 0)
        };
        let tenants = vec![Tenant::new(tenant(), 0)];
        let loaded = Loaded { keys: vec![key], tenants, ..Loaded::default() };
        let ring = Keyring::new(InstallSecret::new([1; 32]), loaded).snapshot();
        let key = Arc::clone(ring.key(id).expect("the key"));
        let price = |nanos: u64| Price {
            input: nanos * 1_000,
            cached_input: nanos * 1_000,
            output: nanos * 1_000,
            per_request: 0,
            multiplier: 1_000_000,
        };
        let prices = [("host-model", 1), ("dear", DEAREST)];
        let prices = prices.map(|(name, nanos)| (name.parse().expect("a glob"), price(nanos)));
        let policy =
            Policy { prices: prices.into(), expected_output: EXPECTED, ..Policy::default() };
        let admission = Arc::new(Admission::new(policy, Arc::new(SystemClock)));
        let bridge = Bridge::with_key(settings(), Arc::clone(&admission), Arc::clone(&key));
        Self { bridge, admission, key }
    }

    /// Requests, tokens and money that the key has spent, with nothing held.
    fn spent(&self) -> [u64; 3] {
        let [scope, _] = self.admission.usage(&self.key).try_into().expect("a key and a tenant");
        let budgets: [_; 3] = scope.budgets.try_into().expect("three budgets");
        assert!(budgets.iter().all(|budget| budget.held == 0), "{budgets:?}");
        budgets.map(|budget| budget.spent)
    }
}

/// What a host does with a sampling. The job goes back where it gets no answer: dropped, it would
/// have one.
type Does = fn(Job, &Host) -> Option<Job>;

/// What a call comes to whose caller stays, or has hung up before the host does anything.
async fn comes_to(does: Does, stays: bool) -> [u64; 3] {
    let house = House::new();
    let mut host = house.bridge.attach(&json!({"sampling": {}})).await;
    house.bridge.grant(&mut host).await;
    let before = house.spent();
    let door = house.bridge.open(&question(QUESTION)).expect("admitted");
    let job = host.sampling().await;
    let door = stays.then_some(door);
    if !stays {
        settle().await;
        host.is_told_to_stop(&job).await;
    }
    let _unanswered = does(job, &host);
    settle().await;
    if !stays {
        // Whoever is not heard of by then is not waited for.
        pass(SLOT_RETURN).await;
    }
    drop(door);
    let spent = house.spent();
    std::array::from_fn(|at| spent[at] - before[at])
}

const QUESTION: &str = "why?";
const UNREADABLE: &str = r#"{"role":"assistant","model":"host-model"}"#;

/// Our estimate of what the host reads.
fn input() -> u64 {
    let body = question(QUESTION).to_string();
    let read = openai_chat::read_request(body.as_bytes(), ParamsMode::Default);
    tokens::estimate_input(&read.expect("a request").request)
}

#[tokio::test(start_paused = true)]
async fn a_failure_costs_whoever_stays_what_a_hang_up_costs() {
    // Nobody knows of which model.
    let dear = |tokens: u64| [1, tokens, tokens * DEAREST];
    let answer = input() + tokens::estimate_text("so");
    let unreadable = input() + tokens::estimate_text(UNREADABLE);
    let table: [(&str, Does, [u64; 3]); 7] = [
        (
            "an answer",
            |job, _| {
                job.answer("so");
                None
            },
            [1, answer, answer],
        ),
        (
            "an answer without content",
            |job, _| {
                job.result(&serde_json::from_str(UNREADABLE).expect("JSON"));
                None
            },
            dear(unreadable),
        ),
        (
            "an error",
            |job, _| {
                job.fail(-32603, "the model stumbled");
                None
            },
            dear(input()),
        ),
        (
            "an error of the provider",
            |job, _| {
                job.fail(-32603, "rate limit exceeded");
                None
            },
            dear(input()),
        ),
        (
            "an answer that is no JSON",
            |job, _| {
                job.raw(b"{\"role\":");
                None
            },
            dear(input() + EXPECTED),
        ),
        (
            "an answer above the limit",
            |job, _| {
                job.answer(&"long ".repeat(MAX_LINE / 5));
                None
            },
            dear(input() + EXPECTED),
        ),
        (
            "the end of the host",
            |job, host| {
                host.hang_up();
                Some(job)
            },
            dear(input() + EXPECTED),
        ),
    ];
    for (what, does, expected) in table {
        assert_eq!(comes_to(does, false).await, expected, "{what}, after a hang-up");
        assert_eq!(comes_to(does, true).await, expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_no_costs_no_tokens_and_neither_does_a_host_that_asks_no_model() {
    let table: [(&str, Does); 4] = [
        ("a person's no", |job, _| {
            job.fail(-1, "User rejected sampling request");
            None
        }),
        ("a no in the words of an error", |job, _| {
            job.fail(-32603, "the user declined");
            None
        }),
        ("a no that looks like an answer", |job, _| {
            job.result(&json!({"role": "assistant", "model": "", "stopReason": "cancelled",
                "content": {"type": "text", "text": "The user cancelled the request."}}));
            None
        }),
        ("no such method", |job, _| {
            job.fail(-32601, "Method not found");
            None
        }),
    ];
    for (what, does) in table {
        assert_eq!(comes_to(does, true).await, [1, 0, 0], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_again_costs_what_it_has_cost_together() {
    let house = House::new();
    let mut host = house.bridge.attach(&json!({"sampling": {}})).await;
    house.bridge.grant(&mut host).await;
    let before = house.spent();
    let mut body = question(QUESTION);
    body["response_format"] = json!({"type": "json_object"});
    let call = house.bridge.call(&body);
    host.later_sampling().await.answer("no JSON");
    host.later_sampling().await.fail(-32603, "the model stumbled");
    call.end().await.expect_err("a failure");
    let spent = house.spent();
    let read = openai_chat::read_request(body.to_string().as_bytes(), ParamsMode::Default);
    let input = tokens::estimate_input(&read.expect("a request").request);
    // The model of the first answer is known, and taken to be that of the second.
    let tokens = 2 * input + tokens::estimate_text("no JSON");
    assert_eq!(spent[1] - before[1], tokens);
    assert_eq!(spent[2] - before[2], tokens);
}
