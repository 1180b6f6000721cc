//! The body of `POST /v1/responses`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "upstreams.rs"]
mod upstreams;

fuzz_target!(|body: &[u8]| {
    if let Ok(read) = dialects::openai_responses::read_request(body, model::ParamsMode::Lenient) {
        upstreams::check_upstreams(&read.request);
        let _ = dialects::tokens::estimate_input(&read.request);
    }
});
