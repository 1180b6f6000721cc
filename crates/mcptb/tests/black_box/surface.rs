//! The rules of the door on every route: methods, modes and the header of losses.

use serde_json::{Value, json};

use crate::support::{Launch, Reply, Request};

/// Every route that callers use, and the methods that it takes.
const ROUTES: [(&str, &[&str]); 12] = [
    ("/chat/completions", &["POST", "GET"]),
    ("/completions", &["POST"]),
    ("/embeddings", &["POST"]),
    ("/messages", &["POST"]),
    ("/messages/count_tokens", &["POST"]),
    ("/responses", &["POST"]),
    ("/responses/input_tokens", &["POST"]),
    ("/responses/compact", &["POST"]),
    ("/responses/resp_1", &["GET", "DELETE"]),
    ("/responses/resp_1/input_items", &["GET"]),
    ("/models", &["GET"]),
    ("/models/auto", &["GET"]),
];

const TOKEN: &str = "a-token-of-more-than-twenty-characters";

fn requests() -> impl Iterator<Item = (Request, bool)> {
    ["", "/v1"].into_iter().flat_map(|prefix| {
        ROUTES.into_iter().flat_map(move |(path, methods)| {
            ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().map(move |method| {
                let request = Request::new(method, &format!("{prefix}{path}"));
                (request.text("{}"), methods.contains(&method))
            })
        })
    })
}

fn check_error(reply: &Reply, request: &Request) {
    let body = reply.json();
    assert!(body["error"]["message"].is_string(), "{request:?}: {body}");
    assert!(reply.header("x-mcp-bridge").is_some(), "{request:?}");
}

#[test]
fn every_route_has_the_same_rules() {
    let rig = Launch::new().env("MCPTB_TOKEN", TOKEN).ready();
    for (request, taken) in requests() {
        let with = |name: &str, value: &str| request.clone().header(name, value);
        let host = with("host", "rebound.example").header("x-api-key", TOKEN);
        let origin = with("origin", "https://page.example").header("x-api-key", TOKEN);
        for (strange, status) in
            [(request.clone(), 401), (with("x-api-key", "wrong"), 401), (host, 403), (origin, 403)]
        {
            let reply = rig.fetch(&strange);
            assert_eq!(reply.status, status, "{strange:?}");
            check_error(&reply, &strange);
        }
        let reply = rig.fetch(&with("x-api-key", TOKEN));
        assert_eq!(reply.status != 405, taken, "{request:?}: {}", reply.status);
        if !taken {
            check_error(&reply, &request);
        }
    }
    rig.host.assert_not_asked();
}

/// The doors to a model, a body for each, and a parameter that no mode but lenient leaves out,
/// and one that only strict refuses.
fn doors() -> [(&'static str, Value, Value, Value); 4] {
    let said = json!([{"role": "user", "content": "x"}]);
    [
        (
            "/v1/chat/completions",
            json!({"model": "auto", "messages": said}),
            json!({"logprobs": true}),
            json!({"top_p": 0.5}),
        ),
        (
            "/v1/completions",
            json!({"model": "auto", "prompt": "x"}),
            json!({"logprobs": 1}),
            json!({"top_p": 0.5}),
        ),
        (
            "/v1/responses",
            json!({"model": "auto", "input": "x"}),
            json!({"background": true}),
            json!({"top_p": 0.5}),
        ),
        (
            "/v1/messages",
            json!({"model": "auto", "messages": said, "max_tokens": 9}),
            json!({"tool_choice": {"type": "tool", "name": "no_such_tool"}}),
            json!({"top_p": 0.5}),
        ),
    ]
}

#[test]
fn every_door_knows_the_modes_and_streams_name_losses_too() {
    let rig = Launch::new().ready();
    rig.host.respond(|sampling| sampling.answer("ok"));
    for (path, body, breaks, left_out) in doors() {
        for stream in [false, true] {
            for (more, statuses) in [(&breaks, [400, 400, 200]), (&left_out, [400, 200, 200])] {
                let mut body = body.clone();
                body["stream"] = json!(stream);
                for (key, value) in more.as_object().unwrap() {
                    body[key] = value.clone();
                }
                for (mode, status) in ["strict", "default", "lenient"].into_iter().zip(statuses) {
                    let request = Request::post(path).json(&body).header("x-mcptb-params", mode);
                    let reply = rig.fetch(&request);
                    let text = String::from_utf8_lossy(&reply.body).into_owned();
                    assert_eq!(reply.status, status, "{path} {mode} {more}: {text}");
                    let lost = reply.header("x-mcptb-loss").unwrap_or_default();
                    assert_eq!(lost.is_empty(), status == 400, "{path} {mode} {more}: {lost}");
                    if status == 400 {
                        let (name, _) = more.as_object().unwrap().iter().next().unwrap();
                        assert!(text.contains(name.as_str()), "{path} {mode}: {text}");
                    }
                }
                let doubtful = Request::post(path).json(&body).header("x-mcptb-params", "maybe");
                assert_eq!(rig.fetch(&doubtful).status, 400);
            }
        }
    }
}
