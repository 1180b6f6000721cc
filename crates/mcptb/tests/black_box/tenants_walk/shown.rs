//! Every route that takes an id, and how an id is shown to it.

use serde_json::{Value, json};

use crate::support::{Reply, Request, Rig};

/// What somebody is told: status, headers and body.
pub(super) type Told = (u16, Vec<String>, String);

/// Where an id can be shown.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// In a path that has a place for one.
    Path { method: String, pattern: String },
    /// In the body of a request at this path, under a name.
    Body { path: &'static str, field: &'static str },
    /// As the item after which a page of a response of one's own goes on.
    After,
}

/// Every way that the program has.
pub(super) fn ways(rig: &Rig, admin: &str) -> Vec<Way> {
    let mut ways = Vec::new();
    for public in http_doors::PUBLIC_PATHS.iter().filter(|public| public.path.contains('{')) {
        for method in public.methods {
            let pattern = format!("/v1{}", public.path);
            ways.push(Way::Path { method: (*method).to_owned(), pattern });
        }
    }
    let document = rig.fetch(&Request::get("/admin/v1/openapi.json").header("x-api-key", admin));
    for (path, methods) in document.json()["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|_| path.contains('{')) {
            ways.push(Way::Path { method: method.to_ascii_uppercase(), pattern: path.clone() });
        }
    }
    for path in ["/v1/responses", "/v1/responses/input_tokens"] {
        for field in ["previous_response_id", "item_reference"] {
            ways.push(Way::Body { path, field });
        }
    }
    ways.push(Way::After);
    ways
}

impl Way {
    /// A request that shows an id. `own` is a kept response of whoever asks.
    pub(super) fn request(&self, id: &str, own: Option<&str>) -> Option<Request> {
        Some(match self {
            Self::Path { method, pattern } => {
                let path = pattern.replace("{id}", id).replace("{*id}", id);
                let request = Request::new(method, &path);
                let takes_body = matches!(method.as_str(), "POST" | "PATCH");
                if takes_body { request.json(&json!({})) } else { request }
            }
            Self::Body { path, field } => Request::post(path).json(&body(field, id)),
            Self::After => Request::get(&format!("/v1/responses/{}/input_items?after={id}", own?)),
        })
    }

    /// Whether only administrators may go this way.
    pub(super) fn administers(&self) -> bool {
        matches!(self, Self::Path { pattern, .. } if pattern.starts_with("/admin/"))
    }
}

fn body(field: &str, id: &str) -> Value {
    match field {
        "item_reference" => json!({"model": "auto", "input": [{"type": field, "id": id}]}),
        _ => json!({"model": "auto", "input": "go on", field: id}),
    }
}

/// An id of the same shape that nobody was ever given.
pub(super) fn never(id: &str) -> String {
    if id.contains('-') && id.len() == 36 {
        return "00000000-0000-7000-8000-000000000000".to_owned();
    }
    match id.rfind(['_', '-']) {
        Some(end) => format!("{}{}", &id[..=end], "0".repeat(id.len() - end - 1)),
        // A key has 12 letters; a tenant has a name.
        None => "q".repeat(id.len()),
    }
}

/// All of a reply that could tell one id from another: everything but the id itself, the call's
/// and the time.
pub(super) fn told(reply: &Reply, id: &str) -> Told {
    let mut body = String::from_utf8_lossy(&reply.body).replace(id, "ID");
    if let Ok(mut value) = serde_json::from_str::<Value>(&body)
        && let Some(object) = value.as_object_mut()
    {
        object.remove("request_id");
        body = value.to_string();
    }
    let headers =
        reply.headers().filter(|(name, _)| !["x-request-id", "request-id", "date"].contains(name));
    let headers = headers.map(|(name, value)| format!("{name}: {value}")).collect();
    (reply.status, headers, body)
}
