//! Our requests: order, writes, answers, cancellation, and what ends them.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use mcp::{Connection, Ended, Limits, Peer, ReplyError, SendError};
use serde_json::{Value, json};
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

use crate::script::{Recorder, Script, outcome};

fn script() -> Script {
    Script::attach(&Arc::new(Recorder::default()))
}

async fn send(peer: &Peer, params: &str) -> Result<mcp::PendingReply, SendError> {
    let mut request = peer.prepare("ask");
    request.params().extend_from_slice(params.as_bytes());
    peer.send(request).await
}

/// A sink that notes the size of every write.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

impl AsyncWrite for Writes {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn lines_keep_their_order_and_ids_are_strings() {
    let mut script = script();
    let mut waiting = Vec::new();
    for index in 0..200 {
        waiting.push(send(&script.peer, &index.to_string()).await.unwrap());
        let noted = script.peer.notify("note", |out| {
            out.extend_from_slice(index.to_string().as_bytes());
        });
        assert_eq!(noted, Ok(()));
    }
    let mut ids = Vec::new();
    for index in 0..200 {
        let request = script.hear().await;
        assert_eq!(request["jsonrpc"], "2.0");
        assert_eq!(request["method"], "ask");
        assert_eq!(request["params"], index);
        ids.push(request["id"].as_str().expect("a string id").to_owned());
        let note = script.hear().await;
        assert_eq!((&note["method"], &note["params"]), (&json!("note"), &json!(index)));
        assert_eq!(note.get("id"), None);
    }
    assert!(ids.iter().all(|id| id.starts_with("s-")));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    // Answers find their request in any order.
    for (index, pending) in waiting.into_iter().enumerate().rev() {
        let id = format!("s-{}", index + 1);
        script.say(&json!({"id": id, "result": index}).to_string()).await;
        assert_eq!(outcome(pending).await.unwrap(), index.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn many_small_lines_leave_in_one_write_and_a_big_one_in_its_own() {
    let (source, _keep_open) = tokio::io::duplex(64);
    let writes = Writes::default();
    let connection = Connection::new(source, writes.clone(), Limits::default());
    let peer = connection.peer().clone();
    let big = format!("\"{}\"", "x".repeat(300_000));
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(send(&peer, "1").await.unwrap());
    }
    waiting.push(send(&peer, &big).await.unwrap());
    for _ in 0..100 {
        waiting.push(send(&peer, "2").await.unwrap());
    }
    let stop = CancellationToken::new();
    stop.cancel();
    connection.run(&Recorder::default(), stop).await;
    let written = writes.0.lock().unwrap().clone();
    let lines: Vec<_> =
        written.iter().map(|write| write.split(|byte| *byte == b'\n').count() - 1).collect();
    assert_eq!(lines, [100, 1, 100]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_is_cancelled_after_it_was_sent() {
    let mut script = script();
    let pending = send(&script.peer, "{}").await.unwrap();
    drop(pending);
    let request = script.hear().await;
    let cancelled = script.hear().await;
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], request["id"]);
    assert_eq!(cancelled["params"]["requestId"], json!("s-1"));
    assert!(cancelled["params"]["reason"].is_string());
    script.say(r#"{"id":"s-1","result":1}"#).await;
    script.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_answered_request_is_not_cancelled() {
    let mut script = script();
    let (pending, _) = script.ask("1").await;
    script.say(r#"{"id":"s-1","result":1}"#).await;
    outcome(pending).await.unwrap();
    // Neither is one whose answer lies there, not looked at.
    let (unread, _) = script.ask("2").await;
    let (other, _) = script.ask("3").await;
    script.say(r#"{"id":"s-2","result":2}"#).await;
    script.say(r#"{"id":"s-3","result":3}"#).await;
    outcome(other).await.unwrap();
    drop(unread);
    script.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_can_still_hear_a_late_answer() {
    let mut script = script();
    let (pending, id) = script.ask("{}").await;
    let late = pending.cancel("no time").expect("not answered yet");
    let cancelled = script.hear().await;
    assert_eq!(cancelled["params"], json!({"requestId": id, "reason": "no time"}));
    script.say(r#"{"id":"s-1","result":{"late":true}}"#).await;
    assert_eq!(outcome(late).await.unwrap(), r#"{"late":true}"#);
    script.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_detached_request_says_nothing_and_still_hears() {
    let mut script = script();
    let (pending, _) = script.ask("{}").await;
    let late = pending.detach().expect("not answered yet");
    script.hear_nothing().await;
    script.say(r#"{"id":"s-1","error":{"code":-1,"message":"no"}}"#).await;
    let error = outcome(late).await.unwrap_err();
    assert_eq!(error, ReplyError::Host { code: -1, message: "no".into() });
    // Dropping a detached one forgets it in silence.
    let (pending, _) = script.ask("{}").await;
    drop(pending.detach());
    script.hear_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_waits_for_are_ignored() {
    let mut script = script();
    let (pending, _) = script.ask("{}").await;
    for line in [
        r#"{"id":"s-99","result":1}"#,
        r#"{"id":1,"result":1}"#,
        r#"{"id":"1","result":1}"#,
        r#"{"id":"s-1x","result":1}"#,
        r#"{"id":null,"result":1}"#,
        r#"{"result":1}"#,
        r#"{"id":"s-18446744073709551616","result":1}"#,
    ] {
        script.say(line).await;
    }
    script.say(r#"{"id":"s-1","result":"mine"}"#).await;
    script.say(r#"{"id":"s-1","result":"again"}"#).await;
    assert_eq!(outcome(pending).await.unwrap(), r#""mine""#);
    let (next, _) = script.ask("{}").await;
    script.say(r#"{"id":"s-2","result":2}"#).await;
    assert_eq!(outcome(next).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn answers_are_read_leniently() {
    let host =
        |code: i64, message: &str| Err(ReplyError::Host { code, message: message.to_owned() });
    for (answer, expected) in [
        (r#""result":{"a": 1.50}"#, Ok(r#"{"a": 1.50}"#.to_owned())),
        (r#""result":null"#, Ok("null".to_owned())),
        (r#""other":1"#, Ok("null".to_owned())),
        (r#""error":null,"result":3"#, Ok("3".to_owned())),
        (r#""error":{"code":-32000,"message":"no"}"#, host(-32000, "no")),
        (r#""error":{"code":-1},"result":3"#, host(-1, "")),
        (r#""error":{"message":"no code"}"#, host(0, "no code")),
        (r#""error":"text""#, host(0, "")),
        (r#""error":{"code":1.5,"message":"m"}"#, host(0, "m")),
        (r#""error":{"code":"x","message":"m"}"#, host(0, "m")),
        (r#""error":{"code":-1,"message":"cut \ud83d"}"#, host(-1, r#""cut \ud83d""#)),
        (r#""error":{"code":-1,"message":"a","message":{}}"#, host(-1, "{}")),
    ] {
        let mut script = script();
        let (pending, _) = script.ask("{}").await;
        script.say(&format!(r#"{{"jsonrpc":"2.0","id":"s-1",{answer}}}"#)).await;
        let reply = outcome(pending).await.map(|raw| String::from_utf8(raw.to_vec()).unwrap());
        assert_eq!(reply, expected, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_raw_line_break_never_reaches_the_wire() {
    let mut script = script();
    let smuggled = "{\"a\":\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}\n}";
    for params in [smuggled, "[\r]", "\n", "{}\n"] {
        let refused = send(&script.peer, params).await.map(drop);
        assert_eq!(refused, Err(SendError::LineBreak), "{params:?}");
        let noted = script.peer.notify("note", |out| out.extend_from_slice(params.as_bytes()));
        assert_eq!(noted, Err(SendError::LineBreak), "{params:?}");
    }
    script.hear_nothing().await;
    // A method's name is escaped, whatever it holds.
    script.peer.notify("a\nb", |out| out.push(b'1')).unwrap();
    assert_eq!(script.hear().await["method"], "a\nb");
}

/// Fails what waits, refuses what comes, and says so.
async fn expect_closed(peer: &Peer, waiting: [mcp::PendingReply; 2]) {
    for pending in waiting {
        assert_eq!(outcome(pending).await, Err(ReplyError::Closed));
    }
    assert!(peer.is_closed());
    assert_eq!(send(peer, "{}").await.map(drop), Err(SendError::Closed));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_connection_fails_everything_that_waits() {
    let mut closed = script();
    let waiting = [closed.ask("1").await.0, closed.ask("2").await.0];
    let peer = closed.peer.clone();
    assert!(!peer.is_closed());
    assert!(matches!(closed.close().await, Ended::Eof));
    expect_closed(&peer, waiting).await;

    let mut stopped = script();
    let waiting = [stopped.ask("1").await.0, stopped.ask("2").await.0];
    let peer = stopped.peer.clone();
    stopped.stop.cancel();
    assert!(matches!(stopped.ended().await, Ended::Stopped));
    expect_closed(&peer, waiting).await;

    let mut killed = script();
    let waiting = [killed.ask("1").await.0, killed.ask("2").await.0];
    let peer = killed.peer.clone();
    killed.die().await;
    expect_closed(&peer, waiting).await;

    let mut aborted = script();
    let waiting = [aborted.ask("1").await.0, aborted.ask("2").await.0];
    let peer = aborted.peer.clone();
    aborted.abort().await;
    expect_closed(&peer, waiting).await;

    let mut panicked = script();
    let waiting = [panicked.ask("1").await.0, panicked.ask("2").await.0];
    let peer = panicked.peer.clone();
    panicked.say(r#"{"id":1,"method":"panic"}"#).await;
    panicked.hear_nothing().await;
    expect_closed(&peer, waiting).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_still_written_at_the_end() {
    let mut script = script();
    let peer = script.peer.clone();
    script.stop.cancel();
    peer.notify("last", |out| out.push(b'1')).unwrap();
    assert_eq!(script.hear().await["method"], "last");
    assert_eq!(script.line().await, None);
    let dropped: Result<(), _> = peer.notify("too late", |out| out.push(b'1'));
    assert_eq!(dropped, Ok(()), "a notification has nobody to tell");
    assert!(matches!(script.ended().await, Ended::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_failing_sink_ends_the_connection() {
    struct Broken;
    impl AsyncWrite for Broken {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let (source, _keep_open) = tokio::io::duplex(64);
    let connection = Connection::new(source, Broken, Limits::default());
    let peer = connection.peer().clone();
    let pending = send(&peer, "{}").await.unwrap();
    let ended = connection.run(&Recorder::default(), CancellationToken::new()).await;
    assert!(
        matches!(ended, Ended::Failed(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    );
    assert_eq!(outcome(pending).await, Err(ReplyError::Closed));
}

#[tokio::test(start_paused = true)]
async fn an_error_prints_no_message_of_the_host() {
    let error = ReplyError::Host { code: -7, message: "secret".into() };
    let shown = Value::String(error.to_string());
    assert_eq!(shown, "the host answered with error -7");
}
