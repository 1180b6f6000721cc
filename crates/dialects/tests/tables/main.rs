//! The tables of `docs/wire/` against the code.
//!
//! Every parameter that a reader knows stands in its page, and every row of a page holds: a
//! minimal request with that parameter is refused by its name, loses exactly what the row says, or
//! loses nothing. `samples.rs` has a value for each parameter and class, so a row of another class
//! asks for another sample. What a host without tools loses besides is no matter of these tables.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
#![expect(clippy::panic, reason = "the same")]

mod errors;
mod page;
mod samples;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use dialects::anthropic_messages::{self, ApiVersion};
use dialects::mcp_sampling::{Asking, Priorities, SamplingOptions, ToolUse, write_request};
use dialects::structured_output::OutputCheck;
use dialects::{ToolTable, openai_chat, openai_responses};
use model::{CompletionRequest, Dialect, Failure, FailureKind, Loss, LossSet, ParamsMode};
use serde_json::{Value, json};

use page::{Class, Row};

const DIALECTS: [Dialect; 3] =
    [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages];

/// A file of the project.
fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn page_of(dialect: Dialect) -> String {
    file(&format!("docs/wire/{dialect}.md"))
}

/// The parameters that the reader of a dialect knows by name, from its source.
fn known(dialect: Dialect) -> BTreeSet<String> {
    let (folder, start) = match dialect {
        Dialect::OpenAiChat => ("openai_chat", "    Request<'a> {"),
        Dialect::OpenAiResponses => ("openai_responses", "WireObject<'de> for Body<'a> {"),
        Dialect::AnthropicMessages => ("anthropic_messages", "    Request<'a> {"),
    };
    let source = file(&format!("crates/dialects/src/{folder}/wire.rs"));
    let (_, body) = source.split_once(start).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let keys = body.lines().filter_map(|line| line.trim().strip_prefix('"'));
    let keys = keys.filter_map(|line| line.split_once("\" => ")).map(|(key, _)| key.to_owned());
    keys.collect()
}

/// Reads a request, and writes it for a host that has everything MCP knows; what is lost.
fn effect(
    dialect: Dialect,
    version: ApiVersion,
    mode: ParamsMode,
    body: &Value,
) -> Result<LossSet, Failure> {
    let body = body.to_string();
    let body = body.as_bytes();
    let request = match dialect {
        Dialect::OpenAiChat => openai_chat::read_request(body, mode)?.request,
        Dialect::OpenAiResponses => openai_responses::read_request(body, mode)?.request,
        Dialect::AnthropicMessages => {
            anthropic_messages::read_request(body, version, mode)?.request
        }
    };
    carried(&request)
}

fn carried(request: &CompletionRequest) -> Result<LossSet, Failure> {
    let options = SamplingOptions {
        default_max_tokens: 8192,
        max_tokens_cap: None,
        hints: true,
        priorities: Priorities::default(),
        task_ttl_ms: None,
    };
    let table = ToolTable::new(request)?;
    let output = OutputCheck::new(&request.output, request.mode)?;
    let tools = if table.entries().is_empty() { ToolUse::None } else { ToolUse::Native(&table) };
    let asking = Asking { request, tools, output: output.as_ref(), follow_up: None };
    let losses = write_request(&asking, &options, &mut Vec::new())?;
    Ok(losses.union(request.losses).union(table.losses()))
}

/// The body with a sample of one row laid over the least that a request must hold.
fn body_with(dialect: Dialect, sample: &Value) -> Value {
    let mut body = match dialect {
        Dialect::OpenAiChat => {
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
        }
        Dialect::OpenAiResponses => json!({"model": "m", "input": "hi"}),
        Dialect::AnthropicMessages => {
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
        }
    };
    for (key, value) in sample.as_object().unwrap() {
        body.as_object_mut().unwrap().insert(key.clone(), value.clone());
    }
    body
}

#[test]
fn every_parameter_that_is_read_stands_in_its_page_and_the_other_way_round() {
    for dialect in DIALECTS {
        let known = known(dialect);
        assert!(known.len() > 15, "{dialect}: {known:?}");
        let rows = page::request_rows(&page_of(dialect));
        let named: BTreeSet<String> =
            rows.iter().flat_map(|row| &row.names).map(|name| root(name).to_owned()).collect();
        let missing: Vec<_> = known.difference(&named).collect();
        assert!(missing.is_empty(), "docs/wire/{dialect}.md does not name {missing:?}");
        for row in &rows {
            for name in row.names.iter().map(|name| root(name)) {
                // What nobody reads can only be ignored. This reader keeps what it does not know.
                let kept = dialect == Dialect::OpenAiResponses;
                assert!(
                    known.contains(name) || kept || row.class == Class::Ignored,
                    "docs/wire/{dialect}.md: nobody reads `{name}`, so it is not {:?}",
                    row.class
                );
            }
        }
    }
}

