//! Reads wire objects leniently, and names the field at fault when even that fails.
//!
//! `null` is absent, unknown fields are skipped, a field given twice counts as the last one, and
//! only a JSON object is an object (derived structs would take an array as well). Text is parsed
//! once; only a text that fails is parsed again with its path tracked, so that good requests do
//! not pay for it. Strings are moved into the model, never copied.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::marker::PhantomData;

use model::{Failure, FailureKind};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::Segment;

/// What is wrong with a field; kept as the source of the [`Failure`] for dialects that have a
/// code for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldProblem {
    /// It must be there and is not.
    Missing,
    /// It has the wrong JSON type.
    WrongType,
    /// Its value is out of bounds or unknown.
    BadValue,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "field missing",
            Self::WrongType => "field of the wrong type",
            Self::BadValue => "field with a bad value",
        })
    }
}

impl std::error::Error for FieldProblem {}

/// How a dialect writes the path of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathStyle {
    /// `messages[0].content`
    Brackets,
    /// `messages.0.content`
    Dots,
}

impl PathStyle {
    /// A 400 for a field.
    pub(crate) fn refuse(self, problem: FieldProblem, path: &str, why: &str) -> Failure {
        let why = cut(why);
        let message = match (self, problem) {
            (Self::Brackets, FieldProblem::Missing) => {
                format!("Missing required parameter: '{path}'.")
            }
            (Self::Brackets, FieldProblem::WrongType) => {
                format!("Invalid type for '{path}': {why}.")
            }
            (Self::Brackets, FieldProblem::BadValue) => {
                format!("Invalid value for '{path}': {why}.")
            }
            (Self::Dots, FieldProblem::Missing) => format!("{path}: Field required"),
            (Self::Dots, FieldProblem::WrongType | FieldProblem::BadValue) => {
                format!("{path}: {why}")
            }
        };
        Failure::new(FailureKind::BadRequest, message).with_param(path).with_source(problem)
    }

    /// A 400 for something that is understood but cannot be carried.
    pub(crate) fn unsupported(self, path: &str, why: &str) -> Failure {
        let why = cut(why);
        let message = match self {
            Self::Brackets => format!("Unsupported parameter: '{path}' {why}."),
            Self::Dots => format!("{path}: {why}"),
        };
        Failure::new(FailureKind::Unsupported, message).with_param(path)
    }

    fn render(self, path: &serde_path_to_error::Path) -> String {
        let mut text = String::new();
        for segment in path {
            match (segment, self) {
                (Segment::Seq { index }, Self::Brackets) => {
                    let _ = write!(text, "[{index}]");
                }
                (segment, _) => {
                    let name = match segment {
                        Segment::Seq { index } => Cow::Owned(index.to_string()),
                        Segment::Map { key } => Cow::Borrowed(key.as_str()),
                        Segment::Enum { variant } => Cow::Borrowed(variant.as_str()),
                        Segment::Unknown => Cow::Borrowed("?"),
                    };
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(&name);
                }
            }
        }
        text
    }
}

/// Parses a whole text.
///
/// # Errors
/// [`FailureKind::BadRequest`] naming the field, or the place where the text stops being JSON.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str, style: PathStyle) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|first| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let tracked = serde_path_to_error::deserialize::<_, T>(&mut deserializer);
        match tracked {
            Err(error) if error.inner().is_data() => {
                let path = style.render(error.path());
                let why = plain(error.inner());
                if path.is_empty() {
                    Failure::new(
                        FailureKind::BadRequest,
                        format!("The request body: {}.", cut(&why)),
                    )
                } else {
                    style.refuse(FieldProblem::WrongType, &path, &why)
                }
            }
            _ => Failure::new(
                FailureKind::BadRequest,
                format!("The request body is not valid JSON: {first}."),
            ),
        }
    })
}

/// The parser's words in those of JSON, without line and column.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rfind(" at line ").and_then(|at| text.get(..at)).unwrap_or(&text);
    let text = text.strip_prefix("invalid type: ").unwrap_or(text);
    let text = text.strip_suffix("f64").map_or(Cow::Borrowed(text), |rest| {
        // The parser names numbers in its own language.
        Cow::Owned(format!("{rest}a number"))
    });
    for (inner, outer) in [("sequence, ", "array, "), ("map, ", "object, ")] {
        if let Some(rest) = text.strip_prefix(inner) {
            return format!("{outer}{rest}");
        }
    }
    text.into_owned()
}

