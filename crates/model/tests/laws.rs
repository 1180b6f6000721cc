//! The laws of the model: a reply is the fold of its events, an unfinished or shuffled stream is
//! not a reply, losses form a set, and carried JSON can end no line.

use model::{
    Block, BlockKind, Completion, CompletionEvent, Dialect, Fold, Json, Loss, LossSet, ModelName,
    Opaque, Reasoning, StopReason, StreamFault, ToolCall, ToolCallInput, Usage, first_stop,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn fold(events: impl IntoIterator<Item = CompletionEvent>) -> Result<Completion, StreamFault> {
    let mut fold = Fold::new();
    for event in events {
        fold.push(event)?;
    }
    fold.finish()
}

fn input() -> impl Strategy<Value = ToolCallInput> {
    prop_oneof![
        "[\\{\\}\\[\\]\",:a-z0-9 中]{0,24}".prop_filter_map("no control characters", |text| {
            Json::from_compact(text).map(ToolCallInput::Json)
        }),
        any::<String>().prop_map(ToolCallInput::Broken),
        any::<String>().prop_map(ToolCallInput::Text),
    ]
}

fn tool_call() -> impl Strategy<Value = Block> {
    (any::<String>(), option::of("[a-z]{1,6}"), any::<String>(), option::of("[a-z]{1,6}"), input())
        .prop_map(|(id, item_id, name, namespace, input)| {
            Block::ToolCall(ToolCall { id, item_id, name, namespace, input, cache: None })
        })
}

fn reasoning() -> impl Strategy<Value = Block> {
    (
        option::of("[a-z]{1,6}"),
        prop::collection::vec(any::<String>(), 0..3),
        any::<String>(),
        option::of("[a-zA-Z0-9+/]{0,12}"),
        option::of("[a-zA-Z0-9+/]{0,12}"),
        dialect(),
    )
        .prop_map(|(id, summary, text, signature, encrypted, dialect)| {
            Block::Reasoning(Reasoning { id, summary, text, signature, encrypted, dialect })
        })
}

fn dialect() -> impl Strategy<Value = Dialect> {
    select(vec![Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages])
}

fn opaque() -> impl Strategy<Value = Block> {
    (dialect(), "[a-z_]{1,8}", "[\\{\\}\":a-z0-9 中]{0,24}").prop_filter_map(
        "no control characters",
        |(dialect, kind, json)| {
            Json::from_compact(json).map(|json| Block::Opaque(Opaque { dialect, kind, json }))
        },
    )
}

fn block() -> impl Strategy<Value = Block> {
    prop_oneof![
        3 => any::<String>().prop_map(Block::text),
        2 => tool_call(),
        1 => reasoning(),
        1 => opaque(),
    ]
}

fn usage() -> impl Strategy<Value = Usage> {
    (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
        |(input, output, cached_input, cache_write, reasoning, estimated)| Usage {
            input,
            output,
            cached_input,
            cache_write,
            reasoning,
            estimated,
        },
    )
}

fn losses() -> impl Strategy<Value = LossSet> {
    prop::collection::vec(select(Loss::ALL), 0..6).prop_map(|list| list.into_iter().collect())
}

fn completion() -> impl Strategy<Value = Completion> {
    (
        any::<String>(),
        prop::collection::vec(block(), 0..5),
        select(vec![
            StopReason::EndTurn,
            StopReason::StopSequence,
            StopReason::MaxTokens,
            StopReason::ToolUse,
            StopReason::Refusal,
        ]),
        option::of(any::<String>()),
        usage(),
        losses(),
    )
        .prop_map(|(model, content, reason, stop_sequence, usage, losses)| Completion {
            model: ModelName::new(model),
            content,
            reason,
            stop_sequence,
            usage,
            losses,
        })
}

/// Text and reasoning pieces append, so moving one of two pieces is another text and not a fault;
/// everything else has exactly one place.
fn is_piece(event: &CompletionEvent) -> bool {
    matches!(event, CompletionEvent::BlockDelta { .. })
}

proptest! {
    #[test]
    fn a_reply_is_the_fold_of_its_events(completion in completion()) {
        prop_assert_eq!(fold(completion.clone().into_events()), Ok(completion));
    }

    #[test]
    fn text_may_come_in_any_pieces(text in any::<String>(), cuts in prop::collection::vec(any::<Index>(), 0..6)) {
        let mut places: Vec<usize> = cuts
            .iter()
            .map(|cut| text.floor_char_boundary(cut.index(text.len() + 1)))
            .collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let mut events = vec![
            CompletionEvent::Started { model: ModelName::new("m"), losses: LossSet::EMPTY },
            CompletionEvent::BlockStarted { at: 0, kind: BlockKind::Text },
        ];
        for pair in places.windows(2) {
            let delta = text.get(pair[0]..pair[1]).unwrap_or_default().to_owned();
            events.push(CompletionEvent::BlockDelta { at: 0, delta });
        }
        events.push(CompletionEvent::BlockStopped { at: 0 });
        events.push(CompletionEvent::Finished { reason: StopReason::EndTurn, stop_sequence: None });
        prop_assert_eq!(fold(events).map(|reply| reply.text()), Ok(text));
    }

    #[test]
    fn a_stream_without_its_end_is_a_failure(completion in completion(), cut in any::<Index>()) {
        let mut events = completion.into_events();
        events.truncate(cut.index(events.len()));
        prop_assert_eq!(fold(events), Err(StreamFault::NotFinished));
    }

    #[test]
    fn an_event_that_comes_twice_is_refused_or_changes_nothing(
        completion in completion(), which in any::<Index>(), to in any::<Index>(),
    ) {
        let mut events = completion.clone().into_events();
        let event = events[which.index(events.len())].clone();
        prop_assume!(!is_piece(&event));
        events.insert(to.index(events.len() + 1), event);
        match fold(events) {
            Ok(again) => prop_assert_eq!(again, completion),
            Err(fault) => prop_assert_eq!(fault, StreamFault::OutOfOrder),
        }
    }

    #[test]
    fn events_in_another_order_are_refused_or_fold_the_same(
        completion in completion(), from in any::<Index>(), to in any::<Index>(),
    ) {
        // `into_events` writes at most one piece per block, so even a moved piece has one place.
        let mut events = completion.clone().into_events();
        let event = events.remove(from.index(events.len()));
        events.insert(to.index(events.len() + 1), event);
        match fold(events) {
            Ok(again) => prop_assert_eq!(again, completion),
            Err(fault) => prop_assert!(
                matches!(fault, StreamFault::OutOfOrder | StreamFault::NotFinished)
            ),
        }
    }

    #[test]
    fn an_event_that_is_left_out_is_noticed(completion in completion(), which in any::<Index>()) {
        let mut events = completion.into_events();
        let lost = events.remove(which.index(events.len()));
        // Pieces and usage are optional in the grammar; everything that frames them is not.
        prop_assume!(!is_piece(&lost) && !matches!(lost, CompletionEvent::Usage(_)));
        prop_assert!(fold(events).is_err());
    }

    #[test]
    fn losses_are_a_set(one in losses(), other in losses(), loss in select(Loss::ALL)) {
        let both = one.union(other);
        prop_assert_eq!(both, other.union(one));
        prop_assert_eq!(both.union(one), both);
        prop_assert_eq!(one.union(LossSet::EMPTY), one);
        prop_assert_eq!(both.contains(loss), one.contains(loss) || other.contains(loss));
        prop_assert_eq!(one.is_empty(), one.iter().next().is_none());
        let mut more = one;
        more.insert(loss);
        prop_assert!(more.contains(loss));
        prop_assert_eq!(more, one.union([loss].into_iter().collect()));
        prop_assert_eq!(both.iter().collect::<LossSet>(), both);
        let names: Vec<_> = both.iter().map(Loss::as_str).collect();
        prop_assert_eq!(both.to_string(), names.join(", "));
    }

    #[test]
    fn carried_json_ends_no_line(text in any::<String>()) {
        match Json::from_compact(text.as_str()) {
            Some(json) => {
                prop_assert!(json.as_str().bytes().all(|byte| byte >= 0x20));
                prop_assert_eq!(json.as_str(), text.as_str());
            }
            None => prop_assert!(text.bytes().any(|byte| byte < 0x20)),
        }
    }

    #[test]
    fn a_control_character_anywhere_is_refused(
        before in "[ -~中]{0,8}", control in 0_u8..0x20, after in "[ -~中]{0,8}",
    ) {
        let text = format!("{before}{}{after}", char::from(control));
        prop_assert_eq!(Json::from_compact(text), None);
    }

    #[test]
    fn nothing_before_the_stop_holds_one(
        text in "[ab中]{0,12}", stops in prop::collection::vec("[ab中]{0,3}", 0..4),
    ) {
        let stops: Vec<String> = stops;
        match first_stop(&text, &stops) {
            Some((offset, stop)) => {
                let behind = text.get(offset..).unwrap_or_default();
                prop_assert!(behind.starts_with(stop) && !stop.is_empty());
                // A stop may begin before the cut only if it reaches beyond it.
                let earlier = stops.iter().filter(|stop| !stop.is_empty())
                    .filter_map(|stop| text.find(stop.as_str())).min();
                prop_assert_eq!(earlier, Some(offset));
            }
            None => prop_assert!(
                stops.iter().all(|stop| stop.is_empty() || !text.contains(stop.as_str()))
            ),
        }
    }
}

#[test]
fn nothing_may_follow_the_end() {
    let completion = Completion {
        model: ModelName::new("m"),
        content: vec![Block::text("hi")],
        reason: StopReason::EndTurn,
        stop_sequence: None,
        usage: Usage::default(),
        losses: LossSet::EMPTY,
    };
    for extra in completion.clone().into_events() {
        let events = completion.clone().into_events().into_iter().chain([extra]);
        assert_eq!(fold(events), Err(StreamFault::OutOfOrder));
    }
}

#[test]
fn a_piece_of_another_block_is_refused() {
    let started = CompletionEvent::Started { model: ModelName::default(), losses: LossSet::EMPTY };
    let opened = CompletionEvent::BlockStarted { at: 0, kind: BlockKind::Text };
    for stray in [
        CompletionEvent::BlockDelta { at: 1, delta: "x".into() },
        CompletionEvent::BlockStopped { at: 1 },
        CompletionEvent::BlockStarted { at: 1, kind: BlockKind::Text },
    ] {
        let events = [started.clone(), opened.clone(), stray];
        assert_eq!(fold(events), Err(StreamFault::OutOfOrder));
    }
    assert_eq!(fold([started, opened]), Err(StreamFault::NotFinished), "an open block has no end");
}

#[test]
fn an_opaque_block_stands_whole_and_takes_no_pieces() {
    let opaque = Opaque {
        dialect: Dialect::OpenAiResponses,
        kind: "tool_search_call".to_owned(),
        json: Json::from_compact(r#"{"type":"tool_search_call"}"#).unwrap(),
    };
    let events = [
        CompletionEvent::Started { model: ModelName::default(), losses: LossSet::EMPTY },
        CompletionEvent::BlockStarted { at: 0, kind: BlockKind::Opaque(opaque) },
        CompletionEvent::BlockDelta { at: 0, delta: "x".to_owned() },
    ];
    assert_eq!(fold(events), Err(StreamFault::OutOfOrder));
}
