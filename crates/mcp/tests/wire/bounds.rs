//! A peer that does not read: we stop reading, our memory stays bounded, and all goes on when it
//! reads again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mcp::Limits;
use serde_json::json;
use tokio::time::timeout;

use crate::script::{Recorder, Script, outcome};

const LIMITS: Limits = Limits { max_line: 4096, max_queued: 4096 };

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_not_read_and_recovers() {
    let recorder = Arc::new(Recorder::default());
    let mut script = Script::attach_with(&recorder, LIMITS, 1024);
    let mut written = 0;
    let mut bytes = Vec::new();
    for id in 0..100_000 {
        let line =
            json!({"id": id, "method": "echo", "params": "x".repeat(100)}).to_string() + "\n";
        bytes.extend_from_slice(line.as_bytes());
        if !script.try_write(line.as_bytes()).await {
            break;
        }
        written = id + 1;
    }
    assert!(written < 1000, "reading never stopped");
    // What is held: the bound, one line above it, and what the two pipes hold.
    let seen = *recorder.seen.lock().unwrap();
    assert!(seen * 120 < LIMITS.max_queued + 3 * 1024, "{seen} answers are held");
    // A cut-off write has left a part of its line in the pipe: end that line first.
    for id in 0..seen {
        assert_eq!(script.hear().await["id"], id);
    }
    script.write(b"\n").await;
    for id in seen..written {
        assert_eq!(script.hear().await["id"], id);
    }
    while script.line().await.is_some() {}
    script.say(r#"{"id":"again","method":"echo","params":1}"#).await;
    assert_eq!(script.hear().await["id"], "again");
}

#[tokio::test(start_paused = true)]
async fn our_requests_wait_for_room_and_a_cancelled_wait_sends_nothing() {
    let recorder = Arc::new(Recorder::default());
    let mut script = Script::attach_with(&recorder, LIMITS, 1024);
    let peer = script.peer.clone();
    let params = format!("\"{}\"", "x".repeat(900));
    let mut waiting = Vec::new();
    let send = async |params: &str| {
        let mut request = peer.prepare("ask");
        request.params().extend_from_slice(params.as_bytes());
        peer.send(request).await
    };
    loop {
        match timeout(Duration::from_secs(1), send(&params)).await {
            Ok(pending) => waiting.push(pending.unwrap()),
            // The dropped wait.
            Err(_) => break,
        }
        assert!(waiting.len() < 100, "the queue is not bounded");
    }
    let patient = async {
        let pending = send("\"patient\"").await.unwrap();
        assert_eq!(outcome(pending).await.unwrap(), "\"done\"");
    };
    let mut patient = pin!(patient);
    assert!(timeout(Duration::from_secs(1), patient.as_mut()).await.is_err());
    let reading = async {
        for number in 1..=waiting.len() {
            assert_eq!(script.hear().await["id"], format!("s-{number}"));
        }
        // The dropped one had the next number, and the patient one the number after it.
        let next = script.hear().await;
        assert_eq!(next["params"], "patient");
        assert_eq!(next["id"], format!("s-{}", waiting.len() + 2));
        let answer = json!({"id": next["id"], "result": "done"});
        script.say(&answer.to_string()).await;
        script.hear_nothing().await;
    };
    tokio::join!(patient, reading);
}

#[tokio::test(start_paused = true)]
async fn senders_that_wait_for_room_hear_of_the_end() {
    let mut script = Script::attach_with(&Arc::new(Recorder::default()), LIMITS, 64);
    let peer = script.peer.clone();
    let params = format!("\"{}\"", "x".repeat(5000));
    let mut request = peer.prepare("ask");
    request.params().extend_from_slice(params.as_bytes());
    let first = peer.send(request).await.unwrap();
    let second = peer.send(peer.prepare("ask"));
    let mut second = pin!(second);
    assert!(timeout(Duration::from_secs(1), second.as_mut()).await.is_err());
    script.abort().await;
    assert_eq!(second.await.map(drop), Err(mcp::SendError::Closed));
    assert_eq!(outcome(first).await, Err(mcp::ReplyError::Closed));
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_the_end_counts_though_nobody_reads() {
    let limits = Limits { max_line: 1 << 20, max_queued: 1024 };
    let mut script = Script::attach_with(&Arc::new(Recorder::default()), limits, 256);
    let (pending, _) = script.ask("{}").await;
    for id in 0..100 {
        let line = json!({"id": id, "method": "echo", "params": "x".repeat(100)});
        if !script.try_write(format!("{line}\n").as_bytes()).await {
            break;
        }
    }
    script.say(r#"{"id":"s-1","result":"last"}"#).await;
    script.end_input().await;
    assert_eq!(outcome(pending).await.unwrap(), "\"last\"");
}
