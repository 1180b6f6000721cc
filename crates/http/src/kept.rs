//! Responses that are kept, so that later requests can continue, read or delete them.
//!
//! They are kept in memory, for an hour at most, and there are bounds on one, on all of them and
//! on their bytes; the oldest goes first. A conversation is a chain of turns that share what came
//! before them, so a long one is not copied with each turn. Each belongs to one caller, and to
//! all others it does not exist.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dialects::openai_responses::{KeptItem, Written, name_input, name_output};
use gateway::Caller;
use gateway::keys::KeyId;
use model::{CallId, Json};
use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// What an item costs besides its text and its id, in bytes: its places in lists and in the index.
const PER_ITEM: usize = 256;
/// What a response costs besides its items and its own text, in bytes.
const PER_RESPONSE: usize = 1024;

/// Bounds of what is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptLimits {
    /// How many responses.
    pub(crate) responses: usize,
    /// Bytes of all of them.
    pub(crate) bytes: usize,
    /// Bytes of one, without what came before it.
    pub(crate) one: usize,
    /// How many turns may be chained before they are put together.
    pub(crate) turns: usize,
    /// How long one is kept.
    pub(crate) time: Duration,
}

impl Default for KeptLimits {
    fn default() -> Self {
        Self {
            responses: 1000,
            bytes: 64 << 20,
            one: 16 << 20,
            turns: 128,
            time: Duration::from_hours(1),
        }
    }
}

/// Whom a kept response belongs to. Nobody else can see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// Whoever may come in without a credential.
    Open,
    /// Whoever has shown the token.
    Token,
    /// The holder of a key.
    Key(KeyId),
}

impl Owner {
    /// The owner of what a caller leaves here.
    pub(crate) fn of(caller: &Caller) -> Self {
        match &caller.key {
            Some(key) => Self::Key(key.key.id),
            None if caller.authenticated => Self::Token,
            None => Self::Open,
        }
    }
}

/// The responses that are kept. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptResponses {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    limits: KeptLimits,
    /// Bytes of all turns and responses that live, those included that are only still part of a
    /// conversation.
    bytes: Arc<AtomicUsize>,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    by_id: HashMap<String, Response>,
    /// Ids by age, the oldest first.
    by_age: BTreeMap<u64, String>,
    /// Where an item stands that is kept.
    items: HashMap<(Owner, String), Place>,
    next: u64,
}

#[derive(Debug)]
struct Response {
    owner: Owner,
    number: u64,
    at: Instant,
    body: Bytes,
    turn: Arc<Turn>,
    _held: Held,
}

/// Where an item stands: in which response, in its output or its input, and at which place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    response: String,
    output: bool,
    at: usize,
}

/// What was said in one request and its response, behind what was said before.
#[derive(Debug)]
pub(crate) struct Turn {
    before: Option<Arc<Turn>>,
    input: Vec<KeptItem>,
    output: Vec<KeptItem>,
    /// How many turns there are in the chain, this one included.
    turns: usize,
    /// Bytes of the items of the whole chain.
    conversation: usize,
    _held: Held,
}

/// A share of the memory; goes back when dropped.
#[derive(Debug)]
struct Held {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Held {
    fn new(all: &Arc<AtomicUsize>, bytes: usize) -> Self {
        all.fetch_add(bytes, Ordering::Relaxed);
        Self { all: Arc::clone(all), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Keeps the response of one call, once there is one.
#[derive(Debug)]
pub(crate) struct Keeper {
    kept: KeptResponses,
    owner: Owner,
    before: Option<Arc<Turn>>,
    input: Vec<Json>,
    input_bytes: usize,
}

impl Turn {
    /// Bytes of the items of the whole conversation.
    pub(crate) const fn conversation(&self) -> usize {
        self.conversation
    }

    /// The items of the whole conversation, oldest first.
    pub(crate) fn items(&self) -> Vec<Json> {
        let mut items: Vec<&KeptItem> = self.before_output();
        items.extend(&self.output);
        items.into_iter().map(|item| item.json.clone()).collect()
    }

    /// The items that the response of this turn answers, oldest first.
    pub(crate) fn before_output(&self) -> Vec<&KeptItem> {
        let mut chain = vec![self];
        while let Some(before) = chain.last().and_then(|turn| turn.before.as_deref()) {
            chain.push(before);
        }
        let mut items = Vec::new();
        for (at, turn) in chain.iter().enumerate().rev() {
            items.extend(&turn.input);
            if at > 0 {
                items.extend(&turn.output);
            }
        }
        items
    }
}

impl KeptResponses {
    #[cfg(test)]
    fn with_limits(limits: KeptLimits) -> Self {
        Self { shared: Arc::new(Shared { limits, ..Shared::default() }) }
    }

    /// Prepares to keep the response to `input`; `None` where it would be too large.
    pub(crate) fn keeper(
        &self,
        owner: Owner,
        before: Option<Arc<Turn>>,
        input: Vec<Json>,
    ) -> Option<Keeper> {
        let input_bytes = input.iter().map(|item| item.as_str().len() + PER_ITEM).sum();
        let keeper = Keeper { kept: self.clone(), owner, before, input, input_bytes };
        keeper.fits(0).then_some(keeper)
    }

    /// The conversation up to and with a response.
    pub(crate) fn turn(&self, owner: Owner, id: &str) -> Option<Arc<Turn>> {
        self.shelf().find(owner, id).map(|response| Arc::clone(&response.turn))
    }

    /// A response as it was sent.
    pub(crate) fn body(&self, owner: Owner, id: &str) -> Option<Bytes> {
        self.shelf().find(owner, id).map(|response| response.body.clone())
    }

    /// An item of a response.
    pub(crate) fn item(&self, owner: Owner, id: &str) -> Option<Json> {
        let kept = self.shelf();
        let place = kept.items.get(&(owner, id.to_owned()))?;
        let turn = &kept.find(owner, &place.response)?.turn;
        let items = if place.output { &turn.output } else { &turn.input };
        items.get(place.at).map(|item| item.json.clone())
    }

    /// Forgets a response; false where there is none. Conversations that have gone on keep what
    /// was said.
    pub(crate) fn delete(&self, owner: Owner, id: &str) -> bool {
        let mut kept = self.shelf();
        kept.find(owner, id).is_some() && kept.remove(id).is_some()
    }

    /// The shelf, without what is too old.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        let mut kept = self.shared.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while kept.oldest().is_some_and(|at| now - at >= self.shared.limits.time) {
            kept.remove_oldest();
        }
        kept
    }

    fn put(&self, id: String, response: Response) {
        let limits = self.shared.limits;
        let mut kept = self.shelf();
        kept.put(id, response);
        while kept.by_age.len() > limits.responses
            || self.shared.bytes.load(Ordering::Relaxed) > limits.bytes
        {
            // Dropped at once, since that is what lowers the count of bytes.
            if kept.remove_oldest().is_none() {
                break;
            }
        }
    }
}

impl Shelf {
    fn find(&self, owner: Owner, id: &str) -> Option<&Response> {
        self.by_id.get(id).filter(|response| response.owner == owner)
    }

