//! The queue before a host is fair between tenants, and loses no slot.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use model::{Failure, FailureKind};
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::TaskTracker;

use crate::{Lane, Place, Slot, Slots};

const SECOND: Duration = Duration::from_secs(1);

fn lane(name: &str, weight: u32) -> Lane {
    Lane { name: name.into(), weight }
}

fn far() -> Instant {
    Instant::now() + Duration::from_hours(100)
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Slot, Failure>> + 'a>>;

/// Stands in line with this place.
fn stand(slots: &Slots, place: Place) -> Waiting<'_> {
    let mut wait: Waiting<'_> = Box::pin(slots.wait(place, far()));
    assert!(poll(wait.as_mut()).is_pending(), "no slot is free");
    wait
}

/// Stands in line without regard to places.
fn line_up<'a>(slots: &'a Slots, lane: &Lane, priority: u8) -> Waiting<'a> {
    stand(slots, slots.enter_queue(lane, priority).expect("room"))
}

/// A host in virtual time.
#[derive(Clone)]
struct World {
    slots: Arc<Slots>,
    tasks: TaskTracker,
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
}

/// What became of the calls of one lane.
#[derive(Clone, Default)]
struct Seen {
    waits: Vec<Duration>,
    refused: usize,
    /// When their turns came, as far as they have ended.
    turns: Vec<Instant>,
    /// The time that they held slots.
    held: Duration,
}

impl World {
    fn new(concurrency: usize, max_waiting: usize) -> Self {
        let slots = Arc::new(Slots::new("host:a", concurrency, max_waiting));
        Self { slots, tasks: TaskTracker::new(), seen: Arc::default() }
    }

    /// One call, as a host session makes it.
    async fn call(&self, lane: &Lane, service: Duration) {
        let begun = Instant::now();
        let foretold = self.slots.room(lane, 0, false);
        let free = self.slots.take_free(lane);
        let turn = match free {
            Some(slot) => foretold.map(|()| slot),
            None => match self.slots.enter_queue(lane, 0).and_then(|it| foretold.map(|()| it)) {
                Ok(place) => self.slots.wait(place, far()).await,
                Err(failure) => Err(failure),
            },
        };
        let turned = Instant::now();
        if turn.is_ok() {
            sleep(service).await;
        }
        let mut seen = self.seen.lock().unwrap();
        let seen = seen.entry(lane.name.to_string()).or_default();
        match turn {
            Ok(_slot) => {
                seen.waits.push(turned - begun);
                seen.turns.push(turned);
                seen.held += service;
            }
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::Overloaded);
                seen.refused += 1;
            }
        }
    }

    /// Calls that begin at these times from now.
    fn arrive(&self, lane: &Lane, service: Duration, times: impl IntoIterator<Item = Duration>) {
        let begun = Instant::now();
        for time in times {
            let (world, lane) = (self.clone(), lane.clone());
            self.tasks.spawn(async move {
                sleep_until(begun + time).await;
                world.call(&lane, service).await;
            });
        }
    }

    /// A crowd of callers, each of which calls again as soon as it is answered, until the end.
    fn crowd(&self, lane: &Lane, callers: usize, service: Duration, end: Instant) {
        for _ in 0..callers {
            let (world, lane) = (self.clone(), lane.clone());
            self.tasks.spawn(async move {
                while Instant::now() < end {
                    world.call(&lane, service).await;
                }
            });
        }
    }

    async fn end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        assert_eq!((self.slots.in_flight(), self.slots.waiting()), (0, 0));
        assert!(remembers_nobody(&self.slots), "{:?}", self.slots);
    }

    fn seen(&self, name: &str) -> Seen {
        self.seen.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}

fn every(period: Duration, first: Duration, calls: u32) -> impl Iterator<Item = Duration> {
    (0..calls).map(move |number| first + period * number)
}

