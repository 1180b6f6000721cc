//! A host's error: what a caller is told is one short line.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|error: (i64, String)| {
    let (code, message) = error;
    let (_, failure) = dialects::mcp_sampling::read_error(code, &message);
    assert!(!failure.message.is_empty() && failure.message.chars().count() < 400);
    assert!(!failure.message.chars().any(char::is_control), "{failure:?}");
});
