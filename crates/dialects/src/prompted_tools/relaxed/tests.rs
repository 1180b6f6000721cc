//! What is strict JSON is not mended, and what is mended is what was meant.

use proptest::prelude::*;
use serde_json::Value;

use super::{is_number, read_start, read_strict, read_whole};

fn mended(text: &str) -> Option<String> {
    let (tree, mended) = read_whole(text)?;
    assert!(mended, "{text} is strict");
    Some(tree.to_text())
}

#[test]
fn sloppy_json_is_mended() {
    for (sloppy, meant) in [
        (r#"{"a":1,}"#, r#"{"a":1}"#),
        (r"{'a':'it\'s'}", r#"{"a":"it's"}"#),
        ("{\"a\":\"x\ny\"}", r#"{"a":"x\ny"}"#),
        (r#"{"a":True,"b":False,"c":None}"#, r#"{"a":true,"b":false,"c":null}"#),
        (r#"{a:1,b-c:"x"}"#, r#"{"a":1,"b-c":"x"}"#),
        ("{// one\n\"a\":1/* two */,# three\n\"b\":2}", r#"{"a":1,"b":2}"#),
        ("\u{feff}[1]", "[1]"),
        ("```json\n{\"a\":1}\n```", r#"{"a":1}"#),
        (r#"{"a":["x","y""#, r#"{"a":["x","y"]}"#),
        (r#"{"a":["x","y"}"#, r#"{"a":["x","y"]}"#),
        (r#"{"a":1 "b":2}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":"C:\dir\q"}"#, r#"{"a":"C:\\dir\\q"}"#),
        ("[+1,.5,5.]", "[1,0.5,5]"),
        (r#"["\ud800x"]"#, "[\"\u{fffd}x\"]"),
    ] {
        assert_eq!(mended(sloppy).as_deref(), Some(meant), "{sloppy}");
    }
}

#[test]
fn what_is_cut_or_no_json_is_not_guessed_at() {
    for text in [
        "",
        "{",
        r#"{"a"#,
        r#"{"a":"x"#,
        r#"{"a":12"#,
        r#"{"a":1,"#,
        r#"{"a":tru"#,
        r#"{"a":"#,
        "nope",
        r#"{"a" 1}"#,
        "[007]",
        "[1]2",
        "{}}",
        "]",
        r#"{"a":"\u12"#,
    ] {
        assert!(read_whole(text).is_none(), "{text}");
    }
    assert!(read_whole(&"[".repeat(100_000)).is_none());
}

#[test]
fn of_a_key_that_stands_twice_the_last_one_counts() {
    let tree = read_strict(r#"{"a":1,"b":2,"a":3}"#).unwrap();
    assert_eq!(tree.to_text(), r#"{"a":3,"b":2}"#);
}

#[test]
fn a_value_is_read_up_to_its_end() {
    let reading = read_start("{\"a\":[1]} and more").unwrap();
    assert_eq!((reading.end, reading.mended, reading.cut), (9, false, false));
}

proptest! {
    #[test]
    fn any_text_is_read_or_not(text in any::<String>(), json in "[\\[\\]{}:,\"'\\\\a1#/ .e\n-]{0,40}") {
        let _ = read_whole(&text);
        if let Some((tree, mended)) = read_whole(&json) {
            let again = read_strict(&tree.to_text());
            prop_assert_eq!(again, Some(tree));
            prop_assert_eq!(!mended, serde_json::from_str::<Value>(&json).is_ok(), "{}", json);
        }
    }

    #[test]
    fn numbers_are_those_of_json(text in "[-+0-9.eE]{0,8}") {
        prop_assert_eq!(is_number(&text), serde_json::from_str::<serde_json::Number>(&text).is_ok() || is_huge(&text));
    }
}

/// The judge refuses numbers beyond 64 bits of floating point; they are carried as text.
fn is_huge(text: &str) -> bool {
    serde_json::from_str::<Box<serde_json::value::RawValue>>(text).is_ok()
}
