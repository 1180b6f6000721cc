//! Hosts with the quirks of real ones.

use serde_json::{Value, json};

use crate::support::{Door, Launch, Profile};

/// A conversation with everything that hosts are known to lose.
fn conversation(door: Door) -> Value {
    let image = match door {
        Door::Chat => json!({"type": "image_url",
            "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}),
        Door::Messages => json!({"type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}),
    };
    let mut body = door.body(
        "",
        &json!({"messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "one"}, {"type": "text", "text": "two"}, image]},
            {"role": "assistant", "content": "three"},
            {"role": "user", "content": [{"type": "text", "text": "four"}]},
        ]}),
    );
    match door {
        Door::Chat => {
            let messages = body["messages"].as_array_mut().unwrap();
            messages.insert(0, json!({"role": "system", "content": "Be brief."}));
        }
        Door::Messages => body["system"] = json!([{"type": "text", "text": "Be brief."}]),
    }
    body
}

#[test]
fn every_host_sees_the_whole_conversation() {
    for profile in Profile::SAMPLING {
        let rig = Launch::new().profile(profile).ready();
        for door in Door::BOTH {
            let mut call =
                rig.send(&crate::support::Request::post(door.path()).json(&conversation(door)));
            let sampling = rig.host.sampling();
            let mut expected = vec![("user", "one"), ("user", "two"), ("user", "image/png")];
            expected.extend([("assistant", "three"), ("user", "four")]);
            if profile == Profile::Goose {
                expected.retain(|(_, what)| *what != "image/png");
            }
            let seen = profile.sees(&sampling.params);
            let seen: Vec<_> = seen.iter().map(|(role, what)| (&**role, &**what)).collect();
            assert_eq!(seen, expected, "{profile:?}");
            let messages = sampling.params["messages"].as_array().unwrap();
            assert!(messages.iter().all(|message| message["content"].is_object()));
            assert_eq!(sampling.params["systemPrompt"], "Be brief.");
            assert!(sampling.params["tools"].is_null());
            sampling.answer("five");
            let reply = call.finish();
            assert_eq!(door.text(&reply), "five", "{profile:?}");
            assert_eq!(reply.header("x-mcp-model"), Some(profile.model()));
        }
        assert_eq!(rig.host.faults(), [""; 0], "{profile:?}");
    }
}

#[test]
fn tasks_are_used_where_the_host_runs_them_and_nowhere_else() {
    for profile in Profile::SAMPLING {
        let rig = Launch::new().profile(profile).ready();
        let mut call = rig.send(&Door::Chat.ask("hi"));
        let sampling = rig.host.sampling();
        assert_eq!(sampling.params["task"].is_object(), profile == Profile::VsCode);
        sampling.answer("hello");
        assert_eq!(Door::Chat.text(&call.finish()), "hello");
        let followed = rig.host.lines.so_far().iter().any(|line| line.contains("tasks/result"));
        assert_eq!(followed, profile == Profile::VsCode);
    }
    let rig = Launch::new().profile(Profile::VsCode).arg("--sampling-tasks", "off").ready();
    let mut call = rig.send(&Door::Chat.ask("hi"));
    let sampling = rig.host.sampling();
    assert!(sampling.params["task"].is_null());
    sampling.answer("hello");
    assert_eq!(call.finish().status, 200);
}

#[test]
fn a_task_that_fails_is_a_failed_call() {
    let rig = Launch::new().profile(Profile::VsCode).ready();
    let mut call = rig.send(&Door::Messages.ask("hi"));
    rig.host.sampling().fail("Rate limit exceeded");
    assert_eq!(call.finish().status, 429);
    let mut call = rig.send(&Door::Messages.ask("hi"));
    rig.host.sampling().refuse();
    assert_eq!(call.finish().status, 403);
}

#[test]
fn a_deadline_cancels_a_task_by_its_id() {
    let rig = Launch::new().profile(Profile::VsCode).env("MCPTB_HTTP_TIMEOUT", "1").ready();
    let mut call = rig.send(&Door::Chat.ask("hi"));
    let sampling = rig.host.sampling();
    assert_eq!(call.finish().status, 504);
    let task = format!("task-of-{}", sampling.id.as_str().unwrap());
    assert_eq!(rig.host.task_cancelled(), json!(task));
    assert_eq!(rig.host.faults(), [""; 0]);
}

#[test]
fn vs_code_keeps_its_own_requests() {
    let rig = Launch::new().profile(Profile::VsCode).ready();
    let (_, hook) = rig.host.begin("tools/call", &json!({"name": "hook"}));
    for _ in 0..5 {
        let call = rig.send(&Door::Chat.ask("never mind"));
        rig.host.sampling();
        drop(call);
        rig.host.task_cancelled();
    }
    assert_eq!(rig.host.faults(), [""; 0]);
    assert!(hook.try_recv().is_err(), "the hook goes on");
}

#[test]
fn a_long_list_of_models_and_names_is_kept_within_bounds() {
    let rig = Launch::new().ready();
    for number in 0..70 {
        let mut call = rig.send(&Door::Chat.ask("which?"));
        rig.host.sampling().result(&json!({
            "model": format!("model {number}"), "content": {"type": "text", "text": "this"}}));
        assert_eq!(call.finish().json()["model"], format!("model {number}"));
    }
    let seen = rig.host.status()["models_seen"].as_array().unwrap().len();
    assert!((60..=70).contains(&seen), "{seen}");
}
