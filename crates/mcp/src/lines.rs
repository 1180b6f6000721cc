//! Reads newline-delimited JSON with a cap on the length of a line.

use std::io;

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::ids::{Found, IdScanner};

/// How much is read at once.
const READ: usize = 64 * 1024;

/// One line of input.
#[derive(Debug)]
pub(crate) enum Line {
    /// A line without its line break; never empty.
    Whole(Bytes),
    /// A line above the cap was skipped; its id, if one was found.
    TooLong(Option<Found>),
}

/// Splits input into lines.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    source: R,
    buffer: BytesMut,
    /// Bytes at the front of `buffer` that hold no line break.
    searched: usize,
    max: usize,
    /// Set while a line above the cap is being skipped.
    skipping: Option<IdScanner>,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(source: R, max: usize) -> Self {
        Self { source, buffer: BytesMut::new(), searched: 0, max, skipping: None }
    }

    /// The next line, or `None` at the end of input. An unterminated last line is a line.
    ///
    /// Cancel-safe: a dropped call loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            self.buffer.reserve(READ);
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                return Ok(self.take_rest());
            }
        }
    }

    /// Reads on without looking at what comes, as long as the buffer holds less than one line may
    /// have; `false` at the end of input.
    ///
    /// Cancel-safe. Waits for ever once the buffer is full.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        if self.buffer.len() > self.max {
            std::future::pending::<()>().await;
        }
        self.buffer.reserve(READ);
        Ok(self.source.read_buf(&mut self.buffer).await? > 0)
    }

    /// A line that is complete in the buffer.
    fn take_line(&mut self) -> Option<Line> {
        loop {
            let unseen = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(offset) = memchr(b'\n', unseen) else {
                self.searched = self.buffer.len();
                if self.searched > self.max || self.skipping.is_some() {
                    self.skip_buffer();
                }
                return None;
            };
            let mut line = self.buffer.split_to(self.searched + offset + 1);
            self.searched = 0;
            line.truncate(line.len() - 1);
            if let Some(line) = self.close_line(line) {
                return Some(line);
            }
        }
    }

    fn take_rest(&mut self) -> Option<Line> {
        let rest = self.buffer.split();
        self.searched = 0;
        self.close_line(rest)
    }

    /// Turns the bytes up to a line break into a line; `None` for an empty one.
    fn close_line(&mut self, mut line: BytesMut) -> Option<Line> {
        if let Some(mut scanner) = self.skipping.take() {
            scanner.push(&line);
            return Some(Line::TooLong(scanner.finish()));
        }
        if line.len() > self.max {
            let mut scanner = IdScanner::default();
            scanner.push(&line);
            return Some(Line::TooLong(scanner.finish()));
        }
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.truncate(line.len() - 1);
        }
        let start = line.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let line = line.split_off(start);
        if line.is_empty() { None } else { Some(Line::Whole(line.freeze())) }
    }

    /// Drops what is buffered of a line above the cap, keeping only what the scanner saw.
    fn skip_buffer(&mut self) {
        self.skipping.get_or_insert_default().push(&self.buffer);
        self.buffer.clear();
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, LineReader};
    use proptest::prelude::*;

    /// Reads everything from input that arrives in the given pieces.
    fn read(chunks: Vec<Vec<u8>>, max: usize) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut near, far) = tokio::io::duplex(16);
            let feed = async move {
                for chunk in chunks {
                    tokio::io::AsyncWriteExt::write_all(&mut near, &chunk).await.unwrap();
                }
            };
            let collect = async {
                let mut reader = LineReader::new(far, max);
                let mut lines = Vec::new();
                while let Some(line) = reader.next().await.unwrap() {
                    lines.push(match line {
                        Line::Whole(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                        Line::TooLong(found) => format!("too long {:?}", found.map(|f| f.id)),
                    });
                }
                lines
            };
            tokio::join!(feed, collect).1
        })
    }

    #[test]
    fn splits_trims_and_skips_empty_lines() {
        let lines = read(vec![b"a\r\n\n  \nbc\n d".to_vec()], 100);
        assert_eq!(lines, ["a", "bc", "d"]);
    }

    #[test]
    fn a_line_above_the_cap_is_skipped_with_its_id() {
        let long = format!("{{\"result\":\"{}\",\"id\":\"s-3\"}}\n{{}}\n", "x".repeat(500));
        assert_eq!(read(vec![long.into_bytes()], 64), ["too long Some(\"\\\"s-3\\\"\")", "{}"]);
    }

    proptest! {
        #[test]
        fn chunking_does_not_matter(
            text in "[a-z\"{}\n\r ]{0,120}", cuts in proptest::collection::vec(1usize..20, 0..12),
        ) {
            let whole = read(vec![text.clone().into_bytes()], 30);
            let mut rest = text.as_bytes();
            let mut chunks = Vec::new();
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                chunks.push(head.to_vec());
                rest = tail;
            }
            chunks.push(rest.to_vec());
            prop_assert_eq!(read(chunks, 30), whole);
        }
    }
}
