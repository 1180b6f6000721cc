//! Makes replies from a seed.

use std::fmt::Write;

use dialects::json::compact;
use model::{
    Block, BlockKind, Completion, CompletionEvent, Dialect, LossSet, ModelName, Reasoning,
    StopReason, ToolCall, ToolCallInput, Usage,
};

/// A small generator of pseudo-random numbers (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice for one sample: no sample depends on how many stand before it.
    pub(crate) const fn new(seed: u64, dialect: Dialect, at: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ (dialect as u64) << 56 ^ at);
        dice.next();
        dice
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `sides`, which is not zero.
    pub(crate) const fn below(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    /// True once in so many times.
    pub(crate) const fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T], other: &'a T) -> &'a T {
        let at = usize::try_from(self.below(list.len() as u64)).unwrap_or_default();
        list.get(at).copied().unwrap_or(other)
    }
}

/// Words that are awkward somewhere: quotes, line ends, separators, emoji, markup.
const WORDS: [&str; 24] = [
    "the",
    "quick ",
    "brown ",
    "fox ",
    "\n",
    "\r\n",
    "\"quoted\" ",
    "back\\slash ",
    "\u{2028}",
    "\u{85}",
    "雪が降る",
    "é",
    "👩‍👩‍👧 ",
    "</tool_call>",
    "data: x\n\n",
    "[DONE]",
    "\t",
    "{\"a\":1}",
    "\u{0}",
    "\u{7f}",
    "   ",
    "a-very-long-word-without-any-space-that-is-longer-than-one-piece-of-a-stream",
    "`code` ",
    "0.10 ",
];

/// Values of arguments, as JSON text.
const VALUES: [&str; 14] = [
    "1",
    "-0.10",
    "1e2",
    "12345678901234567890",
    "true",
    "null",
    "\"\"",
    "\"x\\ny\"",
    "\"雪\"",
    "[]",
    "[1,[2,{\"a\":3}]]",
    "{}",
    "{\"b\":1.50,\"a\":\"\\u2028\"}",
    "\"\\ud83d\\ude00\"",
];

fn text(dice: &mut Dice) -> String {
    let words = if dice.one_in(5) { 60 } else { 8 };
    (0..=dice.below(words)).map(|_| dice.pick(&WORDS, "")).collect()
}

fn arguments(dice: &mut Dice) -> ToolCallInput {
    let mut json = String::from("{");
    for at in 0..dice.below(5) {
        if at > 0 {
            json.push(',');
        }
        let name = dice.pick(&["path", "command", "q\\\"q", "z", "a", "名"], "x");
        // Writing to a string cannot fail.
        let _ = write!(json, "\"{name}{at}\":{}", dice.pick(&VALUES, "1"));
    }
    json.push('}');
    compact(&json).map_or(ToolCallInput::Broken(json), ToolCallInput::Json)
}

fn call(dice: &mut Dice, dialect: Dialect, at: usize) -> Block {
    let prefix = match dialect {
        Dialect::AnthropicMessages => "toolu_01",
        Dialect::OpenAiChat | Dialect::OpenAiResponses => "call_",
    };
    let id = format!("{prefix}{:016x}{at}", dice.next());
    let custom = dialect != Dialect::AnthropicMessages && dice.one_in(4);
    let input = if custom { ToolCallInput::Text(text(dice)) } else { arguments(dice) };
    let name = dice.pick(&["Bash", "read_file", "get-weather", "x"], "x").to_owned();
    let responses = dialect == Dialect::OpenAiResponses;
    let item_id = responses.then(|| {
        let prefix = if custom { "ctc_" } else { "fc_" };
        format!("{prefix}{:048x}", dice.next())
    });
    let namespace = (responses && dice.one_in(3)).then(|| "multi_agent_v1".to_owned());
    Block::ToolCall(ToolCall { id, item_id, name, namespace, input, cache: None })
}

fn reasoning(dice: &mut Dice, dialect: Dialect) -> Block {
    let signed = dialect == Dialect::AnthropicMessages;
    let redacted = signed && dice.one_in(3);
    let responses = dialect == Dialect::OpenAiResponses;
    let summary = if responses { dice.below(3) } else { 0 };
    Block::Reasoning(Reasoning {
        id: responses.then(|| format!("rs_{:048x}", dice.next())),
        summary: (0..summary).map(|_| text(dice)).collect(),
        text: if redacted || (responses && dice.one_in(2)) { String::new() } else { text(dice) },
        signature: (signed && !redacted).then(|| format!("c2ln{:x}", dice.next())),
        encrypted: (redacted || (responses && dice.one_in(2)))
            .then(|| format!("Y2lwaGVy{:x}", dice.next())),
        dialect,
    })
}

/// One reply of the shape that a model gives: reasoning, text, calls; now and then otherwise.
pub(crate) fn completion(dice: &mut Dice, dialect: Dialect) -> Completion {
    let mut content = Vec::new();
    if dialect != Dialect::OpenAiChat && dice.one_in(3) {
        content.push(reasoning(dice, dialect));
    }
    for _ in 0..dice.below(3) {
        content.push(Block::text(text(dice)));
    }
    let calls = if dice.one_in(2) { dice.below(4) } else { 0 };
    for at in 0..calls {
        content.push(call(dice, dialect, usize::try_from(at).unwrap_or_default()));
        if dice.one_in(8) {
            content.push(Block::text(text(dice)));
        }
    }
    let reason = if calls > 0 {
        StopReason::ToolUse
    } else {
        match dice.below(6) {
            0 => StopReason::MaxTokens,
            1 => StopReason::StopSequence,
            2 => StopReason::Refusal,
            _ => StopReason::EndTurn,
        }
    };
    Completion {
        model: ModelName::new(dice.pick(&["gpt-5", "claude-x", "m/odd:name", "雪"], "m")),
        content,
        reason,
        stop_sequence: (reason == StopReason::StopSequence).then(|| "END".to_owned()),
        usage: Usage {
            input: 1 + dice.below(5000),
            output: 1 + dice.below(900),
            cached_input: if dice.one_in(3) { dice.below(4000) } else { 0 },
            ..Usage::default()
        },
        losses: LossSet::EMPTY,
    }
}

/// The events of a reply, with text cut into several deltas as a true stream has them.
pub(crate) fn in_pieces(reply: Completion, dice: &mut Dice) -> Vec<CompletionEvent> {
    let mut events = Vec::new();
    let mut whole_json = false;
    for event in reply.into_events() {
        match event {
            CompletionEvent::BlockDelta { at, delta } if !whole_json => {
                let mut rest = delta.as_str();
                while !rest.is_empty() {
                    let length = usize::try_from(1 + dice.below(70)).unwrap_or(1);
                    let cut = rest.ceil_char_boundary(length);
                    let (piece, tail) = rest.split_at_checked(cut).unwrap_or((rest, ""));
                    events.push(CompletionEvent::BlockDelta { at, delta: piece.to_owned() });
                    rest = tail;
                }
            }
            event => {
                if let CompletionEvent::BlockStarted { kind, .. } = &event {
                    whole_json = matches!(
                        kind,
                        BlockKind::ToolCall(ToolCall { input: ToolCallInput::Json(_), .. })
                    );
                }
                events.push(event);
            }
        }
    }
    events
}
