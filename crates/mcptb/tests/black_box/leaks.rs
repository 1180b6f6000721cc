//! Secrets are planted wherever one can live, and every byte that leaves is searched for them.

use std::fs;
use std::io::Read;
use std::time::Instant;

use gateway::admin::{KeyFields, NewKey};
use gateway::keys::{Endpoint, KeyKind};
use serde_json::{Value, json};

use crate::support::canaries::{Canary, Left, Way, Whose, files, hits};
use crate::support::endpoints::{CALLING, ask, body, path};
use crate::support::keyring::of_kind;
use crate::support::{Books, Launch, PATIENCE, Request, Rig};

mod administered;
mod tls;

use administered::{administered, by_address, minted};

/// The static token of the bridge.
const TOKEN: &str = "canary-token-Zq8vT3nW6yB1kL5m";
/// What callers show who have nothing of ours, by its header.
const SHOWN: [(&str, &str, &str); 6] = [
    ("authorization", "Bearer sk-proj-ShownA1canary7Hq2wLx9Zt", "ShownA1canary7Hq2wLx9Zt"),
    ("authorization", "Basic dXNlcjpTaG93bkIyY2FuYXJ5", "dXNlcjpTaG93bkIyY2FuYXJ5"),
    ("x-api-key", "sk-ant-api03-ShownC3canary5Rt8pVb2Ym", "ShownC3canary5Rt8pVb2Ym"),
    ("cookie", "session=ShownD4canary6Jk1sNc4Xe", "ShownD4canary6Jk1sNc4Xe"),
    ("proxy-authorization", "Bearer ShownE5canary3Gf7dQw0Uz", "ShownE5canary3Gf7dQw0Uz"),
    ("user-agent", "app/1 sk-proj-ShownF6canary9Mn4bTa8Ko", "ShownF6canary9Mn4bTa8Ko"),
];
/// What people paste into prompts, by what must not be kept of it.
const PASTED: [(&str, &str); 8] = [
    ("sk-proj-{}4Hq2wLx9ZtR7", "openai"),
    ("sk-ant-api03-{}4Hq2wLx9ZtR7", "anthropic"),
    ("ghp_{}4Hq2wLx9ZtR7Hq2wLx9Z", "github"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.{}4Hq2wLx9ZtR7", "jwt"),
    ("-----BEGIN PRIVATE KEY-----\nMIIE{}4Hq2wLx9ZtR7\n-----END PRIVATE KEY-----", "pem"),
    ("postgres://admin:{}4Hq2wLx9@db.example/main", "url"),
    ("DB_PASSWORD={}4Hq2wLx9ZtR7", "assigned"),
    ("Authorization: Bearer {}4Hq2wLx9ZtR7", "bearer"),
];

/// Credentials of each kind, named so that they can be told apart, and what to look for.
fn pasted(whose: Whose, place: &str) -> (String, Vec<Canary>) {
    let mut canaries = Vec::new();
    let texts: Vec<String> = PASTED
        .iter()
        .map(|(shape, kind)| {
            let needle = format!("Canary1{kind}2{place}3");
            canaries.push(Canary::new(whose, &format!("{kind} in {place}"), &needle));
            shape.replace("{}", &needle)
        })
        .collect();
    (texts.join(" and\n"), canaries)
}

/// One run of a bridge, with all that left it.
struct Run {
    rig: Rig,
    canaries: Vec<Canary>,
    left: Vec<Left>,
}

impl Run {
    /// Sends a request and gives every byte of the reply.
    fn read(&self, what: &str, request: &Request) -> Vec<u8> {
        let request = request.clone().header("connection", "close");
        let mut socket = self.rig.target.try_send(&request).unwrap();
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 "), "{what}: no reply");
        bytes
    }

    /// Sends a request and keeps the reply for the search.
    fn send(&mut self, what: &str, request: &Request) -> Vec<u8> {
        let bytes = self.read(what, request);
        let name = format!("the reply to {what}");
        self.left.push(Left { name, way: Way::Reply, bytes: bytes.clone() });
        bytes
    }

    /// The same, and it must have this status.
    fn send_for(&mut self, status: u16, what: &str, request: &Request) -> Vec<u8> {
        let bytes = self.send(what, request);
        let line = String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned();
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {line}");
        bytes
    }

    fn plant(&mut self, whose: Whose, place: &str) -> String {
        let (text, canaries) = pasted(whose, place);
        self.canaries.extend(canaries);
        text
    }
}

fn bearer(request: Request, token: &str) -> Request {
    request.header("authorization", &format!("Bearer {token}"))
}

/// Calls that are answered, or refused by the host, with everybody who may call.
fn answered(run: &mut Run, callers: &[(&str, &str)]) {
    let reply = run.plant(Whose::Answered, "replies");
    let fault = run.plant(Whose::Answered, "faults");
    run.rig.host.respond(move |sampling| {
        if sampling.asked().contains("please fail") {
            sampling.fail(&fault);
        } else {
            sampling.answer(&reply);
        }
    });
    for (who, token) in callers {
        for endpoint in CALLING {
            let prompt = run.plant(Whose::Said, &format!("prompt{who}{}", endpoint.as_str()));
            for streamed in [false, true] {
                let what = format!("a call of {who} at {endpoint:?}, streamed: {streamed}");
                run.send_for(200, &what, &bearer(ask(endpoint, &prompt, streamed), token));
            }
            if *who != "sandbox" {
                let failing = ask(endpoint, &format!("please fail {prompt}"), false);
                run.send(
                    &format!("a failing call of {who} at {endpoint:?}"),
                    &bearer(failing, token),
                );
            }
        }
    }
    let (_, token) = callers[0];
    let system = run.plant(Whose::Said, "system");
    let result = run.plant(Whose::Said, "result");
    let arguments = run.plant(Whose::Said, "arguments");
    let mut tools = json!({"model": "auto", "max_tokens": 50, "messages": [
        {"role": "system", "content": system},
        {"role": "user", "content": "go on"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
            "function": {"name": "run", "arguments": json!({"line": arguments}).to_string()}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": result}]});
    run.send_for(200, "tools", &bearer(Request::post(path(Endpoint::Chat)).json(&tools), token));
    tools["user"] = json!(run.plant(Whose::Said, "user"));
    tools["metadata"] = json!({"note": run.plant(Whose::Said, "metadata")});
    run.send_for(200, "metadata", &bearer(Request::post(path(Endpoint::Chat)).json(&tools), token));
}

/// Callers who show what is not good here, everywhere.
fn shown(run: &mut Run, good: &str, damaged: &str, admin: &str) {
    for (header, value, needle) in SHOWN {
        run.canaries.push(Canary::new(Whose::Shown, header, needle));
        for endpoint in CALLING {
            let request = ask(endpoint, "hello", false).header(header, value);
            let what = format!("{header} at {endpoint:?}");
            run.send_for(401, &what, &request);
            if header != "authorization" {
                run.send_for(200, &what, &bearer(request, good));
            }
        }
        for path in ["/v1/models", "/v1/usage", "/readyz", "/healthz", "/", "/no/such/route"] {
            run.send(path, &Request::get(path).header(header, value));
        }
    }
    let query = "ShownG7canary2Vb6nHy3Ps";
    run.canaries.push(Canary::new(Whose::Shown, "query", query));
    for endpoint in CALLING {
        run.send_for(401, "a damaged key", &bearer(ask(endpoint, "hello", false), damaged));
        run.send_for(403, "an admin key", &bearer(ask(endpoint, "hello", false), admin));
        let asked = format!("{}?key={query}", path(endpoint));
        let asked = Request::post(&asked).json(&body(endpoint, "hello", false));
        run.send_for(200, "a key in the query", &bearer(asked, good));
    }
    for path in ["/v1/models", "/v1/none", "/v1/responses/resp_1", "/readyz"] {
        run.send(path, &bearer(Request::get(&format!("{path}?api_key={query}")), good));
    }
}

/// Bodies that cannot be read, with a credential in the place of every field.
fn malformed(run: &mut Run, token: &str) {
    let fields = [
        "model",
        "messages",
        "input",
        "prompt",
        "temperature",
        "stream",
        "max_tokens",
        "stop",
        "tools",
        "tool_choice",
        "response_format",
        "text",
        "system",
        "instructions",
        "n",
        "reasoning_effort",
        "reasoning",
        "thinking",
        "service_tier",
        "previous_response_id",
        "metadata",
        "top_p",
        "logit_bias",
        "modalities",
        "store",
        "user",
    ];
    for (number, field) in fields.into_iter().enumerate() {
        for endpoint in CALLING {
            let said = run.plant(Whose::Said, &format!("field{number}{}", endpoint.as_str()));
            let alone = said.lines().next().unwrap().to_owned();
            for value in [json!(said), json!(alone), json!([said]), json!({alone.as_str(): said})] {
                let mut body = body(endpoint, "hello", false);
                body[field] = value;
                let request = Request::post(path(endpoint)).json(&body);
                run.send(&format!("{field} at {endpoint:?}"), &bearer(request, token));
            }
        }
    }
    for endpoint in CALLING {
        let said = run.plant(Whose::Said, &format!("broken{}", endpoint.as_str()));
        let whole = body(endpoint, &said, false).to_string();
        let unknown = json!({"model": "auto", said.as_str(): said, "messages": [
            {"role": said, "content": said}, {"role": "user", "content": [{"type": said, said.as_str(): said}]}]});
        for text in
            [&whole[..whole.len() - 4], &whole.replace(':', ";"), &said, &unknown.to_string()]
        {
            let request = Request::post(path(endpoint)).text(text);
            run.send(&format!("a broken body at {endpoint:?}"), &bearer(request, token));
        }
        let mut bytes = whole.into_bytes();
        bytes.push(0xff);
        let request = Request::post(path(endpoint)).bytes(&bytes);
        run.send(&format!("no UTF-8 at {endpoint:?}"), &bearer(request, token));
    }
}

/// Routes that are no calls, and those that do not exist.
fn beside(run: &mut Run, token: &str) {
    let said = run.plant(Whose::Said, "beside");
    for endpoint in CALLING {
        let body = body(endpoint, &said, false);
        let question = json!({"endpoint": endpoint.as_str(), "request": body});
        run.send_for(200, "explain", &bearer(Request::post("/v1/explain").json(&question), token));
        let dry = Request::post(path(endpoint)).json(&body).header("x-mcptb-dry-run", "1");
        run.send_for(200, "a dry run", &bearer(dry, token));
        for route in [
            "/v1/messages/count_tokens",
            "/v1/responses/input_tokens",
            "/v1/embeddings",
            "/v1/responses/compact",
            "/v1/none",
            "/admin/v1/keys",
        ] {
            run.send(route, &bearer(Request::post(route).json(&body), token));
        }
    }
    run.send(
        "explain",
        &bearer(
            Request::post("/v1/explain").json(&json!({"endpoint": said, said.as_str(): said})),
            token,
        ),
    );
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/v1/models",
        "/v1/models/auto",
        "/v1/usage",
        "/v1/chat/completions",
        "/v1/responses",
        "/admin/v1/keys",
        "/admin/v1/openapi.json",
    ] {
        run.send(path, &Request::get(path));
        run.send(path, &bearer(Request::get(path), token));
    }
    for header in ["x-mcptb-params", "x-mcptb-dry-run", "anthropic-version", "anthropic-beta"] {
        let value = said.lines().next().unwrap();
        for endpoint in CALLING {
            run.send(header, &bearer(ask(endpoint, "hello", false), token).header(header, value));
        }
    }
    // A response that is kept is its caller's.
    let kept =
        run.send_for(200, "a response", &bearer(ask(Endpoint::Responses, &said, false), token));
    let text = String::from_utf8(kept).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let id = serde_json::from_str::<Value>(body).unwrap()["id"].as_str().unwrap().to_owned();
    for rest in ["", "/input_items"] {
        let path = format!("/v1/responses/{id}{rest}");
        run.send_for(200, "a kept response", &bearer(Request::get(&path), token));
        run.send_for(401, "a kept response", &Request::get(&path));
    }
}

/// What is found of a bridge with this log, whose token is in a file or in its environment.
fn search(level: &str, bodies: bool, format: &str, from_file: bool) -> Vec<String> {
    let books = Books::new();
    let minting = KeyFields { can_mint: Some(true), ..KeyFields::default() };
    let [model, sandbox, admin] = books.keys([
        NewKey { fields: minting, ..NewKey::default() },
        of_kind(KeyKind::Sandbox),
        of_kind(KeyKind::Admin),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("mcptb.toml");
    fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let settings = if from_file { "token_file = \"token\"\n" } else { "" };
    fs::write(&config, settings).unwrap();
    let launch = books
        .launch()
        .arg("--config", config.to_str().unwrap())
        .env("MCPTB_LOG", level)
        .env("MCPTB_LOG_FORMAT", format)
        .env("MCPTB_LOG_BODIES", if bodies { "1" } else { "0" });
    let launch: Launch = if from_file { launch } else { launch.env("MCPTB_TOKEN", TOKEN) };
    let mut canaries = vec![Canary::new(Whose::Ours, "the static token", TOKEN)];
    for (name, key) in [("model", &model), ("sandbox", &sandbox), ("admin", &admin)] {
        canaries.extend(Canary::token(&format!("the {name} key"), &key.token));
    }
    let own = canaries.clone();
    for name in ["install.secret", "journal.key"] {
        canaries.extend(Canary::binary(name, &fs::read(books.path().join(name)).unwrap()));
    }
    let mut run = Run { rig: launch.ready(), canaries, left: Vec::new() };
    answered(&mut run, &[("token", TOKEN), ("model", &model.token), ("sandbox", &sandbox.token)]);
    let mut damaged = model.token.clone();
    let last = if damaged.pop() == Some('a') { 'b' } else { 'a' };
    damaged.push(last);
    shown(&mut run, &model.token, &damaged, &admin.token);
    malformed(&mut run, &model.token);
    beside(&mut run, &model.token);
    minted(&mut run, &model, &books);
    administered(&mut run, &admin.token, &books);
    by_address(&mut run, &admin.token);

    let Run { rig, canaries, mut left } = run;
    let heard = rig.host.lines.so_far().join("\n").into_bytes();
    left.push(Left { name: "what the host read".to_owned(), way: Way::Host, bytes: heard });
    // At last somebody pastes what opens this bridge.
    let ours = format!("{TOKEN} {} {}", model.token, admin.token);
    for endpoint in CALLING {
        let reply = rig.fetch(&bearer(ask(endpoint, &ours, false), &model.token));
        assert_eq!(reply.status, 200);
    }
    let process = format!("/proc/{}", rig.process.pid());
    if cfg!(target_os = "linux") {
        let shown = |name: &str, bytes| Left { name: name.to_owned(), way: Way::Process, bytes };
        left.push(shown("its command line", fs::read(format!("{process}/cmdline")).unwrap()));
        let environment = fs::read(format!("{process}/environ")).unwrap();
        // The one place where a token may be that was given by the environment.
        let given = format!("MCPTB_TOKEN={TOKEN}");
        let others = environment.split(|byte| *byte == 0).filter(|one| *one != given.as_bytes());
        left.push(shown("its environment", others.collect::<Vec<_>>().join(&0)));
    }
    let secrets = |left: &Left| {
        // Each lies in a file of its own.
        !left.name.starts_with("install.secret") && !left.name.starts_with("journal.key")
    };
    left.extend(files(books.path(), "while it ran").into_iter().filter(secrets));
    let said = rig.end().join("\n").into_bytes();
    assert_eq!(said.is_empty(), level == "off");
    left.push(Left { name: "stderr".to_owned(), way: Way::Stderr, bytes: said });
    left.extend(files(books.path(), "after it").into_iter().filter(secrets));
    let record = books.record();
    assert!(record.calls.len() > 100, "{}", record.calls.len());
    let kept = record.calls.iter().filter(|call| call.reply.is_some()).count();
    assert!(kept > 30, "{kept} bodies");
    for call in record.calls {
        let row = format!("{:?}", call.row).into_bytes();
        for (what, bytes) in [
            ("row", Some(row)),
            ("request", call.request.map(Into::into)),
            ("reply", call.reply.map(Into::into)),
        ] {
            let name = format!("the {what} of a call at {} on record", call.row.endpoint);
            left.extend(bytes.map(|bytes| Left { name, way: Way::Disk, bytes }));
        }
    }
    // A search that finds nothing anywhere would prove nothing.
    for canary in &canaries {
        let seen = match canary.name.as_str() {
            // The echo ends where the caller's bound is.
            name if name.contains("promptsandbox") => None,
            name if name.contains("in prompt") => Some(Way::Host),
            name if name.contains("in replies") => Some(Way::Reply),
            _ => None,
        };
        assert!(
            seen.is_none_or(|way| canary.is_seen(way, &left)),
            "{} was not planted",
            canary.name
        );
    }
    let everywhere = [Left { name: String::new(), way: Way::Disk, bytes: ours.into_bytes() }];
    assert_eq!(hits(&own[..2], &everywhere).len(), 2);
    hits(&canaries, &left)
}

fn assert_none(found: Vec<String>) {
    let mut short = std::collections::BTreeMap::<String, (usize, String)>::new();
    for hit in found {
        let (what, _) = hit.split_once(": …").unwrap();
        let what: String = what.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        short.entry(what).or_insert((0, hit)).0 += 1;
    }
    for (count, hit) in short.values() {
        eprintln!("{count} × {hit}");
    }
    assert!(short.is_empty(), "{} kinds of leaks", short.len());
}

#[test]
fn a_token_that_comes_while_the_bridge_runs_is_struck_out_too() {
    const NEXT: &str = "canary-next-token-Xp4sD9gH2jF7";
    let books = Books::new();
    let folder = tempfile::tempdir().unwrap();
    let (config, file) = (folder.path().join("mcptb.toml"), folder.path().join("token"));
    fs::write(&file, TOKEN).unwrap();
    fs::write(&config, "token_file = \"token\"\n").unwrap();
    let launch = books.launch().arg("--config", config.to_str().unwrap());
    let rig = launch.env("MCPTB_LOG_BODIES", "1").ready();
    rig.host.respond(|sampling| sampling.answer(&format!("you said {}", sampling.asked())));
    // The file of settings is what is looked at.
    fs::write(&file, NEXT).unwrap();
    fs::write(&config, "# Another token.\ntoken_file = \"token\"\n").unwrap();
    let usage = bearer(Request::get("/v1/usage"), NEXT);
    let deadline = Instant::now() + PATIENCE;
    while rig.fetch(&usage).status != 200 {
        assert!(Instant::now() < deadline, "the new token does not count");
    }
    let both = format!("{TOKEN} and {NEXT}");
    for endpoint in CALLING {
        assert_eq!(rig.fetch(&bearer(ask(endpoint, &both, false), NEXT)).status, 200);
        assert_eq!(rig.fetch(&bearer(ask(endpoint, &both, false), TOKEN)).status, 401);
    }
    let canaries = [("the earlier", TOKEN), ("the new", NEXT)]
        .map(|(name, token)| Canary::new(Whose::Ours, &format!("{name} token"), token));
    let mut left = files(books.path(), "while it ran");
    let said = rig.end().join("\n").into_bytes();
    left.push(Left { name: "stderr".to_owned(), way: Way::Stderr, bytes: said });
    left.extend(files(books.path(), "after it"));
    for call in books.record().calls {
        let kept = format!("{:?} {:?} {:?}", call.row, call.request, call.reply);
        let name = format!("a call at {}", call.row.endpoint);
        left.push(Left { name, way: Way::Disk, bytes: kept.into_bytes() });
    }
    assert_none(hits(&canaries, &left));
}

#[test]
fn nothing_leaks_with_the_log_as_it_is_by_default() {
    assert_none(search("warn", false, "text", false));
}

#[test]
fn nothing_leaks_where_little_or_nothing_is_logged() {
    assert_none(search("error", false, "json", false));
    assert_none(search("off", true, "text", true));
}

#[test]
fn nothing_leaks_at_debug() {
    assert_none(search("debug", false, "json", true));
}

#[test]
fn nothing_leaks_at_info() {
    assert_none(search("info", false, "text", true));
}

#[test]
fn nothing_leaks_with_bodies_in_the_log() {
    assert_none(search("debug", true, "text", false));
    assert_none(search("info", true, "json", true));
}
