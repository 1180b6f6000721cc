//! `kill -9` at random points, under load: nothing that anybody was told is forgotten, and nothing
//! that was reserved stays so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use gateway::admin::{BoundsFields, KeyFields, NewKey};
use gateway::amounts::{Budget, Span, Unit};
use gateway::keys::Endpoint;
use gateway::store::Actor;
use serde_json::Value;

use crate::support::endpoints::{CALLING, ask_with_key};
use crate::support::heard::{Heard, hear};
use crate::support::keyring::bounded;
use crate::support::{Books, FakeHost, Key, PATIENCE, Record, Request, Rig, Sampling, Target};

/// Callers at once.
const CALLERS: u32 = 6;
/// Most answers and questions of a life before it is cut off.
const LIFE: u32 = 160;
/// From the start of a process to the first answer that it gives a caller: usually no more than
/// this. One of many starts may take longer, since the machine has other things to do as well.
const USUAL_START: Duration = Duration::from_secs(1);
/// No start may take longer than this.
const LONGEST_START: Duration = Duration::from_secs(5);
/// Far above what all lives together can spend.
const ENOUGH: u64 = 1 << 40;
/// When nothing happens for so long, everybody waits for an answer that is held back.
const STILL: Duration = Duration::from_secs(1);
/// Lives between two checks of everything.
const CHECKED: u32 = 6;
/// What the hosts' answers begin with.
const RE: &str = "an answer to: ";

/// Everything that anybody was told, in all lives.
#[derive(Debug, Default)]
struct Told {
    heard: Mutex<Vec<(Endpoint, String, Heard)>>,
    /// What the host was asked.
    asked: Mutex<Vec<String>>,
    calls: AtomicU32,
}

/// Numbers without an order.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % bound
    }
}

fn rounds() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of the bridge")]
    let wanted = std::env::var("MCPTB_CRASH_ROUNDS");
    wanted.map_or(12, |rounds| rounds.parse().expect("a number"))
}

/// Answers at once, late, with an error, or never, as the question says.
fn respond(host: &FakeHost, told: &Arc<Told>, happens: Sender<()>) {
    let (told, held) = (Arc::clone(told), Mutex::new(VecDeque::<Sampling>::new()));
    host.respond(move |sampling| {
        let asked = sampling.asked();
        if asked.contains("call-") {
            told.asked.lock().unwrap().push(asked.clone());
        }
        let _ = happens.send(());
        let answer = |sampling: &Sampling| {
            sampling.answer(&format!("{RE}{} {}", sampling.asked(), "and so on ".repeat(40)));
        };
        let mut held = held.lock().unwrap();
        if asked.ends_with("never") {
            held.push_front(sampling.clone());
        } else if asked.ends_with("late") {
            held.push_back(sampling.clone());
            if held.len() > 2 {
                answer(&held.pop_back().unwrap());
            }
        } else if asked.ends_with("fail") {
            sampling.fail("boom");
        } else {
            answer(sampling);
        }
    });
}

/// Callers who come again and again until `over`.
fn callers(
    target: &Target,
    keys: &[Key],
    told: &Arc<Told>,
    over: &Arc<AtomicBool>,
    happens: &Sender<()>,
    dice: &mut Dice,
) -> Vec<JoinHandle<()>> {
    let call = |mut dice: Dice| {
        let (target, keys, told) = (target.clone(), keys.to_vec(), Arc::clone(told));
        let (over, happens) = (Arc::clone(over), happens.clone());
        move || {
            while !over.load(Ordering::Relaxed) {
                let number = told.calls.fetch_add(1, Ordering::Relaxed);
                let how = ["now", "now", "now", "late", "late", "fail", "never", "leave"];
                // Whoever is never answered waits for the end.
                let most = if dice.below(20) == 0 { 8 } else { 6 };
                let how = how[dice.below(most) as usize];
                let endpoint = CALLING[dice.below(4) as usize];
                let streamed = dice.below(2) == 0;
                let key = &keys[dice.below(u32::try_from(keys.len()).unwrap()) as usize].token;
                let asked = format!("call-{number} {how}");
                let request = ask_with_key(endpoint, &asked, streamed, key);
                if how == "leave" {
                    drop(target.try_send(&request));
                } else if let Some(heard) = hear(&target, endpoint, streamed, &request) {
                    told.heard.lock().unwrap().push((endpoint, asked, heard));
                    let _ = happens.send(());
                }
            }
        }
    };
    (0..CALLERS).map(|_| thread::spawn(call(Dice(u64::from(dice.below(u32::MAX)))))).collect()
}

