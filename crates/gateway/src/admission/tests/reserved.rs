//! What is reserved.

use model::{CallId, Usage};

use super::{Ask, Family, Settled, ask};
use crate::admission::bound_output;
use crate::amounts::{Budget, Span, Unit};
use crate::keys::KeyKind;

fn tokens(family: &Family, input_tokens: u64, max_output: Option<u64>, choices: u64) -> u64 {
    let key = family.key();
    let ask = Ask { input_tokens, max_output, choices, ..ask(&key) };
    let (reserved, outcome) = family.admission().explain(&ask);
    assert!(outcome.is_ok());
    let bill = family.admission().admit(&ask).unwrap();
    assert_eq!(bill.reserved().amounts, reserved);
    assert_eq!((reserved.requests, reserved.cost), (1, reserved.tokens * 1_000));
    reserved.tokens
}

#[test]
fn the_input_and_the_least_of_what_is_asked_allowed_and_expected() {
    let mut family = Family::new();
    assert_eq!(tokens(&family, 7, Some(100), 1), 107);
    assert_eq!(tokens(&family, 7, Some(128_000), 1), 7 + 4096);
    assert_eq!(tokens(&family, 7, None, 1), 7 + 4096);
    assert_eq!(tokens(&family, 7, Some(u64::MAX), 3), 3 * (7 + 4096));
    assert_eq!(tokens(&family, 7, Some(0), 2), 14);
    family.policy.expected_output = 50;
    assert_eq!(tokens(&family, 7, Some(100), 1), 57);
    family.tenant.bounds.max_output = Some(20);
    family.child.bounds.max_output = Some(30);
    assert_eq!(tokens(&family, 7, Some(100), 1), 27);
    // All replies of a call share what it may write.
    assert_eq!(tokens(&family, 7, Some(100), 3), 3 * (7 + 6));
}

#[test]
fn all_that_is_asked_where_nothing_may_overspend() {
    let mut family = Family::new();
    family.policy.hard = true;
    assert_eq!(tokens(&family, 7, Some(128_000), 2), 2 * 128_007);
    assert_eq!(tokens(&family, 7, None, 1), 7 + 8192);
    family.top.bounds.max_output = Some(5000);
    assert_eq!(tokens(&family, 7, Some(128_000), 1), 5007);
    assert_eq!(tokens(&family, 7, None, 1), 5007);
    // Hosts may not look at a bound: what such calls usually write is reserved at least.
    assert_eq!(tokens(&family, 7, Some(90), 1), 7 + 4096);
    family.top.bounds.max_output = Some(50);
    assert_eq!(tokens(&family, 7, None, 1), 7 + 4096);
    // Nobody is asked for a call that wants no token.
    assert_eq!(tokens(&family, 7, Some(0), 2), 14);
}

#[test]
fn an_answer_that_may_be_asked_for_again_is_reserved_twice_where_nothing_may_overspend() {
    let mut family = Family::new();
    let reserved = |family: &Family, max_output| {
        let key = family.key();
        let ask = Ask { max_output, choices: 2, samplings: 2, ..ask(&key) };
        let bill = family.admission().admit(&ask).unwrap();
        assert_eq!(family.admission().explain(&ask).0, bill.reserved().amounts);
        bill.reserved().amounts.tokens
    };
    assert_eq!(reserved(&family, Some(5000)), 2 * (10 + 4096));
    family.policy.hard = true;
    assert_eq!(reserved(&family, Some(5000)), 2 * 2 * (10 + 5000));
    assert_eq!(reserved(&family, Some(0)), 2 * 10);
}

#[test]
fn a_sampling_that_is_lost_costs_one_sampling_of_all_that_is_reserved() {
    let mut family = Family::new();
    family.policy.hard = true;
    family.policy.expected_output = 90;
    let (admission, key) = (family.admission(), family.key());
    let bill = admission.admit(&Ask { samplings: 2, ..ask(&key) }).unwrap();
    assert_eq!(bill.reserved().amounts.tokens, 200);
    let out = bill.outstanding();
    let first = super::usage(10, 20);
    drop(bill.end(CallId::generate(), true, &first, None, None));
    drop(out);
    assert_eq!(super::counted(&admission, &key.debited[0]).0.tokens, 30 + 100);
}

#[test]
fn a_host_that_writes_more_than_was_reserved_is_charged_and_flagged() {
    let mut family = Family::new();
    family.policy.hard = true;
    family.policy.expected_output = 90;
    let bill = family.admission().admit(&ask(&family.key())).unwrap();
    let (spent, overrun) = super::end(&bill, true, &super::usage(10, 91));
    assert_eq!((spent.amounts.tokens, overrun), (101, true));
}

