//! Every route as a row: what it is to a caller, in whose words it refuses, and what is sent there.

use gateway::keys::Endpoint;
use serde_json::{Value, json};

use crate::support::endpoints::{body, path};
use crate::support::{Request, Rig};

/// What a route is, as far as refusals go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Asks a model.
    Call(Endpoint),
    /// The same with `x-mcptb-dry-run`.
    DryRun(Endpoint),
    /// Asks what would become of a call.
    Question,
    /// Estimates tokens of a body, at the door of an endpoint.
    Count(Endpoint),
    /// What is kept of Responses, or would be if we had it. It asks for the key of that door.
    Kept,
    /// One model by its name.
    Model,
    /// Anything else that any key may look at.
    Look,
    /// Whether the process is up.
    Alive,
    /// Whether it can answer calls.
    Ready,
    /// What administrators do.
    Admin,
    /// What holders of keys that may make child keys do.
    Children,
}

/// In whose words a route refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tongue {
    OpenAi,
    Anthropic,
}

/// A route.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) method: &'static str,
    /// As it is served, with a prefix and what stands in braces.
    pub(super) pattern: String,
    pub(super) sort: Sort,
    pub(super) tongue: Tongue,
    /// Whether the answer is to be streamed.
    pub(super) streamed: bool,
}

/// The public routes, without their prefix.
const PUBLIC: [(&str, &str, Sort); 21] = [
    ("GET", "/chat/completions", Sort::Look),
    ("POST", "/chat/completions", Sort::Call(Endpoint::Chat)),
    ("POST", "/completions", Sort::Call(Endpoint::Completions)),
    ("POST", "/embeddings", Sort::Look),
    ("POST", "/messages", Sort::Call(Endpoint::Messages)),
    ("POST", "/messages/count_tokens", Sort::Count(Endpoint::CountTokens)),
    ("GET", "/responses", Sort::Kept),
    ("POST", "/responses", Sort::Call(Endpoint::Responses)),
    ("POST", "/responses/input_tokens", Sort::Count(Endpoint::Responses)),
    ("POST", "/responses/compact", Sort::Kept),
    ("GET", "/responses/{id}", Sort::Kept),
    ("DELETE", "/responses/{id}", Sort::Kept),
    ("GET", "/responses/{id}/input_items", Sort::Kept),
    ("POST", "/explain", Sort::Question),
    ("GET", "/usage", Sort::Look),
    ("GET", "/models", Sort::Look),
    ("GET", "/models/{*id}", Sort::Model),
    ("GET", "/", Sort::Alive),
    ("GET", "/api/hello", Sort::Alive),
    ("GET", "/healthz", Sort::Alive),
    ("GET", "/readyz", Sort::Ready),
];

/// The routes of administering, of which the bridge has a document.
const ADMINISTERING: [(&str, &str, Sort); 26] = [
    ("GET", "/admin/v1/keys", Sort::Admin),
    ("POST", "/admin/v1/keys", Sort::Admin),
    ("GET", "/admin/v1/keys/{id}", Sort::Admin),
    ("PATCH", "/admin/v1/keys/{id}", Sort::Admin),
    ("DELETE", "/admin/v1/keys/{id}", Sort::Admin),
    ("POST", "/admin/v1/keys/{id}/rotate", Sort::Admin),
    ("POST", "/admin/v1/keys/{id}/revoke", Sort::Admin),
    ("GET", "/admin/v1/tenants", Sort::Admin),
    ("POST", "/admin/v1/tenants", Sort::Admin),
    ("GET", "/admin/v1/tenants/{id}", Sort::Admin),
    ("PATCH", "/admin/v1/tenants/{id}", Sort::Admin),
    ("DELETE", "/admin/v1/tenants/{id}", Sort::Admin),
    ("POST", "/admin/v1/tenants/{id}/revoke", Sort::Admin),
    ("GET", "/admin/v1/calls", Sort::Admin),
    ("GET", "/admin/v1/calls/{id}", Sort::Admin),
    ("GET", "/admin/v1/usage", Sort::Admin),
    ("GET", "/admin/v1/ends", Sort::Admin),
    ("GET", "/admin/v1/refusals", Sort::Admin),
    ("GET", "/admin/v1/audit/verify", Sort::Admin),
    ("POST", "/admin/v1/audit/verify", Sort::Admin),
    ("GET", "/admin/v1/status", Sort::Admin),
    ("GET", "/admin/v1/openapi.json", Sort::Admin),
    ("GET", "/v1/keys", Sort::Children),
    ("POST", "/v1/keys", Sort::Children),
    ("GET", "/v1/keys/{id}", Sort::Children),
    ("DELETE", "/v1/keys/{id}", Sort::Children),
];

