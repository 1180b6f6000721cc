//! Limits, charges and copies.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Empty, Full};
use model::{Failure, FailureKind};
use proptest::prelude::*;

use super::{BodyBudget, BodyLimits, HeldBody, read_body};

const HOUR: Duration = Duration::from_hours(1);
const MOMENT: Duration = Duration::from_millis(20);
const LIMITS: BodyLimits = BodyLimits { max_bytes: 64 * 1024, idle: HOUR, total: HOUR };

/// What a body does when it is asked for more.
enum Step {
    Piece(Bytes),
    Trailers,
    Break,
    Stall,
    /// Runs a check between two pieces.
    Check(Box<dyn FnOnce() + Send>),
}

struct Script {
    steps: VecDeque<Step>,
    announced: u64,
    /// Once set, being asked at all fails the test.
    untouchable: bool,
}

impl Script {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), announced: 0, untouchable: false }
    }

    fn pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::new(pieces.into_iter().map(|piece| Step::Piece(Bytes::copy_from_slice(piece))))
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        assert!(!self.untouchable, "the body was read");
        loop {
            return match self.steps.pop_front() {
                None => Poll::Ready(None),
                Some(Step::Piece(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
                Some(Step::Break) => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Some(Step::Stall) => {
                    // It stays stalled, also when it is asked once more.
                    self.steps.push_front(Step::Stall);
                    Poll::Pending
                }
                Some(Step::Check(check)) => {
                    check();
                    continue;
                }
            };
        }
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.announced);
        hint
    }
}

/// A body that is always ready with one more byte.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

fn budget() -> BodyBudget {
    BodyBudget::new(1024 * 1024)
}

fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

async fn read(body: Script) -> Result<HeldBody, Failure> {
    read_body(&HeaderMap::new(), body, &LIMITS, &budget()).await
}

#[tokio::test]
async fn one_piece_is_not_copied() {
    let piece = Bytes::from(vec![7; 5000]);
    let at = piece.as_ptr();
    let held = read(Script::new([Step::Piece(piece), Step::Trailers])).await.unwrap();
    assert_eq!(held.bytes.as_ptr(), at);
    assert_eq!(held.bytes.len(), 5000);
}

#[tokio::test]
async fn an_empty_body_costs_nothing() {
    let budget = BodyBudget::new(0);
    let held = read_body(&HeaderMap::new(), Empty::<Bytes>::new(), &LIMITS, &budget).await.unwrap();
    assert!(held.bytes.is_empty() && held.permit.is_none());
}

#[tokio::test]
async fn an_announced_excess_is_refused_unread() {
    let mut by_hint = Script::pieces([]);
    by_hint.untouchable = true;
    by_hint.announced = 64 * 1024 + 1;
    assert_eq!(read(by_hint).await.unwrap_err().kind, FailureKind::TooLarge);

    for length in ["65537", "18446744073709551615"] {
        let mut by_header = Script::pieces([]);
        by_header.untouchable = true;
        let headers = headers("content-length", &[length]);
        let outcome = read_body(&headers, by_header, &LIMITS, &budget()).await;
        assert_eq!(outcome.unwrap_err().kind, FailureKind::TooLarge);
    }
}

#[tokio::test]
async fn the_limit_itself_is_allowed_and_one_more_is_not() {
    let piece = [0u8; 1024];
    let full = || std::iter::repeat_n(&piece[..], 64);
    assert_eq!(read(Script::pieces(full())).await.unwrap().bytes.len(), 64 * 1024);
    let more = full().chain([&piece[..1]]);
    assert_eq!(read(Script::pieces(more)).await.unwrap_err().kind, FailureKind::TooLarge);
}

