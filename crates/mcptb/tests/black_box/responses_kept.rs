//! Responses that are kept: continued, read, listed, deleted, and hidden from others.

use serde_json::{Value, json};

use crate::support::responses::read_responses;
use crate::support::{Launch, Request, Rig};

const PATH: &str = "/v1/responses";
const TOKEN: &str = "a-token-of-more-than-twenty-characters";

fn post(body: &Value) -> Request {
    let mut whole = json!({"model": "auto"});
    for (key, value) in body.as_object().unwrap() {
        whole[key] = value.clone();
    }
    Request::post(PATH).json(&whole)
}

/// Asks and answers, and gives what the host was asked and the response.
fn exchange(rig: &Rig, body: &Value, answer: &str) -> (Value, Value) {
    let mut call = rig.send(&post(body));
    let sampling = rig.host.sampling();
    sampling.answer(answer);
    let response = if body["stream"] == true {
        read_responses(&mut call).response
    } else {
        let reply = call.finish();
        assert_eq!(reply.status, 200, "{}", reply.json());
        reply.json()
    };
    (sampling.params.clone(), response)
}

/// What was said, in order.
fn said(params: &Value) -> Vec<String> {
    let text = |message: &Value| {
        let role = message["role"].as_str().unwrap();
        format!("{role}: {}", message["content"]["text"].as_str().unwrap())
    };
    params["messages"].as_array().unwrap().iter().map(text).collect()
}

fn id(response: &Value) -> &str {
    response["id"].as_str().unwrap()
}

fn get(path: &str) -> Request {
    Request::get(&format!("{PATH}/{path}"))
}

#[test]
fn a_conversation_goes_on_from_any_of_its_turns() {
    let rig = Launch::new().ready();
    let first = json!({"input": "one", "instructions": "Be brief.",
        "tools": [{"type": "web_search"}]});
    let (_, a) = exchange(&rig, &first, "answer one");
    let more = json!({"input": [{"role": "user", "content": "two"}],
        "previous_response_id": id(&a), "stream": true});
    let (asked, b) = exchange(&rig, &more, "answer two");
    assert_eq!(said(&asked), ["user: one", "assistant: answer one", "user: two"]);
    assert_eq!(asked.get("systemPrompt"), None, "instructions are not inherited");
    assert_eq!(b["previous_response_id"], a["id"]);
    assert_eq!(b["tools"], json!([]), "tools are not inherited");
    let next = json!({"input": "three", "previous_response_id": id(&b)});
    let (asked, c) = exchange(&rig, &next, "answer three");
    let whole =
        ["user: one", "assistant: answer one", "user: two", "assistant: answer two", "user: three"];
    assert_eq!(said(&asked), whole);
    assert!(c["usage"]["input_tokens"].as_u64() > b["usage"]["input_tokens"].as_u64());
    // Another branch of the first turn knows nothing of the second.
    let branch = json!({"input": "else", "previous_response_id": id(&a)});
    let (asked, _) = exchange(&rig, &branch, "answer else");
    assert_eq!(said(&asked), ["user: one", "assistant: answer one", "user: else"]);
    // A deleted turn is gone, and what went on from it is not.
    let deleted = rig.fetch(&Request::new("DELETE", &format!("{PATH}/{}", id(&b))));
    assert_eq!(deleted.json(), json!({"id": id(&b), "object": "response", "deleted": true}));
    assert_eq!(rig.fetch(&get(id(&b))).status, 404);
    assert_eq!(rig.fetch(&Request::new("DELETE", &format!("{PATH}/{}", id(&b)))).status, 404);
    let last = json!({"input": "four", "previous_response_id": id(&c)});
    let (asked, _) = exchange(&rig, &last, "answer four");
    assert_eq!(said(&asked).len(), 7);
}

