//! The body of `POST /v1/messages`.
#![no_main]

use dialects::anthropic_messages::{ApiVersion, read_request};
use libfuzzer_sys::fuzz_target;

#[path = "shared.rs"]
mod shared;

fuzz_target!(|body: &[u8]| {
    for version in [ApiVersion::V2023_06_01, ApiVersion::V2026_10_21] {
        if let Ok(read) = read_request(body, version) {
            shared::check_sampling(&read.request);
            let _ = dialects::tokens::estimate_input(&read.request);
        }
    }
});