#[tokio::test]
async fn memory_is_charged_as_it_arrives_and_given_back() {
    let budget = BodyBudget::new(64 * 1024);
    let see = |left_kib: usize| {
        let budget = budget.clone();
        Step::Check(Box::new(move || {
            assert_eq!(budget.available_bytes(), left_kib * 1024);
        }))
    };
    let mut body = Script::new([
        see(64),
        Step::Piece(Bytes::from_static(b"{")),
        see(63),
        Step::Piece(Bytes::from(vec![b' '; 1023])),
        see(63),
        Step::Piece(Bytes::from(vec![b' '; 1025])),
        see(61),
    ]);
    // The announced length is a lie, and nothing is charged for it.
    body.announced = 64 * 1024;
    let held = read_body(&HeaderMap::new(), body, &LIMITS, &budget).await.unwrap();
    assert_eq!(held.bytes.len(), 2049);
    assert_eq!(budget.available_bytes(), 61 * 1024);
    drop(held);
    assert_eq!(budget.available_bytes(), 64 * 1024);
}

#[tokio::test]
async fn a_spent_budget_refuses_at_once_and_failures_give_back() {
    let budget = BodyBudget::new(4 * 1024);
    let big = |bytes: usize| Full::new(Bytes::from(vec![0; bytes]));
    let headers = HeaderMap::new();
    let held = read_body(&headers, big(3000), &LIMITS, &budget).await.unwrap();
    let second = Script::pieces([&[0; 900][..], &[0; 900][..]]);
    let failure = read_body(&headers, second, &LIMITS, &budget).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Overloaded);
    assert_eq!(budget.available_bytes(), 1024, "the refused body holds nothing");
    assert!(read_body(&headers, big(1024), &LIMITS, &budget).await.is_ok());
    drop(held);
    assert!(read_body(&headers, big(4096), &LIMITS, &budget).await.is_ok());
    assert_eq!(budget.available_bytes(), 4096);
}

#[tokio::test]
async fn a_late_piece_and_a_late_end_are_cut() {
    let stalled = || Script::new([Step::Piece(Bytes::from_static(b"{")), Step::Stall]);
    let budget = budget();
    for (idle, total) in [(MOMENT, HOUR), (HOUR, MOMENT), (MOMENT, Duration::MAX)] {
        let limits = BodyLimits { idle, total, ..LIMITS };
        let failure = read_body(&HeaderMap::new(), stalled(), &limits, &budget).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::RequestTimeout);
        assert_eq!(budget.available_bytes(), 1024 * 1024);
    }
}

#[tokio::test]
async fn pieces_that_never_end_are_cut() {
    let limits = BodyLimits { max_bytes: usize::MAX, idle: HOUR, total: MOMENT };
    let budget = BodyBudget::new(usize::MAX);
    let failure = read_body(&HeaderMap::new(), Endless, &limits, &budget).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::RequestTimeout);
}

#[tokio::test]
async fn a_broken_body_is_the_callers_fault() {
    let body = Script::new([Step::Piece(Bytes::from_static(b"{")), Step::Break]);
    let failure = read(body).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadRequest);
    assert!(failure.source.is_some());
}

#[tokio::test]
async fn what_callers_write_is_not_printed() {
    let held = read(Script::pieces([&b"my secret"[..]])).await.unwrap();
    let printed = format!("{held:?}");
    assert!(!printed.contains("secret") && printed.contains('9'), "{printed}");
}

proptest! {
    /// However a body is cut into pieces and whatever was announced, it arrives whole.
    #[test]
    fn any_cutting_gives_the_same_bytes(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..20),
        announced in 0u64..64 * 1024,
    ) {
        let mut body = Script::pieces(pieces.iter().map(Vec::as_slice));
        body.announced = announced;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let whole = pieces.concat();
        let held = runtime.block_on(read(body)).unwrap();
        prop_assert_eq!(&held.bytes[..], &whole[..]);
        let charged = held.permit.as_ref().map_or(0, tokio::sync::OwnedSemaphorePermit::num_permits);
        prop_assert_eq!(charged, whole.len().div_ceil(1024));
    }
}
