//! Finds the `id` of a JSON-RPC message without parsing it.
//!
//! A line above the cap, or one that is not valid JSON, still has to fail the request that it
//! answers. Its `id` may stand before or behind a result of any size (the TypeScript SDK writes
//! it last), so this scanner looks at every byte once and remembers next to nothing.

/// Longest id that is looked at; ours have at most 22 bytes.
const MAX_ID: usize = 64;

/// An incremental scanner for the top-level `"id"` of one JSON object.
#[derive(Debug, Default)]
pub(crate) struct IdScanner {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// Bytes of the string at depth 1 that is being read, or of the value of `id`.
    capture: Vec<u8>,
    overflow: bool,
    expects: Expects,
    /// Whether a top-level key `method` was seen: then the message is not an answer.
    method: bool,
    found: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Expects {
    #[default]
    Key,
    Colon,
    Value,
}

/// What was found in a message that could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The raw JSON text of the id.
    pub(crate) id: String,
    /// Whether it was a request (it had a `method`) rather than an answer.
    pub(crate) is_request: bool,
}

impl IdScanner {
    /// Looks at the next bytes of the message.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.step(byte);
        }
    }

    /// Ends the message.
    pub(crate) fn finish(mut self) -> Option<Found> {
        self.end_scalar();
        let id = String::from_utf8(self.found?).ok()?;
        Some(Found { id, is_request: self.method })
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            self.keep(byte);
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
                if self.depth == 1 {
                    self.end_string();
                }
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 {
                    if self.expects == Expects::Key {
                        self.capture.clear();
                        self.overflow = false;
                    }
                    self.keep(byte);
                }
            }
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_scalar();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if self.depth == 1 && self.expects == Expects::Colon => {
                let key = std::mem::take(&mut self.capture);
                self.method |= key == b"\"method\"";
                self.expects = if key == b"\"id\"" { Expects::Value } else { Expects::Key };
                if self.expects == Expects::Key {
                    // Any other value is skipped: its strings look like keys, but only a key is
                    // followed by a colon.
                    self.capture.clear();
                }
            }
            b',' if self.depth == 1 => {
                self.end_scalar();
                self.expects = Expects::Key;
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if self.depth == 1 && self.expects == Expects::Value => self.keep(byte),
            _ => {}
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth != 1 {
            return;
        }
        if self.capture.len() < MAX_ID {
            self.capture.push(byte);
        } else {
            self.overflow = true;
        }
    }

    fn end_string(&mut self) {
        match self.expects {
            Expects::Key => self.expects = Expects::Colon,
            Expects::Value => self.end_scalar(),
            Expects::Colon => {}
        }
    }

    fn end_scalar(&mut self) {
        if self.expects == Expects::Value && !self.capture.is_empty() {
            if !self.overflow && self.found.is_none() {
                self.found = Some(std::mem::take(&mut self.capture));
            }
            self.capture.clear();
            self.expects = Expects::Key;
        } else if self.expects == Expects::Colon {
            // A string value of another key: it was taken for a key until now.
            self.expects = Expects::Key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, IdScanner};
    use proptest::prelude::*;

    fn scan(chunks: &[&[u8]]) -> Option<Found> {
        let mut scanner = IdScanner::default();
        for chunk in chunks {
            scanner.push(chunk);
        }
        scanner.finish()
    }

    fn answer(id: &str) -> Found {
        Found { id: id.to_owned(), is_request: false }
    }

    #[test]
    fn finds_the_id_wherever_it_stands() {
        let last = br#"{"result":{"id":"x","content":[{"id":3}]},"jsonrpc":"2.0","id":"s-7"}"#;
        assert_eq!(scan(&[last]), Some(answer("\"s-7\"")));
        let first = br#"{"jsonrpc":"2.0","id":"s-7","result":{"a":"\"id\":\"s-9\""}}"#;
        assert_eq!(scan(&[first]), Some(answer("\"s-7\"")));
        assert_eq!(scan(&[br#"{ "id" : 12 , "error":{}}"#]), Some(answer("12")));
        assert_eq!(scan(&[br#"{"a":"id","id":12}"#]), Some(answer("12")));
        assert_eq!(
            scan(&[br#"{"method":"ping","id":12}"#]),
            Some(Found { id: "12".into(), is_request: true })
        );
        assert_eq!(
            scan(&[br#"{"jsonrpc":"2.0","id":"s-7","result":{"broken"#]),
            Some(answer("\"s-7\""))
        );
        for none in [&br#"{"a":1}"#[..], b"garbage", b"", br#"[{"id":1}]"#, br#"{"id""#] {
            assert_eq!(scan(&[none]), None, "{}", String::from_utf8_lossy(none));
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_chunks_do_not_matter(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200,
        ) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(scan(&[&bytes]), scan(&[&bytes[..cut], &bytes[cut..]]));
        }

        #[test]
        fn finds_ours_in_any_object(before in "[a-z{}\":,\\\\]{0,20}", after in "\\PC{0,20}") {
            let line = format!(
                "{{{}:{},\"id\":\"s-42\",\"z\":{}}}",
                serde_json::json!("k"), serde_json::json!(before), serde_json::json!(after)
            );
            prop_assert_eq!(scan(&[line.as_bytes()]), Some(answer("\"s-42\"")));
        }
    }
}
