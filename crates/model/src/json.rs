//! JSON text that is carried, never interpreted.

use std::fmt;
use std::sync::Arc;

/// JSON text on one line, with key order and number text as they came.
///
/// Tool schemas and tool arguments travel like this, so that what a caller wrote is what an
/// upstream reads. Made by `dialects`, which checks depth and removes white space outside
/// strings; this type only guarantees the one thing that line-framed wires depend on: there is no
/// raw control character in it, so it can end neither a JSON-RPC line nor an SSE line.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

impl Json {
    /// Wraps compact JSON text; `None` if it holds a raw control character.
    pub fn from_compact(text: impl Into<Arc<str>>) -> Option<Self> {
        let text: Arc<str> = text.into();
        if text.bytes().any(|byte| byte < 0x20) { None } else { Some(Self(text)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn refuses_what_would_break_a_line() {
        for text in ["{\n}", "{\r}", "[\t1]", "\u{0}"] {
            assert_eq!(Json::from_compact(text), None, "{text:?}");
        }
        assert_eq!(
            Json::from_compact(r#"{"a":"\n"}"#).map(|json| json.as_str().to_owned()),
            Some(r#"{"a":"\n"}"#.to_owned())
        );
    }
}
