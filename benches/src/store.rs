//! What the record of a call costs: rows of the audit per second with bodies of 1 KB, many calls
//! at once and one after the other, beside a page of code that writes one row in one transaction.
//!
//! A row is one half of a call (RX or TX) with its body; the floor writes the same bytes into one
//! plain table without indexes, digests or a ledger, a commit for each.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use gateway::amounts::Amounts;
use gateway::keys::{Endpoint, KeyId, ScopeId};
use gateway::store::{CallFilter, Closed, Opened, Spending, Store, UsageBy, UsageFilter, Written};
use model::{CallId, Dialect};
use stores::{Durability, OpenOptions, Sqlite, system_clock};

/// Anything that stops a measurement.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of a body.
const BODY: usize = 1024;

/// Measures the store.
#[derive(Debug, Parser)]
#[command(name = "mcptb-bench-store", version)]
struct Arguments {
    /// Where to make the store; the default is a new folder in the system's folder for such.
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,

    /// Calls in each measurement.
    #[arg(long, default_value_t = 100_000)]
    calls: u32,

    /// Calls at once, one measurement for each. With one, there are a tenth of the calls.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 256, 1024])]
    in_flight: Vec<u32>,

    /// Calls that are recorded before the last measurement and the look-ups; 0 for none.
    #[arg(long, default_value_t = 0)]
    grown: u32,

    /// The most bytes that the store may take; mcptb sets 10737418240 unless told otherwise.
    #[arg(long, value_name = "BYTES")]
    bounded: Option<std::num::NonZeroU64>,

    /// Sync each commit to the disk.
    #[arg(long)]
    fsync: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to say when standard error is gone.
            let _gone = writeln!(io::stderr(), "mcptb-bench-store: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Fault> {
    let root = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("mcptb-bench-store-{}", std::process::id())),
    };
    let done = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()?
        .block_on(measure(arguments, &root));
    if arguments.dir.is_none() {
        std::fs::remove_dir_all(&root)?;
    }
    done
}

async fn measure(arguments: &Arguments, root: &Path) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    let mut options = OpenOptions::new(root);
    options.durability = if arguments.fsync { Durability::Fsync } else { Durability::Normal };
    options.max_bytes = arguments.bounded;
    writeln!(out, "| what | rows/s | µs per row |\n|---|---|---|")?;
    let start = Instant::now();
    let store = Sqlite::open(options.clone())?;
    let interrupted = store.load().await?.interrupted;
    let took = start.elapsed().as_secs_f64() * 1e3;
    writeln!(out, "| first open and load ({interrupted} calls cut off) | | {took:.1} ms |")?;
    let mut calls = Calls::default();
    let floor = floor(&root.join("floor.db"), arguments.calls.min(20_000), arguments.fsync)?;
    row(&mut out, "one row in one transaction (floor)", floor)?;
    for &in_flight in &arguments.in_flight {
        let count = if in_flight == 1 { arguments.calls / 10 } else { arguments.calls };
        let took = calls.record(&store, count, in_flight).await?;
        row(&mut out, &format!("{in_flight} calls in flight"), (count * 2, took))?;
    }
    if arguments.grown > 0 {
        let took = calls.record(&store, arguments.grown, 1024).await?;
        row(&mut out, "while it grows", (arguments.grown * 2, took))?;
        let took = calls.record(&store, arguments.calls, 256).await?;
        let what = format!("256 in flight, {} calls there", calls.number);
        row(&mut out, &what, (arguments.calls * 2, took))?;
    }
    catch_up(&mut out, &store, root).await?;
    look_up(&mut out, &store, calls.number).await?;
    search(&mut out, &store, calls.number).await?;
    store.shut_down().await;
    drop(store);
    let start = Instant::now();
    let store = Sqlite::open(options)?;
    store.load().await?;
    writeln!(out, "| open and load | | {:.1} ms |", start.elapsed().as_secs_f64() * 1e3)?;
    let start = Instant::now();
    let verdict = store.verify(gateway::store::Progress::default()).await?;
    let seconds = start.elapsed().as_secs_f64();
    let finding = verdict.finding.map_or("whole".to_owned(), |finding| finding.to_string());
    writeln!(out, "| verify ({} entries: {finding}) | | {seconds:.2} s |", verdict.checked)?;
    store.shut_down().await;
    Ok(())
}

fn row(out: &mut impl Write, what: &str, (rows, took): (u32, Duration)) -> io::Result<()> {
    let seconds = took.as_secs_f64();
    let each = seconds / f64::from(rows);
    writeln!(out, "| {what} | {:.0} | {:.1} |", each.recip(), each * 1e6)
}