/// Starts a bridge in place of one that is gone, and says how long it took to answer callers.
/// Nothing may be held then: nobody has called yet.
fn start(
    books: &Books,
    config: &str,
    told: &Arc<Told>,
    keys: &[Key],
) -> (Rig, Receiver<()>, Sender<()>, Duration) {
    let launch = books.launch().arg("--config", config).arg("--concurrency", "512");
    let began = Instant::now();
    let (process, host) = launch.spawn();
    let (happens, happened) = channel();
    respond(&host, told, happens.clone());
    host.shake_hands();
    let rig = Rig::listening(process, host);
    let usage = |key: &Key| Request::get("/v1/usage").header("x-api-key", &key.token);
    loop {
        let status = rig.fetch(&usage(&keys[0])).status;
        if status == 200 {
            break;
        }
        assert_eq!(status, 503, "it is not known yet who has a key");
        assert!(began.elapsed() < PATIENCE, "{:#?}", rig.process.stderr.so_far());
    }
    let took = began.elapsed();
    assert!(took < LONGEST_START, "{took:?}: {:#?}", rig.process.stderr.so_far());
    for key in keys {
        assert_nothing_held(&rig.fetch(&usage(key)).json());
    }
    rig.host.wait_state("ready");
    (rig, happened, happens, took)
}

/// A key's own scope, which tells all of itself.
fn assert_nothing_held(usage: &Value) {
    let own = &usage["scopes"][0];
    let (limit, left) = (&own["concurrency"]["limit"], &own["concurrency"]["left"]);
    assert!(limit.is_u64() && limit == left, "a place is held: {usage}");
    let budgets = own["budgets"].as_array().unwrap();
    assert!(!budgets.is_empty(), "{usage}");
    for budget in budgets {
        assert!(budget["held"] == 0 || budget["held"] == "0.00", "a reservation is held: {usage}");
    }
}

/// Bounds that stop nobody, so that what is held of them is told.
fn wide() -> BoundsFields {
    let budget = |unit| Budget { unit, span: Span::Total, limit: ENOUGH };
    BoundsFields {
        concurrency: Some(Some(512)),
        budgets: Some([Unit::Requests, Unit::Tokens, Unit::Cost].map(budget).into()),
        ..BoundsFields::default()
    }
}

/// The text of a reply on record.
fn text_of(reply: Option<&[u8]>) -> String {
    let reply: Value = serde_json::from_slice(reply.expect("a reply")).unwrap();
    reply["content"][0]["text"].as_str().unwrap().to_owned()
}

/// Checks all that was told against the record.
fn check(record: &Record, told: &Told) {
    let mut asked = BTreeMap::new();
    for call in &record.calls {
        let row = &call.row;
        assert!(row.ended.is_some() && row.status.is_some(), "a row stays open: {row:?}");
        let spent = row.spent.unwrap_or_else(|| panic!("a call is owed: {row:?}"));
        if row.failure.as_deref() == Some("interrupted") {
            assert_eq!((row.status, spent), (Some(0), row.reserved), "as reserved: {row:?}");
        }
        let request = String::from_utf8(call.request.clone().expect("a request").into()).unwrap();
        let (_, what) = request.split_once("call-").unwrap_or_else(|| panic!("{request}"));
        let what = format!("call-{}", what.split('"').next().unwrap());
        assert!(asked.insert(what.clone(), row.id).is_none(), "{what} is there twice");
    }
    for asked_host in &*told.asked.lock().unwrap() {
        assert!(asked.contains_key(asked_host), "the host was asked {asked_host}, off the record");
    }
    let by_id: BTreeMap<_, _> =
        record.calls.iter().map(|call| (call.row.id.to_string(), call)).collect();
    for (endpoint, what, heard) in &*told.heard.lock().unwrap() {
        // A head alone says nothing yet.
        if !heard.whole && heard.text.is_empty() {
            continue;
        }
        let call = by_id.get(&heard.id).unwrap_or_else(|| panic!("{what} is gone: {heard:?}"));
        assert_eq!(call.row.status, Some(heard.status), "{what}: {:?}", call.row);
        assert_eq!((call.row.endpoint.as_str(), asked[what]), (endpoint.as_str(), call.row.id));
        if heard.status != 200 {
            assert!(heard.status == 502 && what.ends_with("fail"), "{what}: {heard:?}");
            continue;
        }
        let text = text_of(call.reply.as_deref());
        assert!(text.starts_with(&format!("{RE}{what} ")), "{what}: {text}");
        if heard.whole {
            assert_eq!(text, heard.text, "{what}");
        } else {
            assert!(text.starts_with(&heard.text), "{what}: {heard:?}");
        }
    }
}

