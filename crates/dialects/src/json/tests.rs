//! What the JSON functions promise.

use proptest::prelude::*;

use super::{MAX_DEPTH, check_body, compact, push_number, push_string};

fn string(text: &str) -> String {
    let mut out = Vec::new();
    push_string(&mut out, text);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_bad_byte_is_named_by_its_offset() {
    let failure = check_body(b"{\"a\":\"\xff\"}").unwrap_err();
    assert!(failure.message.contains("offset 6"), "{}", failure.message);
    assert!(check_body(b"").is_err());
    assert!(check_body(b" \n").is_err());
}

#[test]
fn depth_counts_brackets_outside_strings_only() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(check_body(deep(MAX_DEPTH).as_bytes()).is_ok());
    assert!(check_body(deep(MAX_DEPTH + 1).as_bytes()).is_err());
    let quoted = format!(r#"{{"a":"\"{}"}}"#, deep(MAX_DEPTH + 1));
    assert!(check_body(quoted.as_bytes()).is_ok());
    assert!(compact(&deep(MAX_DEPTH + 1)).is_none());
}

#[test]
fn compact_keeps_key_order_numbers_and_strings() {
    let raw = "{ \"b\" : 1.50e+2 ,\r\n\t\"a\" : [ 1 , \"x  \\\" y\\n\" ] }";
    assert_eq!(compact(raw).unwrap().as_str(), r#"{"b":1.50e+2,"a":[1,"x  \" y\n"]}"#);
    assert_eq!(compact("1 2"), None);
    assert_eq!(compact("{"), None);
    assert_eq!(compact("\"a\nb\""), None);
}

#[test]
fn a_message_hidden_in_white_space_is_gone() {
    let raw = "{\"type\":\"object\"\n,\r\"x\":1\n}";
    assert_eq!(compact(raw).unwrap().as_str(), r#"{"type":"object","x":1}"#);
}

#[test]
fn strings_hold_nothing_that_a_client_takes_for_a_line_end() {
    let text = "a\u{0}\n\r\t\u{b}\u{1e}\u{7f}\u{85}\u{2028}\u{2029}\"\\é–中";
    let written = string(text);
    assert!(!written.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')));
    assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
}

#[test]
fn numbers() {
    for number in [0, 7, 10, 1_767_323_045, u64::MAX] {
        let mut out = Vec::new();
        push_number(&mut out, number);
        assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
    }
}

proptest! {
    #[test]
    fn a_written_string_reads_back(text in any::<String>()) {
        prop_assert_eq!(serde_json::from_str::<String>(&string(&text)).unwrap(), text);
    }

    #[test]
    fn check_body_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = check_body(&body);
    }

    #[test]
    fn compact_means_the_same(text in "[ \n\\[\\]{}\",:0-9a-z\\\\]{0,40}") {
        if let Some(json) = compact(&text) {
            let before: serde_json::Value = serde_json::from_str(&text).unwrap();
            let after: serde_json::Value = serde_json::from_str(json.as_str()).unwrap();
            prop_assert_eq!(before, after);
        }
    }
}