/// The least that keeps a record: one table, one statement, one transaction for each row.
fn floor(path: &Path, rows: u32, fsync: bool) -> Result<(u32, Duration), Fault> {
    let connection = rusqlite::Connection::open(path)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    let synchronous = if fsync { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS row (id BLOB, at INTEGER, model TEXT, status INTEGER, body BLOB)",
    )?;
    let body = text(0);
    let start = Instant::now();
    for _ in 0..rows {
        let id = CallId::generate().to_bytes();
        connection
            .prepare_cached("INSERT INTO row VALUES (?1, ?2, 'auto', 200, ?3)")?
            .execute(rusqlite::params![id, system_clock(), body])?;
    }
    Ok((rows, start.elapsed()))
}

/// Calls, numbered.
#[derive(Debug, Default)]
struct Calls {
    number: u32,
}

impl Calls {
    /// Records calls, so many at once: each is opened, and closed when that is written.
    async fn record(
        &mut self,
        store: &Sqlite,
        count: u32,
        in_flight: u32,
    ) -> Result<Duration, Fault> {
        let start = Instant::now();
        let (mut opens, mut closes) = (VecDeque::new(), VecDeque::<Written>::new());
        let end = self.number + count;
        loop {
            while self.number < end && opens.len() + closes.len() < in_flight as usize {
                let opened = opened(self.number);
                let id = opened.id;
                opens.push_back((id, self.number, store.open(Box::new(opened))));
                self.number += 1;
            }
            // Whichever was asked first is answered first.
            if closes.len() >= opens.len()
                && let Some(closed) = closes.pop_front()
            {
                closed.await?;
            } else if let Some((id, number, opened)) = opens.pop_front() {
                opened.await?;
                closes.push_back(store.close(Box::new(closed(id, number))));
            } else {
                return Ok(start.elapsed());
            }
        }
    }
}

/// Text that packs about as well as JSON with prose in it does.
fn text(number: u32) -> Vec<u8> {
    let mut state = u64::from(number) * 2 + 0x9e37_79b9_7f4a_7c15;
    let mut text = String::with_capacity(BODY + 16);
    text.push_str("{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"");
    while text.len() < BODY - 4 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = ["the ", "call ", "of ", "a ", "function ", "returns ", "nothing ", "until "];
        text.push_str(word.get((state >> 60) as usize % 8).unwrap_or(&""));
        if (state >> 32).is_multiple_of(8) {
            text.push_str(&(state >> 40).to_string());
        }
    }
    text.truncate(BODY - 4);
    text.push_str("\"}]}");
    text.into_bytes()
}

fn spending(key: KeyId, number: u32, tokens: u64) -> Spending {
    let tenant = if number.is_multiple_of(3) { "red" } else { "blue" };
    let tenant = tenant.parse().map(ScopeId::Tenant);
    Spending {
        scopes: [ScopeId::Key(key)].into_iter().chain(tenant).collect(),
        admitted: system_clock(),
        amounts: Amounts { requests: 1, tokens, cost: tokens * 10 },
    }
}

fn key(number: u32) -> KeyId {
    KeyId::from_entropy([u8::try_from(number % 20).unwrap_or(0); 12])
}

fn opened(number: u32) -> Opened {
    let key = key(number);
    Opened {
        id: CallId::generate(),
        received: system_clock(),
        key: Some(key),
        tenant: "blue".parse().ok(),
        sandbox: false,
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        agent: Some("OpenAI/Python 2.9.0".into()),
        dialect: Dialect::OpenAiChat,
        endpoint: Endpoint::Chat,
        model: if number.is_multiple_of(4) { "gpt-5-mini".into() } else { "auto".into() },
        stream: number.is_multiple_of(2),
        messages: 12,
        bytes_in: 1024,
        input_tokens: 256,
        reserved: spending(key, number, 4352),
        body: Some(text(number).into()),
    }
}

fn closed(id: CallId, number: u32) -> Closed {
    let now = system_clock();
    Closed {
        id,
        first_byte: Some(now),
        ended: now,
        model_served: Some("gpt-5".into()),
        upstream: Some("Visual Studio Code".into()),
        replay_of: None,
        status: if number.is_multiple_of(50) { 502 } else { 200 },
        stop_reason: Some("end_turn"),
        input_tokens: 256,
        output_tokens: 250,
        cached_tokens: 0,
        estimated: true,
        overrun: false,
        losses: "".into(),
        bytes_out: 1024,
        failure: None,
        message: None,
        body: Some(text(number ^ 0x5555).into()),
        spending: Some(spending(key(number), number, 506)),
    }
}

/// Waits until everything is searchable, and says how long that took and what it takes.
async fn catch_up(out: &mut impl Write, store: &Sqlite, root: &Path) -> Result<(), Fault> {
    let (start, lag) = (Instant::now(), store.state().text_lag);
    while store.state().text_lag > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = start.elapsed().as_secs_f64();
    writeln!(out, "| calls not searchable yet after all of that: {lag} | | {took:.2} s |")?;
    let size = |name| std::fs::metadata(root.join(name)).map_or(0, |found| found.len() >> 20);
    writeln!(out, "| index {} MiB, database {} MiB | | |", size("text.db"), size("audit.db"))?;
    Ok(())
}

