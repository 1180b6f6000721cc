//! Writes JSON objects field by field.

use super::{push_number, push_string};

/// One object that is being written. [`end`](Self::end) closes it.
#[derive(Debug)]
pub(crate) struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> ObjectWriter<'o> {
    /// Opens an object.
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Adds a key; its value must be appended next.
    pub(crate) fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        push_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// Adds a string.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        push_string(self.key(name), text);
    }

    /// Adds a string where there is one.
    pub(crate) fn some_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// Adds what is JSON already.
    pub(crate) fn json(&mut self, name: &str, json: &str) {
        self.key(name).extend_from_slice(json.as_bytes());
    }

    /// Adds a whole number where there is one.
    pub(crate) fn some_number(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            push_number(self.key(name), number);
        }
    }

    /// Adds a number where there is one that JSON can hold.
    pub(crate) fn some_float(&mut self, name: &str, number: Option<f64>) {
        if let Some(number) = number.filter(|number| number.is_finite()) {
            self.json(name, &number.to_string());
        }
    }

    /// Adds `true` or `false` where it is known.
    pub(crate) fn some_flag(&mut self, name: &str, flag: Option<bool>) {
        if let Some(flag) = flag {
            self.json(name, if flag { "true" } else { "false" });
        }
    }

    /// Adds an object whose fields are written by `fields`.
    pub(crate) fn object(&mut self, name: &str, fields: impl FnOnce(&mut ObjectWriter<'_>)) {
        push_object(self.key(name), fields);
    }

    /// Adds a list whose items are each appended by `item`.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        item: impl FnMut(&mut Vec<u8>, T),
    ) {
        push_list(self.key(name), items, item);
    }

    /// Closes the object.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Appends an object whose fields are written by `fields`.
pub(crate) fn push_object(out: &mut Vec<u8>, fields: impl FnOnce(&mut ObjectWriter<'_>)) {
    let mut object = ObjectWriter::new(out);
    fields(&mut object);
    object.end();
}

/// Appends a list whose items are each appended by `item`.
pub(crate) fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut item: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    let start = out.len();
    for each in items {
        if out.len() > start {
            out.push(b',');
        }
        item(out, each);
    }
    out.push(b']');
}
