//! Whose turn it is: a bounded queue that is fair between lanes.
//!
//! Every tenant has a lane. A free slot goes, of the lanes that ask and hold less than their share
//! of the slots, to the one with the earliest virtual time, which a turn moves by one over the
//! weight. Virtual time alone would give a tenant with long calls nearly all slots, and shares
//! alone know no fractions: with one slot the lighter of two lanes would wait for ever.
//!
//! Pure: it reads no clock and wakes nobody, but says whom to wake once the lock is open.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use super::Lane;

/// What one turn costs a lane of weight 1: far above [`Lane::MAX_WEIGHT`], and small enough that
/// virtual time lasts for years.
const TURN: u64 = 1 << 24;

/// Where a call stands in its lane: by priority, then by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    priority: Reverse<u8>,
    number: u64,
}

/// What has become of a call in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A slot is its own.
    Granted,
    /// Its place went to a tenant that had less than its share of the queue.
    Displaced,
}

/// The state of one lane. It lives while it has calls, or turns that are not yet made up for.
#[derive(Debug, Default)]
struct LaneState {
    weight: u64,
    in_flight: u64,
    /// Calls that hold a place, but do not ask for a slot yet.
    early: BTreeMap<Ticket, Option<Waker>>,
    asking: BTreeMap<Ticket, Waker>,
    /// The virtual time of its next turn.
    due: u64,
    /// Its key in [`Queue::ready`].
    ready: Option<(u64, u64)>,
    /// Whether it stands in [`Queue::resting`].
    rests: bool,
}

impl LaneState {
    fn places(&self) -> u64 {
        (self.early.len() + self.asking.len()) as u64
    }

    fn competes(&self) -> bool {
        self.in_flight > 0 || !self.asking.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.early.is_empty() && self.asking.is_empty()
    }

    /// Who would be served last.
    fn last(&self) -> Option<Ticket> {
        let early = self.early.last_key_value().map(|(ticket, _)| *ticket);
        let asking = self.asking.last_key_value().map(|(ticket, _)| *ticket);
        early.max(asking)
    }
}

/// The slots that are taken, the calls that wait, and whose turn is next.
///
/// Invariant: where a call asks, every slot is taken.
#[derive(Debug)]
pub(super) struct Queue {
    concurrency: usize,
    max_waiting: usize,
    in_flight: usize,
    waiting: usize,
    lanes: HashMap<Arc<str>, LaneState>,
    /// The weight of all lanes that hold slots or ask for one.
    weight: u64,
    /// The lanes that ask, by virtual time, then by since when.
    ready: BTreeMap<(u64, u64), Arc<str>>,
    /// Verdicts that their calls have not heard yet.
    verdicts: BTreeMap<u64, Verdict>,
    /// Lanes without calls that had a turn ahead of virtual time.
    resting: VecDeque<Arc<str>>,
    /// The virtual time: that of the latest turn.
    now: u64,
    /// The furthest that any lane is ahead.
    latest: u64,
    next_number: u64,
}

