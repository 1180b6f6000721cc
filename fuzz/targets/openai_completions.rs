//! The body of `POST /v1/completions`, and its digest.
#![no_main]

use std::hash::RandomState;

use libfuzzer_sys::fuzz_target;
use model::ParamsMode;

#[path = "shared.rs"]
mod shared;

fuzz_target!(|body: &[u8]| {
    for mode in [ParamsMode::Strict, ParamsMode::Lenient] {
        if let Ok(read) = dialects::openai_completions::read_request(body, mode) {
            shared::check_sampling(&read.request);
        }
    }
    let state = RandomState::new();
    let digest = || dialects::digest::digest(body, &["stream"], &state);
    assert_eq!(digest(), digest());
});
