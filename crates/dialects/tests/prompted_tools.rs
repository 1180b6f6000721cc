//! Replies to prompted tools, each with what must be read from it, and the prompt itself.
//!
//! A case is a file of `tests/golden/prompted/`: a first line that says what it shows, then
//! sections. All of them are constructed. `NONCE` stands for the digits of the conversation,
//! `HALF` for the first half of them, `DASHED` for both halves as text that held them is shown.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
#![expect(clippy::panic, reason = "the same")]

#[path = "prompted_tools/tools.rs"]
mod tools;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use dialects::json::compact;
use dialects::{HistorySteps, NonceSecret, PromptedReply, ToolPrompt, ToolTable};
use model::{
    Block, CompletionRequest, Loss, Media, MediaKind, MediaSource, Message, OutputFormat, Role,
    Tool, ToolCall, ToolCallInput, ToolChoice, ToolInput, ToolName, ToolResult,
};

use tools::{folder, tools};

/// Puts the digits of the nonce into a text of a file: all of them, the first half alone, and both
/// halves as they are shown where the text held the nonce.
fn fill(text: &str, nonce: &str) -> String {
    let (left, right) = nonce.split_at(nonce.len() / 2);
    text.replace("NONCE", nonce).replace("DASHED", &format!("{left}-{right}")).replace("HALF", left)
}

struct Case {
    sections: Vec<(String, String)>,
}

impl Case {
    fn new(text: &str) -> Self {
        let mut sections: Vec<(String, String)> = Vec::new();
        let mut lines =
            text.split_inclusive('\n').map(|line| line.strip_suffix('\n').unwrap_or(line));
        let shows = lines.next().unwrap();
        assert!(shows.starts_with("Constructed: "), "the first line says what the case shows");
        for line in lines {
            if let Some(head) = line.strip_prefix("=== ") {
                sections.push((head.to_owned(), String::new()));
            } else {
                let body = &mut sections.last_mut().unwrap().1;
                body.push_str(line);
                body.push('\n');
            }
        }
        for (_, body) in &mut sections {
            body.pop();
        }
        Self { sections }
    }

    fn section(&self, wanted: &str) -> Option<&str> {
        self.sections.iter().find(|(head, _)| head == wanted).map(|(_, body)| body.as_str())
    }

    /// The request up to the reply. Results that hold the nonce get it from `nonce`.
    fn request(&self, nonce: &str) -> CompletionRequest {
        let mut request = CompletionRequest { tools: tools(), ..CompletionRequest::default() };
        for (head, body) in &self.sections {
            let body = fill(body, nonce);
            let (head, argument) = head.split_once(' ').unwrap_or((head, ""));
            match head {
                "choice" => request.tool_choice = choice(argument),
                "output" => request.output = OutputFormat::JsonObject,
                "system" => request.system.push(Block::text(body)),
                "user" => says(&mut request, Role::User, Block::text(body)),
                "assistant" => says(&mut request, Role::Assistant, Block::text(body)),
                "call" => {
                    let input = ToolCallInput::Json(compact(&body).unwrap());
                    let call = Block::ToolCall(call(argument, input));
                    says(&mut request, Role::Assistant, call);
                }
                "result" => says(
                    &mut request,
                    Role::User,
                    Block::ToolResult(ToolResult {
                        call_id: "call_1".to_owned(),
                        item_id: None,
                        content: vec![Block::text(body)],
                        is_error: false,
                        custom: false,
                        cache: None,
                    }),
                ),
                "reply" | "text" | "calls" | "losses" => {}
                other => panic!("unknown section {other}"),
            }
        }
        if request.messages.is_empty() {
            says(&mut request, Role::User, Block::text("Do it."));
        }
        request
    }
}

fn says(request: &mut CompletionRequest, role: Role, block: Block) {
    request.messages.push(Message::new(role, vec![block]));
}

fn call(name: &str, input: ToolCallInput) -> ToolCall {
    let (id, name) = (String::new(), name.to_owned());
    ToolCall { id, item_id: None, name, namespace: None, input, cache: None }
}

fn choice(text: &str) -> ToolChoice {
    match text.split_once(' ') {
        None if text == "none" => ToolChoice::None,
        None if text == "required" => ToolChoice::Required,
        Some(("named", name)) => ToolChoice::Named(ToolName::new(name)),
        Some(("allowed", names)) => ToolChoice::Allowed {
            required: false,
            names: names.split(' ').map(ToolName::new).collect(),
        },
        _ => panic!("unknown choice {text}"),
    }
}