#[test]
fn who_leaves_the_choice_or_names_no_price_reserves_the_dearest() {
    let mut family = Family::new();
    let price = |nanos| super::per_token(nanos);
    family.policy.prices = vec![
        ("cheap".parse().unwrap(), price(1)),
        ("dear-*".parse().unwrap(), price(1_000)),
        ("auto*".parse().unwrap(), price(2)),
    ];
    let (admission, key) = (family.admission(), family.key());
    for (model, each) in [
        ("auto", 1_000),
        ("", 1_000),
        (model::ModelAlias::PROTOTYPE, 1_000),
        ("unknown", 1_000),
        ("autonomous", 2),
        ("cheap", 1),
        ("dear-1", 1_000),
    ] {
        let ask = Ask { model, ..ask(&key) };
        assert_eq!(admission.explain(&ask).0.cost, 100 * each, "{model}");
        // The truth is that of the model that answered; where none is known, what was reserved.
        let served = [(Some("cheap"), 1), (Some("dear-1"), 1_000), (None, each)];
        for (served, charged) in served {
            let bill = admission.admit(&ask).unwrap();
            assert_eq!(bill.reserved().amounts.cost, 100 * each, "{model}");
            let usage = super::usage(10, 40);
            let settled = bill.end(CallId::generate(), true, &usage, served, None);
            let Settled::Now(spent, _) = settled else { panic!("nothing is out") };
            assert_eq!(spent.amounts.cost, 50 * charged, "{model} by {served:?}");
        }
    }
    family.policy.prices.clear();
    assert_eq!(family.admission().explain(&ask(&key)).0.cost, 0);
}

#[test]
fn a_name_without_a_price_overspends_no_hard_budget() {
    let mut family = Family::new();
    family.policy.hard = true;
    family.policy.expected_output = 90;
    let price = |nanos| super::per_token(nanos);
    family.policy.prices =
        vec![("cheap".parse().unwrap(), price(1)), ("dear-*".parse().unwrap(), price(1_000))];
    // Enough for one answer of the dear model, which may come whatever is asked for.
    let cost = Budget { unit: Unit::Cost, span: Span::Day, limit: 150_000 };
    family.tenant.bounds.budgets = vec![cost];
    let key = family.key();
    for model in ["auto", "", "unknown", "cheap", "dear-1"] {
        let admission = family.admission();
        let ask = Ask { model, input_tokens: 10, max_output: Some(90), ..ask(&key) };
        let bill = admission.admit(&ask).unwrap();
        assert_eq!(bill.reserved().amounts.cost, 100_000, "{model}");
        assert!(admission.admit(&ask).is_err(), "{model}");
        let usage = Usage { input: 10, output: 90, ..Usage::default() };
        let Settled::Now(spent, overrun) =
            bill.end(CallId::generate(), true, &usage, Some("dear-1"), None)
        else {
            panic!("nothing is out")
        };
        assert_eq!((spent.amounts.cost, overrun), (100_000, false), "{model}");
    }
}

#[test]
fn amounts_beyond_all_measure_are_refused_where_there_is_a_bound() {
    let mut family = Family::new();
    family.policy.hard = true;
    family.tenant.bounds.tokens_per_minute = Some(u64::MAX);
    let key = family.key();
    let ask = Ask { max_output: Some(u64::MAX), input_tokens: u64::MAX, choices: 128, ..ask(&key) };
    let admission = family.admission();
    let bill = admission.admit(&ask).unwrap();
    assert_eq!(bill.reserved().amounts.tokens, u64::MAX);
    assert!(admission.admit(&ask).is_err());
    drop(bill);
    family.tenant.bounds.tokens_per_minute = Some(1 << 40);
    let key = family.key();
    let ask = Ask { key: Some(&key), ..ask };
    assert!(family.admission().admit(&ask).is_err());
}

#[test]
fn what_is_asked_is_lowered_to_what_is_allowed_and_said_so() {
    let mut family = Family::new();
    family.top.bounds.max_output = Some(50);
    let key = family.key();
    for (asked, clamped) in [(None, false), (Some(50), false), (Some(51), true), (Some(0), false)] {
        let mut request = model::CompletionRequest::default();
        request.params.max_tokens = asked;
        bound_output(&key, &mut request);
        assert_eq!(request.params.max_tokens, Some(asked.unwrap_or(50).min(50)));
        assert_eq!(request.losses.contains(model::Loss::MaxTokensClamped), clamped);
    }
}

#[test]
fn the_output_of_a_call_is_that_of_all_its_replies() {
    let mut family = Family::new();
    family.child.bounds.max_output = Some(50);
    family.top.bounds.max_output = Some(10);
    let key = family.key();
    for (asked, choices, each) in [(None, 8, 1), (Some(2), 4, 2), (Some(3), 4, 2), (Some(9), 1, 9)]
    {
        let mut request = model::CompletionRequest::default();
        (request.params.max_tokens, request.params.choices) = (asked, Some(choices));
        bound_output(&key, &mut request);
        assert_eq!(request.params.max_tokens, Some(each), "{asked:?} for {choices}");
        let clamped = asked.is_some_and(|asked| asked > each);
        assert_eq!(request.losses.contains(model::Loss::MaxTokensClamped), clamped);
    }
    let admission = family.admission();
    admission.admit(&Ask { choices: 10, max_output: Some(1), ..ask(&key) }).unwrap();
    let ask = Ask { choices: 11, max_output: Some(1), ..ask(&key) };
    for refused in [admission.admit(&ask).unwrap_err(), admission.explain(&ask).1.unwrap_err()] {
        assert_eq!(refused.kind, model::FailureKind::Forbidden);
        assert_eq!(refused.scope.as_deref(), Some("key:bbbbbbbbbbbb"));
        assert!(refused.message.contains("`key:bbbbbbbbbbbb` allows 10 tokens"), "{refused}");
    }
}

#[test]
fn a_sandbox_reserves_no_money_of_anybody() {
    let mut family = Family::new();
    family.child.kind = KeyKind::Sandbox;
    let key = family.key();
    let bill = family.admission().admit(&ask(&key)).unwrap();
    assert_eq!(bill.reserved().amounts, crate::amounts::Amounts::default());
    assert!(bill.reserved().scopes.is_empty());
}
