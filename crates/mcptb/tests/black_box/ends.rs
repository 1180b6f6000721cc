//! How a bridge ends, and what happens to a port that two of them want.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::launch::free_port;
use crate::support::{Door, Launch, Profile, Request, Rig, Sampling};

/// Within this time a bridge has to be gone.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn signals_fail_the_calls_in_flight_and_end_with_zero() {
    for signal in ["TERM", "HUP", "INT"] {
        let mut rig = Launch::new().ready();
        let mut calls = Door::BOTH.map(|door| rig.send(&door.ask("never answered")));
        let mut streams = Door::BOTH.map(|door| rig.send(&door.ask_streamed("never answered")));
        let mut ids: Vec<Value> = (0..4).map(|_| rig.host.sampling().id).collect();
        ids.sort_by_key(Value::to_string);
        rig.process.signal(signal);
        assert_eq!(rig.process.wait_within(AT_ONCE).code(), Some(0), "SIG{signal}");
        for all in [&mut calls, &mut streams] {
            for (door, call) in Door::BOTH.into_iter().zip(all) {
                let reply = call.finish();
                assert_eq!(reply.status, 503);
                let message = door.error(&reply);
                assert!(message.contains("shutting down"), "{message}");
            }
        }
        // The host hears that nobody waits any more, and so does not go on billing.
        let mut cancelled: Vec<Value> = (0..4).map(|_| rig.host.cancelled()).collect();
        cancelled.sort_by_key(Value::to_string);
        assert_eq!(cancelled, ids, "SIG{signal}");
    }
}

/// The id of the task that the host runs a sampling as.
fn task_of(sampling: &Sampling) -> String {
    format!("task-of-{}", sampling.id.as_str().unwrap())
}

#[test]
fn tasks_are_cancelled_before_the_end_also_if_their_ids_come_late() {
    for late in [false, true] {
        let mut rig = Launch::new().profile(Profile::VsCode).ready();
        rig.host.hold_tasks(late);
        let hung_up = late.then(|| {
            let call = rig.send(&Door::Chat.ask("never mind"));
            let sampling = rig.host.sampling();
            drop(call);
            rig.process.stderr.wait_many(1, |line| line.contains("status=499"));
            sampling
        });
        let calls: Vec<_> = (0..6).map(|_| rig.send(&Door::Chat.ask("never answered"))).collect();
        let mut samplings: Vec<_> = calls.iter().map(|_| rig.host.sampling()).collect();
        if !late {
            let asked = |line: &str| line.contains("tasks/result");
            // The first was that of the warm-up.
            rig.host.lines.wait_many(1 + samplings.len(), asked);
        }
        rig.process.signal("TERM");
        for mut call in calls {
            assert_eq!(call.finish().status, 503);
            call.until_closed();
        }
        samplings.extend(hung_up);
        if late {
            // Nobody is waited for any more but the host, and it is heard.
            rig.host.request("ping", &json!({}));
            samplings.iter().for_each(Sampling::name_task);
        }
        let mut tasks: Vec<_> = samplings.iter().map(task_of).collect();
        let mut cancelled: Vec<_> = samplings
            .iter()
            .map(|_| rig.host.task_cancelled().as_str().unwrap().to_owned())
            .collect();
        tasks.sort();
        cancelled.sort();
        assert_eq!(cancelled, tasks);
        assert_eq!(rig.process.wait_within(AT_ONCE).code(), Some(0));
        assert_eq!(rig.host.faults(), [""; 0]);
    }
}

#[test]
fn a_host_that_never_names_its_task_does_not_hold_up_the_end() {
    let mut rig = Launch::new().profile(Profile::VsCode).ready();
    rig.host.hold_tasks(true);
    let mut call = rig.send(&Door::Chat.ask("never answered"));
    let _sampling = rig.host.sampling();
    rig.process.signal("TERM");
    assert_eq!(call.finish().status, 503);
    assert_eq!(rig.process.wait_within(AT_ONCE).code(), Some(0));
}

#[test]
fn callers_that_dawdle_do_not_hold_up_the_end() {
    for signal in [None, Some("TERM")] {
        let mut rig = Launch::new().ready();
        let half_head = rig.target.send_raw(b"POST /v1/messages HTTP/1.1\r\nhost: loc");
        let half_body = rig.target.send_raw(
            b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"mod",
        );
        // A reply that nobody reads fills every buffer on its way.
        let unread = rig.send(&Door::Chat.ask_streamed("a lot"));
        rig.host.sampling().answer(&"much to read ".repeat(1_000_000));
        // All of them have been taken up once a later call has been answered.
        assert_eq!(rig.fetch(&Request::get("/healthz")).status, 200);
        match signal {
            None => rig.host.close_stdin(),
            Some(signal) => rig.process.signal(signal),
        }
        let status = rig.process.wait_within(AT_ONCE + Duration::from_millis(500));
        assert_eq!(status.code(), Some(0), "{signal:?}");
        drop((half_head, half_body, unread));
    }
}

