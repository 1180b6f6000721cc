//! Gathers fields that only the caller's own dialect understands into one [`Opaque`].

use model::{Dialect, Json, Opaque};
use serde::Deserialize;
use serde::de::MapAccess;
use serde_json::value::RawValue;

use crate::json::{compact_raw, push_string};
use crate::lenient::{ObjectVisitor, WireObject};

/// The fields of an object that its reader does not know, in their order.
///
/// Nearly always there are none, so it is no larger than a pointer: objects of the wire are moved
/// about while they are read.
#[derive(Debug, Default)]
pub(crate) struct Rest<'a>(Option<Box<Fields<'a>>>);

#[derive(Debug, Default)]
struct Fields<'a> {
    list: Vec<(String, &'a RawValue)>,
}

impl<'a> Rest<'a> {
    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value of a field; a field that is given twice counts as the last one.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.iter().filter(|(known, _)| *known == name).last().map(|(_, raw)| raw)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        let fields = self.0.iter().flat_map(|fields| &fields.list);
        fields.map(|(name, raw)| (name.as_str(), *raw))
    }
}

/// Keeps the value of a field that the reader does not know; null is absent.
pub(crate) fn keep<'de: 'a, 'a, A: MapAccess<'de>>(
    rest: &mut Rest<'a>,
    key: &str,
    map: &mut A,
) -> Result<(), A::Error> {
    if let Some(raw) = map.next_value::<Option<&'a RawValue>>()? {
        let fields = rest.0.get_or_insert_default();
        fields.list.push((key.to_owned(), raw));
    }
    Ok(())
}

/// The fields of an object that was kept as it came.
#[derive(Debug, Default)]
struct Kept<'a>(Rest<'a>);

impl<'de: 'a, 'a> WireObject<'de> for Kept<'a> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        keep(&mut self.0, key, map)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Kept<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor(std::marker::PhantomData))
    }
}

/// The fields of an object that was kept, in their order; none where it is no object.
pub(crate) fn fields(json: &Json) -> Vec<(String, &RawValue)> {
    let kept: Kept<'_> = serde_json::from_str(json.as_str()).unwrap_or_default();
    kept.0.0.map(|fields| fields.list).unwrap_or_default()
}

/// A JSON object that is put together field by field.
#[derive(Debug, Default)]
pub(crate) struct Extras(Vec<u8>);

impl Extras {
    /// Adds a field that is carried as it came.
    pub(crate) fn raw(&mut self, name: &str, raw: &RawValue) {
        // The depth of the whole body was checked, so there is always a compact form.
        if let Some(json) = compact_raw(raw) {
            self.json(name, json.as_str());
        }
    }

    /// Adds all fields that the reader does not know.
    pub(crate) fn rest(&mut self, rest: &Rest<'_>) {
        for (name, raw) in rest.iter() {
            self.raw(name, raw);
        }
    }

    /// Adds all fields that the reader does not know, but for those that it read elsewhere.
    pub(crate) fn rest_but(&mut self, rest: &Rest<'_>, known: &[&str]) {
        for (name, raw) in rest.iter().filter(|(name, _)| !known.contains(name)) {
            self.raw(name, raw);
        }
    }

    /// Adds fields of an object inside that the reader does not know; nothing without any.
    pub(crate) fn object(&mut self, name: &str, rest: &Rest<'_>) {
        let mut inner = Self::default();
        inner.rest(rest);
        if !inner.0.is_empty() {
            inner.0.push(b'}');
            self.name(name);
            self.0.append(&mut inner.0);
        }
    }

    /// Adds those fields of a list that are there.
    pub(crate) fn fields(&mut self, fields: &[(&str, Option<&RawValue>)]) {
        for (name, raw) in fields {
            if let Some(raw) = raw {
                self.raw(name, raw);
            }
        }
    }

    /// Adds a string.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        push_string(&mut self.0, text);
    }

    /// Adds a field whose value is compact JSON already.
    pub(crate) fn json(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.extend_from_slice(json.as_bytes());
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        push_string(&mut self.0, name);
        self.0.push(b':');
    }

    /// Appends the fields to an object that is being written and holds others already.
    pub(crate) fn append_to(mut self, out: &mut Vec<u8>) {
        if let Some(first) = self.0.first_mut() {
            *first = b',';
        }
        out.append(&mut self.0);
    }

    /// The object; `None` where it would be empty.
    pub(crate) fn finish(mut self, dialect: Dialect, kind: &str) -> Option<Opaque> {
        if self.0.is_empty() {
            return None;
        }
        self.0.push(b'}');
        let json = Json::from_compact(String::from_utf8(self.0).ok()?)?;
        let kind = kind.to_owned();
        Some(Opaque { dialect, kind, json })
    }
}

/// What stands beside the known fields of a turn or a tool.
pub(crate) fn from_rest(dialect: Dialect, kind: &str, rest: &Rest<'_>) -> Option<Opaque> {
    if rest.is_empty() {
        return None;
    }
    let mut extras = Extras::default();
    extras.rest(rest);
    extras.finish(dialect, kind)
}
