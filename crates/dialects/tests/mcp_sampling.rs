//! Sampling requests as they are written; what comes back is in `mcp_sampling_replies.rs`.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use dialects::mcp_sampling::{Asking, Priorities, SamplingOptions, write_request};
use model::{
    Block, CompletionRequest, Dialect, Failure, FailureKind, GenerationParams, Json, Loss, Media,
    MediaKind, MediaSource, Message, ModelAlias, Opaque, Reasoning, Role,
};
use proptest::prelude::*;
use serde_json::Value;

fn options() -> SamplingOptions {
    SamplingOptions {
        default_max_tokens: 8192,
        max_tokens_cap: None,
        hints: true,
        priorities: Priorities::default(),
        task_ttl_ms: None,
    }
}

fn says(role: Role, text: &str) -> Message {
    Message::new(role, vec![Block::text(text)])
}

fn request(messages: Vec<Message>) -> CompletionRequest {
    CompletionRequest { messages, ..CompletionRequest::default() }
}

fn written(request: &CompletionRequest, options: &SamplingOptions) -> Result<String, Failure> {
    let mut out = b"before ".to_vec();
    match write_request(&Asking::plain(request), options, &mut out) {
        Ok(losses) => {
            let text = String::from_utf8(out).unwrap();
            let json = text.strip_prefix("before ").unwrap();
            serde_json::from_str::<Value>(json).unwrap();
            Ok(format!("losses: {losses}\n{json}"))
        }
        Err(failure) => {
            assert_eq!(out, b"before ", "a refused request leaves nothing behind");
            Err(failure)
        }
    }
}

fn golden(request: &CompletionRequest) -> String {
    written(request, &options()).unwrap()
}

fn image(source: MediaSource) -> Block {
    Block::Media(Media { kind: MediaKind::Image, source, name: None, detail: None, cache: None })
}

fn pixel() -> MediaSource {
    MediaSource::Inline { mime: "image/png".to_owned(), base64: "iVBORw0K".to_owned() }
}

fn thought() -> Block {
    Block::Reasoning(Reasoning {
        id: None,
        summary: Vec::new(),
        text: "hm".to_owned(),
        signature: Some("sig".to_owned()),
        encrypted: None,
        dialect: Dialect::AnthropicMessages,
    })
}

#[test]
fn a_plain_question() {
    insta::assert_snapshot!(golden(&request(vec![says(Role::User, "Hello\n\"you\" \u{7f}雪")])));
}

#[test]
fn everything_that_sampling_carries() {
    let mut request = request(vec![
        says(Role::User, "What is this?"),
        says(Role::Assistant, "Show it."),
        Message::new(Role::User, vec![Block::text("Here:"), image(pixel())]),
    ]);
    request.model = ModelAlias::new(" gpt-5 ");
    request.system = vec![Block::text("Be brief."), Block::text(""), Block::text("Be kind.")];
    request.params = GenerationParams {
        max_tokens: Some(9000),
        temperature: Some(0.2),
        stop: vec!["END".to_owned(), String::new(), "\n\n".to_owned()],
        ..GenerationParams::default()
    };
    request.losses.insert(Loss::TopP);
    let options = SamplingOptions {
        max_tokens_cap: Some(4096),
        priorities: Priorities { intelligence: Some(1.0), speed: Some(0.0), cost: Some(0.5) },
        task_ttl_ms: Some(600_000),
        ..options()
    };
    insta::assert_snapshot!(written(&request, &options).unwrap());
}

#[test]
fn instructions_in_the_middle_become_marked_user_text() {
    insta::assert_snapshot!(golden(&request(vec![
        says(Role::User, "Hi"),
        Message::new(Role::System, vec![Block::text("Two tools left."), Block::text("Be quick.")]),
        says(Role::System, ""),
    ])));
}