#[test]
fn the_last_stream_ends_with_an_error_event() {
    let mut rig = Launch::new().ready();
    let mut calls = Door::BOTH.map(|door| rig.send(&door.ask_streamed("never answered")));
    let samplings: Vec<_> = (0..2).map(|_| rig.host.sampling()).collect();
    for call in &mut calls {
        // The head comes after the grace.
        assert_eq!(call.head().status, 200);
    }
    rig.process.signal("TERM");
    let [chat, messages] = &mut calls;
    let error = crate::support::sse::read_chat(chat).error.expect("an error");
    assert!(error["message"].as_str().unwrap().contains("shutting down"), "{error}");
    let error = crate::support::sse::read_messages(messages).error.expect("an error");
    assert_eq!(error["type"], "overloaded_error");
    assert_eq!(rig.process.wait().code(), Some(0));
    drop(samplings);
}

#[test]
fn a_second_window_takes_over_when_the_first_is_gone() {
    let port = free_port().to_string();
    let launch = Launch::new().arg("--port", &port).env("MCPTB_LOG", "info");
    let both = [launch.spawn(), launch.spawn()];
    for (_, host) in &both {
        // Both handshakes go through, whoever gets the port.
        host.shake_hands();
        host.sampling().answer("ok");
        host.wait_state("ready");
    }
    let [one, other] = both;
    let settled = |host: &crate::support::FakeHost| {
        let status = host.wait_status("a URL or a problem", |status| {
            status["url"].is_string()
                || status["problem"].as_str().is_some_and(|why| why.contains("in use"))
        });
        status["url"].is_string()
    };
    let ((mut owner, owning), (waiter, waiting)) = match (settled(&one.1), settled(&other.1)) {
        (true, false) => (one, other),
        (false, true) => (other, one),
        both => panic!("exactly one owns the port: {both:?}"),
    };
    let busy = waiter.stderr.wait("a word about it", |line| line.contains("is in use"));
    assert!(busy.contains(&port), "{busy}");
    owner.signal("KILL");
    owner.wait();
    drop(owning);
    waiter.stderr.wait("the takeover", |line| line.contains("listening"));
    let rig = Rig::listening(waiter, waiting);
    rig.wait_records();
    assert_eq!(rig.target.address.port().to_string(), port);
    let mut call = rig.send(&Door::Chat.ask("who is there?"));
    rig.host.sampling().answer("the second window");
    assert_eq!(Door::Chat.text(&call.finish()), "the second window");
    assert_eq!(rig.host.status()["problem"], Value::Null);
    let said = rig.process.stderr.so_far();
    assert_eq!(said.iter().filter(|line| line.contains("is in use")).count(), 1, "said once");
}

#[test]
fn on_a_terminal_it_says_how_it_is_started() {
    let script = Command::new("script").arg("--version").stdout(Stdio::null()).status();
    if !script.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no `script` that could give the bridge a terminal");
        return;
    }
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", env!("CARGO_BIN_EXE_mcptb"), "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("started by an MCP host"), "{said}");
    assert!(said.contains("mcp.json"), "{said}");
}

#[test]
fn wrong_settings_end_with_two_and_a_hint() {
    let cases: [(&str, &str, &str); 9] = [
        ("MCPTB_PORT", "70000", "port"),
        ("MCPTB_HOST", "not-an-address", "host"),
        ("MCPTB_HTTP_TIMEOUT", "soon", "timeout"),
        ("MCPTB_PREF_COST", "2", "cost"),
        ("MCPTB_WARMUP", "perhaps", "warmup"),
        ("MCPTB_TOKEN", "too-short", "MCPTB_TOKEN"),
        ("MCPTB_BODY_MEMORY", "10", "body"),
        ("MCPTB_TRUSTED_PROXY", "everybody", "proxy"),
        ("MCPTB_CONCURRENCY", "0", "concurrency"),
    ];
    for (name, value, word) in cases {
        let (mut process, _host) = Launch::new().env(name, value).spawn();
        assert_eq!(process.wait().code(), Some(2), "{name}={value}");
        let said = process.stderr.wait_end().join("\n");
        assert!(said.contains(word), "{name}={value}: {said}");
        assert!(name != "MCPTB_TOKEN" || !said.contains(value), "{said}");
    }
}

#[test]
fn a_host_that_hangs_up_before_the_handshake_is_no_error() {
    let (mut process, host) = Launch::new().spawn();
    host.request("initialize", &Profile::Plain.initialize());
    host.write(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"meth");
    host.close_stdin();
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(host.lines.wait_end().len(), 1, "one answer: {:?}", json!(host.lines.so_far()));
}