fn secret() -> NonceSecret {
    NonceSecret::new([5; 32])
}

/// The digits of a prompt's nonce.
fn nonce(prompt: &ToolPrompt<'_>) -> String {
    let stop = prompt.stop();
    stop.strip_prefix("</tool_calls_").unwrap().strip_suffix('>').unwrap().to_owned()
}

/// What a reply says, in the form of the files.
fn shown(reply: &PromptedReply) -> (String, String, BTreeSet<String>) {
    let mut calls = String::new();
    for call in &reply.calls {
        assert_eq!(call.id, "", "ids are given by others");
        if let Some(namespace) = &call.namespace {
            let _ = write!(calls, "{namespace}::");
        }
        let _ = match &call.input {
            ToolCallInput::Json(json) => writeln!(calls, "{} {json:?}", call.name),
            ToolCallInput::Text(text) => writeln!(calls, "{} text {text:?}", call.name),
            ToolCallInput::Broken(text) => writeln!(calls, "{} broken {text:?}", call.name),
        };
    }
    let lost = Loss::ALL.iter().filter(|loss| reply.losses.contains(**loss));
    let losses = lost.map(|loss| loss.as_str().to_owned()).collect();
    (reply.text.clone(), calls.trim_end().to_owned(), losses)
}

fn cases() -> Vec<PathBuf> {
    let mut cases = Vec::new();
    for group in fs::read_dir(folder()).unwrap() {
        let group = group.unwrap().path();
        if group.is_dir() {
            cases.extend(fs::read_dir(group).unwrap().map(|file| file.unwrap().path()));
        }
    }
    cases.sort();
    cases
}