#[test]
fn items_are_listed_and_referred_to() {
    let rig = Launch::new().ready();
    let (_, a) = exchange(&rig, &json!({"input": "one"}), "answer one");
    assert_eq!(rig.fetch(&get(id(&a))).json(), a);
    let items = [
        json!({"role": "user", "content": "two"}),
        json!({"id": "msg_mine/1 %", "type":
        "message", "role": "user", "content": [{"type": "input_text", "text": "and more"}]}),
    ];
    let more = json!({"input": items, "previous_response_id": id(&a)});
    let (_, b) = exchange(&rig, &more, "answer two");
    let list = |query: &str| {
        let reply = rig.fetch(&get(&format!("{}/input_items{query}", id(&b))));
        assert_eq!(reply.status, 200, "{}", reply.json());
        reply.json()
    };
    let texts = |list: &Value| -> Vec<String> {
        let items = list["data"].as_array().unwrap().iter();
        items.map(|item| item["content"][0]["text"].as_str().unwrap().to_owned()).collect()
    };
    let newest_first = list("");
    assert_eq!(texts(&newest_first), ["and more", "two", "answer one", "one"]);
    assert_eq!(newest_first["object"], "list");
    assert_eq!(newest_first["has_more"], false);
    assert_eq!(newest_first["first_id"], "msg_mine/1 %");
    let page = list("?order=asc&limit=2");
    assert_eq!(texts(&page), ["one", "answer one"]);
    assert_eq!(page["has_more"], true);
    assert_eq!(page["last_id"], a["output"][0]["id"]);
    let rest = list(&format!("?order=asc&after={}", page["last_id"].as_str().unwrap()));
    assert_eq!(texts(&rest), ["two", "and more"]);
    let after = "msg%5Fmine%2F1+%25";
    assert_eq!(texts(&list(&format!("?after={after}"))), ["two", "answer one", "one"]);
    for query in ["?limit=0", "?limit=x", "?order=up", "?after=nothing"] {
        assert_eq!(rig.fetch(&get(&format!("{}/input_items{query}", id(&b)))).status, 400);
    }
    assert_eq!(rig.fetch(&get(&format!("{}?stream=true", id(&b)))).status, 400);
    // Both an answer and what was asked can be referred to, whoever gave the id.
    let reference = |id: &Value| json!({"type": "item_reference", "id": id});
    let first_id = newest_first["data"][3]["id"].clone();
    let input = json!([reference(&first_id), reference(&a["output"][0]["id"]),
        {"id": "msg_mine/1 %"}, {"role": "user", "content": "three"}]);
    let (asked, c) = exchange(&rig, &json!({"input": input}), "answer three");
    let whole = ["user: one", "assistant: answer one", "user: and more", "user: three"];
    assert_eq!(said(&asked), whole);
    // What a reference stood for is kept in its place.
    let next = json!({"input": "four", "previous_response_id": id(&c)});
    let (asked, _) = exchange(&rig, &next, "answer four");
    assert_eq!(said(&asked)[..4], whole);
}

#[test]
fn pages_of_a_conversation_that_repeats_itself_come_to_an_end() {
    let rig = Launch::new().ready();
    let item = |id: &str| {
        json!({"id": id, "type": "message", "role": "user",
            "content": [{"type": "input_text", "text": "again"}]})
    };
    let body = json!({"input": [item("msg_1"), item("msg_2"), item("msg_1"), item("msg_2")]});
    let (_, response) = exchange(&rig, &body, "yes");
    for order in ["asc", "desc"] {
        let mut seen = Vec::new();
        let mut after = String::new();
        for _ in 0..4 {
            let path = format!("{}/input_items?limit=1&order={order}{after}", id(&response));
            let page = rig.fetch(&get(&path)).json();
            seen.push(page["last_id"].as_str().unwrap().to_owned());
            if page["has_more"] == false {
                break;
            }
            after = format!("&after={}", seen.last().unwrap());
        }
        seen.sort();
        assert_eq!(seen, ["msg_1", "msg_2"], "{order}");
    }
}

