//! Schemas as the model reads them: what does not help it to call is left out.
//!
//! Left out are the keywords `$schema`, `title`, `examples` and an `additionalProperties` that
//! says only yes or no. Only keywords: a parameter may well be called `title`. Key order, enums,
//! descriptions and the text of everything else stay. One pass over text that the door has
//! checked; what does not read as JSON here is copied as it is.

use model::Json;

/// Keywords that are left out.
const DROPPED: [&str; 3] = ["\"$schema\"", "\"title\"", "\"examples\""];

/// Keywords whose members are schemas by name.
const NAMED: [&str; 6] = [
    "\"properties\"",
    "\"patternProperties\"",
    "\"$defs\"",
    "\"definitions\"",
    "\"dependentSchemas\"",
    "\"dependencies\"",
];

/// Keywords that hold values, not schemas.
const VALUES: [&str; 4] = ["\"enum\"", "\"const\"", "\"default\"", "\"required\""];

/// What stands at a place of the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Schema,
    /// An object whose members are schemas.
    Named,
    /// Carried as it is.
    Value,
}

/// Appends the schema of a tool.
pub(super) fn push(schema: &Json, out: &mut String) {
    let start = out.len();
    let mut walk = Walk { text: schema.as_str(), at: 0, out };
    if walk.value(Kind::Schema).is_none() {
        out.truncate(start);
        out.push_str(schema.as_str());
    }
}

struct Walk<'t, 'o> {
    text: &'t str,
    at: usize,
    out: &'o mut String,
}

impl<'t> Walk<'t, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Copies the value at this place. Depth is bound where [`Json`] is made.
    fn value(&mut self, kind: Kind) -> Option<()> {
        match (self.peek()?, kind) {
            (b'{', Kind::Schema | Kind::Named) => self.object(kind),
            (b'[', Kind::Schema) => self.array(),
            _ => {
                let text = self.skip()?;
                self.out.push_str(text);
                Some(())
            }
        }
    }

    fn object(&mut self, kind: Kind) -> Option<()> {
        self.take(b'{')?;
        self.out.push('{');
        let mut first = true;
        while self.peek()? != b'}' {
            let key = self.skip()?;
            self.take(b':')?;
            if kind == Kind::Schema && self.is_dropped(key) {
                self.skip()?;
            } else {
                if !first {
                    self.out.push(',');
                }
                first = false;
                self.out.push_str(key);
                self.out.push(':');
                let inner = match kind {
                    Kind::Schema if NAMED.contains(&key) => Kind::Named,
                    Kind::Schema if VALUES.contains(&key) => Kind::Value,
                    _ => Kind::Schema,
                };
                self.value(inner)?;
            }
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        self.out.push('}');
        Some(())
    }

    fn is_dropped(&self, key: &str) -> bool {
        let told = || matches!(self.peek(), Some(b't' | b'f'));
        let empty = || self.text.as_bytes().get(self.at..self.at + 2) == Some(b"{}".as_slice());
        DROPPED.contains(&key) || (key == "\"additionalProperties\"" && (told() || empty()))
    }

    fn array(&mut self) -> Option<()> {
        self.take(b'[')?;
        self.out.push('[');
        let mut first = true;
        while self.peek()? != b']' {
            if !first {
                self.take(b',')?;
                self.out.push(',');
            }
            first = false;
            self.value(Kind::Schema)?;
        }
        self.at += 1;
        self.out.push(']');
        Some(())
    }

    /// Goes behind the value at this place and returns it.
    fn skip(&mut self) -> Option<&'t str> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    loop {
                        let rest = bytes.get(self.at..)?;
                        self.at += memchr::memchr2(b'"', b'\\', rest)?;
                        if self.peek()? == b'"' {
                            break;
                        }
                        self.at += 2;
                    }
                    self.at += 1;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                b',' | b':' => return None,
                _ => {
                    let rest = bytes.get(self.at..)?;
                    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':');
                    self.at += rest.iter().position(ends).unwrap_or(rest.len());
                }
            }
            if depth == 0 {
                return self.text.get(start..self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests;
