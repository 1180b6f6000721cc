//! What a caller has got of an answer that may break off anywhere.

use std::io::Read;

use gateway::keys::Endpoint;
use serde_json::Value;

use super::http::{Request, Target};
use super::responses::output_text;

/// As much of an answer as came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// The GUID, from the head.
    pub(crate) id: String,
    pub(crate) status: u16,
    /// The text so far; of a reply that is not streamed only all of it.
    pub(crate) text: String,
    /// Whether it came to its end.
    pub(crate) whole: bool,
}

/// Asks, and listens until the connection ends, however it ends. `None` where not even a whole
/// head came.
pub(crate) fn hear(
    target: &Target,
    endpoint: Endpoint,
    streamed: bool,
    request: &Request,
) -> Option<Heard> {
    let request = request.clone().header("connection", "close");
    let mut socket = target.try_send(&request).ok()?;
    let mut got = Vec::new();
    // What came before an error is kept.
    let _ = socket.read_to_end(&mut got);
    let end = got.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&got[..end]).unwrap();
    let header = |name: &str| {
        let found = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.map(str::to_owned)
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let id = header("x-request-id").expect("a GUID");
    let rest = &got[end + 4..];
    let (body, ended) = match header("content-length") {
        Some(length) => (rest.to_vec(), rest.len() == length.parse::<usize>().unwrap()),
        None => pieces(rest),
    };
    let (text, whole) = if streamed && status == 200 {
        read_events(endpoint, &body)
    } else if ended && status == 200 {
        (read_whole(endpoint, &body), true)
    } else {
        (String::new(), ended)
    };
    Some(Heard { id, status, text, whole })
}

/// A body in chunks, and whether its end came.
fn pieces(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if rest.len() < size + 2 {
            return (body, false);
        }
        rest = &rest[size + 2..];
    }
}

fn read_whole(endpoint: Endpoint, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    let pointer = match endpoint {
        Endpoint::Chat => "/choices/0/message/content",
        Endpoint::Completions => "/choices/0/text",
        Endpoint::Responses => return output_text(&body),
        _ => "/content/0/text",
    };
    body.pointer(pointer).and_then(Value::as_str).unwrap().to_owned()
}

/// The text of the events that came, and whether the last one is the end of an answer.
fn read_events(endpoint: Endpoint, body: &[u8]) -> (String, bool) {
    // The last event may be cut off, even in the middle of a character.
    let body = String::from_utf8_lossy(body);
    let whole = body.rfind("\n\n").map_or("", |end| &body[..end]);
    let (mut text, mut ended) = (String::new(), false);
    for data in whole.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if data == "[DONE]" {
            ended = true;
            continue;
        }
        let event: Value = serde_json::from_str(data).unwrap();
        let delta = match endpoint {
            Endpoint::Chat => &event["choices"][0]["delta"]["content"],
            Endpoint::Completions => &event["choices"][0]["text"],
            Endpoint::Responses if event["type"] == "response.output_text.delta" => &event["delta"],
            Endpoint::Responses => &Value::Null,
            _ => &event["delta"]["text"],
        };
        text.push_str(delta.as_str().unwrap_or_default());
        ended |= event["type"] == "message_stop" || event["type"] == "response.completed";
    }
    (text, ended)
}
