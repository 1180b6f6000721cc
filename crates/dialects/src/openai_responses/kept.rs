//! What is kept of a response, as it is kept and as it is shown.

use model::{CallId, Json};

use super::wire::{Head, Identified, MessageItem};
use crate::extras::Extras;
use crate::json::{push_number, push_optional, push_string};
use crate::lenient::TextOr;

/// An item that is kept, with the id that it is referred to by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptItem {
    /// Its id.
    pub id: String,
    /// The whole item, which says the id too.
    pub json: Json,
}

/// Gives the input items of a call their ids where they have none, made from the call and their
/// places, and messages the form in which the API shows them.
pub fn name_input(items: Vec<Json>, call: CallId) -> Vec<KeptItem> {
    items.into_iter().enumerate().map(|(at, item)| name_item(item, call, at)).collect()
}

/// The output items of a response, which all have their ids.
pub fn name_output(items: Vec<Json>) -> Vec<KeptItem> {
    let named = |json: Json| {
        let id = own_id(&json)?;
        Some(KeptItem { id, json })
    };
    items.into_iter().filter_map(named).collect()
}

fn own_id(item: &Json) -> Option<String> {
    let named: Identified = serde_json::from_str(item.as_str()).ok()?;
    named.id.filter(|id| !id.is_empty())
}

fn name_item(item: Json, call: CallId, at: usize) -> KeptItem {
    let head: Head<'_> = serde_json::from_str(item.as_str()).unwrap_or_default();
    let kind = head.kind.as_deref().unwrap_or("message");
    let given = own_id(&item);
    let id = given.clone().unwrap_or_else(|| {
        // The items of the output count from 0 behind the same call.
        format!("{}{}1{at:015x}", prefix(kind), call.hex())
    });
    let json = if kind == "message" { long_message(&item, &id) } else { None };
    let json = json.or_else(|| {
        let mut extras = Extras::default();
        if head.kind.is_none() {
            extras.text("type", "message");
        }
        if given.is_none() {
            extras.text("id", &id);
        }
        // Behind all others, where a null of the same name does not count any more.
        let mut out = item.as_str().strip_suffix('}')?.as_bytes().to_vec();
        extras.append_to(&mut out);
        out.push(b'}');
        Json::from_compact(String::from_utf8(out).ok()?)
    });
    KeptItem { id, json: json.unwrap_or(item) }
}

/// A message whose content is text, with that text as its one part; `None` for any other.
fn long_message(item: &Json, id: &str) -> Option<Json> {
    let message: MessageItem<'_> = serde_json::from_str(item.as_str()).ok()?;
    let TextOr::Text(text) = message.content? else { return None };
    let role = message.role?;
    let mut out = br#"{"id":"#.to_vec();
    push_string(&mut out, id);
    out.extend_from_slice(br#","type":"message","role":"#);
    push_string(&mut out, &role);
    out.extend_from_slice(if &*role == "assistant" {
        br#","content":[{"type":"output_text","annotations":[],"text":"#.as_slice()
    } else {
        br#","content":[{"type":"input_text","text":"#
    });
    push_string(&mut out, &text);
    out.extend_from_slice(b"}]");
    let mut extras = Extras::default();
    extras.rest_but(&message.rest, &["type", "id"]);
    extras.append_to(&mut out);
    out.push(b'}');
    Json::from_compact(String::from_utf8(out).ok()?)
}

fn prefix(kind: &str) -> &'static str {
    match kind {
        "message" => "msg_",
        "function_call" => "fc_",
        "function_call_output" => "fco_",
        "custom_tool_call" => "ctc_",
        "custom_tool_call_output" => "ctco_",
        "reasoning" => "rs_",
        _ => "item_",
    }
}

/// Writes `GET /v1/responses/{id}/input_items`.
pub fn write_items(items: &[&KeptItem], has_more: bool) -> Vec<u8> {
    let bytes: usize = items.iter().map(|item| item.json.as_str().len() + 1).sum();
    let mut out = Vec::with_capacity(256 + bytes);
    out.extend_from_slice(br#"{"object":"list","data":["#);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item.json.as_str().as_bytes());
    }
    out.extend_from_slice(br#"],"first_id":"#);
    push_optional(&mut out, items.first().map(|item| item.id.as_str()));
    out.extend_from_slice(br#","last_id":"#);
    push_optional(&mut out, items.last().map(|item| item.id.as_str()));
    out.extend_from_slice(if has_more {
        br#","has_more":true}"#
    } else {
        br#","has_more":false}"#
    });
    out
}

/// Writes the answer to `DELETE /v1/responses/{id}`.
pub fn write_deleted(id: &str) -> Vec<u8> {
    let mut out = br#"{"id":"#.to_vec();
    push_string(&mut out, id);
    out.extend_from_slice(br#","object":"response","deleted":true}"#);
    out
}

/// Writes the answer to `POST /v1/responses/input_tokens`.
pub fn write_input_tokens(tokens: u64) -> Vec<u8> {
    let mut out = br#"{"object":"response.input_tokens","input_tokens":"#.to_vec();
    push_number(&mut out, tokens);
    out.push(b'}');
    out
}