#[test]
fn what_anybody_was_told_survives_a_kill() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    eprintln!("seed {seed}");
    let mut dice = Dice(u64::from(seed));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("mcptb.toml");
    std::fs::write(&config, "[prices.\"*\"]\ninput = \"1.25\"\noutput = \"10\"\n").unwrap();
    let config = config.to_str().unwrap();
    let books = Books::new();
    let of_team = || NewKey { tenant: Some("team".parse().unwrap()), ..bounded(wide()) };
    let [parent, other] = books.keys([of_team(), of_team()]);
    let [child] = books.keys([NewKey { parent: Some(parent.id), ..bounded(wide()) }]);
    let keys = [parent.clone(), other, child];
    let told = Arc::new(Told::default());
    let mut starts = Vec::new();

    for round in 1..=rounds() {
        if dice.below(6) == 0 {
            // Also while it starts, whatever it was about to recover.
            let (mut process, host) = books.launch().spawn();
            let answer = host.begin(
                "initialize",
                &serde_json::json!({
                "protocolVersion": "2025-11-25", "capabilities": {"sampling": {}},
                "clientInfo": {"name": "mcp", "version": "1"}}),
            );
            answer.1.recv_timeout(PATIENCE).expect("an answer");
            (0..dice.below(20_000)).for_each(|_| thread::yield_now());
            process.signal("KILL");
            process.wait();
        }
        let (mut rig, happened, happens, took) = start(&books, config, &told, &keys);
        starts.push(took);
        let over = Arc::new(AtomicBool::new(false));
        let callers = callers(&rig.target, &keys, &told, &over, &happens, &mut dice);
        for _ in 0..dice.below(LIFE) {
            // Where everybody waits is a point as good as any.
            if happened.recv_timeout(STILL).is_err() {
                break;
            }
        }
        (0..dice.below(2_000)).for_each(|_| thread::yield_now());
        rig.process.signal("KILL");
        over.store(true, Ordering::Relaxed);
        assert!(!rig.process.wait().success(), "round {round}: it was killed");
        for caller in callers {
            caller.join().unwrap();
        }
        if round % CHECKED == 0 || round == rounds() {
            // A bridge recovers, and ends as it should.
            let (rig, ..) = start(&books, config, &told, &keys);
            rig.end();
            check(&books.record(), &told);
        }
    }

    let record = books.record();
    let interrupted = record.rows().filter(|row| row.status == Some(0)).count();
    let answered = record.rows().filter(|row| row.status == Some(200)).count();
    assert!(interrupted > 0 && answered > 0, "{interrupted} interrupted, {answered} answered");
    let all: BTreeSet<_> = record.spent.keys().cloned().collect();
    assert_eq!(all.len(), 4, "three keys and their tenant: {all:?}");
    nothing_is_held(&books, config, &told, &keys, record.spent_by(&parent).requests);
    starts.sort();
    let (usual, longest) = (starts[starts.len() / 2], starts.last().unwrap());
    eprintln!(
        "{} lives, {} calls on record, {answered} answered, {interrupted} interrupted; callers \
         were answered after {:?} in the middle and {:?} at most",
        starts.len(),
        record.calls.len(),
        usual,
        longest,
    );
    assert!(usual <= USUAL_START, "half of all starts take longer than {usual:?}");
}

/// All of a budget that is not spent can be used.
fn nothing_is_held(books: &Books, config: &str, told: &Arc<Told>, keys: &[Key], spent: u64) {
    const MORE: u64 = 5;
    let key = &keys[0];
    let budget = Budget { unit: Unit::Requests, span: Span::Total, limit: spent + MORE };
    let bounds = BoundsFields { budgets: Some(vec![budget]), ..BoundsFields::default() };
    let fields = KeyFields { bounds, ..KeyFields::default() };
    books.administer(async |admin| {
        admin.key_edit(key.id, fields, Actor::Machine).await.unwrap();
    });
    let (rig, ..) = start(books, config, told, keys);
    let usage = rig.fetch(&Request::get("/v1/usage").header("x-api-key", &key.token)).json();
    for scope in usage["scopes"].as_array().unwrap() {
        for budget in scope["budgets"].as_array().unwrap() {
            assert_eq!((&budget["held"], &budget["left"]), (&0.into(), &MORE.into()), "{usage}");
        }
    }
    let ask = |number| {
        let asked = format!("call-last-{number} now");
        rig.fetch(&ask_with_key(Endpoint::Messages, &asked, false, &key.token)).status
    };
    assert_eq!((0..=MORE).map(ask).collect::<Vec<_>>(), [200, 200, 200, 200, 200, 429]);
}
