//! An upstream without a model: it says what it was told.
//!
//! Keys for trying an integration are answered by it, under the same limits and records as real
//! ones, without a host and without cost. So it is always ready, says the same to the same question,
//! and does what a client must be able to handle: it streams in pieces, ends at stop sequences and
//! token bounds, calls a tool where one must be called, and answers in the shape of a schema. Sampling
//! parameters have nothing to act on here.

mod example;

use std::sync::Arc;

use dialects::structured_output::OutputCheck;
use dialects::{ToolEntry, ToolTable, json, tokens};
use gateway::{BoxFuture, EventSink, HungUp, Order, Upstream, UpstreamStatus};
use model::{
    Block, Completion, CompletionEvent, CompletionRequest, Failure, FailureKind, Loss, LossSet,
    ModelName, OutputFormat, Retry, Role, StopReason, ToolCall, ToolCallInput, ToolInput, Usage,
};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::ending::{enforce_max_tokens, enforce_stop};

/// The name of the model.
pub const MODEL: &str = "mcptb-echo";

/// What stands before the text that is repeated.
const PREFIX: &str = "echo: ";
/// How many pieces a block is streamed in, if it is long enough.
const PIECES: usize = 8;
/// The shortest piece, in bytes.
const LEAST_PIECE: usize = 4;

/// Answers without a model.
#[derive(Clone, Debug)]
pub struct Echo {
    name: Arc<str>,
    tasks: TaskTracker,
}

impl Echo {
    /// An echo. Schemas are compiled and checked on `tasks`, off the async threads.
    pub fn new(tasks: TaskTracker) -> Self {
        Self { name: Arc::from("echo"), tasks }
    }

    async fn answer(&self, order: &Order) -> Result<Completion, Failure> {
        let request = &order.request;
        let table = ToolTable::new(request)?;
        let mut losses = request.losses.union(table.losses());
        losses.insert(Loss::UsageEstimated);
        let called = if table.must_call() { table.callable().next() } else { None };
        let mut completion = Completion {
            model: ModelName::new(MODEL),
            content: Vec::new(),
            reason: StopReason::EndTurn,
            stop_sequence: None,
            usage: Usage::default(),
            losses,
        };
        if let Some(entry) = called {
            completion.content.push(Block::ToolCall(call(entry, order)));
            completion.reason = StopReason::ToolUse;
        } else {
            let text = self.text(request, &mut completion.losses).await?;
            completion.content.push(Block::text(text));
            enforce_stop(&mut completion, &request.params.stop);
            if let (Some(Block::Text(text)), Some(max_tokens)) =
                (completion.content.first_mut(), request.params.max_tokens)
                && enforce_max_tokens(&mut text.text, max_tokens)
            {
                completion.reason = StopReason::MaxTokens;
                completion.stop_sequence = None;
            }
        }
        completion.usage = Usage {
            input: order.input_tokens.max(1),
            output: tokens::estimate_output(&completion),
            estimated: true,
            ..Usage::default()
        };
        Ok(completion)
    }

    /// The text of the answer, in the shape that was asked for.
    async fn text(
        &self,
        request: &CompletionRequest,
        losses: &mut LossSet,
    ) -> Result<String, Failure> {
        let schema = match &request.output {
            OutputFormat::Text => return Ok(format!("{PREFIX}{}", last_said(request))),
            OutputFormat::JsonObject => {
                return Ok(json!({ "echo": last_said(request) }).to_string());
            }
            OutputFormat::JsonSchema { schema, .. } => schema.clone(),
        };
        let (format, mode) = (request.output.clone(), request.mode);
        let work = move || -> Result<(String, LossSet), Failure> {
            let check = OutputCheck::new(&format, mode)?;
            let example = serde_json::from_str(schema.as_str())
                .ok()
                .and_then(|schema: Value| example::of(&schema).map(|example| example.to_string()));
            let Some(example) = example else {
                return Err(too_hard("it finds no example of this one"));
            };
            let Some(check) = check else { return Ok((example, LossSet::EMPTY)) };
            let text = check.check(&example).map_err(|mismatch| too_hard(&mismatch.why))?;
            let mut losses = check.losses();
            losses = [Loss::OutputMismatch, Loss::OutputPattern]
                .into_iter()
                .filter(|loss| losses.contains(*loss))
                .collect();
            Ok((text, losses))
        };
        let (text, lost) = self.tasks.spawn_blocking(work).await.map_err(|error| {
            Failure::new(FailureKind::Internal, "The bridge failed while it made an answer.")
                .with_source(error)
        })??;
        *losses = losses.union(lost);
        Ok(text)
    }
}

