//! Unpacks bodies with a `content-encoding`.
//!
//! A few bytes can unpack to gigabytes, so what comes out is counted while it comes: against the
//! limit of one body and against the memory of all. It comes in portions, and other calls have
//! their turn between them. Only a few bodies are unpacked at once, because each needs a window
//! that no budget counts; nobody waits for memory in there, so all come to an end.

use std::io::{self, BufRead, ErrorKind, Read};

use bytes::{Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use model::{BoxError, Failure, FailureKind};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use tokio::sync::OwnedSemaphorePermit;

use super::{BodyBudget, HeldBody, reserve};

/// Bytes that come out before others have their turn.
const PORTION: usize = 64 * 1024;
/// Packed bytes that go in before others have their turn: blocks that hold nothing cost time too.
const SIP: usize = 16 * 1024;
/// Codings that may lie upon each other. Nobody needs more than one.
const MAX_CODINGS: usize = 3;
/// Members or frames of one body, for each of which a decoder is set up anew.
const MAX_MEMBERS: usize = 1024;
/// The window that RFC 9659 asks every receiver to have, and no more.
const MAX_WINDOW: u64 = 8 << 20;

#[cfg(test)]
mod tests;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zstd,
}

/// Reads `content-encoding`: the codings in the order in which they were applied.
///
/// # Errors
///
/// `Unsupported`, naming the header, for codings that are not known or too many.
pub(super) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Failure> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for word in value.as_bytes().split(|byte| *byte == b',') {
            let word = word.trim_ascii();
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            if is("gzip") || is("x-gzip") {
                codings.push(Coding::Gzip);
            } else if is("zstd") {
                codings.push(Coding::Zstd);
            } else if !word.is_empty() && !is("identity") {
                return Err(unsupported(
                    "The request body has a content-encoding that is not supported: send it as \
                     gzip, as zstd or uncompressed.",
                ));
            }
        }
    }
    if codings.len() > MAX_CODINGS {
        return Err(unsupported("The request body has too many layers of content-encoding."));
    }
    Ok(codings)
}

fn unsupported(message: &str) -> Failure {
    Failure::new(FailureKind::Unsupported, message).with_param(CONTENT_ENCODING.as_str())
}

/// Unpacks a body, the coding that was applied last first.
///
/// # Errors
///
/// `TooLarge` as soon as more than `max_bytes` have come out, `Overloaded` where the budget is
/// spent, `BadRequest` for bytes that are not what the header says.
pub(super) async fn unpack(
    mut held: HeldBody,
    codings: &[Coding],
    max_bytes: usize,
    budget: &BodyBudget,
) -> Result<HeldBody, Failure> {
    let _turn = budget.turn_to_unpack().await?;
    for coding in codings.iter().rev() {
        let mut out = Unpacked::new(max_bytes, budget);
        match coding {
            Coding::Gzip => gzip(&held.bytes, &mut out).await?,
            Coding::Zstd => zstd(&held.bytes, &mut out).await?,
        }
        // Only now the packed bytes, and what was charged for them, can go.
        held = HeldBody { bytes: Bytes::from(out.bytes), permit: out.permit };
    }
    Ok(held)
}

/// What has come out so far.
struct Unpacked<'a> {
    bytes: BytesMut,
    permit: Option<OwnedSemaphorePermit>,
    portion: Vec<u8>,
    members: usize,
    max_bytes: usize,
    budget: &'a BodyBudget,
}

impl<'a> Unpacked<'a> {
    fn new(max_bytes: usize, budget: &'a BodyBudget) -> Self {
        Self {
            bytes: BytesMut::new(),
            permit: None,
            portion: vec![0; PORTION],
            members: 0,
            max_bytes,
            budget,
        }
    }

    /// Takes what `decoder` has ready, one portion at most; whether that was all.
    fn take(&mut self, decoder: &mut impl Read) -> Result<bool, Failure> {
        let length = match decoder.read(&mut self.portion) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            read => read.map_err(broken)?,
        };
        if length == 0 {
            return Ok(true);
        }
        let arrived = self.bytes.len().saturating_add(length);
        if arrived > self.max_bytes {
            return Err(Failure::new(
                FailureKind::TooLarge,
                format!(
                    "The request body, unpacked, is larger than the limit of {} bytes.",
                    self.max_bytes
                ),
            ));
        }
        self.budget.charge(&mut self.permit, arrived)?;
        reserve(&mut self.bytes, length, None);
        self.bytes.extend_from_slice(self.portion.get(..length).unwrap_or_default());
        Ok(false)
    }

    /// Counts a member or frame.
    fn begin_member(&mut self) -> Result<(), Failure> {
        self.members += 1;
        if self.members > MAX_MEMBERS {
            return Err(broken("it has too many members"));
        }
        Ok(())
    }
}

/// Packed bytes of which a decoder gets one sip at a time; then it would have to wait.
struct Sips<'a> {
    rest: &'a [u8],
    left: usize,
}

impl Sips<'_> {
    fn pour(&mut self) {
        self.left = SIP;
    }
}

impl Read for Sips<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Sips<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(self.rest.get(..self.left).unwrap_or(self.rest))
    }

    fn consume(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
        self.left = self.left.saturating_sub(length);
    }
}

async fn gzip(packed: &[u8], out: &mut Unpacked<'_>) -> Result<(), Failure> {
    let mut rest = packed;
    while !rest.is_empty() {
        out.begin_member()?;
        let mut decoder = GzDecoder::new(Sips { rest, left: SIP });
        while !out.take(&mut decoder)? {
            tokio::task::yield_now().await;
            decoder.get_mut().pour();
        }
        rest = decoder.into_inner().rest;
    }
    Ok(())
}

async fn zstd(packed: &[u8], out: &mut Unpacked<'_>) -> Result<(), Failure> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW);
    let mut rest = packed;
    while !rest.is_empty() {
        out.begin_member()?;
        match decoder.reset(&mut rest) {
            Ok(()) => {}
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                rest = rest.get(length..).ok_or_else(|| broken("it breaks off"))?;
                continue;
            }
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
                return Err(Failure::new(
                    FailureKind::TooLarge,
                    "The request body needs a zstd window of more than 8 MiB: pack it at a lower \
                     level.",
                ));
            }
            Err(error) => return Err(broken(error)),
        }
        let mut finished = false;
        while !finished {
            let block = BlockDecodingStrategy::UptoBlocks(1);
            finished = decoder.decode_blocks(&mut rest, block).map_err(broken)?;
            while !out.take(&mut decoder)? {}
            tokio::task::yield_now().await;
        }
        let told = decoder.get_checksum_from_data();
        if told.is_some() && told != decoder.get_calculated_checksum() {
            return Err(broken("its checksum is wrong"));
        }
    }
    Ok(())
}

fn broken(error: impl Into<BoxError>) -> Failure {
    Failure::new(
        FailureKind::BadRequest,
        "The request body is not what its content-encoding says, or breaks off.",
    )
    .with_param(CONTENT_ENCODING.as_str())
    .with_source(error)
}
