//! The list of models.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Profile, Request};

fn ids(body: &Value) -> Vec<&str> {
    let list = body["data"].as_array().unwrap();
    list.iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[test]
fn each_dialect_gets_its_own_shape() {
    let rig = Launch::new().profile(Profile::VsCode).ready();
    let expected = ["auto", "mcp-external-sampling", "copilot/gpt-4.1"];
    for path in ["/v1/models", "/models", "/v1/models?limit=1000"] {
        let body = rig.fetch(&Request::get(path)).json();
        assert_eq!(body["object"], "list");
        assert_eq!(ids(&body), expected);
        for model in body["data"].as_array().unwrap() {
            assert_eq!(model["object"], "model");
            assert!(model["created"].as_u64().unwrap() > 1_700_000_000);
            assert!(model["owned_by"].is_string());
        }
        for version in ["2023-06-01", "2026-10-21"] {
            let request = Request::get(path).header("anthropic-version", version);
            let body = rig.fetch(&request).json();
            let expected = ["auto", "mcp-external-sampling", "claude-mcp-auto", "copilot/gpt-4.1"];
            assert_eq!(ids(&body), expected);
            assert_eq!(body["has_more"], false);
            assert_eq!(body["first_id"], "auto");
            assert_eq!(body["last_id"], "copilot/gpt-4.1");
            assert_eq!(body["data"][0]["type"], "model");
            assert!(body["data"][0]["display_name"].is_string());
        }
    }
}

#[test]
fn one_model_by_its_name_plain_or_encoded() {
    let rig = Launch::new().profile(Profile::VsCode).ready();
    for prefix in ["", "/v1"] {
        for id in [
            "auto",
            "mcp-external-sampling",
            "claude-mcp-auto",
            "copilot/gpt-4.1",
            "copilot%2Fgpt-4.1",
        ] {
            let path = format!("{prefix}/models/{id}");
            let reply = rig.fetch(&Request::get(&path));
            assert_eq!(reply.status, 200, "{path}");
            assert_eq!(reply.json()["id"], id.replace("%2F", "/"));
            let request = Request::get(&path).header("anthropic-version", "2023-06-01");
            assert_eq!(rig.fetch(&request).json()["type"], "model");
        }
    }
    for id in ["no-such-model", "copilot", "a%0d%0ab"] {
        let reply = rig.fetch(&Request::get(&format!("/v1/models/{id}")));
        assert_eq!(reply.status, 404, "{id}");
        Door::Chat.error(&reply);
        let request = Request::get(&format!("/v1/models/{id}"));
        Door::Messages.error(&rig.fetch(&request.header("anthropic-version", "2023-06-01")));
    }
    let reply = rig.fetch(&Request::get("/v1/models/%ff"));
    assert_eq!(reply.status, 400);
    assert!(Door::Chat.error(&reply).contains("UTF-8"));
}

#[test]
fn a_model_is_listed_once_it_has_answered() {
    let rig = Launch::new().cold().attach();
    let listed = |rig: &crate::support::Rig| {
        let body = rig.fetch(&Request::get("/v1/models")).json();
        ids(&body).iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&rig), ["auto", "mcp-external-sampling"]);
    for model in ["a/b", "auto", "", "a/b", "中文\u{1b}[2J"] {
        let mut call = rig.send(&Door::Chat.ask("hi"));
        rig.host.sampling().result(&json!({
            "model": model, "content": {"type": "text", "text": "hello"}}));
        assert_eq!(call.finish().status, 200);
    }
    assert_eq!(listed(&rig), ["auto", "mcp-external-sampling", "a/b", "中文\u{1b}[2J"]);
}

#[test]
fn a_list_comes_in_pages_where_the_dialect_has_them() {
    let rig = Launch::new().profile(Profile::VsCode).ready();
    let all = ["auto", "mcp-external-sampling", "claude-mcp-auto", "copilot/gpt-4.1"];
    let page = |query: &str| {
        let request = Request::get(&format!("/v1/models?{query}"));
        rig.fetch(&request.header("anthropic-version", "2023-06-01"))
    };
    let cases: [(&str, &[&str], bool); 10] = [
        ("", &all, false),
        ("beta=true&limit=4", &all, false),
        ("limit=3", &all[..3], true),
        ("limit=1&after_id=auto", &all[1..2], true),
        ("limit=2&after_id=mcp-external-sampling", &all[2..], false),
        ("after_id=copilot%2Fgpt-4.1", &[], false),
        ("limit=2&before_id=copilot%2Fgpt-4.1", &all[1..3], true),
        ("before_id=auto", &[], false),
        ("after_id=auto&before_id=copilot/gpt-4.1", &all[1..3], false),
        ("after_id=nobody", &[], false),
    ];
    for (query, expected, more) in cases {
        let body = page(query).json();
        assert_eq!(ids(&body), expected, "{query}");
        assert_eq!(body["has_more"], more, "{query}");
        assert_eq!(body["first_id"], json!(expected.first()), "{query}");
        assert_eq!(body["last_id"], json!(expected.last()), "{query}");
    }
    // Page by page, everything comes once.
    let mut seen = Vec::new();
    let mut query = "limit=1".to_owned();
    loop {
        let body = page(&query).json();
        seen.extend(ids(&body).into_iter().map(str::to_owned));
        if body["has_more"] == false {
            break;
        }
        query = format!("limit=1&after_id={}", body["last_id"].as_str().unwrap());
    }
    assert_eq!(seen, all);
    for limit in ["0", "1001", "-1", "many", ""] {
        let refused = page(&format!("limit={limit}"));
        assert_eq!(refused.status, 400, "{limit}");
        assert!(Door::Messages.error(&refused).contains("limit"));
    }
}

#[test]
fn the_name_for_claude_code_leaves_the_choice_to_the_host() {
    let rig = Launch::new().ready();
    for door in Door::BOTH {
        let mut call = rig.send(&door.ask_with("hi", &json!({"model": "claude-mcp-auto"})));
        let sampling = rig.host.sampling();
        assert!(sampling.params.get("modelPreferences").is_none(), "{}", sampling.params);
        sampling.result(&json!({"model": "served", "content": {"type": "text", "text": "hello"}}));
        assert_eq!(call.finish().json()["model"], "served");
    }
    // Calls take any name; lenient callers are told so.
    let any = Request::get("/v1/models/gpt-6-astra").header("x-mcptb-params", "lenient");
    assert_eq!(rig.fetch(&any).json()["id"], "gpt-6-astra");
}