/// No more of a text that quotes the caller than helps.
fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(240) {
        Some((at, _)) => Cow::Owned(format!("{}…", text.get(..at).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// A short word of the wire (a `type`, a `role`), borrowed where it holds no escape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a>(Cow<'a, str>);

impl std::ops::Deref for Word<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordVisitor;
        impl<'de> Visitor<'de> for WordVisitor {
            type Value = Word<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Word<'de>, E> {
                Ok(Word(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word<'de>, E> {
                Ok(Word(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(WordVisitor)
    }
}

/// A whole number. `8192.0` counts as one, because some clients write all numbers like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) i128);

impl Count {
    /// The number where it is within `low..=high`.
    pub(crate) fn within(self, low: u64, high: u64) -> Option<u64> {
        u64::try_from(self.0).ok().filter(|count| (low..=high).contains(count))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;
        impl Visitor<'_> for CountVisitor {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Count, E> {
                Ok(Count(number.into()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Count, E> {
                Ok(Count(number.into()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Count, E> {
                if number.fract() == 0.0 && number.abs() < 9e15 {
                    #[expect(clippy::cast_possible_truncation, reason = "whole and bounded")]
                    return Ok(Count(number as i128));
                }
                Err(E::custom(format_args!("expected an integer, got {number}")))
            }
        }
        deserializer.deserialize_any(CountVisitor)
    }
}

/// A string, or a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TextOr<T> {
    /// The short form.
    Text(String),
    /// The long form.
    Items(Vec<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextOr<T>, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<TextOr<T>, E> {
                Ok(TextOr::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TextOr<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(TextOr::Items(list))
            }
        }
        deserializer.deserialize_any(TextOrVisitor(PhantomData))
    }
}

/// A string, or an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TextOrObject<T> {
    /// The short form.
    Text(String),
    /// The long form.
    Object(T),
}

impl<'de, T: WireObject<'de>> Deserialize<'de> for TextOrObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: WireObject<'de>> Visitor<'de> for TextOrObjectVisitor<T> {
            type Value = TextOrObject<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextOrObject<T>, E> {
                Ok(TextOrObject::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<TextOrObject<T>, E> {
                Ok(TextOrObject::Text(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextOrObject<T>, A::Error> {
                ObjectVisitor(PhantomData).visit_map(map).map(TextOrObject::Object)
            }
        }
        deserializer.deserialize_any(TextOrObjectVisitor(PhantomData))
    }
}

/// An object of the wire, all of whose fields are optional. Made by [`wire_object`].
pub(crate) trait WireObject<'de>: Default {
    /// Reads the value of `key` into its field, or skips it.
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Reads any [`WireObject`].
pub(crate) struct ObjectVisitor<T>(pub(crate) PhantomData<T>);

impl<'de, T: WireObject<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut object = T::default();
        while let Some(key) = map.next_key::<Word<'de>>()? {
            object.field(&key, &mut map)?;
        }
        Ok(object)
    }
}

/// Skips a value.
pub(crate) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

/// Defines an object of the wire: a struct of optional fields, each with its key.
///
/// With `rest` behind it, fields of other names are kept in a field `rest`; otherwise they are
/// skipped.
macro_rules! wire_object {
    ($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? { $($key:literal => $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name $(<$life>)? { $(pub(super) $field: Option<$type>,)* }

        impl<'de $(: $life, $life)?> $crate::lenient::WireObject<'de> for $name $(<$life>)? {
            fn field<A: serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut A,
            ) -> Result<(), A::Error> {
                match key {
                    $($key => self.$field = map.next_value()?,)*
                    _ => $crate::lenient::skip(map)?,
                }
                Ok(())
            }
        }

        $crate::lenient::wire_object! { @read $name $(<$life>)? }
    };
    ($(#[$doc:meta])* $name:ident <$life:lifetime> { $($key:literal => $field:ident: $type:ty,)* } rest) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name<$life> {
            $(pub(super) $field: Option<$type>,)*
            /// Fields of other names.
            pub(super) rest: $crate::extras::Rest<$life>,
        }

        impl<'de: $life, $life> $crate::lenient::WireObject<'de> for $name<$life> {
            fn field<A: serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut A,
            ) -> Result<(), A::Error> {
                match key {
                    $($key => self.$field = map.next_value()?,)*
                    _ => $crate::extras::keep(&mut self.rest, key, map)?,
                }
                Ok(())
            }
        }

        $crate::lenient::wire_object! { @read $name<$life> }
    };
    (@read $name:ident $(<$life:lifetime>)?) => {
        impl<'de $(: $life, $life)?> serde::Deserialize<'de> for $name $(<$life>)? {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_map($crate::lenient::ObjectVisitor(std::marker::PhantomData))
            }
        }
    };
}
pub(crate) use wire_object;
