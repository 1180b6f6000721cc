//! Who may come in, as seen from this machine.

use std::io::Write;

use crate::support::{Door, Launch, Request, Rig};

const TOKEN: &str = "a-token-of-more-than-twenty-characters";

/// Every route, as a caller would use it.
fn routes() -> Vec<Request> {
    let mut routes = Vec::new();
    for prefix in ["", "/v1"] {
        for path in [
            "/chat/completions",
            "/messages",
            "/responses",
            "/responses/input_tokens",
            "/responses/compact",
            "/messages/count_tokens",
        ] {
            routes.push(Request::post(&format!("{prefix}{path}")).text("{}"));
        }
        for path in [
            "/models",
            "/models/auto",
            "/chat/completions",
            "/responses",
            "/responses/resp_1",
            "/responses/resp_%ff/input_items",
        ] {
            routes.push(Request::get(&format!("{prefix}{path}")));
        }
    }
    routes.extend(["/no/such/route", "/v1/", "/v2/messages", "//"].map(Request::get));
    routes
}

/// What carries no model and so needs no credential.
const PROBES: [&str; 4] = ["/", "/api/hello", "/healthz", "/readyz"];

fn status(rig: &Rig, request: &Request) -> u16 {
    rig.fetch(request).status
}

fn models() -> Request {
    Request::get("/v1/models")
}

#[test]
fn loopback_by_any_of_its_names_is_open() {
    let rig = Launch::new().ready();
    for host in ["127.0.0.1", "localhost", "LOCALHOST:80", "localhost.", "[::1]:9", "127.0.0.1:1"] {
        assert_eq!(status(&rig, &models().header("host", host)), 200, "{host}");
    }
    // A credential on an open door is ignored: SDKs insist on sending some key.
    assert_eq!(status(&rig, &models().header("authorization", "Bearer anything")), 200);
    assert_eq!(status(&rig, &models().header("x-api-key", "sk-anything")), 200);
}

#[test]
fn a_name_that_is_not_ours_is_refused_before_anything_else() {
    let rig = Launch::new().arg("--allow-host", "bridge.example,other.example").ready();
    for host in ["evil.example", "localhost.evil.example", "127.1", "0x7f000001", "127.0.0.1.evil"]
    {
        for request in routes() {
            assert_eq!(status(&rig, &request.header("host", host)), 403, "{host}");
        }
        for path in PROBES {
            assert_eq!(
                status(&rig, &Request::get(path).header("host", host)),
                403,
                "{host} {path}"
            );
        }
    }
    // Names that are allowed, and addresses, are no loopback: they need a token.
    for host in
        ["bridge.example", "OTHER.example:8000", "192.0.2.1", "127.0.0.2", "[::2]", "0.0.0.0"]
    {
        assert_eq!(status(&rig, &models().header("host", host)), 401, "{host}");
    }
    for host in ["", "a b", "[::1", "localhost:99999", "user@localhost"] {
        assert_eq!(status(&rig, &models().header("host", host)), 400, "{host:?}");
    }
    let twice = models().header("host", "localhost").header("host", "localhost");
    assert_eq!(status(&rig, &twice), 400);
    let none = rig.target.send_raw(b"GET /v1/models HTTP/1.1\r\n\r\n").finish();
    assert_eq!(none.status, 400);
    let absolute = b"GET http://evil.example/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(rig.target.send_raw(absolute).finish().status, 403);
    let old = rig.target.send_raw(b"GET /v1/models HTTP/1.0\r\n\r\n").finish();
    assert_eq!(old.status, 401, "a caller without a Host is nobody we know");
}

