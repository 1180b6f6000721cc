//! Answers of a given shape from models that only write text.
//!
//! What it is: the words that ask for JSON, and the check of what comes back: fences and prose
//! around it are removed, the rest must be JSON, and JSON by the caller's schema. What it is *not*:
//! a constraint on the model. The upstream asks once more, then the call fails.
//!
//! A caller's schema is data (`schema` below): nothing that it refers to is fetched, its patterns
//! run on a linear engine, and a schema that would take too long to check is refused. Compiling and
//! checking can still take milliseconds, so callers do both off the async threads.

mod schema;

use model::{Failure, FailureKind, Loss, LossSet, OutputFormat, ParamsMode};
use serde_json::Value;

use schema::Schema;

/// The shape of an answer, ready to be asked for and checked.
#[derive(Debug)]
pub struct OutputCheck {
    instructions: String,
    /// `None` for any JSON object.
    schema: Option<Schema>,
    strict: bool,
    losses: LossSet,
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// One sentence without a full stop, for the model and for the caller.
    pub why: String,
    /// The JSON in the answer, where there is some that only breaks the schema.
    pub json: Option<String>,
}

impl OutputCheck {
    /// Prepares the check of a format; `None` where any text will do.
    ///
    /// # Errors
    /// [`FailureKind::BadRequest`] naming `response_format` where the schema is none, refers to
    /// another document, or cannot be checked in bounded time.
    pub fn new(format: &OutputFormat, mode: ParamsMode) -> Result<Option<Self>, Failure> {
        let (name, description, schema, strict) = match format {
            OutputFormat::Text => return Ok(None),
            OutputFormat::JsonObject => {
                let instructions = format!("{HEAD}It must be a JSON object (`{{…}}`).");
                let losses = [Loss::OutputPrompted].into_iter().collect();
                return Ok(Some(Self { instructions, schema: None, strict: true, losses }));
            }
            OutputFormat::JsonSchema { name, description, schema, strict } => {
                (name, description, schema, strict)
            }
        };
        let refuse = |why: String| {
            let why = format!("The JSON Schema of the answer cannot be used: {why}.");
            Failure::new(FailureKind::BadRequest, why).with_param("response_format")
        };
        let mut losses: LossSet = [Loss::OutputPrompted].into_iter().collect();
        let compiled = match Schema::read(schema.as_str()) {
            Ok(compiled) => Some(compiled),
            // Lenient requests are still answered with JSON; that it is not checked is named.
            Err(_) if mode == ParamsMode::Lenient => {
                losses.insert(Loss::OutputMismatch);
                None
            }
            Err(why) => return Err(refuse(why)),
        };
        if compiled.as_ref().is_some_and(Schema::leaves_patterns_unchecked) {
            losses.insert(Loss::OutputPattern);
        }
        let mut instructions = String::from(HEAD);
        instructions.push_str("It must be valid against this JSON Schema");
        if let Some(name) = name {
            instructions.push_str(" (`");
            instructions.extend(name.chars().filter(|c| !c.is_control()).take(80));
            instructions.push_str("`)");
        }
        instructions.push_str(":\n<json_schema>\n");
        instructions.push_str(schema.as_str());
        instructions.push_str("\n</json_schema>");
        if let Some(description) = description {
            instructions.push('\n');
            instructions.push_str(description);
        }
        let strict = strict.unwrap_or(false);
        Ok(Some(Self { instructions, schema: compiled, strict, losses }))
    }

    /// What the model is told in the system prompt.
    pub fn instructions(&self) -> &str {
        &self.instructions
    }

    /// One line for the end of the last message, since hosts may drop the system prompt.
    pub const REMINDER: &'static str =
        "(Answer with the JSON value only: no prose, no code fence.)";

    /// Whether JSON that breaks the schema is a failure, and not just named as a loss.
    pub const fn is_strict(&self) -> bool {
        self.strict
    }

    /// What is lost by asking in words.
    pub const fn losses(&self) -> LossSet {
        self.losses
    }

    /// What the model is told when its answer would not do.
    pub fn ask_again(mismatch: &Mismatch) -> String {
        format!(
            "That answer cannot be used: {}. Answer again with the JSON value only, no prose and \
             no code fence.",
            mismatch.why
        )
    }

    /// Checks an answer and returns the JSON in it as the model wrote it, without what stood
    /// around it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, answer: &str) -> Result<String, Mismatch> {
        let Some((json, value)) = find_json(answer) else {
            return Err(Mismatch { why: "it holds no complete JSON value".to_owned(), json: None });
        };
        let wrong = match &self.schema {
            None if value.is_object() => None,
            None => Some("it is JSON, but not an object".to_owned()),
            Some(schema) => schema.check(&value).err(),
        };
        match wrong {
            None => Ok(json.to_owned()),
            Some(why) => {
                let json = self.schema.is_some().then(|| json.to_owned());
                Err(Mismatch { why, json })
            }
        }
    }
}

const HEAD: &str = "# Format of your answer\n\
    Unless you call a tool, answer with exactly one JSON value and nothing else: no prose before \
    or after it, no Markdown, no code fence.\n";

/// The JSON in an answer: all of it, else what stands in its first code fence, else the first
/// object or array in it.
fn find_json(answer: &str) -> Option<(&str, Value)> {
    let whole = answer.trim().trim_start_matches('\u{feff}').trim();
    if let Ok(value) = serde_json::from_str(whole) {
        return Some((whole, value));
    }
    if let Some(inside) = fenced(whole)
        && let Ok(value) = serde_json::from_str(inside)
    {
        return Some((inside, value));
    }
    // Few tries: prose before the value seldom holds a bracket, and each try costs a parse.
    let openings = whole.match_indices(['{', '[']).take(8);
    for (at, _) in openings {
        let rest = whole.get(at..)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        if let Some(Ok(value)) = values.next() {
            return Some((rest.get(..values.byte_offset())?, value));
        }
    }
    None
}

/// What stands in the first code fence.
fn fenced(text: &str) -> Option<&str> {
    let (_, behind) = text.split_once("```")?;
    let (_, inside) = behind.split_once('\n')?;
    let end = inside.rfind("```").unwrap_or(inside.len());
    inside.get(..end).map(str::trim)
}

#[cfg(test)]
mod tests;