#[test]
fn the_assistant_opens_and_ends() {
    insta::assert_snapshot!(golden(&request(vec![
        says(Role::Assistant, "Welcome."),
        says(Role::User, "Write JSON."),
        says(Role::Assistant, "{\"a\":"),
    ])));
}

#[test]
fn empty_text_and_thinking_leave_no_message() {
    insta::assert_snapshot!(golden(&request(vec![
        says(Role::User, "Hi"),
        Message::new(Role::Assistant, vec![thought(), Block::text("")]),
        Message::new(Role::User, vec![]),
        says(Role::User, "Again"),
    ])));
}

#[test]
fn instructions_alone_are_answered() {
    let mut request = request(Vec::new());
    request.system = vec![Block::text("Write a haiku.")];
    insta::assert_snapshot!(golden(&request));
}

#[test]
fn hints_are_sent_only_for_a_named_model_and_a_willing_host() {
    let ask = |model: &str, options: &SamplingOptions| {
        let mut request = request(vec![says(Role::User, "x")]);
        request.model = ModelAlias::new(model);
        written(&request, options).unwrap()
    };
    for auto in ["auto", "", "  ", "mcp-external-sampling"] {
        assert!(!ask(auto, &options()).contains("modelPreferences"), "{auto:?}");
    }
    assert!(
        ask("claude", &options()).contains(r#""modelPreferences":{"hints":[{"name":"claude"}]}"#)
    );
    let without = ask("claude", &SamplingOptions { hints: false, ..options() });
    assert!(without.starts_with("losses: model-hint\n"), "{without}");
    assert!(!without.contains("modelPreferences"), "{without}");
    let speed = Priorities { speed: Some(0.9), ..Priorities::default() };
    let only = ask("auto", &SamplingOptions { priorities: speed, ..options() });
    assert!(only.contains(r#""modelPreferences":{"speedPriority":0.9}"#), "{only}");
}

#[test]
fn the_cap_is_a_loss_only_to_who_asked_for_more() {
    let mut request = request(vec![says(Role::User, "x")]);
    let capped = SamplingOptions { max_tokens_cap: Some(100), ..options() };
    let silent = written(&request, &capped).unwrap();
    assert!(silent.starts_with("losses: \n") && silent.contains(r#""maxTokens":100"#), "{silent}");
    request.params.max_tokens = Some(100);
    assert!(written(&request, &capped).unwrap().starts_with("losses: \n"));
    request.params.max_tokens = Some(101);
    assert!(written(&request, &capped).unwrap().starts_with("losses: max-tokens-clamped\n"));
}

/// Everything that is refused, with the field that is named.
#[test]
fn refusals_name_the_field() {
    let base = || request(vec![says(Role::User, "x")]);
    let holding = |block: Block| {
        request(vec![
            says(Role::User, "x"),
            Message::new(Role::User, vec![Block::text("y"), block]),
        ])
    };
    let media = |kind: MediaKind, source: MediaSource| {
        holding(Block::Media(Media { kind, source, name: None, detail: None, cache: None }))
    };
    let opaque = Opaque {
        dialect: Dialect::AnthropicMessages,
        kind: "container_upload".to_owned(),
        json: Json::from_compact("{}").unwrap(),
    };
    let url = MediaSource::Url("https://a/b.png".to_owned());
    let cases = [
        (CompletionRequest { system: vec![image(pixel())], ..base() }, "system"),
        (holding(image(url)), "messages[1].content[1]"),
        (holding(image(MediaSource::Id("file-1".to_owned()))), "messages[1].content[1]"),
        (media(MediaKind::Audio, pixel()), "messages[1].content[1]"),
        (media(MediaKind::File, pixel()), "messages[1].content[1]"),
        (holding(Block::Opaque(opaque)), "messages[1].content[1]"),
        (request(vec![Message::new(Role::System, vec![thought()])]), "messages[0].content[0]"),
    ];
    for (request, param) in cases {
        let failure = written(&request, &options()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsupported, "{failure:?}");
        assert_eq!(failure.param.as_deref(), Some(param), "{failure:?}");
    }
    for empty in [request(vec![]), request(vec![says(Role::User, ""), says(Role::System, "")])] {
        let failure = written(&empty, &options()).unwrap_err();
        assert_eq!(
            (failure.kind, failure.param.as_deref()),
            (FailureKind::BadRequest, Some("messages"))
        );
    }
    let mut nan = base();
    nan.params.temperature = Some(f64::NAN);
    assert_eq!(written(&nan, &options()).unwrap_err().param.as_deref(), Some("temperature"));
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("\n{\"jsonrpc\":\"2.0\"}\r\n".to_owned()),
        any::<String>(),
        "[a-z \u{2028}\u{0}]{0,20}",
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let role = prop_oneof![Just(Role::User), Just(Role::Assistant), Just(Role::System)];
    let block = prop_oneof![
        4 => any_text().prop_map(Block::text),
        1 => any_text().prop_map(|mime| image(MediaSource::Inline { mime, base64: "AAAA".to_owned() })),
        1 => Just(thought()),
    ];
    (role, prop::collection::vec(block, 0..4))
        .prop_map(|(role, content)| Message::new(role, content))
}

proptest! {
    /// Whatever is accepted is one line of JSON that any host can take.
    #[test]
    fn a_request_is_one_line_of_user_and_assistant_and_ends_with_the_user(
        messages in prop::collection::vec(any_message(), 0..6),
        system in prop::collection::vec(any_text().prop_map(Block::text), 0..3),
        model in any_text(),
        stop in prop::collection::vec(any_text(), 0..3),
        temperature in prop::option::of(0.0..2.0_f64),
        hints in any::<bool>(),
    ) {
        let request = CompletionRequest {
            model: ModelAlias::new(model),
            system,
            messages,
            params: GenerationParams { stop, temperature, ..GenerationParams::default() },
            ..CompletionRequest::default()
        };
        let mut out = Vec::new();
        let asking = Asking::plain(&request);
        let Ok(losses) = write_request(&asking, &SamplingOptions { hints, ..options() }, &mut out)
        else {
            prop_assert!(out.is_empty());
            return Ok(());
        };
        prop_assert!(!out.iter().any(|byte| *byte < 0x20), "a raw control character");
        let value: Value = serde_json::from_slice(&out).unwrap();
        let messages = value["messages"].as_array().unwrap();
        prop_assert!(!messages.is_empty());
        for message in messages {
            prop_assert!(matches!(message["role"].as_str(), Some("user" | "assistant")));
            prop_assert!(message["content"].is_object());
            if message["content"]["type"] == "text" {
                prop_assert_ne!(&message["content"]["text"], "");
            }
        }
        prop_assert_eq!(&messages[0]["role"], "user");
        prop_assert_eq!(&messages[messages.len() - 1]["role"], "user");
        prop_assert!(value["maxTokens"].is_u64());
        if let Some(preferences) = value.get("modelPreferences") {
            prop_assert!(hints && preferences["hints"][0]["name"].as_str().is_some_and(|name| !name.is_empty()));
        }
        let last = request.messages.iter().rev().find(|message| message.content.iter().any(
            |block| match block {
                Block::Text(text) => !text.text.is_empty(),
                Block::Media(_) => true,
                _ => false,
            },
        ));
        let prefilled = last.is_some_and(|message| message.role == Role::Assistant);
        prop_assert_eq!(losses.contains(Loss::Prefill), prefilled);
    }
}

#[test]
fn stop_sequences_have_a_bound() {
    let with = |count: usize| {
        let mut request = request(vec![says(Role::User, "x")]);
        request.params.stop = vec!["END".to_owned(); count];
        write_request(&Asking::plain(&request), &options(), &mut Vec::new())
    };
    assert!(with(64).is_ok());
    assert_eq!(with(65).unwrap_err().param.as_deref(), Some("stop"));
}
