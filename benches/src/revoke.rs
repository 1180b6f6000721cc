//! Revocation: how soon nobody comes in with a key any more, and how soon its running streams end.
//!
//! Half of the streams are of a key and half of its child; all of them wait for a host that does not
//! answer. The key is revoked over the control socket, as `mcptb keys revoke` does it. Meanwhile
//! both keys knock without pause, each on a connection of its own, with a request that cannot be
//! read: it costs the bridge no more than the look at the key.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use memchr::memmem;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::arguments::Arguments;
use crate::call::Request;
use crate::error::Outcome;
use crate::figures::{figure, median, nanoseconds, percentile};
use crate::host::Pace;
use crate::load::{self, Connection, PATIENCE};
use crate::report::{Report, Table, milliseconds, verdict};
use crate::response::Response;
use crate::target::{Kind, Setting, Target};

/// Streams that run at once.
const STREAMS: [usize; 3] = [2, 64, 512];
/// A new call is refused within this time, in nanoseconds.
const REFUSED: f64 = 10e6;
/// A running stream has ended within this time, in nanoseconds.
const ENDED: f64 = 250e6;

/// What one revocation took, in nanoseconds.
#[derive(Debug, Default)]
struct Revoked {
    /// Until the administrator heard that it is done.
    done: u64,
    /// Until the last call of the key or its child came that was still let in.
    let_in: u64,
    /// Until both had been told that they are refused.
    refused: u64,
    /// Until each stream had ended, sorted.
    ended: Vec<u64>,
    /// Streams that ended otherwise than with the error of their dialect.
    bad: u64,
}

/// A key as the control socket gives it.
struct Made {
    id: String,
    token: String,
}

/// Measures with few and with many streams.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    if arguments.floors_only {
        return Ok(());
    }
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for streams in STREAMS {
        report.progress(&format!("revoking a key with {streams} running streams"));
        // The host answers no cancellation, so the places of a round are not free in the next one.
        let places = streams * usize::try_from(arguments.rounds())? + 8;
        let setting = Setting { pace: Pace::Never, ..Setting::at_once(places) };
        let target = Target::start(Kind::Full, arguments, setting)?;
        let runtime = load::runtime()?;
        let mut rounds = Vec::new();
        for _ in 0..arguments.rounds() {
            rounds.push(runtime.block_on(revoke(&target, streams))?);
        }
        report.count_bad(rounds.iter().map(|round| round.bad).sum());
        let worst = |of: &dyn Fn(&Revoked) -> u64| figure(rounds.iter().map(of).max().unwrap_or(0));
        let last = |round: &Revoked| round.ended.last().copied().unwrap_or(0);
        let middle = |round: &Revoked| figure(percentile(&round.ended, 0.5));
        let shown = [
            median(rounds.iter().map(|round| figure(round.done))),
            worst(&|round| round.let_in),
            median(rounds.iter().map(|round| figure(round.refused))),
            worst(&|round| round.refused),
            median(rounds.iter().map(middle)),
            median(rounds.iter().map(|round| figure(last(round)))),
            worst(&last),
        ];
        let mut row = vec![streams.to_string(), target.kind.name().to_owned()];
        row.extend(shown.map(milliseconds));
        let [_, _, refused, _, _, last, _] = shown;
        row.push(verdict(refused <= REFUSED && last <= ENDED));
        rows.push(row);
        let [done, let_in, refused, refused_worst, ended, ended_last, ended_worst] =
            shown.map(|time| time / 1e6);
        figures.push(json!({
            "streams": streams, "target": target.kind.name(), "done_ms": done,
            "let_in_worst_ms": let_in, "refused_ms": refused, "refused_worst_ms": refused_worst,
            "ended_p50_ms": ended, "ended_last_ms": ended_last, "ended_worst_ms": ended_worst,
        }));
    }
    let table = Table {
        title: "Revocation: from the request of the administrator",
        columns: vec![
            "streams",
            "target",
            "answered ms",
            "last let in, worst",
            "refused ms",
            "worst",
            "ended p50 ms",
            "all ended ms",
            "worst",
            "bar",
        ],
        rows,
        bar: "a new call is refused ≤ 10 ms, every stream has ended ≤ 250 ms, children too",
    };
    report.add("revoke", table, Value::Array(figures));
    Ok(())
}

