//! Names, choices, and the way back.

use model::{
    CompletionRequest, Dialect, Json, Loss, Opaque, ParamsMode, Tool, ToolCall, ToolCallInput,
    ToolChoice, ToolInput, ToolName,
};

use super::{ToolTable, safe};

fn tool(namespace: Option<&str>, name: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        description: None,
        input: ToolInput::Schema(None),
        strict: None,
        cache: None,
        extras: None,
    }
}

fn request(tools: Vec<Tool>, tool_choice: ToolChoice) -> CompletionRequest {
    CompletionRequest { tools, tool_choice, ..CompletionRequest::default() }
}

fn call(namespace: Option<&str>, name: &str, input: ToolCallInput) -> ToolCall {
    ToolCall {
        id: "c".to_owned(),
        item_id: None,
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        input,
        cache: None,
    }
}

#[test]
fn many_tools_of_one_flat_name_stay_apart() {
    // `a__b__c` can be cut in two at several places, and `a__b__c_3` is taken.
    let request = request(
        vec![
            tool(None, "a__b__c_3"),
            tool(None, "a__b__c"),
            tool(Some("a"), "b__c"),
            tool(Some("a__b"), "c"),
        ],
        ToolChoice::Auto,
    );
    let table = ToolTable::new(&request).unwrap();
    let names: Vec<&str> = table.entries().iter().map(|entry| entry.name.as_ref()).collect();
    assert_eq!(names, ["a__b__c_3", "a__b__c", "a__b__c_2", "a__b__c_4"]);
}

#[test]
fn names_are_flat_unique_and_find_their_way_back() {
    let dotted = "mcp.server/tool name";
    let long = "x".repeat(100);
    let request = request(
        vec![
            tool(None, "close"),
            tool(Some("agents"), "close"),
            tool(None, "agents__close"),
            tool(None, dotted),
            tool(Some("ns"), &long),
        ],
        ToolChoice::Auto,
    );
    let table = ToolTable::new(&request).unwrap();
    let names: Vec<&str> = table.entries().iter().map(|entry| entry.name.as_ref()).collect();
    assert_eq!(&names[..3], ["close", "agents__close", "agents__close_2"]);
    for (entry, original) in table.entries().iter().zip(&request.tools) {
        assert!(entry.name.len() <= 64);
        assert!(entry.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
        let mut back = call(None, &entry.name, ToolCallInput::Broken(String::new()));
        assert!(table.restore(&mut back));
        assert_eq!((&back.name, &back.namespace), (&original.name, &original.namespace));
        let forth = call(original.namespace.as_deref(), &original.name, back.input);
        assert_eq!(table.name_of(&forth), entry.name);
    }
    assert!(!table.restore(&mut call(None, "rm", ToolCallInput::Broken(String::new()))));
    assert_ne!(safe("a.b"), safe("a/b"));
}

#[test]
fn choices_narrow_and_unknown_ones_are_refused() {
    let tools = || vec![tool(None, "a"), tool(Some("n"), "b"), tool(None, "c")];
    let named = |name: &str| ToolName::new(name);
    let offered = |choice: ToolChoice| {
        let request = request(tools(), choice);
        let table = ToolTable::new(&request).unwrap();
        let flat: Vec<String> = table.callable().map(|entry| entry.name.to_string()).collect();
        (flat.join(" "), table.must_call())
    };
    assert_eq!(offered(ToolChoice::Auto), ("a n__b c".to_owned(), false));
    assert_eq!(offered(ToolChoice::None), (String::new(), false));
    assert_eq!(offered(ToolChoice::Required), ("a n__b c".to_owned(), true));
    assert_eq!(offered(ToolChoice::Named(named("b"))), ("n__b".to_owned(), true));
    let allowed = ToolChoice::Allowed { required: false, names: vec![named("a"), named("c")] };
    assert_eq!(offered(allowed), ("a c".to_owned(), false));
    let unknown = request(tools(), ToolChoice::Named(named("z")));
    let failure = ToolTable::new(&unknown).unwrap_err();
    assert_eq!(failure.param.as_deref(), Some("tool_choice"));
    let doubled = request(
        vec![tool(None, "a"), Tool { strict: Some(true), ..tool(None, "a") }],
        ToolChoice::Auto,
    );
    assert!(ToolTable::new(&doubled).is_err());
    let same = request(vec![tool(None, "a"), tool(None, "a")], ToolChoice::Auto);
    assert_eq!(ToolTable::new(&same).unwrap().entries().len(), 1);
    assert!(ToolTable::new(&request(vec![], ToolChoice::Required)).is_err());
}

#[test]
fn hosted_tools_are_left_out_or_refused() {
    let hosted = |kind: &str| {
        let json = Json::from_compact("{}").unwrap();
        let opaque = Opaque { dialect: Dialect::AnthropicMessages, kind: kind.to_owned(), json };
        Tool { input: ToolInput::Hosted(opaque), ..tool(None, kind) }
    };
    let search = request(vec![hosted("web_search_20250305"), tool(None, "a")], ToolChoice::Auto);
    let table = ToolTable::new(&search).unwrap();
    assert_eq!(table.entries().len(), 1);
    assert!(table.losses().contains(Loss::HostedTools));
    let mut bash = request(vec![hosted("bash_20250124")], ToolChoice::Auto);
    assert!(ToolTable::new(&bash).unwrap_err().message.contains("bash_20250124"));
    bash.mode = ParamsMode::Lenient;
    assert!(ToolTable::new(&bash).unwrap().entries().is_empty());
}

#[test]
fn free_text_comes_back_as_text() {
    let patch = Tool { input: ToolInput::FreeText(None), ..tool(None, "patch") };
    let request = request(vec![patch], ToolChoice::Auto);
    let table = ToolTable::new(&request).unwrap();
    for (json, text) in [
        (r#"{"input":"a\nb"}"#, "a\nb"),
        (r#""plain""#, "plain"),
        (r#"{"other":1}"#, r#"{"other":1}"#),
    ] {
        let input = ToolCallInput::Json(crate::json::compact(json).unwrap());
        let mut made = call(None, "patch", input);
        assert!(table.restore(&mut made));
        assert_eq!(made.input, ToolCallInput::Text(text.to_owned()));
    }
}
