//! The result of `sampling/createMessage` as hosts really send it.
//!
//! Read by hand and not by derive: a host that sends `"model":null`, a number where a string
//! should be, the same key twice or a bare string as content has still answered, and a person
//! may have clicked for that answer.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A result, in any of its shapes.
#[derive(Debug, Default)]
pub(super) struct SamplingResult<'a> {
    pub(super) content: Option<Content<'a>>,
    pub(super) model: Option<String>,
    pub(super) stop_reason: Option<String>,
    pub(super) task: Option<Task>,
}

/// `content`: one block or several; `None` stands for something that is no block.
#[derive(Debug, Default)]
pub(super) struct Content<'a>(pub(super) Vec<Option<ContentBlock<'a>>>);

/// One block, with the fields of all kinds together.
#[derive(Debug, Default)]
pub(super) struct ContentBlock<'a> {
    pub(super) kind: Option<String>,
    pub(super) text: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) input: Option<&'a RawValue>,
}

/// `task` of a task-augmented call.
#[derive(Debug, Default)]
pub(super) struct Task {
    pub(super) id: Option<String>,
}

/// A string, or `None` for anything else.
struct MaybeString(Option<String>);

/// A value that tolerates every JSON: `$kept` handles what it wants, the rest becomes `$other`.
macro_rules! tolerate {
    ($other:expr; $($name:ident($type:ty)),*) => {
        $(fn $name<E: Error>(self, _: $type) -> Result<Self::Value, E> { Ok($other) })*
    };
}

struct MaybeStringVisitor;

impl<'de> Visitor<'de> for MaybeStringVisitor {
    type Value = MaybeString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<MaybeString, E> {
        Ok(MaybeString(Some(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<MaybeString, E> {
        Ok(MaybeString(Some(text)))
    }

    fn visit_unit<E: Error>(self) -> Result<MaybeString, E> {
        Ok(MaybeString(None))
    }

    tolerate!(MaybeString(None); visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<MaybeString, A::Error> {
        skip_seq(seq)?;
        Ok(MaybeString(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MaybeString, A::Error> {
        skip_map(map)?;
        Ok(MaybeString(None))
    }
}

impl<'de> Deserialize<'de> for MaybeString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaybeStringVisitor)
    }
}

struct TaskVisitor;

impl<'de> Visitor<'de> for TaskVisitor {
    type Value = Task;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a task")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Task, E> {
        Ok(Task::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Task, E> {
        Ok(Task::default())
    }

    tolerate!(Task::default(); visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Task, A::Error> {
        skip_seq(seq)?;
        Ok(Task::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Task, A::Error> {
        let mut task = Task::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "taskId" {
                task.id = map.next_value::<MaybeString>()?.0;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(task)
    }
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TaskVisitor)
    }
}

/// A block, or `None` for anything that is none.
struct MaybeBlock<'a>(Option<ContentBlock<'a>>);

struct BlockVisitor;

impl<'de> Visitor<'de> for BlockVisitor {
    type Value = MaybeBlock<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a content block")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<MaybeBlock<'de>, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<MaybeBlock<'de>, E> {
        Ok(MaybeBlock(Some(ContentBlock { text: Some(text), ..ContentBlock::default() })))
    }

    fn visit_unit<E: Error>(self) -> Result<MaybeBlock<'de>, E> {
        Ok(MaybeBlock(None))
    }

    tolerate!(MaybeBlock(None); visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<MaybeBlock<'de>, A::Error> {
        skip_seq(seq)?;
        Ok(MaybeBlock(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MaybeBlock<'de>, A::Error> {
        Ok(MaybeBlock(Some(read_block(map)?)))
    }
}

impl<'de> Deserialize<'de> for MaybeBlock<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BlockVisitor)
    }
}

fn read_block<'de, A: MapAccess<'de>>(mut map: A) -> Result<ContentBlock<'de>, A::Error> {
    let mut block = ContentBlock::default();
    while let Some(key) = map.next_key::<Cow<'de, str>>()? {
        match key.as_ref() {
            "type" => block.kind = map.next_value::<MaybeString>()?.0,
            "text" => block.text = map.next_value::<MaybeString>()?.0,
            "id" => block.id = map.next_value::<MaybeString>()?.0,
            "name" => block.name = map.next_value::<MaybeString>()?.0,
            "input" => block.input = Some(map.next_value()?),
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    Ok(block)
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Option<Content<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a content block or an array of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        let block = ContentBlock { text: Some(text), ..ContentBlock::default() };
        Ok(Some(Content(vec![Some(block)])))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    tolerate!(None; visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut blocks = Vec::new();
        while let Some(MaybeBlock(block)) = seq.next_element()? {
            blocks.push(block);
        }
        Ok(Some(Content(blocks)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(Some(Content(vec![Some(read_block(map)?)])))
    }
}

struct MaybeContent<'a>(Option<Content<'a>>);

impl<'de> Deserialize<'de> for MaybeContent<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor).map(MaybeContent)
    }
}

struct ResultVisitor;

impl<'de> Visitor<'de> for ResultVisitor {
    type Value = SamplingResult<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the result of a sampling request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SamplingResult<'de>, A::Error> {
        let mut result = SamplingResult::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "content" => result.content = map.next_value::<MaybeContent<'de>>()?.0,
                "model" => result.model = map.next_value::<MaybeString>()?.0,
                "stopReason" => result.stop_reason = map.next_value::<MaybeString>()?.0,
                "task" => result.task = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(result)
    }
}

impl<'de> Deserialize<'de> for SamplingResult<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ResultVisitor)
    }
}

fn skip_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}
