//! Keywords go, everything else stays.

use proptest::prelude::*;
use serde_json::Value;

use crate::json::compact;

fn shown(schema: &str) -> String {
    let mut out = "before ".to_owned();
    super::push(&compact(schema).unwrap(), &mut out);
    out.strip_prefix("before ").unwrap().to_owned()
}

#[test]
fn keywords_are_left_out_and_names_are_not() {
    for (schema, meant) in [
        (
            r#"{"$schema":"x","type":"object","title":"T","additionalProperties":false}"#,
            r#"{"type":"object"}"#,
        ),
        (
            r#"{"properties":{"title":{"title":"a","type":"string"},"examples":{"examples":[{"title":1}]},"$schema":true}}"#,
            r#"{"properties":{"title":{"type":"string"},"examples":{},"$schema":true}}"#,
        ),
        (
            r#"{"enum":[{"title":1}],"const":{"title":2},"default":{"examples":3},"title":4}"#,
            r#"{"enum":[{"title":1}],"const":{"title":2},"default":{"examples":3}}"#,
        ),
        (
            r#"{"anyOf":[{"title":"a","type":"null"},{"items":{"title":"b","minimum":1.50}}]}"#,
            r#"{"anyOf":[{"type":"null"},{"items":{"minimum":1.50}}]}"#,
        ),
        (
            r##"{"$defs":{"title":{"title":"x","$ref":"#/$defs/a"}},"required":["title"]}"##,
            r##"{"$defs":{"title":{"$ref":"#/$defs/a"}},"required":["title"]}"##,
        ),
        // What values of a map look like is worth knowing.
        (
            r#"{"additionalProperties":{"type":"string","title":"x"},"description":"\"title\":1"}"#,
            r#"{"additionalProperties":{"type":"string"},"description":"\"title\":1"}"#,
        ),
        (r#"{"additionalProperties":{},"title":"only"}"#, "{}"),
        ("true", "true"),
        ("[]", "[]"),
    ] {
        assert_eq!(shown(schema), meant, "{schema}");
    }
}

proptest! {
    #[test]
    fn what_is_shown_is_json(text in "[\\[\\]{}:,\"a1]{0,24}", key in "[a-z$\"\\\\]{0,12}") {
        let key = serde_json::to_string(&key).unwrap();
        for schema in [text, format!("{{{key}:{{{key}:[{{{key}:{key}}}]}},\"properties\":{{{key}:1}}}}")] {
            if compact(&schema).is_some() {
                prop_assert!(serde_json::from_str::<Value>(&shown(&schema)).is_ok(), "{}", schema);
            }
        }
    }
}