/// One key with a child and running streams of both, and its end.
async fn revoke(target: &Target, streams: usize) -> Outcome<Revoked> {
    let control = target.control().ok_or("there is no control socket")?;
    let parent = make(&control, &json!({"name": "bench", "can_mint": true})).await?;
    let child = make(&control, &json!({"name": "child", "parent": parent.id})).await?;
    let host = target.host()?;
    let asked = host.seen.samplings() + u64::try_from(streams)?;
    let mut running = Vec::with_capacity(streams);
    for number in 0..streams {
        let token = if number % 2 == 0 { &parent.token } else { &child.token };
        let mut connection = Connection::open(target.port).await?;
        connection.send(Request::new(target.port, true, Some(token)).bytes()).await?;
        running.push(connection);
    }
    let mut begun = Vec::with_capacity(streams);
    for mut connection in running {
        let status = timeout(PATIENCE, connection.begin()).await??;
        if status != 200 {
            return Err(format!("a stream began with {status}{}", target.last_words()).into());
        }
        begun.push(connection);
    }
    if host.seen.samplings() < asked {
        return Err("not every stream has reached the host".into());
    }
    let tasks = TaskTracker::new();
    let ends: Vec<JoinHandle<io::Result<(Instant, bool)>>> =
        begun.into_iter().map(|connection| tasks.spawn(listen(connection))).collect();
    // On threads of their own: whoever reads all the ends has no time to look up.
    let mut knocks = Vec::new();
    for token in [&parent.token, &child.token] {
        let (port, token) = (target.port, token.clone());
        let knocking = move || load::runtime().ok()?.block_on(knock(port, token)).ok();
        knocks.push(std::thread::Builder::new().name("knocks".to_owned()).spawn(knocking)?);
    }
    // Both have been let in when they knock for the second time.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    let path = format!("/admin/v1/keys/{}/revoke", parent.id);
    let (status, _) = administer(&control, &path, &json!({})).await?;
    let mut revoked = Revoked { done: nanoseconds(start.elapsed()), ..Revoked::default() };
    if status != 200 {
        return Err(format!("the key was not revoked: {status}").into());
    }
    for end in ends {
        let (at, right) = timeout(PATIENCE, end).await???;
        revoked.ended.push(nanoseconds(at.saturating_duration_since(start)));
        revoked.bad += u64::from(!right);
    }
    for knock in knocks {
        let knocked = knock.join().ok().flatten().ok_or("a knock was not answered")?;
        let after = |at: Instant| nanoseconds(at.saturating_duration_since(start));
        revoked.let_in = revoked.let_in.max(after(knocked.let_in));
        revoked.refused = revoked.refused.max(after(knocked.refused));
    }
    revoked.ended.sort_unstable();
    Ok(revoked)
}

/// Reads a stream to its end: when that was, and whether it was an error and no answer.
async fn listen(mut connection: Connection) -> io::Result<(Instant, bool)> {
    let response = connection.finish().await?;
    let at = Instant::now();
    let holds = |text: &str| memmem::find(&response.body, text.as_bytes()).is_some();
    Ok((at, holds("\"error\"") && holds("revoked") && !holds("[DONE]")))
}

/// What a caller saw who came again and again.
struct Knocked {
    /// When the last request was sent that was let in.
    let_in: Instant,
    /// When it was told that it is refused.
    refused: Instant,
}

/// Comes again and again until it is refused.
async fn knock(port: u16, token: String) -> Outcome<Knocked> {
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer \
         {token}\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{{"
    );
    let mut connection = Connection::open(port).await?;
    let mut let_in = Instant::now();
    loop {
        let sent = Instant::now();
        connection.send(request.as_bytes()).await?;
        let (response, _) = timeout(PATIENCE, connection.receive(None)).await??;
        match response.status {
            400 => let_in = sent,
            401 => return Ok(Knocked { let_in, refused: Instant::now() }),
            status => return Err(format!("a knock was answered with {status}").into()),
        }
    }
}

async fn make(control: &Path, wanted: &Value) -> Outcome<Made> {
    let (status, made) = administer(control, "/admin/v1/keys", wanted).await?;
    let text = |at: &str| made.pointer(at).and_then(Value::as_str).map(str::to_owned);
    match (text("/key/id"), text("/token")) {
        (Some(id), Some(token)) if status == 201 => Ok(Made { id, token }),
        _ => Err(format!("no key was made: {status} {made}").into()),
    }
}

/// Asks the control socket for something.
async fn administer(control: &Path, path: &str, body: &Value) -> Outcome<(u16, Value)> {
    let body = body.to_string();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: \
         application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut socket = timeout(PATIENCE, UnixStream::connect(control)).await??;
    socket.write_all(request.as_bytes()).await?;
    let (mut response, mut piece) = (Response::default(), vec![0; 4096]);
    loop {
        let read = timeout(PATIENCE, socket.read(&mut piece)).await??;
        let bytes = piece.get(..read).unwrap_or_default();
        let complete = if read == 0 { Ok(response.end()) } else { response.feed(bytes) };
        match complete {
            Ok(true) => return Ok((response.status, serde_json::from_slice(&response.body)?)),
            Ok(false) if read > 0 => {}
            _ => return Err("the control socket broke off".into()),
        }
    }
}