impl Upstream for Echo {
    fn ready(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn statuses(&self) -> Vec<UpstreamStatus> {
        vec![UpstreamStatus {
            name: self.name.as_ref().to_owned(),
            ready: true,
            state: "ready",
            reason: "Repeats what it is told; no model is asked.".to_owned(),
            in_flight: 0,
            // There is no bound; this one is a number that every reader of JSON can hold.
            concurrency: u32::MAX as usize,
            waiting: 0,
        }]
    }

    fn models(&self) -> Vec<ModelName> {
        vec![ModelName::new(MODEL)]
    }

    fn complete<'a>(
        &'a self,
        order: &'a Order,
        sink: &'a mut EventSink,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            sink.answered_by(Arc::clone(&self.name));
            let completion = self.answer(order).await?;
            sink.lost(completion.losses);
            for batch in batches(completion) {
                match sink.send(batch).await {
                    Ok(()) => {}
                    // A door that has gone is noticed by the gateway.
                    Err(HungUp) => break,
                }
            }
            Ok(())
        })
    }
}

fn too_hard(why: &str) -> Failure {
    let message = format!(
        "The model {MODEL} answers in the shape of simple schemas only: {why}. Ask a real model, or \
         try a simpler schema."
    );
    Failure::new(FailureKind::Unsupported, message)
        .with_param("response_format")
        .with_retry(Retry::Never)
}

/// The text of the last thing that the user, or a tool, said.
fn last_said(request: &CompletionRequest) -> String {
    let last = request.messages.iter().rev().find(|message| message.role == Role::User);
    let mut said = String::new();
    push_text(&mut said, last.map(|message| message.content.as_slice()).unwrap_or_default());
    said
}

fn push_text(said: &mut String, content: &[Block]) {
    for block in content {
        match block {
            Block::Text(text) => {
                if !said.is_empty() && !text.text.is_empty() {
                    said.push('\n');
                }
                said.push_str(&text.text);
            }
            Block::ToolResult(result) => push_text(said, &result.content),
            Block::Media(_) | Block::ToolCall(_) | Block::Reasoning(_) | Block::Opaque(_) => {}
        }
    }
}

/// A call of a tool, with the least arguments that its schema allows.
fn call(entry: &ToolEntry<'_>, order: &Order) -> ToolCall {
    let input = match &entry.tool.input {
        ToolInput::FreeText(_) => ToolCallInput::Text(last_said(&order.request)),
        ToolInput::Schema(schema) => {
            let arguments = schema
                .as_ref()
                .and_then(|schema| serde_json::from_str(schema.as_str()).ok())
                .and_then(|schema: Value| example::of(&schema))
                .filter(Value::is_object)
                .unwrap_or_else(|| json!({}))
                .to_string();
            match json::compact(&arguments) {
                Some(json) => ToolCallInput::Json(json),
                None => ToolCallInput::Broken(arguments),
            }
        }
        // A table holds no tool that its provider runs.
        ToolInput::Hosted(_) => ToolCallInput::Text(String::new()),
    };
    ToolCall {
        id: format!("call_{}", order.id.hex()),
        item_id: None,
        name: entry.tool.name.clone(),
        namespace: entry.tool.namespace.clone(),
        input,
        cache: None,
    }
}

/// The events of an answer in several batches, with its blocks in pieces.
fn batches(completion: Completion) -> Vec<Vec<CompletionEvent>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    for event in completion.into_events() {
        let CompletionEvent::BlockDelta { at, delta } = event else {
            batch.push(event);
            continue;
        };
        let length = delta.len().div_ceil(PIECES).max(LEAST_PIECE);
        let mut rest = delta.as_str();
        while !rest.is_empty() {
            let end = rest.ceil_char_boundary(length.min(rest.len()));
            let (piece, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
            batch.push(CompletionEvent::BlockDelta { at, delta: piece.to_owned() });
            batches.push(std::mem::take(&mut batch));
            rest = behind;
        }
    }
    batches.push(batch);
    batches
}
