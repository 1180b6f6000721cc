//! What the other side sends: lines that are wrong, too long, batched or oddly numbered.

use std::sync::Arc;

use mcp::{Ended, Limits, ReplyError};
use serde_json::{Value, json};

use crate::script::{Recorder, Script, outcome};

fn small(handler: &Arc<Recorder>) -> Script {
    let limits = Limits { max_line: 256, ..Limits::default() };
    Script::attach_with(handler, limits, 1 << 20)
}

#[tokio::test(start_paused = true)]
async fn a_malformed_answer_fails_its_request_and_no_other() {
    for broken in [
        &br#"{"id":"s-1","result":{"#[..],
        br#"{"id":"s-1","result":{}} trailing"#,
        br#"{"result":[1,],"id":"s-1"}"#,
        br#"{"id":"s-1","id":"s-1","result":1}"#,
        b"{\"id\":\"s-1\",\"result\":\"\xff\xfe\"}",
        b"{\"id\":\"s-1\",\"result\":\"a\tb\"}",
        b"\xef\xbb\xbf{\"id\":\"s-1\",\"result\":NaN}",
        br#"log: {"id":"s-1","result":1}"#,
    ] {
        let mut script = Script::attach(&Arc::new(Recorder::default()));
        let (first, _) = script.ask("1").await;
        let (second, _) = script.ask("2").await;
        script.write(broken).await;
        script.write(b"\n").await;
        let shown = String::from_utf8_lossy(broken);
        assert_eq!(outcome(first).await, Err(ReplyError::Malformed), "{shown}");
        script.say(r#"{"id":"s-2","result":2}"#).await;
        assert_eq!(outcome(second).await.unwrap(), "2", "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_request_is_answered() {
    let mut script = Script::attach(&Arc::new(Recorder::default()));
    script.say(r#"{"id":7,"method":"echo","params":{}"#).await;
    let answer = script.hear().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32600)));
    script.say(r#"{"id":"x","method":5}"#).await;
    assert_eq!(script.hear().await["id"], "x");
    script.say(r#"{"id":nonsense,"method":"echo"}"#).await;
    let answer = script.hear().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(-32600)));
}

#[tokio::test(start_paused = true)]
async fn a_line_above_the_cap_fails_exactly_its_request() {
    let long = "x".repeat(5000);
    for line in [
        format!(r#"{{"id":"s-1","result":"{long}"}}"#),
        format!(r#"{{"result":{{"id":"s-2","text":"{long}"}},"jsonrpc":"2.0","id":"s-1"}}"#),
        format!(r#"{{"result":["\"id\":\"s-2\"{long}"],"id" : "s-1" }}"#),
        format!(r#"{{"a":"{long}","id":"s-1""#),
    ] {
        let mut script = small(&Arc::new(Recorder::default()));
        let (first, _) = script.ask("1").await;
        let (second, _) = script.ask("2").await;
        script.say(&line).await;
        assert_eq!(outcome(first).await, Err(ReplyError::TooLarge));
        script.say(r#"{"id":"s-2","result":2}"#).await;
        assert_eq!(outcome(second).await.unwrap(), "2");
        script.hear_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_cap_counts_bytes_exactly() {
    let mut script = small(&Arc::new(Recorder::default()));
    let frame = r#"{"id":"s-1","result":""}"#.len();
    for (over, expected) in [(0, true), (1, false)] {
        let (pending, id) = script.ask("1").await;
        let id = id.as_str().unwrap();
        let text = "y".repeat(256 - frame + over);
        script.say(&format!(r#"{{"id":"{id}","result":"{text}"}}"#)).await;
        assert_eq!(outcome(pending).await.is_ok(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn other_lines_above_the_cap_are_answered_or_skipped() {
    let recorder = Arc::new(Recorder::default());
    let mut script = small(&recorder);
    let long = "x".repeat(100_000);
    script.say(&format!(r#"{{"id":9,"method":"echo","params":"{long}"}}"#)).await;
    let answer = script.hear().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(9), &json!(-32600)));
    script.say(&long).await;
    script.say(&format!(r#"{{"method":"note","params":"{long}"}}"#)).await;
    script.say(&format!("[{}]", "[".repeat(100_000))).await;
    script.say(r#"{"id":10,"method":"echo","params":"still here"}"#).await;
    assert_eq!(script.hear().await, json!({"jsonrpc":"2.0","id":10,"result":"still here"}));
    assert!(recorder.notes.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn ids_of_any_type_are_echoed_as_they_came() {
    let mut script = Script::attach(&Arc::new(Recorder::default()));
    for id in [
        "1",
        "-1",
        "0",
        "1.50",
        "1e400",
        "123456789012345678901234567890",
        r#""a""#,
        r#""""#,
        r#""\u0000\n\"""#,
        r#""s-1""#,
        "\"中文\u{2028}\"",
        "true",
        "false",
    ] {
        script.say(&format!(r#"{{"params":7,"id": {id} ,"method":"echo"}}"#)).await;
        let line = script.line().await.expect("an answer");
        assert_eq!(line, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":7}}"#));
    }
    for id in ["{}", "[1]", "{\"a\":\r1}"] {
        script.say(&format!(r#"{{"id":{id},"method":"echo"}}"#)).await;
        let answer = script.hear().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(-32600)));
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_gets_one_answer() {
    let recorder = Arc::new(Recorder::default());
    let mut script = Script::attach(&recorder);
    for method in ["drop", "break", "return"] {
        script.say(&format!(r#"{{"id":1,"method":"{method}"}}"#)).await;
        let answer = script.hear().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(1), &json!(-32603)),
            "{method}"
        );
        assert_eq!(answer.get("result"), None);
    }
    script.say(r#"{"id":2,"method":"withdraw"}"#).await;
    script.hear_nothing().await;
    // A request that is held until after the end of the connection is nobody's any more.
    script.say(r#"{"id":3,"method":"hold"}"#).await;
    script.say(r#"{"id":4,"method":"echo","params":1}"#).await;
    assert_eq!(script.hear().await["id"], 4);
    script.close().await;
    recorder.take_held().reply(|out| out.push(b'1'));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_answered_as_one_array() {
    let recorder = Arc::new(Recorder::default());
    let mut script = Script::attach(&recorder);
    let (pending, _) = script.ask("{}").await;
    script
        .say(r#"[{"id":1,"method":"echo","params":"a"},{"method":"note","params":[1]},{"id":"s-1","result":"ours"},{"id":2,"method":"hold"},{"id":3,"method":"drop"},{"id":4,"method":"withdraw"},{"id":{},"method":"echo"}]"#)
        .await;
    assert_eq!(outcome(pending).await.unwrap(), r#""ours""#);
    script.hear_nothing().await;
    assert_eq!(recorder.notes.lock().unwrap().len(), 1);
    recorder.take_held().reply(|out| out.extend_from_slice(b"\"late\""));
    let answers = script.hear().await;
    let ids: Vec<_> = answers.as_array().unwrap().iter().map(|a| a["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(3), Value::Null, json!(2)]);
    assert_eq!(answers[3]["result"], "late");
    script.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_answers_says_nothing() {
    let mut script = Script::attach(&Arc::new(Recorder::default()));
    script.say(r#"[{"id":4,"method":"withdraw"}]"#).await;
    script.say("[]").await;
    script.say(r#"[1,null,"x",[]]"#).await;
    script.say("[{").await;
    script.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_entry_of_a_batch_fails_alone() {
    let mut script = Script::attach(&Arc::new(Recorder::default()));
    let (pending, _) = script.ask("{}").await;
    script
        .say(r#"[{"id":"s-1","result":1,"result":2},{"id":8,"method":5},{"id":9,"method":"echo","params":1}]"#)
        .await;
    assert_eq!(outcome(pending).await, Err(ReplyError::Malformed));
    let bad = script.hear().await;
    assert_eq!((&bad["id"], &bad["error"]["code"]), (&json!(8), &json!(-32600)));
    assert_eq!(script.hear().await, json!([{"jsonrpc":"2.0","id":9,"result":1}]));
}

#[tokio::test(start_paused = true)]
async fn line_ends_and_blank_lines_do_not_matter() {
    let recorder = Arc::new(Recorder::default());
    let mut script = Script::attach(&recorder);
    script.write(b"\r\n\n  \n{\"id\":1,\"method\":\"echo\",\"params\":1}\r\n").await;
    assert_eq!(script.hear().await["id"], 1);
    // The last line needs no line break.
    script.write(br#"{"method":"last"}"#).await;
    assert!(matches!(script.close().await, Ended::Eof));
    assert_eq!(recorder.notes.lock().unwrap()[0].0, "last");
}

#[tokio::test(start_paused = true)]
async fn escaped_names_are_names() {
    let recorder = Arc::new(Recorder::default());
    let mut script = Script::attach(&recorder);
    script.say(r#"{"\u0069d":1,"meth\u006fd":"ech\u006f","params":{"b":1,"a":2.0}}"#).await;
    let line = script.line().await.unwrap();
    assert_eq!(line, r#"{"jsonrpc":"2.0","id":1,"result":{"b":1,"a":2.0}}"#);
}
