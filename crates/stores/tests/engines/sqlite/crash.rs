//! What was answered as written is there after `kill -9`, and everything adds up.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use gateway::keys::ScopeId;
use gateway::store::{CallFilter, CallRow, Closed, Opened, Progress, Store};
use stores::{OpenOptions, Sqlite};

use super::Directory;
use crate::contract::texts::searchable;
use crate::contract::{ALWAYS, Place};
use crate::samples::{closed, opened};

/// How often a child is killed.
const ROUNDS: u32 = 20;
/// Calls that a child has in flight.
const AT_ONCE: u32 = 24;
/// Most calls of one child.
const CALLS: u32 = 100_000;

/// Writes calls until it is killed, and says what was answered as written. Reads where from its
/// standard input.
#[tokio::test]
#[ignore = "a child of the test below"]
async fn child() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let (first, directory) = line.trim_end().split_once(' ').unwrap();
    let first: u32 = first.parse().unwrap();
    let store = Sqlite::open(OpenOptions::new(directory)).unwrap();
    let out = std::io::stdout();
    let tell = |word: &str, number: u32| {
        let mut out = out.lock();
        writeln!(out, "\n{word} {number}").and_then(|()| out.flush()).unwrap();
    };
    for group in (first..first + CALLS).step_by(AT_ONCE as usize) {
        let calls = || group..group + AT_ONCE;
        let start = |number| {
            let body = format!(r#"{{"text":"said w{}"}}"#, number % 5);
            Opened { body: Some(body.into()), ..opened(number) }
        };
        let opens: Vec<_> = calls().map(|number| store.open(start(number).into())).collect();
        for (number, open) in calls().zip(opens) {
            open.await.unwrap();
            tell("opened", number);
        }
        let end = |number| Closed {
            spending: closed(number).spending.filter(|_| number % 3 != 0),
            ..closed(number)
        };
        let closes: Vec<_> = calls().map(|number| store.close(end(number).into())).collect();
        for (number, close) in calls().zip(closes) {
            close.await.unwrap();
            tell("closed", number);
            if number % 6 == 0 {
                store.settle(opened(number).id, closed(number).spending.unwrap()).await.unwrap();
                tell("settled", number);
            }
        }
    }
}

/// Runs a child, and kills it when it has told this many things. Says all that it told.
fn run_and_kill(place: &Directory, first: u32, after: usize) -> Vec<(String, u32)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sqlite::crash::child", "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{first} {}", place.file("").display()).unwrap();
    let mut told = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // The last line may be cut off.
        let Ok(line) = line else { break };
        let Some((word, number)) = line.split_once(' ') else { continue };
        let Ok(number) = number.parse() else { continue };
        if ["opened", "closed", "settled"].contains(&word) {
            told.push((word.to_owned(), number));
        }
        if told.len() == after {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(told.len() >= after && !status.success(), "it ended by itself: {status}");
    told
}

async fn every_call(store: &dyn Store, text: Option<&str>) -> Vec<CallRow> {
    let filter = CallFilter { text: text.map(str::to_owned), ..CallFilter::default() };
    let (mut calls, mut after) = (Vec::new(), None);
    loop {
        let page = store.calls(filter.clone(), after, 1000).await.unwrap();
        calls.extend(page.calls);
        after = page.next;
        if after.is_none() {
            return calls;
        }
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let place = Directory::new();
    let (mut told, mut interrupted) = (BTreeSet::new(), 0);
    let mut state = 12_345_u32;
    for round in 0..ROUNDS {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let after = 1 + (state >> 20) as usize % 700;
        told.extend(run_and_kill(&place, round * CALLS, after));

        let store = place.open();
        interrupted += store.load().await.unwrap().interrupted;
        let calls = every_call(&*store, None).await;
        searchable(&store).await;
        assert!(every_call(&*store, Some("said")).await == calls, "the index has them all, once");
        let by_id: BTreeMap<_, _> = calls.iter().map(|call| (call.id, call)).collect();
        for (word, number) in &told {
            let call = by_id.get(&opened(*number).id).unwrap_or_else(|| panic!("{number} is gone"));
            let amounts = closed(*number).spending.map(|spending| spending.amounts);
            match word.as_str() {
                "closed" => assert_eq!(call.status, Some(200), "{number}"),
                "settled" => assert_eq!(call.spent, amounts, "{number}"),
                _ => {}
            }
        }
        let spent = |call: &CallRow| call.spent.unwrap_or_else(|| panic!("{} is owed", call.id));
        let tokens: u64 = calls.iter().map(|call| spent(call).tokens).sum();
        let cost: u64 = calls.iter().map(|call| spent(call).cost).sum();
        let ledger = store.spent(ALWAYS).await.unwrap();
        assert_eq!(ledger.len(), 2);
        for (scope, sum) in ledger {
            assert_eq!(
                (sum.requests, sum.tokens, sum.cost),
                (calls.len() as u64, tokens, cost),
                "{scope}"
            );
            assert!(matches!(scope, ScopeId::Key(_) | ScopeId::Tenant(_)));
        }
        let verdict = store.verify(Progress::default()).await.unwrap();
        assert_eq!(verdict.finding, None);
        store.shut_down().await;
    }
    assert!(interrupted > 0, "no child was killed in the middle of a call");
}