#[test]
fn web_pages_are_refused_unless_their_origin_is_listed() {
    let rig = Launch::new().arg("--allow-origin", "https://page.example").ready();
    for origin in
        ["https://evil.example", "null", "http://localhost", "https://page.example.evil", ""]
    {
        for request in routes() {
            assert_eq!(status(&rig, &request.header("origin", origin)), 403, "{origin}");
        }
        for path in PROBES {
            assert_eq!(status(&rig, &Request::get(path).header("origin", origin)), 403, "{path}");
        }
    }
    let reply = rig.fetch(&models().header("origin", "https://page.example"));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), None, "no CORS");
    let preflight = Request::new("OPTIONS", "/v1/messages")
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST");
    let reply = rig.fetch(&preflight);
    assert_eq!(reply.status, 405);
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[test]
fn what_a_proxy_has_forwarded_is_not_from_this_machine() {
    let rig = Launch::new().ready();
    let traces = [
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("via", "1.1 proxy"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-proto", "https"),
    ];
    for (name, value) in traces {
        for request in routes() {
            assert_eq!(status(&rig, &request.header(name, value)), 401, "{name}");
        }
        assert_eq!(status(&rig, &Request::get("/healthz").header(name, value)), 200);
    }
    rig.host.assert_not_asked();
}

#[test]
fn with_a_token_everybody_shows_it() {
    let rig = Launch::new().env("MCPTB_TOKEN", TOKEN).ready();
    let bearer = format!("Bearer {TOKEN}");
    for request in routes() {
        let reply = rig.fetch(&request);
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert!(reply.json()["error"]["message"].as_str().unwrap().contains("x-api-key"));
        for wrong in ["Bearer wrong", "Bearer", "Basic abc", &format!("Bearer {TOKEN}x"), TOKEN] {
            let tried = request.clone().header("authorization", wrong);
            assert_eq!(status(&rig, &tried), 401, "{wrong}");
        }
        assert_eq!(status(&rig, &request.clone().header("x-api-key", &TOKEN[1..])), 401);
        for shown in [("authorization", bearer.as_str()), ("x-api-key", TOKEN)] {
            assert_ne!(status(&rig, &request.clone().header(shown.0, shown.1)), 401);
        }
    }
    for path in PROBES {
        assert_ne!(status(&rig, &Request::get(path)), 401, "{path}");
    }
    rig.host.assert_not_asked();
    for door in Door::BOTH {
        let mut call =
            rig.send(&door.ask("hi").header("authorization", &format!("bearer  {TOKEN}")));
        rig.host.sampling().answer("welcome");
        assert_eq!(door.text(&call.finish()), "welcome");
    }
}

#[test]
fn the_token_may_stand_in_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{TOKEN}").unwrap();
    let path = file.path().to_str().unwrap();
    // The file wins over the environment.
    let rig = Launch::new()
        .arg("--token-file", path)
        .env("MCPTB_TOKEN", "another-token-that-is-long-enough")
        .ready();
    assert_eq!(status(&rig, &models()), 401);
    assert_eq!(status(&rig, &models().header("x-api-key", TOKEN)), 200);
    assert_eq!(
        status(&rig, &models().header("x-api-key", "another-token-that-is-long-enough")),
        401
    );
    let (mut process, _host) = Launch::new().arg("--token-file", "/no/such/file").spawn();
    assert_eq!(process.wait().code(), Some(2));
}

#[test]
fn who_has_to_show_it_can_be_chosen() {
    let open = Launch::new().env("MCPTB_TOKEN", TOKEN).arg("--auth", "open-loopback").ready();
    assert_eq!(status(&open, &models()), 200);
    let away = models().header("host", "192.0.2.1");
    assert_eq!(status(&open, &away), 401);
    assert_eq!(status(&open, &away.header("x-api-key", TOKEN)), 200);
    let required = Launch::new().arg("--auth", "required").ready();
    for request in routes() {
        assert_eq!(status(&required, &request), 401);
    }
    let message = required.fetch(&models()).json()["error"]["message"].to_string();
    assert!(message.contains("--token-file"), "{message}");
}

#[test]
fn refusals_speak_the_callers_dialect() {
    let rig = Launch::new().env("MCPTB_TOKEN", TOKEN).ready();
    for door in Door::BOTH {
        let reply = rig.fetch(&door.ask("hi"));
        assert_eq!(reply.status, 401);
        door.error(&reply);
    }
    let anthropic = models().header("anthropic-version", "2023-06-01");
    Door::Messages.error(&rig.fetch(&anthropic));
    Door::Chat.error(&rig.fetch(&models()));
}

#[test]
fn the_credential_is_asked_for_before_the_body() {
    let rig = Launch::new().env("MCPTB_TOKEN", TOKEN).ready();
    for (extra, status) in [("", 401), ("origin: null\r\n", 403), ("x-api-key: wrong\r\n", 401)] {
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n{extra}content-length: 1000000\r\n\r\n"
        );
        // Not a byte of the body is sent, and the answer is there.
        assert_eq!(rig.target.send_raw(head.as_bytes()).finish().status, status);
    }
}
