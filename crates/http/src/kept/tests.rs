//! The bounds of what is kept.

use dialects::ReplyHead;
use dialects::openai_responses::{read_request, write_reply};
use model::{Block, Completion, LossSet, ModelName, ParamsMode, StopReason, Usage};
use tokio::time::advance;

use super::*;

fn written(call: CallId, text: &str) -> Written {
    let body = br#"{"model":"m","input":"x"}"#;
    let echo = read_request(body, ParamsMode::Default).unwrap().echo;
    let head = ReplyHead { id: call, created: 1, model: "m".into(), input_tokens: 1, choices: 1 };
    let completion = Completion {
        model: ModelName::default(),
        content: vec![Block::text(text)],
        reason: StopReason::EndTurn,
        stop_sequence: None,
        usage: Usage::default(),
        losses: LossSet::EMPTY,
    };
    write_reply(&head, &echo, 2, &completion)
}

fn said(text: &str) -> Vec<Json> {
    let item = format!(r#"{{"role":"user","content":"{text}"}}"#);
    vec![Json::from_compact(item).unwrap()]
}

/// Keeps a response and gives its id.
fn keep(kept: &KeptResponses, owner: Owner, before: Option<Arc<Turn>>, text: &str) -> String {
    let call = CallId::generate();
    let keeper = kept.keeper(owner, before, said(text)).unwrap();
    keeper.keep(call, written(call, text));
    format!("resp_{}", call.hex())
}

fn held(kept: &KeptResponses) -> usize {
    kept.shared.bytes.load(Ordering::Relaxed)
}

fn is_empty(kept: &KeptResponses) -> bool {
    let shelf = kept.shelf();
    shelf.by_id.is_empty() && shelf.by_age.is_empty() && shelf.items.is_empty()
}

#[tokio::test]
async fn the_oldest_goes_first() {
    let kept = KeptResponses::with_limits(KeptLimits { responses: 3, ..KeptLimits::default() });
    let ids: Vec<_> = (0..5).map(|_| keep(&kept, Owner::Open, None, "x")).collect();
    let found: Vec<_> = ids.iter().map(|id| kept.body(Owner::Open, id).is_some()).collect();
    assert_eq!(found, [false, false, true, true, true]);
    assert!(kept.delete(Owner::Open, &ids[3]));
    assert!(!kept.delete(Owner::Open, &ids[3]));
    let next = keep(&kept, Owner::Open, None, "x");
    assert!(kept.body(Owner::Open, &ids[2]).is_some(), "there was room");
    for id in [&ids[2], &ids[4], &next] {
        assert!(!kept.delete(Owner::Token, id), "it is another's");
        assert!(kept.delete(Owner::Open, id));
    }
    assert!(is_empty(&kept));
    assert_eq!(held(&kept), 0);
}

#[tokio::test]
async fn all_together_are_not_more_than_so_many_bytes() {
    let limits = KeptLimits { bytes: 64 << 10, ..KeptLimits::default() };
    let kept = KeptResponses::with_limits(limits);
    let text = "x".repeat(4 << 10);
    let mut last = String::new();
    for _ in 0..40 {
        last = keep(&kept, Owner::Token, None, &text);
        assert!(held(&kept) <= limits.bytes);
    }
    assert!(kept.body(Owner::Token, &last).is_some());
    assert!(kept.shelf().by_id.len() > 2, "they are charged for what they are");
}

#[tokio::test]
async fn one_is_not_larger_than_it_may_be() {
    let limits = KeptLimits { one: 8 << 10, ..KeptLimits::default() };
    let kept = KeptResponses::with_limits(limits);
    assert!(kept.keeper(Owner::Open, None, said(&"x".repeat(9 << 10))).is_none());
    let many: Vec<Json> = (0..40).flat_map(|_| said("")).collect();
    assert!(kept.keeper(Owner::Open, None, many).is_none(), "items cost more than their text");
    let keeper = kept.keeper(Owner::Open, None, said("x")).unwrap();
    assert!(keeper.fits(4 << 10));
    assert!(!keeper.fits(8 << 10));
    assert!(is_empty(&kept));
}

#[tokio::test(start_paused = true)]
async fn an_hour_later_it_is_gone() {
    let kept = KeptResponses::default();
    let minute = Duration::from_mins(1);
    let first = keep(&kept, Owner::Open, None, "first");
    advance(30 * minute).await;
    let before = kept.turn(Owner::Open, &first);
    let second = keep(&kept, Owner::Open, before, "second");
    advance(29 * minute).await;
    assert!(kept.body(Owner::Open, &first).is_some());
    advance(minute).await;
    assert!(kept.body(Owner::Open, &first).is_none());
    let items = kept.turn(Owner::Open, &second).unwrap().items();
    assert_eq!(items.len(), 4, "what went on from it keeps what was said");
    advance(30 * minute).await;
    assert!(kept.turn(Owner::Open, &second).is_none());
    assert!(is_empty(&kept));
    assert_eq!(held(&kept), 0);
}

#[tokio::test]
async fn a_conversation_shares_what_was_said_before() {
    let limits = KeptLimits { turns: 4, ..KeptLimits::default() };
    let kept = KeptResponses::with_limits(limits);
    let mut before: Option<Arc<Turn>> = None;
    let mut costs = Vec::new();
    for number in 0..12 {
        let already = held(&kept);
        let id = keep(&kept, Owner::Open, before, &format!("turn {number:02}"));
        costs.push(held(&kept) - already);
        let turn = kept.turn(Owner::Open, &id).unwrap();
        assert!(turn.turns <= limits.turns);
        let items = turn.items();
        assert_eq!(items.len(), 2 * (number + 1));
        for (at, item) in items.iter().enumerate() {
            assert!(item.as_str().contains(&format!("turn {:02}", at / 2)), "in their order");
        }
        let bytes: usize = items.iter().map(|item| item.as_str().len()).sum();
        assert_eq!(turn.conversation(), bytes);
        before = Some(turn);
    }
    // A turn costs the same however much stands before it, but where a chain is put together.
    assert_eq!(costs[0..4], [costs[0]; 4]);
    assert_eq!(costs[5..8], [costs[0]; 3]);
    assert!(costs[4] > costs[0]);
    drop(before);
    let ids: Vec<_> = kept.shelf().by_id.keys().cloned().collect();
    assert!(ids.iter().all(|id| kept.delete(Owner::Open, id)));
    assert_eq!(held(&kept), 0);
}

#[tokio::test]
async fn an_item_is_found_where_it_was_said_last() {
    let kept = KeptResponses::default();
    let item = |text: &str| {
        let item = format!(r#"{{"id":"msg_own","type":"message","role":"user","x":"{text}"}}"#);
        vec![Json::from_compact(item).unwrap()]
    };
    let mut ids = Vec::new();
    for text in ["one", "two"] {
        let call = CallId::generate();
        kept.keeper(Owner::Open, None, item(text)).unwrap().keep(call, written(call, "x"));
        ids.push(format!("resp_{}", call.hex()));
    }
    let found = kept.item(Owner::Open, "msg_own").unwrap();
    assert!(found.as_str().contains("two"));
    assert_eq!(kept.item(Owner::Token, "msg_own"), None);
    assert!(kept.delete(Owner::Open, &ids[0]));
    assert!(kept.item(Owner::Open, "msg_own").is_some());
    assert!(kept.delete(Owner::Open, &ids[1]));
    assert_eq!(kept.item(Owner::Open, "msg_own"), None);
}
