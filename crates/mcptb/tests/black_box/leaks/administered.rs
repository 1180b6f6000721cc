//! What those see who administer: with an admin key, on the machine, or as holders of a key that may
//! make others.

use std::process::Command;

use serde_json::{Value, json};

use super::{Run, bearer};
use crate::support::canaries::{Canary, Left, Way, Whose};
use crate::support::endpoints::ask;
use crate::support::{Books, Key, Request};

/// Where holders make keys.
const KEYS: &str = "/v1/keys";

/// The JSON of a reply.
fn json_of(reply: &[u8]) -> Value {
    let text = std::str::from_utf8(reply).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {head} {body}"))
}

/// What administrators do and read, over HTTP and by the command line.
pub(super) fn administered(run: &mut Run, admin: &str, books: &Books) {
    let issue = |run: &mut Run, name: &str, request: &Request| {
        // The one reply that holds a token; it must be nowhere else.
        let issued = json_of(&run.read(name, &bearer(request.clone(), admin)));
        run.canaries.extend(Canary::token(name, issued["token"].as_str().unwrap()));
        issued["key"]["id"].as_str().unwrap_or_else(|| panic!("{name}: no id")).to_owned()
    };
    let keys = "/admin/v1/keys";
    let wanted = json!({"name": "made by an administrator"});
    let id = issue(run, "a key that was made", &Request::post(keys).json(&wanted));
    let rotate = Request::post(&format!("{keys}/{id}/rotate")).json(&json!({}));
    issue(run, "a key that was rotated", &rotate);
    for unread in unread(run, "administering") {
        let create = Request::post(keys).json(&unread);
        run.send_for(400, "a key that cannot be", &bearer(create, admin));
    }
    let mut paths: Vec<String> = [
        "keys",
        "tenants",
        "calls?limit=1000",
        "usage",
        "refusals",
        "audit/verify",
        "status",
        "openapi.json",
    ]
    .map(|path| format!("/admin/v1/{path}"))
    .into();
    paths.push(format!("{keys}/{id}"));
    let calls = run.read("calls", &bearer(Request::get("/admin/v1/calls?limit=1000"), admin));
    let calls = json_of(&calls)["data"].as_array().unwrap().clone();
    assert!(calls.len() > 100, "{}", calls.len());
    let bodies = calls.iter().rev().take(60).map(|call| call["id"].as_str().unwrap());
    paths.extend(bodies.map(|id| format!("/admin/v1/calls/{id}")));
    for path in paths {
        let verb = if path.ends_with("verify") { Request::post } else { Request::get };
        let bytes = run.read(&path, &bearer(verb(&path), admin));
        assert!(bytes.starts_with(b"HTTP/1.1 200 "), "{path}");
        run.left.push(Left { name: path, way: Way::Admin, bytes });
    }
    for args in [
        ["audit", "export", "--format", "jsonl"].as_slice(),
        &["audit", "export", "--format", "jsonl", "--bodies"],
        &["audit", "export", "--format", "csv"],
        &["audit", "list", "--json"],
        &["audit", "refusals", "--json"],
        &["keys", "list", "--json"],
        &["keys", "show", id.as_str()],
        &["tenants", "list"],
        &["usage", "--json"],
        &["status"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcptb"));
        command.args(args).env_clear().env("MCPTB_DATA_DIR", books.path());
        run.left.push(said(args, &mut command));
    }
}

/// Wishes that cannot be, with credentials in the place of names and of what they say.
fn unread(run: &mut Run, place: &str) -> [Value; 4] {
    let said = run.plant(Whose::Said, place);
    [
        json!({said.as_str(): said}),
        json!({"name": [said]}),
        json!({"expires": said}),
        json!({"bounds": {"networks": [said], "models": [said]}}),
    ]
}

/// All that a command says, which has to end well.
fn said(args: &[&str], command: &mut Command) -> Left {
    let output = command.output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}: {output:?}");
    let bytes = [output.stdout, output.stderr].concat();
    Left { name: args.join(" "), way: Way::Admin, bytes }
}

/// What administrators do elsewhere, whose key is in their environment.
pub(super) fn by_address(run: &mut Run, admin: &str) {
    let url = format!("http://{}", run.rig.target.address);
    let command = |args: &[&str], url: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcptb"));
        command.args(args).args(["--url", url]).env_clear().env("MCPTB_ADMIN_KEY", admin);
        command
    };
    for args in [
        ["status"].as_slice(),
        &["status", "--json"],
        &["keys", "list"],
        &["tenants", "list", "--json"],
        &["usage"],
        &["audit", "list"],
        &["audit", "export", "--format", "jsonl", "--bodies"],
    ] {
        run.left.push(said(args, &mut command(args, &url)));
    }
    // And where it does not work.
    for (args, url) in [
        (["keys", "show", "none"].as_slice(), url.as_str()),
        (&["keys", "list"], "http://127.0.0.1:9"),
        (&["keys", "list"], "https://127.0.0.1:9"),
        (&["keys", "list"], "http://no.such.host.invalid"),
        (&["keys", "list"], "nonsense"),
    ] {
        let output = command(args, url).output().unwrap();
        assert!(!output.status.success(), "{args:?} {url}");
        let name = format!("{} at {url}", args.join(" "));
        let bytes = [output.stdout, output.stderr].concat();
        run.left.push(Left { name, way: Way::Admin, bytes });
    }
}

/// What holders of keys do who may make others, and what is told them.
pub(super) fn minted(run: &mut Run, parent: &Key, books: &Books) {
    let holder = parent.token.as_str();
    let mint = Request::post(KEYS).json(&json!({"name": "made by a holder"}));
    let made = json_of(&run.read("a child", &bearer(mint, holder)));
    let (id, token) = (made["key"]["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    run.canaries.extend(Canary::token("a child key", token));
    books.child(id.parse().unwrap(), parent);
    for endpoint in crate::support::endpoints::CALLING {
        run.send_for(200, "a call of a child", &bearer(ask(endpoint, "hello", false), token));
    }
    let one = format!("{KEYS}/{id}");
    // Whoever may not make keys, or whose wishes cannot be, is told so.
    run.send_for(403, "a child's child", &bearer(Request::post(KEYS).json(&json!({})), token));
    for unread in unread(run, "minting") {
        let mint = Request::post(KEYS).json(&unread);
        run.send_for(400, "a child that cannot be", &bearer(mint, holder));
    }
    for path in [KEYS, one.as_str()] {
        run.send_for(200, path, &bearer(Request::get(path), holder));
        run.send_for(401, path, &Request::get(path).header("x-api-key", &format!("{token}x")));
    }
    run.send_for(200, "its end", &bearer(Request::new("DELETE", &one), holder));
    run.send_for(401, "an ended child", &bearer(Request::get("/v1/models"), token));
}
