//! Calls that want tools or an answer of a given shape.
//!
//! A host that declared `sampling.tools` gets tools in MCP's own fields, any other in the prompt.
//! Then the answer is read back: calls get the caller's names, and text that should have been a
//! call or JSON is asked for once more. Every further sampling costs the host's owner, so there is
//! one at most, it is named as a loss, and its tokens are counted.

use std::sync::Arc;

use dialects::mcp_sampling::{Asking, FollowUp, ToolUse};
use dialects::prompted_tools::ToolPrompt;
use dialects::structured_output::{Mismatch, OutputCheck};
use dialects::{ToolTable, tokens};
use gateway::{EventSink, HungUp, Order};
use model::{
    Block, Completion, CompletionRequest, Failure, FailureKind, Loss, LossSet, OutputFormat, Retry,
    StopReason, ToolCall, Usage,
};

use super::{HostSession, ToolPolicy};
use crate::ending::enforce_stop;

/// What the model is told when it had to call a tool and did not.
const MUST_CALL: &str = "You must call one of the tools now. Reply with the call only.";

impl HostSession {
    /// Answers an order with tools, calls in its history, or a shape of the answer. Dropping the
    /// future cancels the sampling.
    pub(super) async fn complete_shaped(
        self: &Arc<Self>,
        order: &Order,
        sink: &mut EventSink,
    ) -> Result<(), Failure> {
        let request = &order.request;
        let table = ToolTable::new(request)?;
        sink.lost(table.losses());
        let output = self.output_check(request).await?;
        let prompt = self.tool_prompt(order, &table)?;
        let mut shape = Shape {
            request,
            table: &table,
            prompt: prompt.as_ref(),
            output: output.as_deref(),
            losses: table.losses(),
            usage: Usage { estimated: true, ..Usage::default() },
        };
        let mut completion = self.answer_in_shape(order, &mut shape, output.as_ref(), sink).await?;
        name_calls(&mut completion, order);
        completion.usage = shape.usage;
        completion.losses = completion.losses.union(shape.losses);
        match sink.send(completion.into_events()).await {
            // A door that has gone is noticed by the gateway.
            Ok(()) | Err(HungUp) => Ok(()),
        }
    }

    /// Compiles the schema of the answer, off the async threads.
    async fn output_check(
        &self,
        request: &CompletionRequest,
    ) -> Result<Option<Arc<OutputCheck>>, Failure> {
        if request.output == OutputFormat::Text {
            return Ok(None);
        }
        let (format, mode) = (request.output.clone(), request.mode);
        let check = self.run_blocking(move || OutputCheck::new(&format, mode)).await??;
        Ok(check.map(Arc::new))
    }

    /// The words for tools, where the host has no fields for them.
    fn tool_prompt<'r>(
        &self,
        order: &'r Order,
        table: &'r ToolTable<'r>,
    ) -> Result<Option<ToolPrompt<'r>>, Failure> {
        let request = &order.request;
        let has_tools = !table.entries().is_empty();
        // Providers refuse calls in the history without tools beside them, so then it is words
        // even where the host has the fields.
        if (has_tools && self.info().sampling_tools) || !(has_tools || has_calls(request)) {
            return Ok(None);
        }
        if self.settings().tools == ToolPolicy::Reject {
            let message = format!(
                "The MCP host {} has no tools in sampling, and this bridge is set not to describe \
                 them in the prompt (--tools reject).",
                self.name()
            );
            return Err(Failure::new(FailureKind::Unsupported, message).with_param("tools"));
        }
        let key = match &order.caller.key {
            Some(key) => key.key.id.as_str(),
            None if order.caller.authenticated => "token",
            None => "open",
        };
        let nonce = self.settings().nonce.load();
        Ok(Some(ToolPrompt::new(request, table, &nonce, key)))
    }

    /// Asks, and once more if the answer does not have its shape.
    async fn answer_in_shape(
        self: &Arc<Self>,
        order: &Order,
        shape: &mut Shape<'_>,
        output: Option<&Arc<OutputCheck>>,
        sink: &mut EventSink,
    ) -> Result<Completion, Failure> {
        let (completion, said) = self.ask_once(order, shape, None, sink).await?;
        let then = if shape.lacks_call(&completion) {
            MUST_CALL.to_owned()
        } else {
            match self.in_shape(output, completion).await? {
                Ok(completion) => return Ok(completion),
                Err((_, mismatch)) => OutputCheck::ask_again(&mismatch),
            }
        };
        shape.losses.insert(Loss::OutputRepaired);
        sink.lost(shape.losses);
        let follow_up = FollowUp { answer: &said, then: &then };
        let (completion, _) = self.ask_once(order, shape, Some(follow_up), sink).await?;
        if shape.lacks_call(&completion) {
            shape.losses.insert(Loss::ToolChoice);
        }
        match self.in_shape(output, completion).await? {
            Ok(completion) => Ok(completion),
            Err((completion, Mismatch { json: Some(json), .. }))
                if !shape.output.is_some_and(OutputCheck::is_strict) =>
            {
                shape.losses.insert(Loss::OutputMismatch);
                Ok(with_text(completion, json))
            }
            Err((_, mismatch)) => {
                let message = format!(
                    "The model's answer does not have the shape that was asked for, nor when it \
                     was asked again: {}.",
                    mismatch.why
                );
                // A retry would cost two more samplings.
                Err(Failure::new(FailureKind::UpstreamFailed, message).with_retry(Retry::Never))
            }
        }
    }

    /// One sampling: the answer as it is understood, and as the model said it.
    async fn ask_once(
        self: &Arc<Self>,
        order: &Order,
        shape: &mut Shape<'_>,
        follow_up: Option<FollowUp<'_>>,
        sink: &mut EventSink,
    ) -> Result<(Completion, String), Failure> {
        let asking = Asking {
            request: shape.request,
            tools: shape.tool_use(),
            output: shape.output,
            follow_up,
        };
        let (completion, losses) = self.ask(order, &asking, sink).await?;
        shape.losses = shape.losses.union(losses);
        shape.usage.input += order.input_tokens.max(1);
        shape.usage.output += tokens::estimate_output(&completion).max(1);
        sink.spent(&completion.model, shape.usage);
        let said = completion.text();
        Ok((shape.understand(completion), said))
    }

    /// Checks an answer that should be JSON, off the async threads. Calls, and answers that were
    /// cut short or refused, are passed on as they are: callers can tell by the stop reason.
    async fn in_shape(
        &self,
        output: Option<&Arc<OutputCheck>>,
        completion: Completion,
    ) -> Result<Result<Completion, (Completion, Mismatch)>, Failure> {
        let (Some(output), StopReason::EndTurn) = (output, completion.reason) else {
            return Ok(Ok(completion));
        };
        let (check, text) = (Arc::clone(output), completion.text());
        Ok(match self.run_blocking(move || check.check(&text)).await? {
            Ok(json) => Ok(with_text(completion, json)),
            Err(mismatch) => Err((completion, mismatch)),
        })
    }
}