/// Every route of the program, each with its row. A route without one, and a row without a route,
/// is a failure.
pub(super) fn rows(rig: &Rig, admin: &str) -> Vec<Row> {
    let mut served: Vec<(String, String, bool)> = Vec::new();
    for public in &http_doors::PUBLIC_PATHS {
        for method in public.methods {
            served.push(((*method).to_owned(), public.path.to_owned(), public.versioned));
        }
    }
    let mut known: Vec<(String, String)> = PUBLIC.iter().map(named).collect();
    let mut found: Vec<_> =
        served.iter().map(|(method, path, _)| (method.clone(), path.clone())).collect();
    known.sort();
    found.sort();
    assert_eq!(known, found, "the public routes and their rows");

    let document = rig.fetch(&Request::get("/admin/v1/openapi.json").header("x-api-key", admin));
    let document = document.json();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            found.push((method.to_ascii_uppercase(), path.clone()));
        }
    }
    let mut known: Vec<(String, String)> = ADMINISTERING.iter().map(named).collect();
    known.sort();
    found.sort();
    assert_eq!(known, found, "the routes of administering and their rows");

    let mut rows = Vec::new();
    for (method, path, sort) in PUBLIC {
        let versioned = served.iter().any(|(_, served, versioned)| served == path && *versioned);
        for prefix in if versioned { &["", "/v1"][..] } else { &[""] } {
            let pattern = format!("{prefix}{path}");
            let sorts = match sort {
                Sort::Call(endpoint) => vec![sort, Sort::DryRun(endpoint)],
                _ => vec![sort],
            };
            for sort in sorts {
                // Streams are refused as others are.
                let ways =
                    if matches!(sort, Sort::Call(_)) { &[false, true][..] } else { &[false] };
                for (tongue, streamed) in tongues(path, sort)
                    .into_iter()
                    .flat_map(|tongue| ways.iter().map(move |way| (tongue, *way)))
                {
                    rows.push(Row { method, pattern: pattern.clone(), sort, tongue, streamed });
                }
            }
        }
    }
    for (method, path, sort) in ADMINISTERING {
        let (pattern, tongue) = (path.to_owned(), Tongue::OpenAi);
        rows.push(Row { method, pattern, sort, tongue, streamed: false });
    }
    rows
}

fn named((method, path, _): &(&str, &str, Sort)) -> (String, String) {
    ((*method).to_owned(), (*path).to_owned())
}

/// Paths that both vendors have answer each in its own words.
fn tongues(path: &str, sort: Sort) -> Vec<Tongue> {
    match sort {
        Sort::Question | Sort::Model => vec![Tongue::OpenAi, Tongue::Anthropic],
        Sort::Look if ["/models", "/usage"].contains(&path) => {
            vec![Tongue::OpenAi, Tongue::Anthropic]
        }
        _ if path.starts_with("/messages") => vec![Tongue::Anthropic],
        _ => vec![Tongue::OpenAi],
    }
}

impl Row {
    /// A request that is answered, if the caller may.
    pub(super) fn request(&self) -> Request {
        self.dressed(Request::new(self.method, &self.path()), Some(&self.body()))
    }

    /// The same for a model, where one is asked.
    pub(super) fn request_of(&self, model: &str) -> Request {
        let mut body = self.body();
        match (&mut body, self.sort) {
            (Some(body), Sort::Question) => body["request"]["model"] = json!(model),
            (Some(body), Sort::Call(_) | Sort::DryRun(_)) => body["model"] = json!(model),
            _ => {}
        }
        self.dressed(Request::new(self.method, &self.path()), Some(&body))
    }

