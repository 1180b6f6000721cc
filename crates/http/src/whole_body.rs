//! The body of a reply that comes whole and is large.
//!
//! A caller may take it as slowly as it likes, and its key may end meanwhile. JSON has no way to say
//! so in the middle; the connection ends before the length that was announced.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use gateway::Running;
use http_body::{Body as HttpBody, Frame, SizeHint};
use model::Failure;

/// What is handed over at once.
const PIECE: usize = 64 * 1024;

/// The body of a reply to a call.
pub(crate) fn whole_body(running: Running, body: Bytes) -> Body {
    if body.len() <= PIECE {
        return Body::from(body);
    }
    Body::new(WholeBody { running, rest: body })
}

/// A body that breaks off where its caller may have nothing more.
struct WholeBody {
    running: Running,
    rest: Bytes,
}

impl HttpBody for WholeBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(failure) = self.running.denied() {
            self.rest = Bytes::new();
            return Poll::Ready(Some(Err(failure)));
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