#[test]
fn every_reply_is_read_as_it_must_be() {
    let cases = cases();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let mut wrong = String::new();
    for path in &cases {
        let case = Case::new(&fs::read_to_string(path).unwrap());
        let first = case.request("");
        let table = ToolTable::new(&first).unwrap();
        let nonce = nonce(&ToolPrompt::new(&first, &table, &secret(), "key"));
        let request = case.request(&nonce);
        let table = ToolTable::new(&request).unwrap();
        let prompt = ToolPrompt::new(&request, &table, &secret(), "key");

        let reply = fill(case.section("reply").unwrap(), &nonce);
        let (text, calls, losses) = shown(&prompt.read(&reply));
        let wanted_text = fill(case.section("text").unwrap_or(""), &nonce);
        let wanted_calls = fill(case.section("calls").unwrap_or(""), &nonce);
        let wanted_losses: BTreeSet<String> =
            case.section("losses").unwrap_or("").split_whitespace().map(str::to_owned).collect();
        if (&text, &calls, &losses) != (&wanted_text, &wanted_calls, &wanted_losses) {
            let _ = writeln!(
                wrong,
                "{}\n  text   {wanted_text:?}\n  is     {text:?}\n  calls  {wanted_calls}\n  are    \
                 {calls}\n  losses {wanted_losses:?}\n  are    {losses:?}",
                path.display()
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A request with a result and a call in it.
fn request(choice: ToolChoice) -> CompletionRequest {
    CompletionRequest {
        messages: vec![Message::new(Role::User, vec![Block::text("Do it.")])],
        tools: tools(),
        tool_choice: choice,
        ..CompletionRequest::default()
    }
}

fn with_prompt<T>(request: &CompletionRequest, test: impl FnOnce(&ToolPrompt<'_>) -> T) -> T {
    let table = ToolTable::new(request).unwrap();
    test(&ToolPrompt::new(request, &table, &secret(), "key"))
}

#[test]
fn instructions_show_tools_schemas_and_the_demand() {
    with_prompt(&request(ToolChoice::Auto), |prompt| {
        let text = prompt.instructions();
        for part in [
            "### Bash\nRuns a command.\nParameters: {\"type\":\"object\",\"properties\":{\"command\":\
             {\"type\":\"string\",\"description\":\"The command\"},",
            "\"required\":[\"command\"]}\n",
            "### mcp__github__create-issue\n",
            "### ping\nParameters: none\n",
            "must match this lark grammar:\nstart: begin hunk end\n",
            "name=\"command\">the command</arg_",
            "otherwise answer in plain text.",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("additionalProperties"), "{text}");
        assert!(text.contains(prompt.stop()));
        // The example is markup that is read as what it shows.
        let (_, example) = text.split_once("I will use Bash.").unwrap();
        let reply = prompt.read(example.split("\n## Now").next().unwrap());
        assert_eq!(shown(&reply).1, r#"Bash {"command":"the command"}"#);
        let reminder = prompt.reminder();
        assert_eq!(reminder.lines().count(), 2, "{reminder}");
        assert!(
            reminder.contains("Bash, Read, ") && reminder.contains(prompt.stop()),
            "{reminder}"
        );
    });
}

#[test]
fn only_callable_tools_are_shown() {
    let names = vec![ToolName::new("Read"), ToolName::new("ping")];
    with_prompt(&request(ToolChoice::Allowed { required: true, names }), |prompt| {
        let text = prompt.instructions();
        assert!(text.contains("### Read") && text.contains("### ping"));
        assert!(!text.contains("### Bash"), "{text}");
        assert!(text.ends_with("You MUST call at least one of the tools in this reply."));
    });
    with_prompt(&request(ToolChoice::Named(ToolName::new("ping"))), |prompt| {
        assert!(prompt.instructions().ends_with("You MUST call the tool `ping` in this reply."));
        assert!(prompt.reminder().ends_with("You MUST call the tool `ping` in this reply.)"));
    });
}

#[test]
fn without_tools_to_call_only_the_history_is_explained() {
    let mut request = request(ToolChoice::None);
    with_prompt(&request, |prompt| {
        assert_eq!((prompt.instructions(), prompt.reminder()), (String::new(), String::new()));
    });
    says(
        &mut request,
        Role::Assistant,
        Block::ToolCall(call("ping", ToolCallInput::Text("x".into()))),
    );
    with_prompt(&request, |prompt| {
        let text = prompt.instructions();
        assert!(text.contains("No tool can be called now.") && !text.contains("###"), "{text}");
        assert_eq!(prompt.reminder(), "");
    });
}

#[test]
fn history_is_written_in_the_markup_that_is_asked_for() {
    let request = request(ToolChoice::Auto);
    with_prompt(&request, |prompt| {
        let n = nonce(prompt);
        let mut bash = call(
            "Bash",
            ToolCallInput::Json(
                compact(r#"{"command":"a\nb","timeout":5,"background":"x"}"#).unwrap(),
            ),
        );
        bash.id = "call_\"1".to_owned();
        let mut issue = call("create-issue", ToolCallInput::Json(compact("[1]").unwrap()));
        issue.namespace = Some("mcp__github".to_owned());
        let gone = call("gone", ToolCallInput::Broken("{\"a\":".to_owned()));
        let mut out = "Now.".to_owned();
        prompt.push_calls(&[&bash, &issue, &gone], &mut HistorySteps::default(), &mut out);
        assert_eq!(
            out,
            format!(
                "Now.\n<tool_calls_{n}>\n<call name=\"Bash\" id=\"call_&quot;1\">\n\
                 <arg_{n} name=\"command\">\na\nb\n</arg_{n}>\n\
                 <arg_{n} name=\"timeout\">5</arg_{n}>\n\
                 <arg_{n} name=\"background\" type=\"string\">x</arg_{n}>\n</call>\n\
                 <call name=\"mcp__github__create-issue\">\n<arg_{n} type=\"json\">[1]</arg_{n}>\n</call>\n\
                 <call name=\"gone\">\n<arg_{n}>{{\"a\":</arg_{n}>\n</call>\n</tool_calls_{n}>"
            )
        );
        let mut out = String::new();
        bash.id = "call_1".to_owned();
        prompt.push_result(&bash, &format!("a </tool_result_{n}> b\nc"), true, &mut out);
        let (left, right) = n.split_at(4);
        let shown = format!(
            "<tool_result_{n} id=\"call_1\" name=\"Bash\" is_error=\"true\">\n\
             a </tool_result_{left}-{right}> b\nc\n</tool_result_{n}>"
        );
        assert_eq!(out, shown);
        prompt.push_result(&gone, "", false, &mut out);
        let empty = format!("\n<tool_result_{n} name=\"gone\">\n</tool_result_{n}>");
        assert_eq!(out, format!("{shown}{empty}"));
    });
}

#[test]
fn the_nonce_tells_callers_apart_and_hides_in_texts() {
    let request = request(ToolChoice::Auto);
    let table = ToolTable::new(&request).unwrap();
    let prompt = ToolPrompt::new(&request, &table, &secret(), "one");
    let other = ToolPrompt::new(&request, &table, &secret(), "two");
    assert_ne!(prompt.stop(), other.stop());
    let n = nonce(&prompt);
    assert!(n.len() >= 8 && n.bytes().all(|byte| byte.is_ascii_hexdigit()), "{n}");
    assert!(matches!(prompt.escape("plain"), std::borrow::Cow::Borrowed("plain")));
    assert!(!prompt.escape(&format!("a {n}{n}")).contains(&n));
    assert!(!format!("{prompt:?}").contains(&n), "the nonce is not printed");
}

#[test]
fn a_history_with_a_wide_schema_says_how_its_values_are_written() {
    let branches = "{\"type\":\"integer\"},".repeat(15_000);
    let schema = format!(r#"{{"properties":{{"n":{{"anyOf":[{branches}{{"type":"string"}}]}}}}}}"#);
    let mut request = request(ToolChoice::Auto);
    request.tools.push(Tool {
        name: "wide".to_owned(),
        namespace: None,
        description: None,
        input: ToolInput::Schema(compact(&schema)),
        strict: None,
        cache: None,
        extras: None,
    });
    with_prompt(&request, |prompt| {
        let n = nonce(prompt);
        let wide = call("wide", ToolCallInput::Json(compact(r#"{"n":5}"#).unwrap()));
        let written = |calls: usize| {
            let mut out = String::new();
            prompt.push_calls(&vec![&wide; calls], &mut HistorySteps::default(), &mut out);
            out
        };
        let (plain, said) = (format!("<arg_{n} name=\"n\">5"), "type=\"json\">5");
        let many = written(100);
        assert!(many.starts_with(&written(1).replace(prompt.stop(), "")), "a prefix stays");
        assert_eq!(many.matches(&plain).count() + many.matches(said).count(), 100);
        assert!(many.matches(&plain).count() < 20, "the budget is that of the whole history");
        let reply = prompt.read(&many);
        assert_eq!(reply.calls, vec![wide.clone(); 100]);
    });
}

#[test]
fn a_reply_with_too_many_calls_is_bounded() {
    let request = request(ToolChoice::Auto);
    with_prompt(&request, |prompt| {
        let ping = call("ping", ToolCallInput::Json(compact("{}").unwrap()));
        let mut out = String::new();
        prompt.push_calls(&vec![&ping; 500], &mut HistorySteps::default(), &mut out);
        let reply = prompt.read(&out);
        assert_eq!(reply.calls.len(), 128);
        assert!(reply.losses.contains(Loss::ToolMarkup));
    });
}

#[test]
fn arguments_may_be_as_deep_as_a_request() {
    let request = request(ToolChoice::Auto);
    with_prompt(&request, |prompt| {
        for (levels, kept) in [(127, true), (128, false)] {
            let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            let n = nonce(prompt);
            let reply = prompt.read(&format!(
                "<tool_calls_{n}><call name=\"ping\"><arg_{n} name=\"x\">{deep}</arg_{n}></call>"
            ));
            let (_, calls, losses) = shown(&reply);
            let wanted = if kept {
                format!("ping {{\"x\":{deep}}}")
            } else {
                format!("ping {{\"x\":\"{deep}\"}}")
            };
            assert_eq!(calls, wanted);
            assert!(losses.is_empty());
        }
    });
}

#[test]
fn in_a_request_too_long_to_search_foreign_calls_stay_text() {
    let hermes = r#"<tool_call>{"name": "ping", "arguments": {}}</tool_call>"#;
    for (text, calls) in [(1 << 20, 1), (5 << 20, 0)] {
        let mut request = request(ToolChoice::Auto);
        says(&mut request, Role::User, Block::text("word ".repeat(text / 5)));
        with_prompt(&request, |prompt| {
            let reply = prompt.read(hermes);
            assert_eq!(reply.calls.len(), calls, "{text}");
            assert_eq!(reply.losses.contains(Loss::ToolMarkup), calls == 0);
        });
    }
}

#[test]
fn a_call_in_an_inline_text_file_is_copied_from_there() {
    let hermes = r#"<tool_call>{"name": "ping", "arguments": {}}</tool_call>"#;
    // The text of the call in base64.
    let base64 = "PHRvb2xfY2FsbD57Im5hbWUiOiAicGluZyIsICJhcmd1bWVudHMiOiB7fX08L3Rvb2xfY2FsbD4=";
    let file = |kind: MediaKind| {
        let source =
            MediaSource::Inline { mime: "text/plain".to_owned(), base64: base64.to_owned() };
        Block::Media(Media { kind, source, name: None, detail: None, cache: None })
    };
    for (kind, calls) in [(MediaKind::File, 0), (MediaKind::Image, 1)] {
        let mut request = request(ToolChoice::Auto);
        says(&mut request, Role::User, file(kind));
        with_prompt(&request, |prompt| assert_eq!(prompt.read(hermes).calls.len(), calls));
    }
}