/// A noisy tenant at ten times the capacity, a quiet one at half its fair share.
#[tokio::test(start_paused = true)]
async fn a_noisy_tenant_does_not_push_a_quiet_one_aside() {
    for (concurrency, max_waiting) in [(1, 10), (2, 100), (4, 4), (8, 1000), (64, 100)] {
        let world = World::new(concurrency as usize, max_waiting);
        let (rounds, warm) = (60, SECOND * 5);
        let noisy = every(SECOND / (10 * concurrency), Duration::ZERO, rounds * 10 * concurrency);
        world.arrive(&lane("noisy", 1), SECOND, noisy);
        // Not in step with the slots that come back.
        let quiet = every(SECOND * 4 / concurrency, warm + SECOND / 7, 50 * concurrency / 4);
        world.arrive(&lane("quiet", 1), SECOND, quiet);
        world.end().await;
        let quiet = world.seen("quiet");
        assert_eq!(quiet.refused, 0, "with {concurrency} slots");
        assert_eq!(quiet.waits.len(), 50 * concurrency as usize / 4);
        let worst = quiet.waits.iter().max().expect("calls");
        assert!(*worst <= SECOND + Duration::from_millis(10), "{concurrency} slots: {worst:?}");
        let noisy = world.seen("noisy");
        assert!(noisy.refused > 0, "the noisy one does fill the queue");
        assert!(noisy.waits.len() >= 30 * concurrency as usize, "and no slot lies idle");
    }
}

/// As above, but the quiet calls come at random and all slots come back at the same moment.
#[tokio::test(start_paused = true)]
async fn a_quiet_tenant_may_come_at_random() {
    let (concurrency, calls) = (32_u32, 2000);
    let world = World::new(concurrency as usize, 200);
    let noisy = (0..300).flat_map(|second| vec![SECOND * second; 10 * concurrency as usize]);
    world.arrive(&lane("noisy", 1), SECOND, noisy);
    // A fixed row of numbers from a linear congruence, as gaps with an exponential distribution.
    let mut state = 7_u64;
    let mut time = SECOND * 5;
    let times: Vec<_> = (0..calls)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let unit = f64::from((state >> 33) as u32 + 1) / f64::from(1_u32 << 31);
            time += (SECOND * 4).mul_f64(-unit.ln() / f64::from(concurrency));
            time
        })
        .collect();
    world.arrive(&lane("quiet", 1), SECOND, times);
    world.end().await;
    let mut quiet = world.seen("quiet");
    assert_eq!(quiet.refused, 0);
    quiet.waits.sort();
    let p99 = quiet.waits[calls * 99 / 100];
    assert!(p99 <= SECOND + Duration::from_millis(10), "{p99:?}");
}

#[tokio::test(start_paused = true)]
async fn weights_share_the_slots() {
    for concurrency in [1, 2, 3, 4, 5, 8] {
        let world = World::new(concurrency, 1000);
        let end = Instant::now() + SECOND * 600;
        world.crowd(&lane("heavy", 2), 40, SECOND, end);
        world.crowd(&lane("light", 1), 40, SECOND, end);
        world.end().await;
        let (heavy, light) = (world.seen("heavy").waits.len(), world.seen("light").waits.len());
        assert!(
            (180..=220).contains(&(100 * heavy / light)),
            "{concurrency} slots: {heavy} to {light}"
        );
    }
}

/// A lane that never has more than one call out still yields to the heavier one.
#[tokio::test(start_paused = true)]
async fn a_lane_that_empties_does_not_forget_its_turns() {
    let world = World::new(1, 1000);
    let end = Instant::now() + SECOND * 600;
    world.crowd(&lane("heavy", 3), 10, SECOND, end);
    world.crowd(&lane("single", 1), 1, SECOND, end);
    world.end().await;
    let (heavy, single) = (world.seen("heavy").waits.len(), world.seen("single").waits.len());
    assert!((270..=330).contains(&(100 * heavy / single)), "{heavy} to {single}");
}

