//! What is explained is what happens, and explaining changes nothing.

use std::sync::Arc;

use model::Secret;
use proptest::prelude::*;

use crate::Bill;
use crate::admission::{Admission, Ask};
use crate::amounts::{Amounts, Budget, Span, Unit};
use crate::clock::WallClock;
use crate::keyring::{ActiveKey, Keyring};
use crate::keys::token::{Entropy, InstallSecret, mint};
use crate::keys::{Bounds, KeyId, KeyKind, Tenant, UnixMillis, VirtualKey};
use crate::policy::{ModelLimits, Policy, Price};
use crate::store::Loaded;

#[derive(Debug)]
struct Fixed;

impl WallClock for Fixed {
    fn now(&self) -> UnixMillis {
        1_795_608_000_000
    }
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let unit = prop::sample::select(vec![Unit::Requests, Unit::Tokens, Unit::Cost]);
    let budget = (unit, prop::sample::select(Span::ALL.to_vec()), 0..400_u64);
    let budget = budget.prop_map(|(unit, span, limit)| Budget { unit, span, limit });
    (
        prop::option::weighted(0.2, Just(vec!["a*".parse().unwrap()])),
        prop::option::weighted(0.4, 0..8_u32),
        prop::option::weighted(0.4, 0..400_u64),
        prop::option::weighted(0.4, 0..5_u32),
        prop::option::weighted(0.3, 0..60_u64),
        prop::collection::vec(budget, 0..2),
    )
        .prop_map(|(models, requests, tokens, concurrency, max_output, budgets)| Bounds {
            models: models.unwrap_or_default(),
            requests_per_minute: requests,
            tokens_per_minute: tokens,
            concurrency,
            max_output,
            budgets,
            ..Bounds::default()
        })
}

/// A key below another, in a team.
fn line(kind: KeyKind, bounds: [Bounds; 3], uses: Option<u64>) -> Arc<ActiveKey> {
    let install = InstallSecret::new([1; 32]);
    let key = |seed: u8, parent: Option<KeyId>, bounds| {
        let entropy = Entropy { secret: Secret::new([seed; 32]), id: [seed; 12] };
        let minted = mint(kind, &entropy, &install);
        VirtualKey {
            parent,
            uses,
            can_mint: true,
            bounds,
            ..VirtualKey::new(kind, "team".parse().unwrap(), minted.id, minted.digest, 0)
        }
    };
    let [own, above, team] = bounds;
    let parent = key(1, None, above);
    let child = key(2, Some(parent.id), own);
    let id = child.id;
    let team = Tenant { bounds: team, ..Tenant::new("team".parse().unwrap(), 0) };
    let (keys, tenants) = (vec![parent, child], vec![team]);
    let ring = Keyring::new(install, Loaded { keys, tenants, ..Loaded::default() });
    Arc::clone(ring.snapshot().key(id).unwrap())
}

fn policy(hard: bool, of_model: u32) -> Policy {
    let price = Price {
        input: 1_000_000,
        cached_input: 0,
        output: 2_000_000,
        per_request: 3,
        multiplier: 1_000_000,
    };
    let rule = ModelLimits { requests_per_minute: Some(of_model), ..ModelLimits::default() };
    Policy {
        hard,
        expected_output: 20,
        default_output: 30,
        prices: vec![("*".parse().unwrap(), price)],
        models: vec![("ab".parse().unwrap(), rule)],
        ..Policy::default()
    }
}

/// Model, input, bound of the output, choices, samplings of each, and whether a call that runs ends
/// after it.
fn call() -> impl Strategy<Value = (&'static str, u64, Option<u64>, u64, u64, bool)> {
    let model = prop::sample::select(vec!["a", "ab", "b", ""]);
    (model, 0..50_u64, prop::option::of(0..80_u64), 1..3_u64, 1..3_u64, any::<bool>())
}

proptest! {
    #[test]
    fn what_is_explained_happens(
        kind in prop::sample::select(vec![KeyKind::Model, KeyKind::Sandbox]),
        bounds in [bounds(), bounds(), bounds()],
        uses in prop::option::of(0..6_u64),
        hard in any::<bool>(),
        of_model in 0..6_u32,
        calls in prop::collection::vec(call(), 1..12),
    ) {
        let key = line(kind, bounds, uses);
        let admission = Arc::new(Admission::new(policy(hard, of_model), Arc::new(Fixed)));
        let mut running: Vec<Arc<Bill>> = Vec::new();
        for (model, input_tokens, max_output, choices, samplings, ends) in calls {
            let ask = Ask { key: Some(&key), model, input_tokens, max_output, choices, samplings };
            // Of the reports only the times move, by which a limit is there again.
            let left = || admission.usage(&key).into_iter().map(|scope| (
                scope.requests.map(|rate| rate.remaining),
                scope.tokens.map(|rate| rate.remaining),
                scope.in_flight,
                scope.budgets,
            )).collect::<Vec<_>>();
            let before = left();
            let (reserved, explained) = admission.explain(&ask);
            prop_assert_eq!(&left(), &before);
            match (explained, admission.admit(&ask)) {
                (Ok(()), Ok(bill)) => {
                    let owed = match kind {
                        KeyKind::Sandbox => {
                            Amounts { requests: u64::from(uses.is_some()), ..Amounts::default() }
                        }
                        _ => reserved,
                    };
                    prop_assert_eq!(bill.reserved().amounts, owed);
                    running.push(bill);
                }
                (Err(explained), Err(refused)) => {
                    prop_assert_eq!(explained.kind, refused.kind);
                    prop_assert_eq!(explained.message, refused.message);
                    prop_assert!(explained.scope.is_some());
                    prop_assert_eq!(explained.scope, refused.scope);
                    prop_assert_eq!(&left(), &before);
                }
                (explained, admitted) => {
                    prop_assert!(false, "{:?} was explained, {:?} happened", explained, admitted);
                }
            }
            if ends && let Some(bill) = running.pop() {
                bill.give_back();
            }
        }
    }
}

#[test]
fn a_demanded_shape_may_take_two_samplings() {
    use model::{OutputFormat, ToolChoice, ToolName};
    let caller = (*crate::tests::fakes::call(None).caller).clone();
    let name = || ToolName { namespace: None, name: "f".into() };
    let allowed = |required| ToolChoice::Allowed { required, names: vec![name()] };
    for (tool_choice, output, samplings) in [
        (ToolChoice::Auto, OutputFormat::Text, 1),
        (ToolChoice::None, OutputFormat::Text, 1),
        (allowed(false), OutputFormat::Text, 1),
        (allowed(true), OutputFormat::Text, 2),
        (ToolChoice::Required, OutputFormat::Text, 2),
        (ToolChoice::Named(name()), OutputFormat::Text, 2),
        (ToolChoice::Auto, OutputFormat::JsonObject, 2),
    ] {
        let request =
            model::CompletionRequest { tool_choice, output, ..model::CompletionRequest::default() };
        assert_eq!(crate::complete::ask(&caller, &request, 1).samplings, samplings, "{request:?}");
    }
}