/// What one order wants of its answer, and what getting it has cost.
struct Shape<'r> {
    request: &'r CompletionRequest,
    table: &'r ToolTable<'r>,
    prompt: Option<&'r ToolPrompt<'r>>,
    output: Option<&'r OutputCheck>,
    losses: LossSet,
    usage: Usage,
}

impl<'r> Shape<'r> {
    fn tool_use(&self) -> ToolUse<'r> {
        match self.prompt {
            Some(prompt) => ToolUse::Prompted { table: self.table, prompt },
            None if self.table.entries().is_empty() => ToolUse::None,
            None => ToolUse::Native(self.table),
        }
    }

    /// Reads calls out of an answer and gives them the caller's names.
    fn understand(&mut self, mut completion: Completion) -> Completion {
        if let Some(prompt) = self.prompt {
            let reply = prompt.read(&completion.text());
            completion.content.retain(|block| !matches!(block, Block::Text(_)));
            drop_calls(&mut completion, |_| false);
            if !reply.text.is_empty() {
                completion.content.push(Block::text(reply.text));
            }
            completion.content.extend(reply.calls.into_iter().map(Block::ToolCall));
            self.losses = self.losses.union(reply.losses);
            // The host was given no stop but ours; the caller's are looked for below.
            if self.table.any_callable() && completion.reason == StopReason::StopSequence {
                completion.reason = StopReason::EndTurn;
            }
        } else {
            let table = self.table;
            // A tool that nobody knows is the caller's to answer; one that must not be called now
            // is not.
            drop_calls(&mut completion, |call| match table.find(&call.name) {
                Some(entry) => entry.callable,
                None => !table.entries().is_empty(),
            });
            for block in &mut completion.content {
                if let Block::ToolCall(call) = block {
                    table.restore(call);
                }
            }
        }
        enforce_stop(&mut completion, &self.request.params.stop);
        if self.request.parallel_tool_calls == Some(false) {
            self.keep_first_call(&mut completion);
        }
        if completion.has_tool_calls() {
            completion.reason = StopReason::ToolUse;
        } else if completion.reason == StopReason::ToolUse {
            completion.reason = StopReason::EndTurn;
        }
        completion
    }

    fn keep_first_call(&mut self, completion: &mut Completion) {
        let mut calls = 0;
        completion.content.retain(|block| {
            calls += usize::from(matches!(block, Block::ToolCall(_)));
            !matches!(block, Block::ToolCall(_)) || calls == 1
        });
        if calls > 1 {
            self.losses.insert(Loss::ParallelToolCalls);
        }
    }

    /// Whether a call was demanded, and the model was done without one.
    fn lacks_call(&self, completion: &Completion) -> bool {
        self.table.must_call() && completion.reason == StopReason::EndTurn
    }
}

/// Leaves out calls, by name.
fn drop_calls(completion: &mut Completion, keep: impl Fn(&ToolCall) -> bool) {
    let before = completion.content.len();
    completion.content.retain(|block| match block {
        Block::ToolCall(call) => keep(call),
        _ => true,
    });
    if completion.content.len() < before {
        completion.losses.insert(Loss::ReplyBlock);
    }
}

/// The answer with this text in the place of its own.
fn with_text(mut completion: Completion, text: String) -> Completion {
    completion.content.retain(|block| !matches!(block, Block::Text(_)));
    completion.content.push(Block::text(text));
    completion
}

/// Gives every call an id that no other has; a host's own ids stay, because it will look for them
/// in the results.
fn name_calls(completion: &mut Completion, order: &Order) {
    let mut seen = std::collections::HashSet::new();
    for (at, block) in completion.content.iter_mut().enumerate() {
        let Block::ToolCall(call) = block else { continue };
        if call.id.is_empty() || !seen.insert(call.id.clone()) {
            call.id = format!("call_{}_{at}", order.id.hex());
        }
    }
}

fn has_calls(request: &CompletionRequest) -> bool {
    request.messages.iter().any(|message| {
        message
            .content
            .iter()
            .any(|block| matches!(block, Block::ToolCall(_) | Block::ToolResult(_)))
    })
}