/// Long calls do not take the slots of short ones, whatever a third lane may claim.
#[tokio::test(start_paused = true)]
async fn slots_are_shared_and_not_just_turns() {
    for third in [None, Some(lane("third", 20))] {
        let world = World::new(4 + usize::from(third.is_some()), 1000);
        let end = Instant::now() + SECOND * 2000;
        let _claim = third.map(|third| world.slots.take_free(&third).expect("free"));
        world.crowd(&lane("long", 1), 20, SECOND * 20, end);
        world.crowd(&lane("short", 1), 20, SECOND, end);
        world.tasks.close();
        world.tasks.wait().await;
        let (long, short) = (world.seen("long").held, world.seen("short").held);
        let percent = 100 * long.as_secs() / short.as_secs();
        assert!((90..=115).contains(&percent), "{long:?} to {short:?}");
    }
}

/// A lane that was passed over, since its long calls held its share, makes no burst of it.
#[tokio::test(start_paused = true)]
async fn long_calls_earn_no_turns() {
    let world = World::new(3, 1000);
    let (changing, steady) = (lane("changing", 1), lane("steady", 1));
    world.crowd(&steady, 20, SECOND, Instant::now() + SECOND * 3000);
    world.arrive(&changing, SECOND * 100, [SECOND; 10]);
    world.arrive(&changing, SECOND, [SECOND * 2; 300]);
    world.end().await;
    let mut changed = world.seen("changing").turns;
    changed.sort();
    let window = changed[20]..changed[80];
    assert!(window.end - window.start < SECOND * 60, "these calls are short");
    let steady = world.seen("steady").turns.iter().filter(|turn| window.contains(turn)).count();
    assert!((54..=66).contains(&steady), "{steady} turns to 60");
}