/// The top-level field of a name with dots.
fn root(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

#[test]
fn every_row_holds() {
    let mut wrong = Vec::new();
    for dialect in DIALECTS {
        let rows = page::request_rows(&page_of(dialect));
        assert!(rows.len() > 12, "{dialect}: {} rows", rows.len());
        for row in &rows {
            for name in &row.names {
                if let Err(why) = check(dialect, row, name) {
                    wrong.push(format!("docs/wire/{dialect}.md, `{name}` ({}): {why}", row.cell));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows do not hold:\n{}", wrong.len(), wrong.join("\n"));
}

fn check(dialect: Dialect, row: &Row, name: &str) -> Result<(), String> {
    let version = if row.cell.contains("2026-10-21") {
        ApiVersion::V2026_10_21
    } else {
        ApiVersion::V2023_06_01
    };
    let sample = samples::sample(dialect, name, &row.class)
        .ok_or_else(|| format!("samples.rs has no value for it as {:?}", row.class))?;
    // What comes along with the parameter (tools for a tool choice) may have losses of its own.
    let mut beside = sample.clone();
    beside.as_object_mut().unwrap().remove(root(name));
    let before = effect(dialect, version, ParamsMode::Default, &body_with(dialect, &beside));
    let before = before.map_or(LossSet::EMPTY, |losses| losses);
    let found = |sample: &Value, mode: ParamsMode| -> Result<Vec<Loss>, Failure> {
        let losses = effect(dialect, version, mode, &body_with(dialect, sample))?;
        Ok(losses.iter().filter(|loss| !before.contains(*loss)).collect())
    };
    let lost = found(&sample, ParamsMode::Default);
    match (&row.class, lost) {
        (Class::Carried | Class::Ignored, Ok(lost)) if lost.is_empty() => {}
        (Class::Loss(wanted), Ok(lost)) if lost.len() == 1 => {
            let wanted = wanted.as_deref().map_or_else(|| name.replace('_', "-"), str::to_owned);
            if lost.first().map(|loss| loss.as_str()) != Some(&wanted) {
                return Err(format!("it loses {lost:?}"));
            }
        }
        (Class::Refused, Err(failure)) => refused_by_name(dialect, &failure, name)?,
        (_, lost) => return Err(format!("it is {lost:?} for {sample}")),
    }
    if let Some(word) = &row.ignored_when {
        let default = match word.as_str() {
            "empty" => json!({}),
            number => number.parse::<u64>().map_err(|_| format!("ignored when {word}?"))?.into(),
        };
        let lost = found(&json!({ name: default }), ParamsMode::Default);
        if !matches!(&lost, Ok(lost) if lost.is_empty()) {
            return Err(format!("when {word} it is not ignored: {lost:?}"));
        }
    }
    if let Some(wanted) = row.lenient.as_ref().filter(|_| row.class == Class::Refused) {
        let lost = found(&sample, ParamsMode::Lenient).map_err(|failure| failure.to_string())?;
        let lost: Vec<_> = lost.iter().map(|loss| loss.as_str()).collect();
        if lost != [wanted] {
            return Err(format!("lenient it loses {lost:?}"));
        }
    }
    Ok(())
}

/// A 400 whose `param` begins with the field, or what a legacy field is read as.
fn refused_by_name(dialect: Dialect, failure: &Failure, name: &str) -> Result<(), String> {
    let client = matches!(failure.kind, FailureKind::BadRequest | FailureKind::Unsupported);
    let param = failure.param.as_deref().unwrap_or_default();
    let aliases: &[&str] = match (dialect, root(name)) {
        (Dialect::OpenAiChat, "functions") => &["functions", "tools"],
        (Dialect::OpenAiChat, "function_call") => &["function_call", "tool_choice"],
        (Dialect::AnthropicMessages, "output_config" | "output_format") => {
            &["output_config", "output_format", "response_format"]
        }
        (_, root) => &[root],
    };
    let named = aliases.iter().any(|alias| {
        param
            .strip_prefix(alias)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    });
    if client && named { Ok(()) } else { Err(format!("it is refused as {failure:?}")) }
}

#[test]
fn every_loss_stands_in_the_list_with_its_meaning() {
    let page = file("docs/wire/mcp-sampling.md");
    let (_, list) = page.split_once("## Every loss").unwrap();
    let source = file("crates/model/src/loss.rs");
    let (_, declared) = source.split_once("losses! {\n").unwrap();
    let (declared, _) = declared.split_once("\n}").unwrap();
    let mut doc = String::new();
    let mut count = 0;
    for line in declared.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            doc = if doc.is_empty() { text.to_owned() } else { format!("{doc} {text}") };
        } else if let Some(name) = line.split('"').nth(1) {
            let row = format!("| `{name}` | {} |", std::mem::take(&mut doc));
            assert!(list.contains(&row), "docs/wire/mcp-sampling.md lacks the row {row}");
            count += 1;
        }
    }
    assert_eq!(count, Loss::ALL.len());
    let rows = list.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, count, "a row of the list is no loss");
}
