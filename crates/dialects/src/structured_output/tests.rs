//! Schemas of strangers, and answers of models.

use std::fmt::Write as _;

use model::{Json, Loss, OutputFormat, ParamsMode};

use super::OutputCheck;

fn format(schema: &str, strict: Option<bool>) -> OutputFormat {
    let schema = Json::from_compact(schema).unwrap();
    OutputFormat::JsonSchema { name: Some("s".to_owned()), description: None, schema, strict }
}

fn check(schema: &str) -> Result<OutputCheck, String> {
    OutputCheck::new(&format(schema, Some(true)), ParamsMode::Default)
        .map(Option::unwrap)
        .map_err(|failure| failure.message)
}

#[test]
fn json_is_found_in_what_models_write() {
    let check = check(r#"{"type":"object","required":["a"],"properties":{"a":{"type":"number"}}}"#)
        .unwrap();
    for answer in [
        r#"{"a":1.50}"#,
        "```json\n{\"a\":1.50}\n```",
        "Here it is:\n```\n{\"a\":1.50}\n```\nAnything else?",
        "\u{feff} {\"a\":1.50}\n",
        "Sure! {\"a\":1.50} I hope that helps.",
    ] {
        assert_eq!(check.check(answer).as_deref(), Ok(r#"{"a":1.50}"#), "{answer}");
    }
    for (answer, json) in [
        (r#"{"a":"one"}"#, Some(r#"{"a":"one"}"#)),
        ("{}", Some("{}")),
        (r#"{"a":1"#, None),
        ("no", None),
        ("", None),
    ] {
        assert_eq!(check.check(answer).unwrap_err().json.as_deref(), json, "{answer}");
    }
}

#[test]
fn any_object_will_do_for_json_object() {
    let check = OutputCheck::new(&OutputFormat::JsonObject, ParamsMode::Default).unwrap().unwrap();
    assert!(check.check("```json\n{\"x\":[1]}\n```").is_ok());
    assert_eq!(check.check("[1]").unwrap_err().json, None);
    assert!(check.instructions().contains("JSON object"));
    assert!(OutputCheck::new(&OutputFormat::Text, ParamsMode::Default).unwrap().is_none());
}

#[test]
fn nothing_is_fetched_and_nothing_runs_for_ever() {
    for (schema, why) in [
        (r#"{"$ref":"http://127.0.0.1:9/a.json"}"#, "nothing is fetched"),
        (r#"{"properties":{"a":{"$ref":"file:///etc/passwd"}}}"#, "nothing is fetched"),
        (r#"{"$ref":"other.json#/a"}"#, "nothing is fetched"),
        (r##"{"$ref":"#"}"##, "without end"),
        (r##"{"anyOf":[{"type":"null"},{"$ref":"#"}]}"##, "without end"),
        (
            r##"{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}},"$ref":"#/$defs/a"}"##,
            "without end",
        ),
        (r##"{"$ref":"#/$defs/none"}"##, "only be a path"),
        // Places that the validator finds and the measure would not.
        (
            r##"{"$defs":{"ab":{"not":{"$ref":"#/$defs/a%62"}}},"$ref":"#/$defs/ab"}"##,
            "only be a path",
        ),
        (r##"{"$anchor":"a","anyOf":[{"$ref":"#a"},{"$ref":"#a"}]}"##, "only be a path"),
        (r##"{"$defs":{"q":{}},"not":{"$id":"b","not":{"$ref":"#/$defs/q"}}}"##, "not supported"),
        (r#"{"type":"nonsense"}"#, ""),
        (r#"{"$dynamicRef":"x"}"#, "not supported"),
        ("[]", "not an object"),
    ] {
        let message = check(schema).unwrap_err();
        assert!(message.contains(why), "{schema}: {message}");
    }
    let mut chain = String::new();
    for at in 0..3000 {
        write!(chain, r##""n{at}":{{"$ref":"#/$defs/n{}"}},"##, at + 1).unwrap();
    }
    let chain = format!(r##"{{"$defs":{{{chain}"n3000":{{}}}},"$ref":"#/$defs/n0"}}"##);
    assert!(check(&chain).unwrap_err().contains("too long a chain"));
    // Thirty doublings.
    let mut defs = String::new();
    for at in 0..30 {
        let next = at + 1;
        write!(
            defs,
            r##""n{at}":{{"anyOf":[{{"$ref":"#/$defs/n{next}"}},{{"$ref":"#/$defs/n{next}"}}]}},"##
        )
        .unwrap();
    }
    let bomb = format!(r##"{{"$defs":{{{defs}"n30":{{"type":"null"}}}},"$ref":"#/$defs/n0"}}"##);
    assert!(check(&bomb).unwrap_err().contains("too long"));
}

#[test]
fn recursion_through_branches_is_bounded_by_the_answer() {
    let tree = check(
        r##"{"anyOf":[{"type":"object","properties":{"c":{"$ref":"#"}},"required":["c"]},
            {"type":"object","properties":{"c":{"$ref":"#"}},"maxProperties":0}]}"##
            .replace('\n', " ")
            .as_str(),
    )
    .unwrap();
    assert!(tree.check(r#"{"c":{"c":{}}}"#).is_ok());
    let deep = format!("{}{{}}{}", r#"{"c":"#.repeat(60), "}".repeat(60));
    assert!(tree.check(&deep).unwrap_err().why.contains("too deep"));
    // One branch that recurses costs nothing but its depth.
    let line = check(r##"{"additionalProperties":{"$ref":"#"}}"##).unwrap();
    assert!(line.check(&deep).is_ok());
}

#[test]
fn work_that_multiplies_is_refused_before_it_is_begun() {
    // What others have looked at is found out by running them once more, on every level.
    let mut unevaluated = r#"{"properties":{"a":{}},"unevaluatedProperties":false}"#.to_owned();
    for _ in 0..28 {
        unevaluated = format!(r#"{{"anyOf":[{unevaluated}],"unevaluatedProperties":false}}"#);
    }
    // Each level of the answer is checked twice, by two lists of the same kind.
    let mut layers = String::new();
    for at in 0..16 {
        let next = format!(r##"{{"items":{{"$ref":"#/$defs/n{}"}}}}"##, at + 1);
        write!(layers, r#""n{at}":{{"allOf":[{next},{next}]}},"#).unwrap();
    }
    let layers = format!(r##"{{"$defs":{{{layers}"n16":{{}}}},"$ref":"#/$defs/n0"}}"##);
    let wide = format!("{}{}1{}", "[".repeat(16), "0,".repeat(100_000), "]".repeat(16));
    let numbers = (0..20_000).fold(String::new(), |all, at| format!("{all}{at},"));
    let listed = format!(r#"{{"items":{{"enum":[{numbers}-1]}}}}"#);
    for (schema, answer) in
        [(unevaluated, r#"{"a":1}"#.to_owned()), (layers, wide), (listed, format!("[{numbers}-1]"))]
    {
        let why = check(&schema).unwrap().check(&answer).unwrap_err().why;
        assert!(why.contains("too large"), "{why}");
    }
    let patterns = (0..600).fold(String::new(), |all, at| format!("{all}\"a{at}\":{{}},"));
    let patterns = format!(r#"{{"patternProperties":{{{patterns}"b":{{}}}}}}"#);
    assert!(check(&patterns).unwrap_err().contains("patterns"));
}

#[test]
fn a_mismatch_of_many_branches_is_not_explained() {
    // The validator would keep an error for each of the branches, two to the power of the depth.
    let tree = check(
        r##"{"anyOf":[{"items":{"$ref":"#"},"type":"array"},{"items":{"$ref":"#"},"type":"array"}]}"##,
    )
    .unwrap();
    let answer = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(tree.check(&answer(3)).unwrap_err().why.starts_with("at "));
    assert_eq!(tree.check(&answer(17)).unwrap_err().why, "it does not match the schema");
}

#[test]
fn patterns_run_on_a_linear_engine_or_are_named() {
    let slow = check(r#"{"type":"string","pattern":"^(a+)+$"}"#).unwrap();
    let answer = format!("\"{}!\"", "a".repeat(50_000));
    assert!(slow.check(&answer).is_err());
    assert!(!slow.losses().contains(Loss::OutputPattern));
    // What zod writes for an e-mail address looks ahead, which the engine cannot.
    let ahead = check(r#"{"type":"string","pattern":"^(?!\\.)a$","minLength":1}"#).unwrap();
    assert!(ahead.losses().contains(Loss::OutputPattern));
    assert!(ahead.check("\"b\"").is_ok());
    assert!(ahead.check("\"\"").is_err());
}

#[test]
fn strictness_is_the_callers() {
    let loose = OutputCheck::new(&format("{}", None), ParamsMode::Default).unwrap().unwrap();
    assert!(!loose.is_strict());
    assert!(check("{}").unwrap().is_strict());
    let lenient =
        OutputCheck::new(&format(r#"{"type":"nonsense"}"#, None), ParamsMode::Lenient).unwrap();
    assert!(lenient.unwrap().losses().contains(Loss::OutputMismatch));
}