impl Queue {
    pub(super) fn new(concurrency: usize, max_waiting: usize) -> Self {
        Self {
            concurrency,
            max_waiting,
            in_flight: 0,
            waiting: 0,
            lanes: HashMap::new(),
            weight: 0,
            ready: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            resting: VecDeque::new(),
            now: 0,
            latest: 0,
            next_number: 0,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes a slot where one is free; then nobody asks. Such a turn is at nobody's cost, so it
    /// moves no virtual time.
    pub(super) fn take_free(&mut self, lane: &Lane) -> bool {
        if self.in_flight >= self.concurrency {
            return false;
        }
        self.in_flight += 1;
        self.change(&lane.name, |state| {
            state.weight = weight_of(lane);
            state.in_flight += 1;
        });
        true
    }

    /// Gives a slot back; whoever gets it is to be woken.
    pub(super) fn give_back(&mut self, name: &Arc<str>) -> Option<Waker> {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.change(name, |state| state.in_flight = state.in_flight.saturating_sub(1));
        self.grant()
    }

    /// Whether a call would get a place, or a slot if it need not wait for something else.
    pub(super) fn has_room(&self, lane: &Lane, priority: u8, waits: bool) -> bool {
        let ticket = Ticket { priority: Reverse(priority), number: self.next_number };
        (self.in_flight < self.concurrency && !waits)
            || self.waiting < self.max_waiting
            || self.whom_to_displace(lane, ticket).is_some()
    }

    /// Enters the queue, or says that there is no room. Where room was made, whoever lost it is to
    /// be woken.
    pub(super) fn enter(&mut self, lane: &Lane, priority: u8) -> Option<(Ticket, Option<Waker>)> {
        let ticket = Ticket { priority: Reverse(priority), number: self.next_number };
        let mut displaced = None;
        if self.waiting >= self.max_waiting {
            let (name, last) = self.whom_to_displace(lane, ticket)?;
            displaced = self.leave(&name, last);
            self.verdicts.insert(last.number, Verdict::Displaced);
        }
        self.next_number += 1;
        self.waiting += 1;
        self.change(&lane.name, |state| {
            state.weight = weight_of(lane);
            state.early.insert(ticket, None);
        });
        Some((ticket, displaced))
    }

    /// Whose place a call takes when the queue is full: the newest of the lane with the most places
    /// for its weight, if that still has more than the call's lane would have then; else one of its
    /// own lane with less priority.
    ///
    /// So a lane within its share of the queue is never refused, and no place goes back and forth.
    fn whom_to_displace(&self, lane: &Lane, ticket: Ticket) -> Option<(Arc<str>, Ticket)> {
        let (own_weight, own) = (weight_of(lane), self.lanes.get(&lane.name));
        let own_places = own.map_or(0, LaneState::places);
        let mut crowd: Option<(&Arc<str>, &LaneState, Ticket)> = None;
        for (name, state) in &self.lanes {
            let Some(last) = state.last() else { continue };
            let larger = crowd.is_none_or(|(_, other, other_last)| {
                let (mine, theirs) = (state.places() * other.weight, other.places() * state.weight);
                mine > theirs || (mine == theirs && last.number > other_last.number)
            });
            if larger {
                crowd = Some((name, state, last));
            }
        }
        let (name, state, last) = crowd?;
        if *name != lane.name && (own_places + 1) * state.weight < state.places() * own_weight {
            return Some((Arc::clone(name), last));
        }
        let last = own?.last()?;
        (ticket < last).then(|| (Arc::clone(&lane.name), last))
    }

    /// Leaves the queue. A slot that was granted, but not taken, goes on to the next, who is to be
    /// woken. The waker of the call itself goes to `old`, to be dropped outside the lock.
    pub(super) fn abandon(
        &mut self,
        name: &Arc<str>,
        ticket: Ticket,
        old: &mut Option<Waker>,
    ) -> Option<Waker> {
        match self.verdicts.remove(&ticket.number) {
            Some(Verdict::Granted) => return self.give_back(name),
            Some(Verdict::Displaced) => {}
            None => *old = self.leave(name, ticket),
        }
        None
    }

    fn leave(&mut self, name: &Arc<str>, ticket: Ticket) -> Option<Waker> {
        self.waiting = self.waiting.saturating_sub(1);
        self.change(name, |state| match state.early.remove(&ticket) {
            Some(waker) => waker,
            None => state.asking.remove(&ticket),
        })
    }

    /// The verdict on a call, once, or `None` while there is none: then the waker is kept.
    ///
    /// A call that `asks` stands in line for a slot from then on. The waker that is replaced goes
    /// to `old`, to be dropped outside the lock.
    pub(super) fn hear(
        &mut self,
        name: &Arc<str>,
        ticket: Ticket,
        asks: bool,
        waker: &Waker,
        old: &mut Option<Waker>,
    ) -> Option<Verdict> {
        if let Some(verdict) = self.verdicts.remove(&ticket.number) {
            return Some(verdict);
        }
        let state = self.lanes.get_mut(name)?;
        if let Some(kept) = state.asking.get_mut(&ticket) {
            if !kept.will_wake(waker) {
                *old = Some(std::mem::replace(kept, waker.clone()));
            }
            return None;
        }
        if !asks {
            if let Some(kept) = state.early.get_mut(&ticket) {
                *old = kept.replace(waker.clone());
            }
            return None;
        }
        *old = state.early.remove(&ticket).flatten();
        if self.in_flight < self.concurrency {
            self.waiting = self.waiting.saturating_sub(1);
            self.in_flight += 1;
            self.change(name, |state| state.in_flight += 1);
            return Some(Verdict::Granted);
        }
        self.change(name, |state| state.asking.insert(ticket, waker.clone()));
        None
    }

    /// Gives a free slot to the call whose turn it is.
    fn grant(&mut self) -> Option<Waker> {
        if self.in_flight >= self.concurrency {
            return None;
        }
        let name = Arc::clone(self.next_lane()?);
        let now = self.now;
        let ((ticket, waker), start, due) = self.change(&name, |state| {
            let first = state.asking.pop_first()?;
            // A lane that held more than its share was passed over. It makes up for one turn of
            // that at most, so that long calls do not earn a burst of short ones.
            let start = state.due.max(now.saturating_sub(TURN));
            state.due = start.saturating_add(TURN / state.weight.max(1));
            state.in_flight += 1;
            Some((first, start, state.due))
        })?;
        self.in_flight += 1;
        self.waiting = self.waiting.saturating_sub(1);
        self.now = self.now.max(start);
        self.latest = self.latest.max(due);
        self.verdicts.insert(ticket.number, Verdict::Granted);
        Some(waker)
    }

    /// The lane whose turn it is. Only lanes that hold a slot can be passed over, so this looks at
    /// no more lanes than there are slots, and one.
    fn next_lane(&self) -> Option<&Arc<str>> {
        let mut least: Option<(&Arc<str>, &LaneState)> = None;
        for name in self.ready.values() {
            let Some(state) = self.lanes.get(name) else { continue };
            if state.in_flight * self.weight < self.concurrency as u64 * state.weight {
                return Some(name);
            }
            if least.is_none_or(|(_, other)| {
                state.in_flight * other.weight < other.in_flight * state.weight
            }) {
                least = Some((name, state));
            }
        }
        least.map(|(name, _)| name)
    }

    /// Changes a lane, and then all that is known of it elsewhere.
    fn change<T>(&mut self, name: &Arc<str>, change: impl FnOnce(&mut LaneState) -> T) -> T {
        let state = self.lanes.entry(Arc::clone(name)).or_default();
        if state.competes() {
            self.weight = self.weight.saturating_sub(state.weight);
        }
        let changed = change(state);
        if state.competes() {
            self.weight += state.weight;
        }
        if state.asking.is_empty() {
            if let Some(key) = state.ready.take() {
                self.ready.remove(&key);
            }
        } else if state.ready.is_none_or(|(due, _)| due != state.due) {
            match state.ready.take() {
                Some(key) => drop(self.ready.remove(&key)),
                // To have asked for nothing earns nothing.
                None => state.due = state.due.max(self.now),
            }
            let key = (state.due, self.next_number);
            self.next_number += 1;
            self.ready.insert(key, Arc::clone(name));
            state.ready = Some(key);
        }
        if self.ready.is_empty() {
            // Everybody has had all that they wanted: nothing is left to be made up for.
            self.now = self.latest;
        }
        if !state.is_idle() {
            return changed;
        }
        if state.due <= self.now && !state.rests {
            self.lanes.remove(name);
        } else if !state.rests {
            state.rests = true;
            self.resting.push_back(Arc::clone(name));
        }
        self.forget_the_rested();
        changed
    }

    /// Drops lanes that are idle and no longer ahead of the others.
    fn forget_the_rested(&mut self) {
        while let Some(name) = self.resting.front() {
            if let Some(state) = self.lanes.get_mut(name) {
                if state.is_idle() && state.due > self.now {
                    return;
                }
                state.rests = false;
                if state.is_idle() {
                    self.lanes.remove(name);
                }
            }
            self.resting.pop_front();
        }
    }
}

fn weight_of(lane: &Lane) -> u64 {
    u64::from(lane.weight.clamp(1, Lane::MAX_WEIGHT))
}
