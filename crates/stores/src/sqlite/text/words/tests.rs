//! Which words are found in which texts.

use proptest::prelude::*;

use super::{SIDE, Words, read_wanted, text_of};

fn words(body: &str) -> String {
    let mut words = Words::default();
    words.read(body.as_bytes());
    words.into_text()
}

#[test]
fn texts_are_taken_and_keys_are_not() {
    let body = r#"{"model":"gpt-5", "n" : 3, "messages":[{"role":"user","content":[
        {"type":"text","text":"Say \"Grüße\"\nto \u4e2d\u6587 \ud842\udfb7 B2B"},
        {"url":"data:image/png;base64,AAAA"}]}]}"#;
    assert_eq!(words(body), "gpt 5 user text say grüße to 中文 文 𠮷 b2b ");
    assert_eq!(words("plain, text: \"twice\" twice"), "plain text twice ");
    assert_eq!(words(r#"["cut off in the mid"#), "cut off in the mid ");
    assert_eq!(words(r#"["bad \ud800\u12"#), "bad ");
    assert_eq!(words("{}"), "");
}

#[test]
fn runs_become_pairs() {
    assert_eq!(words("用GPT生成代码。"), "用 gpt 生成 成代 代码 码 ");
    assert_eq!(read_wanted("生成代 x").unwrap().0, r#""生成" AND "成代" AND "x""#);
    assert_eq!(read_wanted("码").unwrap().0, r#""码" *"#);
}

#[test]
fn the_first_4_kb_count_and_long_words_do_not() {
    let long = "x".repeat(65);
    assert_eq!(words(&format!("{long} {}", "y".repeat(64))), format!("{} ", "y".repeat(64)));
    let text = format!("[\"{}last\", \"beyond\"]", "ab ".repeat((SIDE - 4) / 3));
    assert_eq!(words(&text), "ab last ");
}

#[test]
fn what_cannot_be_searched_for_is_said() {
    for (text, what) in [
        ("", "without a letter"),
        ("  \"*-() ^:。 ", "without a letter"),
        (&*"x".repeat(65), "64 letters"),
        (&*(0..33).flat_map(|n| [n.to_string(), " ".to_owned()]).collect::<String>(), "32 words"),
    ] {
        assert!(read_wanted(text).unwrap_err().contains(what), "{text}");
    }
}

#[test]
fn signs_are_never_syntax() {
    assert_eq!(
        read_wanted("text:NEAR(\"a\" OR b*) NOT -a").unwrap().0,
        r#""text" AND "near" AND "a" AND "or" AND "b" AND "not""#
    );
}

proptest! {
    /// Any bytes give something, and not more than there is room for.
    #[test]
    fn any_body_gives_some_text(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for head in [&b""[..], b"[\"", b"{\"a\":\"\\u"] {
            let body = [head, &body].concat();
            // A broken byte is shown by three.
            prop_assert!(text_of(&body).len() <= SIDE * 3);
        }
    }

    /// A text is found by itself.
    #[test]
    fn a_text_has_the_words_that_it_is_searched_by(text in "\\PC{0,40}") {
        let Ok(wanted) = read_wanted(&text) else { return Ok(()) };
        let words = words(&format!(" ,{text}"));
        let words: Vec<_> = words.split(' ').collect();
        for word in wanted.0.split(" AND ") {
            match word.strip_suffix(" *") {
                Some(start) => {
                    let start = start.trim_matches('"');
                    prop_assert!(words.iter().any(|word| word.starts_with(start)), "{start}");
                }
                None => prop_assert!(words.contains(&word.trim_matches('"')), "{word}"),
            }
        }
    }
}
