//! Reads a request body within its limits.
//!
//! A body costs memory before anybody knows what it is worth. So there is a bound on each one,
//! and one on all of them together, charged by what has really arrived: a caller who announces
//! much and sends nothing holds nothing. Nobody waits for memory while holding some, since two
//! such callers could wait for each other; the later one is told to come back.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use model::{BoxError, Failure, FailureKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

mod coding;
#[cfg(test)]
mod tests;

/// The unit in which memory is charged, in bytes.
const UNIT: usize = 1024;
/// The smallest buffer that joins the pieces of a body, in bytes.
const FIRST_BUFFER: usize = 64 * 1024;
/// Bodies that are unpacked at once.
const UNPACKING: usize = 4;
/// A year, for limits that are too long for the clock to add.
const FOREVER: Duration = Duration::from_hours(365 * 24);

/// The limits of one body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The largest body, in bytes.
    pub max_bytes: usize,
    /// The longest wait for the next piece.
    pub idle: Duration,
    /// The longest time for the whole body.
    pub total: Duration,
}

/// The memory that all bodies in flight share. Clones share it too.
#[derive(Clone, Debug)]
pub struct BodyBudget {
    units: Arc<Semaphore>,
    unpacking: Arc<Semaphore>,
}

impl BodyBudget {
    /// A budget of this many bytes, rounded up to whole KiB.
    pub fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(units)),
            unpacking: Arc::new(Semaphore::new(UNPACKING)),
        }
    }

    /// What is not charged at the moment, in bytes.
    pub fn available_bytes(&self) -> usize {
        self.units.available_permits().saturating_mul(UNIT)
    }

    /// Waits for the right to unpack a body.
    async fn turn_to_unpack(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.unpacking
            .acquire()
            .await
            .map_err(|_| Failure::new(FailureKind::Internal, "The bridge unpacks no bodies."))
    }

    /// Adds what is missing for a body of `arrived` bytes, without waiting.
    ///
    /// # Errors
    /// `Overloaded` where the budget is spent.
    pub(crate) fn charge(
        &self,
        permit: &mut Option<OwnedSemaphorePermit>,
        arrived: usize,
    ) -> Result<(), Failure> {
        let held = permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = arrived.div_ceil(UNIT).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let more = u32::try_from(missing)
            .ok()
            .and_then(|missing| Arc::clone(&self.units).try_acquire_many_owned(missing).ok())
            .ok_or_else(|| {
                Failure::new(
                    FailureKind::Overloaded,
                    "The bridge holds as many request bodies as it may at the moment.",
                )
            })?;
        match permit {
            Some(held) => held.merge(more),
            None => *permit = Some(more),
        }
        Ok(())
    }
}

/// A whole body and the memory charged for it.
///
/// Keep the permit for as long as the bytes live; it goes back to the budget when dropped.
pub struct HeldBody {
    /// The body.
    pub bytes: Bytes,
    /// What was charged for it; `None` for an empty body.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for HeldBody {
    /// Prints the length only: what callers write is nobody's business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBody").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Reads a whole body.
///
/// A body that arrives in one piece is handed on as it is, without a copy; a compressed one is
/// unpacked, and the limits hold for both forms of it. Dropping the future gives back what was
/// charged.
///
/// # Errors
///
/// `Unsupported` for an unknown coding, `TooLarge` above the limit (at once where the length is
/// announced), `Overloaded` where the budget is spent, `RequestTimeout` where a piece or the
/// whole comes too late, `BadRequest` where the body breaks off.
pub async fn read_body<B>(
    headers: &HeaderMap,
    body: B,
    limits: &BodyLimits,
    budget: &BodyBudget,
) -> Result<HeldBody, Failure>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let codings = coding::codings(headers)?;
    let announced = announced(headers, &body);
    if announced.is_some_and(|length| length > limits.max_bytes as u64) {
        return Err(too_large(limits.max_bytes));
    }

    let mut body = pin!(body);
    let mut joined = Joined::default();
    let mut permit = None;
    let start = Instant::now();
    let end = start + limits.total.min(FOREVER);
    let idle = limits.idle.min(FOREVER);
    let mut timer = pin!(sleep_until(end.min(start + idle)));
    loop {
        let frame = tokio::select! {
            biased;
            frame = poll_fn(|cx| body.as_mut().poll_frame(cx)) => frame,
            () = &mut timer => return Err(too_late()),
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| {
            Failure::new(FailureKind::BadRequest, "The request body broke off or is malformed.")
                .with_source(error)
        })?;
        // Trailers say nothing that a request needs.
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if piece.is_empty() {
            continue;
        }
        let arrived = joined.len().saturating_add(piece.len());
        if arrived > limits.max_bytes {
            return Err(too_large(limits.max_bytes));
        }
        budget.charge(&mut permit, arrived)?;
        joined.push(piece, announced);
        let now = Instant::now();
        // A body whose pieces are always ready would never let the timer speak.
        if now >= end {
            return Err(too_late());
        }
        timer.as_mut().reset(end.min(now + idle));
    }
    let held = HeldBody { bytes: joined.into_bytes(), permit };
    if codings.is_empty() {
        return Ok(held);
    }
    // Boxed, so that calls without it do not carry room for a decoder with them.
    Box::pin(coding::unpack(held, &codings, limits.max_bytes, budget)).await
}

/// The pieces of a body so far.
#[derive(Default)]
enum Joined {
    #[default]
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl Joined {
    fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(piece) => piece.len(),
            Self::Many(buffer) => buffer.len(),
        }
    }

    fn push(&mut self, piece: Bytes, announced: Option<u64>) {
        *self = match std::mem::take(self) {
            Self::Empty => Self::One(piece),
            Self::One(first) => {
                let mut buffer = BytesMut::new();
                reserve(&mut buffer, first.len() + piece.len(), announced);
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&piece);
                Self::Many(buffer)
            }
            Self::Many(mut buffer) => {
                reserve(&mut buffer, piece.len(), announced);
                buffer.extend_from_slice(&piece);
                Self::Many(buffer)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(piece) => piece,
            Self::Many(buffer) => buffer.freeze(),
        }
    }
}

/// Makes room for `more` bytes: at most twice what has arrived, and not beyond the announced
/// end, so that an honest length ends in a buffer that fits and a false one costs nothing.
fn reserve(buffer: &mut BytesMut, more: usize, announced: Option<u64>) {
    let needed = buffer.len() + more;
    if needed <= buffer.capacity() {
        return;
    }
    let announced = announced.and_then(|length| usize::try_from(length).ok());
    let doubled = needed.saturating_mul(2).max(FIRST_BUFFER);
    let size = announced.map_or(doubled, |length| doubled.min(length)).max(needed);
    buffer.reserve(size - buffer.len());
}

fn announced<B: Body>(headers: &HeaderMap, body: &B) -> Option<u64> {
    // The header may be wrong where a layer has changed the body, and the hint may be missing:
    // the larger of both is what the caller wants to send.
    let header = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse::<u64>().ok());
    let hint = Some(body.size_hint().lower()).filter(|lower| *lower > 0);
    header.max(hint)
}

fn too_large(max_bytes: usize) -> Failure {
    Failure::new(
        FailureKind::TooLarge,
        format!("The request body is larger than the limit of {max_bytes} bytes."),
    )
}

fn too_late() -> Failure {
    Failure::new(FailureKind::RequestTimeout, "The request body did not arrive in time.")
}