    /// A body that breaks off.
    pub(super) fn malformed(&self) -> Request {
        self.dressed(Request::new(self.method, &self.path()).text("{\"model\": "), None)
    }

    /// The same with a method that the path does not take.
    pub(super) fn other_method(&self) -> Request {
        self.dressed(Request::new("PUT", &self.path()), None)
    }

    /// The same with a path that there is not.
    pub(super) fn other_path(&self) -> Request {
        let (root, rest) =
            match ["/admin/v1", "/v1"].iter().find(|at| self.pattern.starts_with(*at)) {
                Some(root) => self.pattern.split_at(root.len()),
                None => ("", self.pattern.as_str()),
            };
        let path = filled(&format!("{root}/not{rest}"), self.sort);
        self.dressed(Request::new(self.method, &path), Some(&self.body()))
    }

    /// A body of which only the length comes.
    pub(super) fn announced(&self, bytes: usize) -> Request {
        let request = Request::new(self.method, &self.path());
        self.dressed(request.header("content-length", &bytes.to_string()), None)
    }

    /// A body whose length is not announced.
    pub(super) fn in_pieces(&self, bytes: usize) -> Request {
        let request = Request::new(self.method, &self.path());
        let request = request.header("transfer-encoding", "chunked");
        let pieces = format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", " ".repeat(bytes));
        self.dressed(request.text(&pieces), None)
    }

    fn dressed(&self, request: Request, body: Option<&Option<Value>>) -> Request {
        let request = match body {
            Some(Some(body)) => request.json(body),
            _ => request,
        };
        let request = match self.tongue {
            Tongue::Anthropic => request.header("anthropic-version", "2023-06-01"),
            Tongue::OpenAi => request,
        };
        match self.sort {
            Sort::DryRun(_) => request.header("x-mcptb-dry-run", "1"),
            _ => request,
        }
    }

    fn path(&self) -> String {
        filled(&self.pattern, self.sort)
    }

    fn body(&self) -> Option<Value> {
        match self.sort {
            Sort::Call(endpoint) | Sort::DryRun(endpoint) => {
                Some(body(endpoint, "?", self.streamed))
            }
            Sort::Count(Endpoint::Responses) => Some(body(Endpoint::Responses, "?", false)),
            Sort::Count(_) => Some(body(Endpoint::Messages, "?", false)),
            Sort::Question => {
                let endpoint = match self.tongue {
                    Tongue::OpenAi => Endpoint::Chat,
                    Tongue::Anthropic => Endpoint::Messages,
                };
                let request = body(endpoint, "?", false);
                Some(json!({"endpoint": endpoint.as_str(), "request": request}))
            }
            _ => self.takes_body().then(|| json!({})),
        }
    }

    pub(super) fn takes_body(&self) -> bool {
        matches!(self.method, "POST" | "PATCH")
    }

    /// The endpoint whose rules hold for it.
    pub(super) fn endpoint(&self) -> Endpoint {
        match self.sort {
            Sort::Call(endpoint) | Sort::DryRun(endpoint) | Sort::Count(endpoint) => endpoint,
            Sort::Kept => Endpoint::Responses,
            _ if self.tongue == Tongue::Anthropic => Endpoint::Messages,
            _ => Endpoint::Chat,
        }
    }

    /// A call to spend something with, at the same door where it is one.
    pub(super) fn spending(&self, token: &str) -> Request {
        let endpoint = match self.sort {
            Sort::Call(endpoint) => endpoint,
            _ => Endpoint::Chat,
        };
        Request::post(path(endpoint)).json(&body(endpoint, "?", false)).header("x-api-key", token)
    }
}

/// The path with an id that nothing has.
fn filled(pattern: &str, sort: Sort) -> String {
    let id = match sort {
        Sort::Model => "auto",
        Sort::Kept => "resp_0",
        _ if pattern.contains("/calls/") => "0195f3a0-1234-7abc-8def-0123456789ab",
        _ => "aaaaaaaaaaaa",
    };
    pattern.replace("{id}", id).replace("{*id}", id)
}
