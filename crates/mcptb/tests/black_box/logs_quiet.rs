//! What is never printed, and what happens where nobody reads.

use serde_json::json;

use crate::support::{Door, Launch, Request};

#[test]
fn a_token_is_never_printed() {
    const TOKEN: &str = "Zq7-a-token-that-nobody-may-ever-see";
    const WRONG: &str = "Zq7-a-token-that-is-not-the-right-one";
    for format in ["text", "json"] {
        let mut rig = Launch::new()
            .env("MCPTB_TOKEN", TOKEN)
            .arg("--log-format", format)
            .env("MCPTB_LOG", "debug")
            .env("MCPTB_LOG_BODIES", "1")
            .ready();
        let mut replies = Vec::new();
        for door in Door::BOTH {
            for (name, value) in
                [("authorization", format!("Bearer {TOKEN}")), ("x-api-key", TOKEN.to_owned())]
            {
                let mut call = rig.send(&door.ask("hi").header(name, &value));
                rig.host.sampling().answer("hello");
                replies.push(call.finish());
            }
            for (name, value) in
                [("authorization", format!("Bearer {WRONG}")), ("x-api-key", WRONG.to_owned())]
            {
                replies.push(rig.fetch(&door.ask("hi").header(name, &value)));
            }
        }
        for path in ["/readyz", "/v1/models", "/no/such/path"] {
            replies.push(rig.fetch(&Request::get(path).header("x-api-key", TOKEN)));
        }
        rig.host.status();
        rig.host.close_stdin();
        rig.process.wait();
        let mut said = rig.process.stderr.wait_end();
        said.extend(rig.host.lines.wait_end());
        said.extend(replies.iter().map(|reply| format!("{reply:?}")));
        for secret in [TOKEN, WRONG] {
            let bytes = format!("{:?}", secret.as_bytes());
            for line in &said {
                assert!(
                    !line.contains(secret) && !line.contains(&bytes[1..bytes.len() - 1]),
                    "{line}"
                );
            }
        }
    }
}

#[test]
fn a_level_of_off_prints_nothing() {
    let mut rig = Launch::new().env("MCPTB_LOG", "off").env("MCPTB_LOG_BODIES", "1").ready();
    let mut call = rig.send(&Door::Chat.ask("hi"));
    rig.host.sampling().answer("hello");
    assert_eq!(call.finish().status, 200);
    rig.host.write(b"garbage\n");
    rig.host.close_stdin();
    assert_eq!(rig.process.wait().code(), Some(0));
    assert_eq!(rig.process.stderr.wait_end(), [""; 0]);
}

#[test]
fn a_terminal_is_painted_only_where_colours_are_wanted() {
    let cases = [
        (vec![], false),
        (vec![("MCPTB_FORCE_COLOR", "1")], true),
        (vec![("MCPTB_FORCE_COLOR", "1"), ("NO_COLOR", "1")], false),
        (vec![("MCPTB_FORCE_COLOR", "1"), ("MCPTB_NO_COLOR", "1")], false),
        (vec![("MCPTB_FORCE_COLOR", "0")], false),
    ];
    for (env, painted) in cases {
        let mut launch = Launch::new();
        for (name, value) in &env {
            launch = launch.env(name, value);
        }
        let rig = launch.ready();
        rig.fetch(&Request::post("/v1/messages").text("{"));
        let line =
            rig.process.stderr.wait("the end of the call", |line| line.contains("status=400"));
        assert_eq!(line.contains("\u{1b}["), painted, "{env:?}: {line:?}");
    }
}

/// VS Code reads stderr, others do not. The pipe is full after 64 KiB.
#[test]
fn a_host_that_never_reads_stderr_stalls_nobody() {
    const WORKERS: usize = 8;
    const CALLS: usize = 10_000;
    let mut rig = Launch::new().stderr_unread().ready();
    rig.host.respond(|sampling| sampling.answer("ok"));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let target = rig.target.clone();
            scope.spawn(move || {
                // Long names make long lines: more than a generous queue holds.
                let long = json!({"model": "m".repeat(250)});
                let request = Door::BOTH[worker % 2].ask_with("hi", &long);
                let mut call = target.send(&request);
                assert_eq!(call.finish().status, 200);
                for _ in 1..CALLS / WORKERS {
                    call.send(&request);
                    assert_eq!(call.finish().status, 200);
                }
            });
        }
    });
    let dropped = rig.host.status()["dropped_log_lines"].as_u64().unwrap();
    assert!(dropped > 100, "lines that nobody reads are dropped and counted: {dropped}");
    // Nor does it hold up the end.
    rig.host.close_stdin();
    assert_eq!(rig.process.wait().code(), Some(0));
}
