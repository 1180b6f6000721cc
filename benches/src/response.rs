//! A reader of HTTP/1.1 responses, as lean as a load generator needs and no leaner: any chunking
//! of the bytes gives the same response.

use memchr::memmem;

/// One response, filled by [`Response::feed`] until it says that it is complete.
#[derive(Debug, Default)]
pub(crate) struct Response {
    /// The status code; 0 until the head is there.
    pub(crate) status: u16,
    /// The body so far, without its transfer coding.
    pub(crate) body: Vec<u8>,
    /// Whether the server closes the connection after this response.
    pub(crate) closes: bool,
    stage: Stage,
    unread: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Head,
    /// So many bytes of a body of known length are missing.
    Sized(usize),
    /// The line with the next chunk's size is expected.
    ChunkHead,
    /// So many bytes of a chunk are missing, its line break included.
    Chunk(usize),
    /// The lines after the last chunk, up to the empty one.
    Trailer,
    UntilClose,
    Complete,
}

/// The bytes are not an HTTP/1.1 response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Response {
    /// Forgets the last response and keeps its buffers.
    pub(crate) fn reset(&mut self) {
        self.status = 0;
        self.body.clear();
        self.closes = false;
        self.stage = Stage::Head;
        self.unread.clear();
    }

    /// Takes the next bytes; the answer is true when the response is complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        // Nearly every response arrives whole, so nothing is copied unless a piece is left over.
        if self.unread.is_empty() {
            let used = self.take(bytes)?;
            self.unread.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            let mut all = std::mem::take(&mut self.unread);
            all.extend_from_slice(bytes);
            let used = self.take(&all)?;
            all.drain(..used);
            self.unread = all;
        }
        Ok(self.stage == Stage::Complete)
    }

    /// The server closed the connection; the answer is true when that completes the response.
    pub(crate) fn end(&mut self) -> bool {
        if self.stage == Stage::UntilClose {
            self.stage = Stage::Complete;
        }
        self.stage == Stage::Complete
    }

    /// Moves on through the stages as far as the bytes reach and says how many were used.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..) {
            let step = match self.stage {
                Stage::Head => {
                    let Some(end) = memmem::find(rest, b"\r\n\r\n") else {
                        break;
                    };
                    self.stage = self.read_head(rest.get(..end).ok_or(Malformed)?)?;
                    end + 4
                }
                Stage::Sized(missing) => {
                    let piece = rest.get(..missing).unwrap_or(rest);
                    self.body.extend_from_slice(piece);
                    let missing = missing - piece.len();
                    self.stage = if missing == 0 { Stage::Complete } else { Stage::Sized(missing) };
                    piece.len()
                }
                Stage::ChunkHead => {
                    let Some(end) = memmem::find(rest, b"\r\n") else {
                        break;
                    };
                    let size = chunk_size(rest.get(..end).ok_or(Malformed)?)?;
                    self.stage = if size == 0 { Stage::Trailer } else { Stage::Chunk(size + 2) };
                    end + 2
                }
                Stage::Chunk(missing) => {
                    let piece = rest.get(..missing).unwrap_or(rest);
                    // The last two bytes of a chunk are its line break and no part of the body.
                    let text = piece.len().min(missing.saturating_sub(2));
                    self.body.extend_from_slice(piece.get(..text).unwrap_or_default());
                    let missing = missing - piece.len();
                    self.stage =
                        if missing == 0 { Stage::ChunkHead } else { Stage::Chunk(missing) };
                    piece.len()
                }
                Stage::Trailer => {
                    let Some(end) = memmem::find(rest, b"\r\n") else {
                        break;
                    };
                    if end == 0 {
                        self.stage = Stage::Complete;
                    }
                    end + 2
                }
                Stage::UntilClose => {
                    self.body.extend_from_slice(rest);
                    rest.len()
                }
                Stage::Complete => break,
            };
            used += step;
            if step == 0 {
                break;
            }
        }
        Ok(used)
    }

    fn read_head(&mut self, head: &[u8]) -> Result<Stage, Malformed> {
        let head = std::str::from_utf8(head).map_err(|_| Malformed)?;
        let mut lines = head.split("\r\n");
        let status =
            lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).ok_or(Malformed)?;
        self.status = status.get(..3).and_then(|code| code.parse().ok()).ok_or(Malformed)?;
        let mut stage = Stage::UntilClose;
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(Malformed)?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(|_| Malformed)?;
                stage = if length == 0 { Stage::Complete } else { Stage::Sized(length) };
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                stage = Stage::ChunkHead;
            } else if name.eq_ignore_ascii_case("connection") {
                self.closes = value.eq_ignore_ascii_case("close");
            }
        }
        self.closes |= stage == Stage::UntilClose;
        Ok(stage)
    }
}

fn chunk_size(line: &[u8]) -> Result<usize, Malformed> {
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    usize::from_str_radix(digits, 16).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &[u8], piece: usize) -> Response {
        let mut response = Response::default();
        let mut complete = false;
        for bytes in wire.chunks(piece) {
            assert!(!complete, "complete before the end");
            complete = response.feed(bytes).unwrap();
        }
        assert!(complete || response.end());
        response
    }

    #[test]
    fn any_chunking_gives_the_same_response() {
        let sized = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nx: y\r\n\r\nhello".as_slice();
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\nA;x=1\r\nlo, world!\r\n0\r\n\r\n";
        let closed = b"HTTP/1.1 200 OK\r\n\r\nhello".as_slice();
        for piece in 1..60 {
            let response = read(sized, piece);
            assert_eq!((response.status, response.body.as_slice()), (404, b"hello".as_slice()));
            assert!(!response.closes);
            let response = read(chunked, piece);
            assert_eq!(
                (response.status, response.body.as_slice()),
                (200, b"hello, world!".as_slice())
            );
            let response = read(closed, piece);
            assert_eq!(response.body, b"hello");
            assert!(response.closes);
        }
    }

    #[test]
    fn a_reset_response_reads_the_next_one() {
        let mut response =
            read(b"HTTP/1.1 500 Oops\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx", 7);
        assert!(response.closes);
        response.reset();
        assert_eq!(response.feed(b"HTTP/1.1 204 No\r\ncontent-length: 0\r\n\r\n"), Ok(true));
        assert_eq!((response.status, response.body.len(), response.closes), (204, 0, false));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert_eq!(Response::default().feed(b"SSH-2.0-x\r\n\r\n"), Err(Malformed));
    }
}
