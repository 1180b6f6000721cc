//! Where an answer ends: at a stop sequence, or where its tokens run out.
//!
//! Enforced here for every upstream that does not do it by itself, so that a caller's bounds mean the
//! same whoever answers.

use dialects::tokens;
use model::{Block, Completion, StopReason, first_stop};

/// Cuts the reply at the first stop sequence: most hosts ignore them. One that spans neighbouring
/// text blocks counts, because callers see them as one text.
pub(crate) fn enforce_stop(completion: &mut Completion, stops: &[String]) {
    if stops.is_empty() {
        return;
    }
    let mut cut = None;
    let mut index = 0;
    while let Some(rest) = completion.content.get(index..).filter(|rest| !rest.is_empty()) {
        // Neighbouring text blocks as one text, which is searched once.
        let mut run = String::new();
        let mut starts = Vec::new();
        for block in rest {
            let Block::Text(text) = block else { break };
            starts.push(run.len());
            run.push_str(&text.text);
        }
        if let Some((offset, stop)) = first_stop(&run, stops) {
            let nth = starts.partition_point(|start| *start <= offset).saturating_sub(1);
            let start = starts.get(nth).copied().unwrap_or_default();
            cut = Some((index + nth, offset - start, stop.to_owned()));
            break;
        }
        index += starts.len() + 1;
    }
    let Some((index, offset, stop)) = cut else { return };
    if let Some(Block::Text(text)) = completion.content.get_mut(index) {
        text.text.truncate(offset);
    }
    completion.content.truncate(index + usize::from(offset > 0));
    completion.reason = StopReason::StopSequence;
    completion.stop_sequence = Some(stop);
}

/// Cuts a text to at most so many estimated tokens; whether anything was cut.
pub(crate) fn enforce_max_tokens(text: &mut String, max_tokens: u64) -> bool {
    if tokens::estimate_text(text) <= max_tokens {
        return false;
    }
    // More text never counts less, so the place can be searched by halves.
    let (mut fits, mut too_long) = (0, text.len());
    while too_long - fits > 1 {
        let middle = fits.midpoint(too_long);
        let place = text.floor_char_boundary(middle);
        let head = text.get(..place).unwrap_or_default();
        if tokens::estimate_text(head) <= max_tokens {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    text.truncate(text.floor_char_boundary(fits));
    true
}

#[cfg(test)]
mod tests {
    use super::{enforce_max_tokens, enforce_stop};
    use dialects::tokens;
    use model::{Block, Completion, LossSet, ModelName, StopReason, Usage};

    fn completion(texts: &[&str]) -> Completion {
        Completion {
            model: ModelName::new("m"),
            content: texts.iter().map(|text| Block::text(*text)).collect(),
            reason: StopReason::EndTurn,
            stop_sequence: None,
            usage: Usage::default(),
            losses: LossSet::EMPTY,
        }
    }

    #[test]
    fn the_reply_ends_before_the_first_stop() {
        let mut reply = completion(&["one", "two END three", "four"]);
        enforce_stop(&mut reply, &["END".to_owned()]);
        assert_eq!(reply.content, [Block::text("one"), Block::text("two ")]);
        assert_eq!(reply.reason, StopReason::StopSequence);
        assert_eq!(reply.stop_sequence.as_deref(), Some("END"));
    }

    #[test]
    fn a_stop_may_span_blocks() {
        let stops = ["STOP".to_owned()];
        let mut reply = completion(&["aSTO", "Pb", "c"]);
        enforce_stop(&mut reply, &stops);
        assert_eq!(reply.content, [Block::text("a")]);
        let mut reply = completion(&["one", "STOP"]);
        enforce_stop(&mut reply, &stops);
        assert_eq!(reply.content, [Block::text("one")]);
        let mut reply = completion(&["ab", "cSTO", "P", "d"]);
        enforce_stop(&mut reply, &stops);
        assert_eq!(reply.content, [Block::text("ab"), Block::text("c")]);
    }

    #[test]
    fn an_empty_block_is_not_left_behind() {
        let mut reply = completion(&["ENDless"]);
        enforce_stop(&mut reply, &["END".to_owned()]);
        assert_eq!(reply.content, []);
        let mut untouched = completion(&["nothing here"]);
        enforce_stop(&mut untouched, &["END".to_owned()]);
        assert_eq!(untouched, completion(&["nothing here"]));
    }

    #[test]
    fn as_many_tokens_stay_as_may() {
        let whole = "one two three, 四五六 seven eight";
        let all = tokens::estimate_text(whole);
        for max_tokens in 0..=all {
            let mut text = whole.to_owned();
            assert_eq!(enforce_max_tokens(&mut text, max_tokens), max_tokens < all);
            assert!(tokens::estimate_text(&text) <= max_tokens);
            if let Some(next) = whole.chars().nth(text.chars().count()) {
                let longer = format!("{text}{next}");
                assert!(tokens::estimate_text(&longer) > max_tokens, "{max_tokens}: {text}");
            }
        }
    }
}