#[test]
fn what_is_not_to_be_kept_is_not_kept() {
    let rig = Launch::new().ready();
    let unkept = json!({"input": "one", "store": false});
    let (_, a) = exchange(&rig, &unkept, "answer one");
    assert_eq!(a["store"], false);
    assert_eq!(rig.fetch(&get(id(&a))).status, 404);
    for previous in [id(&a), "resp_unknown", ""] {
        let reply = rig.fetch(&post(&json!({"input": "x", "previous_response_id": previous})));
        assert_eq!(reply.status, 400);
        let message = format!("Previous response with id '{previous}' not found.");
        assert_eq!(
            reply.json()["error"],
            json!({"message": message, "type": "invalid_request_error",
                "param": "previous_response_id", "code": "previous_response_not_found"})
        );
    }
    rig.host.assert_not_asked();
    // A failed call keeps nothing either, and a hang-up cannot be continued.
    let mut call = rig.send(&post(&json!({"input": "x"})));
    rig.host.sampling().error(-32603, "boom");
    let reply = call.finish();
    let hex = reply.header("x-request-id").unwrap().replace('-', "");
    assert_eq!(rig.fetch(&get(&format!("resp_{hex}"))).status, 404);
}

#[test]
fn nobody_sees_what_belongs_to_another() {
    let rig = Launch::new().env("MCPTB_TOKEN", TOKEN).arg("--auth", "open-loopback").ready();
    rig.host.respond(|sampling| sampling.answer("answer"));
    let bearer = format!("Bearer {TOKEN}");
    let with = |request: Request| request.header("authorization", &bearer);
    let open = rig.fetch(&post(&json!({"input": "one"}))).json();
    let theirs = rig.fetch(&with(post(&json!({"input": "one"})))).json();
    for (mine, other) in [(&open, false), (&theirs, true)] {
        let as_owner = |request: Request| if other { with(request) } else { request };
        let as_other = |request: Request| if other { request } else { with(request) };
        let path = format!("{PATH}/{}", id(mine));
        let more = json!({"input": "two", "previous_response_id": id(mine)});
        let reference = json!({"input": [{"id": mine["output"][0]["id"]}]});
        for (request, status) in [
            (Request::get(&path), 404),
            (Request::get(&format!("{path}/input_items")), 404),
            (Request::new("DELETE", &path), 404),
            (post(&more), 400),
            (post(&reference), 400),
        ] {
            assert_eq!(rig.fetch(&as_other(request.clone())).status, status, "{request:?}");
            assert_eq!(rig.fetch(&as_owner(Request::get(&path))).status, 200);
        }
        assert_eq!(rig.fetch(&as_owner(post(&more))).status, 200);
        assert_eq!(rig.fetch(&as_owner(post(&reference))).status, 200);
    }
}

#[test]
fn a_conversation_is_not_larger_than_a_body_may_be() {
    let rig = Launch::new().arg("--body-limit", "20000").ready();
    rig.host.respond(|sampling| sampling.answer("ok"));
    let large = "word ".repeat(1500);
    let mut previous = Value::Null;
    let mut turns = 0;
    let refused = loop {
        let body = json!({"input": large, "previous_response_id": previous});
        let reply = rig.fetch(&post(&body));
        if reply.status != 200 {
            break reply;
        }
        turns += 1;
        previous = reply.json()["id"].clone();
    };
    assert_eq!((refused.status, turns), (413, 2), "{}", refused.json());
    // References count as well.
    let items = format!("{}/input_items?limit=1", previous.as_str().unwrap());
    let item = rig.fetch(&get(&items)).json()["first_id"].clone();
    let input: Vec<_> = (0..3).map(|_| json!({"type": "item_reference", "id": item})).collect();
    assert_eq!(rig.fetch(&post(&json!({"input": input}))).status, 413);
    let count = Request::post("/v1/responses/input_tokens").json(&json!({"input": input}));
    assert_eq!(rig.fetch(&count).status, 413);
}

#[test]
fn an_answer_that_is_too_large_to_keep_says_so() {
    let rig = Launch::new().ready();
    let large = "words ".repeat(1_500_000);
    for streamed in [false, true] {
        let body = json!({"input": "a book, please", "stream": streamed});
        let (_, response) = exchange(&rig, &body, &large);
        assert_eq!(response["status"], "completed");
        assert_eq!(response["store"], false);
        assert_eq!(rig.fetch(&get(id(&response))).status, 404);
    }
}
