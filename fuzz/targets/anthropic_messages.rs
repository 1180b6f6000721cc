//! The body of `POST /v1/messages`.
#![no_main]

use dialects::anthropic_messages::{ApiVersion, read_request};
use libfuzzer_sys::fuzz_target;
use model::ParamsMode;

#[path = "shared.rs"]
mod shared;
#[path = "upstreams.rs"]
mod upstreams;

fuzz_target!(|body: &[u8]| {
    for (version, mode) in [
        (ApiVersion::V2023_06_01, ParamsMode::Default),
        (ApiVersion::V2023_06_01, ParamsMode::Lenient),
        (ApiVersion::V2026_10_21, ParamsMode::Strict),
    ] {
        if let Ok(read) = read_request(body, version, mode) {
            shared::check_sampling(&read.request);
            upstreams::check_upstreams(&read.request);
            let _ = dialects::tokens::estimate_input(&read.request);
        }
    }
});
