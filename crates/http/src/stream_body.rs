//! The body of a streamed reply.
//!
//! A host's answer comes whole, so one batch of events may hold megabytes. They are written in
//! portions as the caller takes them, several server-sent events to a frame, without pacing. Before
//! each frame it is asked whether the caller's key still holds.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dialects::StreamWriter;
use gateway::{ChoiceEvents, Running};
use http_body::{Body, Frame};
use model::{CompletionEvent, Failure, FailureKind};
use tokio::time::{Instant, Sleep, sleep};

/// A frame is sent once it has this many bytes.
const FRAME: usize = 16 * 1024;
/// Text that is handed to the writer at once.
const PORTION: usize = 2 * 1024;

/// Server-sent events of one call. Dropping it hangs up.
pub(crate) struct StreamBody {
    running: Running,
    writer: Box<dyn StreamWriter>,
    /// Events that have arrived and are not written yet.
    waiting: VecDeque<(u8, CompletionEvent)>,
    frame: Vec<u8>,
    /// Choices that have not finished.
    open: u8,
    ended: bool,
    keep_alive: Duration,
    silence: Pin<Box<Sleep>>,
}

impl StreamBody {
    /// Begins the stream of a call with `choices` replies; `first` is what came during the grace,
    /// answer or failure.
    pub(crate) fn new(
        running: Running,
        mut writer: Box<dyn StreamWriter>,
        choices: u8,
        first: Option<Result<ChoiceEvents, Failure>>,
        keep_alive: Duration,
    ) -> Self {
        let mut frame = Vec::with_capacity(1024);
        writer.begin(&mut frame);
        let mut body = Self {
            running,
            writer,
            waiting: VecDeque::new(),
            frame,
            open: choices,
            ended: false,
            keep_alive,
            silence: Box::pin(sleep(keep_alive)),
        };
        match first {
            Some(Ok(batch)) => body.take(batch),
            Some(Err(failure)) => body.fail(&failure),
            None => {}
        }
        body
    }

    fn take(&mut self, batch: ChoiceEvents) {
        let choice = batch.choice;
        self.waiting.extend(batch.events.into_iter().map(|event| (choice, event)));
    }

    /// Writes waiting events until the frame is full, unless the caller may not have them any more:
    /// the call itself may have ended long ago.
    fn write_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        if let Some(failure) = self.running.denied() {
            self.waiting = VecDeque::new();
            return self.fail(&failure);
        }
        while self.frame.len() < FRAME {
            let Some((choice, event)) = self.waiting.pop_front() else {
                return;
            };
            let event = match event {
                CompletionEvent::BlockDelta { at, mut delta } if delta.len() > PORTION => {
                    let rest = delta.split_off(cut(&delta, PORTION));
                    if !rest.is_empty() {
                        let rest = CompletionEvent::BlockDelta { at, delta: rest };
                        self.waiting.push_front((choice, rest));
                    }
                    CompletionEvent::BlockDelta { at, delta }
                }
                event => event,
            };
            if matches!(event, CompletionEvent::Finished { .. }) {
                self.open = self.open.saturating_sub(1);
            }
            self.writer.event(choice, event, &mut self.frame);
        }
    }

    fn fail(&mut self, failure: &Failure) {
        self.writer.failure(failure, &mut self.frame);
        self.ended = true;
    }

    fn finish(&mut self) {
        if self.open == 0 {
            self.writer.end(&mut self.frame);
            self.ended = true;
        } else {
            // A stream without its end is a failure, not a short answer.
            let message = "The answer broke off before its end.";
            self.fail(&Failure::new(FailureKind::UpstreamFailed, message));
        }
    }

    fn send(&mut self) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            self.running.delivered();
        }
        let frame = std::mem::take(&mut self.frame);
        self.silence.as_mut().reset(Instant::now() + self.keep_alive);
        Poll::Ready(Some(Ok(Frame::data(frame.into()))))
    }
}

/// Where to cut text of more than `at` bytes: behind a space if there is one near, else between
/// two characters.
fn cut(text: &str, at: usize) -> usize {
    let end = text.floor_char_boundary(at);
    let head = text.get(..end).unwrap_or_default();
    head.rfind(' ').map_or(end, |space| space + 1).max(1)
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        loop {
            this.write_waiting();
            if this.frame.len() >= FRAME || (this.ended && !this.frame.is_empty()) {
                return this.send();
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match this.running.poll_next(context) {
                Poll::Ready(Some(Ok(batch))) => this.take(batch),
                Poll::Ready(Some(Err(failure))) => this.fail(&failure),
                Poll::Ready(None) => this.finish(),
                Poll::Pending if !this.frame.is_empty() => return this.send(),
                Poll::Pending => {
                    std::task::ready!(this.silence.as_mut().poll(context));
                    this.writer.keep_alive(&mut this.frame);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn cuts_between_characters_and_always_moves_on() {
        assert_eq!(cut("aaa bbb ccc", 6), 4);
        assert_eq!(cut("aaaaaaaa", 4), 4);
        assert_eq!(cut("中文中文", 4), 3);
        assert_eq!(cut("中文", 3), 3);
    }
}
