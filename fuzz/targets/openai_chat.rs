//! The body of `POST /v1/chat/completions`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::ParamsMode;

#[path = "shared.rs"]
mod shared;
#[path = "upstreams.rs"]
mod upstreams;

fuzz_target!(|body: &[u8]| {
    for mode in [ParamsMode::Strict, ParamsMode::Default, ParamsMode::Lenient] {
        if let Ok(read) = dialects::openai_chat::read_request(body, mode) {
            shared::check_sampling(&read.request);
            upstreams::check_upstreams(&read.request);
            let _ = dialects::tokens::estimate_input(&read.request);
        }
    }
});