async fn search(out: &mut impl Write, store: &Sqlite, calls: u32) -> Result<(), Fault> {
    let all = CallFilter::default();
    // The digits in a text stand in few others.
    let rare = |number: u32| {
        let text = String::from_utf8_lossy(&text(number)).into_owned();
        let words = text.split(|letter: char| !letter.is_alphanumeric());
        words
            .max_by_key(|word| (word.starts_with(|c: char| c.is_ascii_digit()), word.len()))
            .map(str::to_owned)
    };
    let key = Some(key(3));
    writeln!(out, "| searches among {calls} calls, 200 of each | | p50 / p99 |")?;
    for what in
        ["a rare word", "two common words", "a common word, of a key that failed", "no call"]
    {
        let mut times = Vec::new();
        for round in 0..200_u32 {
            let number = round.wrapping_mul(2_654_435_761) % calls.max(1);
            let filter = match what {
                "a rare word" => CallFilter { text: rare(number), ..all.clone() },
                "two common words" => {
                    CallFilter { text: Some("function returns".into()), ..all.clone() }
                }
                "no call" => CallFilter { text: Some("absent".into()), ..all.clone() },
                _ => CallFilter {
                    text: Some("function".into()),
                    status: Some(400..600),
                    key,
                    ..all.clone()
                },
            };
            let start = Instant::now();
            store.calls(filter, None, 50).await?;
            times.push(start.elapsed());
        }
        writeln!(out, "| 50 calls with {what} | | {} |", percentiles(&mut times))?;
    }
    Ok(())
}

/// What calls are looked up by, alone and together.
fn filters() -> [(&'static str, CallFilter); 13] {
    let all = CallFilter::default();
    let of = |number| CallFilter { key: Some(key(number)), ..all.clone() };
    let model = |name: &str| CallFilter { model: Some(name.into()), ..all.clone() };
    let (went_well, failed) = (Some(200..300), Some(400..600));
    let now = system_clock();
    let span = Some(now - 3_600_000..now);
    [
        ("newest", all.clone()),
        ("of a span", CallFilter { received: span.clone(), ..all.clone() }),
        ("of a key", of(3)),
        ("of a key, in a span", CallFilter { received: span.clone(), ..of(3) }),
        ("of a model", model("gpt-5-mini")),
        ("that failed", CallFilter { status: failed.clone(), ..all.clone() }),
        ("that went well", CallFilter { status: went_well.clone(), ..all.clone() }),
        ("that went well, of a key", CallFilter { status: went_well, ..of(3) }),
        ("of a key and a model", CallFilter { key: Some(key(4)), ..model("gpt-5-mini") }),
        // Each has many, and both have none.
        ("of a key and another's model", CallFilter { key: Some(key(3)), ..model("gpt-5-mini") }),
        (
            "that failed, of a tenant",
            CallFilter { status: failed.clone(), tenant: "blue".parse().ok(), ..all.clone() },
        ),
        (
            "that failed, of a key, in a span",
            CallFilter { status: failed.clone(), received: span, ..of(10) },
        ),
        (
            "that failed, of all of these",
            CallFilter {
                status: failed,
                tenant: "blue".parse().ok(),
                key: Some(key(0)),
                ..model("gpt-5-mini")
            },
        ),
    ]
}

async fn look_up(out: &mut impl Write, store: &Sqlite, calls: u32) -> Result<(), Fault> {
    writeln!(out, "| look-ups among {calls} calls, 200 of each | | p50 / p99 |")?;
    for (what, filter) in filters() {
        let (mut pages, mut rows) = (Vec::new(), Vec::new());
        let mut after = None;
        for _ in 0..200 {
            let start = Instant::now();
            let page = store.calls(filter.clone(), after, 50).await?;
            pages.push(start.elapsed());
            after = page.next;
            if let Some(call) = page.calls.last() {
                let start = Instant::now();
                store.call(call.id).await?.ok_or("a call is not found")?;
                rows.push(start.elapsed());
            }
        }
        writeln!(out, "| 50 calls, {what} | | {} |", percentiles(&mut pages))?;
        if !rows.is_empty() {
            writeln!(out, "| one of them | | {} |", percentiles(&mut rows))?;
        }
    }
    let start = Instant::now();
    let filter = UsageFilter { by: UsageBy::Key, received: 0..i64::MAX, key: None, tenant: None };
    store.usage(filter).await?;
    writeln!(out, "| usage by key | | {:.1} ms |", start.elapsed().as_secs_f64() * 1e3)?;
    let start = Instant::now();
    store.spent(0..i64::MAX).await?;
    writeln!(out, "| what all spent | | {:.2} ms |", start.elapsed().as_secs_f64() * 1e3)?;
    Ok(())
}

/// The median and the slowest of a hundred.
fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: usize| {
        let time = times.get((times.len() * part).div_ceil(100).saturating_sub(1));
        time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    format!("{:.2} / {:.2} ms", at(50), at(99))
}
