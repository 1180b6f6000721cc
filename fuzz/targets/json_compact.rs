//! JSON that is carried: compact text means the same, and cannot end a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Some(json) = dialects::json::compact(text) else {
        return;
    };
    assert!(json.as_str().bytes().all(|byte| byte >= 0x20));
    assert_eq!(dialects::json::compact(json.as_str()), Some(json.clone()), "compact already");
    let before: Result<Value, _> = serde_json::from_str(text);
    let after: Result<Value, _> = serde_json::from_str(json.as_str());
    match (before, after) {
        (Ok(before), Ok(after)) => assert_eq!(before, after),
        // A number beyond 64 bits of floating point is carried, though nobody here can read it.
        (before, after) => assert_eq!(before.is_ok(), after.is_ok()),
    }
    let mut quoted = Vec::new();
    dialects::json::push_string(&mut quoted, text);
    assert!(quoted.iter().all(|byte| *byte >= 0x20));
    let read: String = serde_json::from_slice(&quoted).expect("a JSON string");
    assert_eq!(read, text);
});
