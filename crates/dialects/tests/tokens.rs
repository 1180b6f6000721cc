//! The error of the token estimates on a fixed corpus, and their laws.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use dialects::tokens::{estimate_input, estimate_output, estimate_text, lean_high};
use model::{
    Block, Completion, CompletionRequest, LossSet, Media, MediaKind, MediaSource, Message,
    ModelName, Role, StopReason, Usage,
};
use proptest::prelude::*;

/// The true count of a text of the corpus and our estimate.
struct Measured {
    name: String,
    truth: u64,
    estimate: u64,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "counts of a few hundred")]
    fn error(&self) -> f64 {
        self.estimate as f64 / self.truth as f64 - 1.0
    }
}

fn corpus() -> Vec<Measured> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let counts = fs::read_to_string(folder.join("o200k.tsv")).unwrap();
    let measured: Vec<_> = counts
        .lines()
        .map(|line| {
            let (name, truth) = line.split_once('\t').unwrap();
            let text = fs::read_to_string(folder.join(name).with_extension("txt")).unwrap();
            Measured {
                name: name.to_owned(),
                truth: truth.parse().unwrap(),
                estimate: estimate_text(&text),
            }
        })
        .collect();
    let texts = fs::read_dir(&folder).unwrap().count() - 1;
    assert_eq!(measured.len(), texts, "every text of the corpus has its count");
    measured
}

/// The value below which `share` of the sorted errors lie.
fn quantile(errors: &[f64], share: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few dozen texts")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded up")]
    let rank = (errors.len() as f64 * share).ceil() as usize;
    *errors.get(rank.clamp(1, errors.len()) - 1).unwrap()
}

#[test]
fn estimates_are_close_to_o200k() {
    let corpus = corpus();
    let mut table = String::new();
    for group in ["en", "zh", "code", "json", ""] {
        let mut errors: Vec<f64> = corpus
            .iter()
            .filter(|text| text.name.starts_with(group))
            .map(|text| text.error().abs())
            .collect();
        errors.sort_by(f64::total_cmp);
        assert!(errors.len() >= 10, "{group} has enough texts");
        let (median, p95) = (quantile(&errors, 0.5), quantile(&errors, 0.95));
        let name = if group.is_empty() { "all" } else { group };
        let _ = writeln!(
            table,
            "{name:5} {:3} texts: median {:4.1} %, p95 {:4.1} %",
            errors.len(),
            100.0 * median,
            100.0 * p95
        );
        assert!(median <= 0.10 && p95 <= 0.20, "{table}");
    }
    println!("{table}");
    for text in &corpus {
        println!("{:15} {:5} {:5} {:+.3}", text.name, text.truth, text.estimate, text.error());
        // No single text may be far off, whatever the others do.
        assert!(text.error().abs() <= 0.25, "{} {:+.3}", text.name, text.error());
    }
}

#[test]
fn requests_and_replies_are_never_free() {
    let mut request = CompletionRequest::default();
    assert!(estimate_input(&request) >= 1);
    let empty = Completion {
        model: ModelName::default(),
        content: Vec::new(),
        reason: StopReason::EndTurn,
        stop_sequence: None,
        usage: Usage::default(),
        losses: LossSet::EMPTY,
    };
    assert_eq!(estimate_output(&empty), 1);
    let source = MediaSource::Inline { mime: "image/png".to_owned(), base64: "A".repeat(4096) };
    let image = Media { kind: MediaKind::Image, source, name: None, detail: None, cache: None };
    let before = estimate_input(&request);
    request.messages.push(Message::new(Role::User, vec![Block::Media(image)]));
    assert_eq!(estimate_input(&request) - before, 1604, "a picture costs the same at any size");
}

#[test]
fn leaning_high_adds_a_quarter_and_never_overflows() {
    assert_eq!([0, 1, 4, 100].map(lean_high), [0, 2, 5, 125]);
    assert_eq!(lean_high(u64::MAX), u64::MAX);
}

/// Texts of every class that the scanner knows, in pieces that can be put in any order.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        "[a-z]{1,20}",
        "[A-Za-z]{1,20}",
        "[A-Z]{1,4}",
        "[ \t\r\n]{1,4}",
        "[0-9]{1,7}",
        "[!-/:-@]{1,5}",
        "[à-ÿ]{1,2}",
        "[а-я]{1,9}",
        "[一-龥]{1,9}",
        "[ぁ-ん。、！]{1,5}",
        "[가-힣]{1,5}",
        "[“—…→😀-😃]{1,3}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Appending text never lowers a count, so counts of a growing conversation never fall.
    #[test]
    fn a_count_never_falls(text in any_text(), more in any_text()) {
        let whole = format!("{text}{more}");
        let mut last = 0;
        for (end, _) in whole.char_indices() {
            let (part, _) = whole.split_at(end);
            let count = estimate_text(part);
            prop_assert!(count >= last, "{part:?}: {count} after {last}");
            last = count;
        }
        prop_assert!(estimate_text(&whole) >= last);
    }

    /// The empty text alone is free, and nothing costs more than a token and a half per byte.
    #[test]
    fn a_count_is_within_bounds(text in any_text()) {
        let count = estimate_text(&text);
        prop_assert_eq!(count == 0, text.is_empty(), "{:?}", text);
        prop_assert!(count <= 1 + text.len() as u64 * 3 / 2, "{:?} {}", text, count);
    }
}