    fn oldest(&self) -> Option<Instant> {
        let (_, id) = self.by_age.first_key_value()?;
        self.by_id.get(id).map(|response| response.at)
    }

    fn put(&mut self, id: String, mut response: Response) {
        response.number = self.next;
        self.next += 1;
        for (output, items) in [(false, &response.turn.input), (true, &response.turn.output)] {
            for (at, item) in items.iter().enumerate() {
                let place = Place { response: id.clone(), output, at };
                self.items.insert((response.owner, item.id.clone()), place);
            }
        }
        self.by_age.insert(response.number, id.clone());
        self.by_id.insert(id, response);
    }

    fn remove_oldest(&mut self) -> Option<Response> {
        let (_, id) = self.by_age.pop_first()?;
        self.remove(&id)
    }

    fn remove(&mut self, id: &str) -> Option<Response> {
        let response = self.by_id.remove(id)?;
        self.by_age.remove(&response.number);
        for item in response.turn.input.iter().chain(&response.turn.output) {
            let key = (response.owner, item.id.clone());
            // A later response may hold an item of the same id.
            if self.items.get(&key).is_some_and(|place| place.response == id) {
                self.items.remove(&key);
            }
        }
        Some(response)
    }
}

impl Keeper {
    /// Whether a response of this many bytes would be kept.
    pub(crate) fn fits(&self, response: usize) -> bool {
        let bytes = self.input_bytes.saturating_add(response).saturating_add(PER_RESPONSE);
        bytes <= self.kept.shared.limits.one
    }

    /// Bytes of the input that it holds.
    pub(crate) const fn input_bytes(&self) -> usize {
        self.input_bytes
    }

    /// Keeps a response of the call, and gives back its body.
    pub(crate) fn keep(self, call: CallId, written: Written) -> Bytes {
        let Self { kept, owner, before, input, .. } = self;
        let Shared { limits, bytes: all, .. } = &*kept.shared;
        let output = name_output(written.items());
        let mut input = name_input(input, call);
        let cost = |items: &[KeptItem]| -> usize {
            items.iter().map(|item| item.json.as_str().len() + 3 * item.id.len() + PER_ITEM).sum()
        };
        let said = |items: &[KeptItem]| -> usize {
            items.iter().map(|item| item.json.as_str().len()).sum()
        };
        let conversation =
            said(&input) + said(&output) + before.as_ref().map_or(0, |before| before.conversation);
        let before = match before {
            Some(before) if before.turns >= limits.turns => {
                // What was said is shared; only the list of it is made anew.
                let mut all: Vec<KeptItem> = before.before_output().into_iter().cloned().collect();
                all.extend(before.output.iter().cloned());
                all.append(&mut input);
                input = all;
                None
            }
            before => before,
        };
        let turn = Turn {
            turns: before.as_ref().map_or(0, |before| before.turns) + 1,
            before,
            conversation,
            _held: Held::new(all, cost(&input) + cost(&output)),
            input,
            output,
        };
        let body = Bytes::from(written.json);
        let response = Response {
            owner,
            number: 0,
            at: Instant::now(),
            body: body.clone(),
            turn: Arc::new(turn),
            _held: Held::new(all, body.len() + PER_RESPONSE),
        };
        kept.put(format!("resp_{}", call.hex()), response);
        body
    }
}