#[tokio::test(start_paused = true)]
async fn many_lanes_take_turns() {
    let world = World::new(2, 1000);
    let end = Instant::now() + SECOND * 100;
    for number in 0..10 {
        world.crowd(&lane(&format!("tenant {number}"), 1), 1 + number, SECOND, end);
    }
    world.end().await;
    let served: Vec<_> =
        (0..10).map(|number| world.seen(&format!("tenant {number}")).waits.len()).collect();
    // What still waits at the end is served as well: one call of the first, ten of the last.
    assert!(served.iter().all(|calls| (19..=31).contains(calls)), "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn idleness_earns_nothing() {
    let slots = Slots::new("host:a", 1, 100);
    let (early, late) = (lane("early", 1), lane("late", 1));
    let mut held = slots.take_free(&early);
    let mut waits: Vec<_> = (0..20).map(|_| ("early", line_up(&slots, &early, 0))).collect();
    let mut order = Vec::new();
    for turn in 0..20 {
        if turn == 10 {
            waits.extend((0..10).map(|_| ("late", line_up(&slots, &late, 0))));
        }
        drop(held.take());
        let at = waits.iter_mut().position(|(_, wait)| match poll(wait.as_mut()) {
            Poll::Ready(slot) => {
                held = Some(slot.expect("a turn"));
                true
            }
            Poll::Pending => false,
        });
        order.push(waits.remove(at.expect("somebody's turn")).0);
    }
    assert_eq!(order[..10], ["early"; 10]);
    for pair in order[10..].chunks(2) {
        assert!(pair.contains(&"early") && pair.contains(&"late"), "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn priority_counts_within_a_lane_only() {
    let slots = Slots::new("host:a", 1, 100);
    let (one, two) = (lane("one", 1), lane("two", 1));
    let held = slots.take_free(&one).expect("free");
    let mut waits = [(&one, 0), (&one, 0), (&one, 9), (&two, 0), (&one, 9), (&two, 200), (&two, 0)]
        .map(|(lane, priority)| Some(line_up(&slots, lane, priority)));
    let mut held = Some(held);
    let mut order = Vec::new();
    while waits.iter().any(Option::is_some) {
        drop(held.take());
        for (number, wait) in waits.iter_mut().enumerate() {
            if let Some(waiting) = wait
                && let Poll::Ready(slot) = poll(waiting.as_mut())
            {
                held = Some(slot.expect("a turn"));
                *wait = None;
                order.push(number);
            }
        }
        assert!(held.is_some(), "a slot lies idle");
    }
    let of = |numbers: &[usize]| -> Vec<_> {
        order.iter().copied().filter(|number| numbers.contains(number)).collect()
    };
    assert_eq!(of(&[0, 1, 2, 4]), [2, 4, 0, 1]);
    assert_eq!(of(&[3, 5, 6]), [5, 3, 6]);
    let second = order[..4].iter().filter(|number| [3, 5, 6].contains(number)).count();
    assert_eq!(second, 2, "the lanes still alternate: {order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_has_room_for_those_below_their_share() {
    let slots = Slots::new("host:a", 1, 5);
    let (noisy, quiet) = (lane("noisy", 1), lane("quiet", 1));
    let held = slots.take_free(&noisy).expect("free");
    let mut crowd: Vec<_> = (0..5).map(|_| line_up(&slots, &noisy, 0)).collect();
    slots.enter_queue(&noisy, 0).expect_err("full");
    assert!(slots.room(&noisy, 0, false).is_err() && slots.room(&noisy, 1, false).is_ok());
    slots.room(&quiet, 0, false).expect("the place of another");

    let first = line_up(&slots, &quiet, 0);
    let Poll::Ready(Err(failure)) = poll(crowd[4].as_mut()) else { panic!("the newest goes") };
    assert_eq!(failure.kind, FailureKind::Overloaded);
    assert!(matches!(failure.retry, model::Retry::After(_)));
    let second = line_up(&slots, &quiet, 0);
    assert!(poll(crowd[3].as_mut()).is_ready());
    slots.enter_queue(&quiet, 0).expect_err("its share is taken");
    slots.enter_queue(&noisy, 0).expect_err("nor does it get its places back");
    assert_eq!(slots.waiting(), 5);
    assert!(crowd[..3].iter_mut().all(|wait| poll(wait.as_mut()).is_pending()));

    // Within a lane, the more urgent call takes the place of the least urgent.
    let urgent = line_up(&slots, &noisy, 1);
    assert!(poll(crowd[2].as_mut()).is_ready());
    drop((crowd, first, second, urgent, held));
    assert_eq!((slots.waiting(), slots.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_ask_yet_is_displaced_too() {
    let slots = Slots::new("host:a", 1, 2);
    let mut places = [(); 2].map(|()| slots.enter_queue(&lane("noisy", 1), 0).expect("room"));
    let [stays, goes] = &mut places;
    let (mut stays, mut goes) = (Box::pin(stays.displaced()), Box::pin(goes.displaced()));
    assert!(poll(stays.as_mut()).is_pending() && poll(goes.as_mut()).is_pending());
    let _quiet = slots.enter_queue(&lane("quiet", 1), 0).expect("room is made");
    assert!(poll(stays.as_mut()).is_pending());
    let Poll::Ready(failure) = poll(goes.as_mut()) else { panic!("still there") };
    assert_eq!(failure.kind, FailureKind::Overloaded);
    drop((stays, goes));
    drop(places);
    assert_eq!(slots.waiting(), 1);
}

/// Runs a wait as a task, once it has been polled elsewhere.
async fn woken(wait: impl Future<Output = bool> + Send + 'static, then: impl FnOnce()) {
    let tasks = TaskTracker::new();
    let mut wait = Box::pin(wait);
    assert!(poll(wait.as_mut()).is_pending());
    let task = tasks.spawn(wait);
    tokio::task::yield_now().await;
    let begun = Instant::now();
    then();
    assert!(task.await.expect("no panic"), "not what was waited for");
    assert_eq!(begun.elapsed(), Duration::ZERO, "only the deadline woke it");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_concerned_is_woken() {
    let (noisy, quiet) = (lane("noisy", 1), lane("quiet", 1));
    let slots = Arc::new(Slots::new("host:a", 1, 2));
    let wait = |lane: &Lane| {
        let (slots, place) = (Arc::clone(&slots), slots.enter_queue(lane, 0).expect("room"));
        async move { slots.wait(place, far()).await }
    };
    let held = slots.take_free(&noisy).expect("free");

    // The slot came back.
    let turn = wait(&noisy);
    woken(async move { turn.await.is_ok() }, || drop(held)).await;

    // The one before gave up when its turn had come.
    let held = slots.take_free(&noisy).expect("free");
    let mut first = Box::pin(wait(&noisy));
    assert!(poll(first.as_mut()).is_pending());
    let turn = wait(&noisy);
    let give_up = || {
        drop(held);
        drop(first);
    };
    woken(async move { turn.await.is_ok() }, give_up).await;

    // Another took the place of a call that asks.
    let held = slots.take_free(&noisy).expect("free");
    let stays = wait(&noisy);
    let turn = wait(&noisy);
    let enter = || drop(slots.enter_queue(&quiet, 0).expect("room is made"));
    woken(async move { turn.await.is_err() }, enter).await;

    // Or of one that does not ask yet.
    let mut place = slots.enter_queue(&noisy, 0).expect("room");
    let displaced = async move { place.displaced().await.kind == FailureKind::Overloaded };
    woken(displaced, || drop(slots.enter_queue(&quiet, 0).expect("room is made"))).await;
    drop((stays, held));
    assert_eq!((slots.in_flight(), slots.waiting()), (0, 0));
}

/// Nothing is kept of lanes that have no calls any more.
fn remembers_nobody(slots: &Slots) -> bool {
    format!("{slots:?}").contains("lanes: {}, weight: 0,")
}

/// What a caller may do; the first number is its lane.
#[derive(Clone, Debug)]
enum Move {
    TakeFree(usize),
    Queue(usize, u8),
    Ask(Index),
    Hear(Index),
    GiveBack(Index),
    GiveUp(Index),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        1 => (0_usize..4).prop_map(Move::TakeFree),
        4 => (0_usize..4, 0_u8..3).prop_map(|(lane, priority)| Move::Queue(lane, priority)),
        4 => any::<Index>().prop_map(Move::Ask),
        3 => any::<Index>().prop_map(Move::Hear),
        3 => any::<Index>().prop_map(Move::GiveBack),
        2 => any::<Index>().prop_map(Move::GiveUp),
    ]
}

proptest! {
    /// Whatever is dropped when, also between a grant and its hearing: no slot is lost, none is
    /// given twice, and none lies idle while somebody asks.
    #[test]
    fn no_slot_is_lost(
        concurrency in 1_usize..4, queue in 0_usize..8, weights in prop::array::uniform4(0_u32..4),
        moves in prop::collection::vec(moves(), 0..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        let _inside = runtime.enter();
        let slots = Slots::new("host:a", concurrency, queue);
        let lanes: Vec<_> = weights.iter().enumerate()
            .map(|(number, weight)| lane(&number.to_string(), *weight)).collect();
        let mut held: Vec<Slot> = Vec::new();
        let mut early: Vec<Place> = Vec::new();
        let mut asking: Vec<Waiting<'_>> = Vec::new();
        for step in moves {
            match step {
                Move::TakeFree(lane) => held.extend(slots.take_free(&lanes[lane])),
                Move::Queue(lane, priority) => {
                    let before = slots.waiting();
                    let entered = slots.enter_queue(&lanes[lane], priority);
                    prop_assert!(entered.is_ok() || before == queue, "refused, though there is room");
                    early.extend(entered);
                }
                Move::Ask(which) if !early.is_empty() => {
                    let place = early.swap_remove(which.index(early.len()));
                    let mut wait: Waiting<'_> = Box::pin(slots.wait(place, far()));
                    match poll(wait.as_mut()) {
                        Poll::Ready(turn) => held.extend(turn.ok()),
                        Poll::Pending => asking.push(wait),
                    }
                }
                Move::Hear(which) if !asking.is_empty() => {
                    let which = which.index(asking.len());
                    if let Poll::Ready(turn) = poll(asking[which].as_mut()) {
                        drop(asking.swap_remove(which));
                        held.extend(turn.ok());
                    }
                }
                Move::GiveBack(which) if !held.is_empty() => {
                    held.swap_remove(which.index(held.len()));
                }
                Move::GiveUp(which) if !asking.is_empty() => {
                    drop(asking.swap_remove(which.index(asking.len())));
                }
                Move::GiveUp(which) if !early.is_empty() => {
                    drop(early.swap_remove(which.index(early.len())));
                }
                Move::Ask(_) | Move::Hear(_) | Move::GiveBack(_) | Move::GiveUp(_) => {}
            }
            prop_assert!(slots.in_flight() <= concurrency);
            prop_assert!(slots.waiting() <= queue);
            let unheard = slots.in_flight() - held.len();
            prop_assert!(unheard <= asking.len());
            prop_assert!(slots.waiting() <= early.len() + asking.len() - unheard);
        }
        // All that wait get their turn, one after the other.
        held.clear();
        while !asking.is_empty() {
            let before = asking.len();
            let mut still = Vec::new();
            for mut wait in asking {
                match poll(wait.as_mut()) {
                    Poll::Ready(turn) => drop(turn),
                    Poll::Pending => still.push(wait),
                }
            }
            asking = still;
            prop_assert!(asking.len() < before, "nobody's turn comes");
        }
        drop(early);
        prop_assert_eq!((slots.in_flight(), slots.waiting()), (0, 0));
        prop_assert!(remembers_nobody(&slots), "{:?}", slots);
        let all: Vec<_> = (0..concurrency).map(|_| slots.take_free(&lanes[0])).collect();
        prop_assert!(all.iter().all(Option::is_some) && slots.take_free(&lanes[0]).is_none());
    }

    /// A call that keeps its lane within its share of the places is never refused.
    #[test]
    fn a_share_of_the_queue_is_kept(
        queue in 1_usize..20, weights in prop::array::uniform4(1_u32..5),
        calls in prop::collection::vec(0_usize..4, 0..80),
    ) {
        let slots = Slots::new("host:a", 1, queue);
        let lanes: Vec<_> = weights.iter().enumerate()
            .map(|(number, weight)| lane(&number.to_string(), *weight)).collect();
        let mut places: Vec<(usize, Place)> = Vec::new();
        for call in calls {
            let count = |lane| places.iter().filter(|(of, _)| *of == lane).count();
            let total: u32 = (0..4)
                .filter(|lane| *lane == call || count(*lane) > 0)
                .map(|lane| weights[lane]).sum();
            let within = (count(call) + 1) * total as usize <= queue * weights[call] as usize;
            match slots.enter_queue(&lanes[call], 0) {
                Ok(place) => {
                    let mut still = Vec::new();
                    for (of, mut place) in places {
                        let out = poll(Box::pin(place.displaced()).as_mut()).is_ready();
                        prop_assert!(!out || of != call, "displaced by its own lane");
                        if !out {
                            still.push((of, place));
                        }
                    }
                    places = still;
                    places.push((call, place));
                }
                Err(_) => prop_assert!(!within, "refused within its share"),
            }
            prop_assert_eq!(slots.waiting(), places.len());
        }
    }
}

/// Threads that take, wait, give up and give back at the same time leave everything in place.
#[test]
fn threads_lose_no_slot() {
    let slots = Slots::new("host:a", 2, 6);
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (slots, start) = (&slots, &start);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .expect("a runtime");
                let lane = lane(&(thread % 3).to_string(), 1 + thread);
                start.wait();
                runtime.block_on(async {
                    for round in 0..2000_u32 {
                        let Ok(place) = slots.enter_queue(&lane, 0) else { continue };
                        let mut wait = Box::pin(slots.wait(place, far()));
                        // Every third gives up at once, or just when its turn has come.
                        let turn = if round % 3 == 0 { None } else { Some(wait.as_mut().await) };
                        let _ = turn.is_none() && poll(wait.as_mut()).is_pending();
                        tokio::task::yield_now().await;
                    }
                });
            });
        }
    });
    assert_eq!((slots.in_flight(), slots.waiting()), (0, 0));
    let all = [slots.take_free(&Lane::default()), slots.take_free(&Lane::default())];
    assert!(all.iter().all(Option::is_some));
}
