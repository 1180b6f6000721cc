//! Schemas and answers of strangers that try to take the process down.
//!
//! Nothing here measures time: what hangs or overflows the stack does not pass.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use dialects::structured_output::OutputCheck;
use model::{Json, OutputFormat, ParamsMode};

/// Whether an answer fits a schema, `None` where the schema is refused. On a thread with the stack
/// that blocking work has.
fn verdict(schema: String, answer: String) -> Option<bool> {
    let run = move || {
        let format = OutputFormat::JsonSchema {
            name: None,
            description: None,
            schema: Json::from_compact(schema).unwrap(),
            strict: Some(true),
        };
        let check = OutputCheck::new(&format, ParamsMode::Default).map(Option::unwrap);
        check.ok().map(|check| check.check(&answer).is_ok())
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap()
}

#[test]
fn nothing_takes_the_process_down() {
    let many = |count: usize, item: &dyn Fn(usize) -> String| {
        (0..count).map(item).collect::<Vec<_>>().join(",")
    };
    let numbers = format!("[{}]", many(100_000, &|at| at.to_string()));
    let objects = format!("[{}]", many(20_000, &|at| format!(r#"{{"a":{at}}}"#)));
    let cases = [
        (format!(r#"{{"patternProperties":{{{}}}}}"#, many(6000, &|at| format!(r#""^a{at}b*$":{{}}"#))), format!("{{{}}}", many(2000, &|at| format!(r#""a{at}bbb":1"#))), None),
        (format!(r#"{{"allOf":[{}]}}"#, many(1500, &|at| format!(r#"{{"pattern":"^(x{{1,50}}){{1,{}}}$"}}"#, at % 50 + 1))), format!("\"{}\"", "x".repeat(20_000)), None),
        (r#"{"pattern":"^(((a{1,100}){1,100}){1,100}){1,100}$"}"#.to_owned(), "\"a\"".to_owned(), Some(true)),
        (r#"{"type":"array","uniqueItems":true}"#.to_owned(), numbers.clone(), Some(true)),
        (r#"{"type":"array","uniqueItems":true}"#.to_owned(), objects.clone(), Some(true)),
        (format!(r#"{{"items":{{"enum":[{}]}}}}"#, many(20_000, &|at| format!("\"{at}\""))), numbers.clone(), Some(false)),
        (format!(r#"{{"items":{{"enum":[{}]}}}}"#, many(10_000, &|at| format!(r#"{{"b":{at}}}"#))), objects.clone(), Some(false)),
        (format!(r#"{{"items":{{"anyOf":[{}]}}}}"#, many(1900, &|at| format!(r#"{{"const":{{"a":-{at}}}}}"#))), objects.clone(), Some(false)),
        (format!(r#"{{"unevaluatedProperties":false,"anyOf":[{}]}}"#, many(1000, &|at| format!(r#"{{"properties":{{"p{at}":{{}}}}}}"#))), format!("{{{}}}", many(5000, &|at| format!(r#""p{at}":1"#))), Some(false)),
        (format!(r#"{{"items":{{"unevaluatedProperties":false,"anyOf":[{}]}}}}"#, many(1000, &|at| format!(r#"{{"properties":{{"p{at}":{{}}}}}}"#))), objects.clone(), Some(false)),
        (r#"{"items":{"multipleOf":1e-300}}"#.to_owned(), numbers.clone(), Some(true)),
        (r#"{"multipleOf":0.1}"#.to_owned(), "1e308".to_owned(), Some(true)),
        (r#"{"type":"number","maximum":1e400}"#.to_owned(), "1e400".to_owned(), None),
        (r#"{"type":"integer","minimum":-99999999999999999999999999}"#.to_owned(), "123456789012345678901234567890".to_owned(), Some(true)),
        ("{}".to_owned(), format!("{}{}", "[".repeat(127), "]".repeat(127)), Some(true)),
        ("{}".to_owned(), format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), Some(false)),
        (r##"{"items":{"$ref":"#"}}"##.to_owned(), format!("{}{}", "[".repeat(120), "]".repeat(120)), Some(true)),
        (format!("{}{{}}{}", r#"{"items":"#.repeat(62), "}".repeat(62)), "[]".to_owned(), Some(true)),
        (format!("{}{{}}{}", r#"{"not":"#.repeat(62), "}".repeat(62)), "1".to_owned(), Some(true)),
        (r##"{"$id":"http://a/b","$ref":"#/$defs/x","$defs":{"x":{"$id":"c","$ref":"#"}}}"##.to_owned(), "1".to_owned(), None),
        (r##"{"$anchor":"a","allOf":[{"$ref":"#a"}]}"##.to_owned(), "1".to_owned(), None),
        (r##"{"$defs":{"x":{"$anchor":"a","anyOf":[{"$ref":"#a"},{"type":"null"}]}},"$ref":"#a"}"##.to_owned(), "1".to_owned(), None),
        (r#"{"$schema":"http://a/none","type":"object"}"#.to_owned(), "{}".to_owned(), None),
        (r#"{"$schema":"https://json-schema.org/draft/2019-09/schema","$recursiveAnchor":true,"type":"object"}"#.to_owned(), "{}".to_owned(), Some(true)),
        (r#"{"format":"regex","contentEncoding":"base64","contentMediaType":"application/json","contentSchema":{"$ref":"http://x/"}}"#.to_owned(), "\"(((((((((\"".to_owned(), None),
        (format!(r#"{{"dependentRequired":{{{}}}}}"#, many(8000, &|at| format!(r#""k{at}":["k{}"]"#, at + 1))), format!("{{{}}}", many(8000, &|at| format!(r#""k{at}":1"#))), Some(false)),
        (format!(r#"{{"items":{{"dependentRequired":{{{}}}}}}}"#, many(10_000, &|at| format!(r#""k{at}":["x"]"#))), objects.clone(), Some(false)),
        (format!(r#"{{"items":{{"required":[{}]}}}}"#, vec![r#""a""#; 10_000].join(",")), objects.clone(), None),
        (format!(r#"{{"required":[{}]}}"#, many(20_000, &|at| format!("\"k{at}\""))), objects, Some(true)),
        (r#"{"items":{"contains":{"const":1},"minContains":1}}"#.to_owned(), format!("[{}]", vec![numbers; 20].join(",")), Some(true)),
    ];
    for (schema, answer, expected) in cases {
        let shown: String = schema.chars().take(80).collect();
        assert_eq!(verdict(schema, answer), expected, "{shown}");
    }
}
