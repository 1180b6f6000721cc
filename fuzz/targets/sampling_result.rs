//! A host's answer: whatever is read folds from its own events.
#![no_main]

use dialects::mcp_sampling::{SamplingReply, read_result};
use libfuzzer_sys::fuzz_target;
use model::Fold;

fuzz_target!(|result: &[u8]| {
    if let Ok(SamplingReply::Completion(completion)) = read_result(result) {
        let _ = dialects::tokens::estimate_output(&completion);
        let mut fold = Fold::new();
        for event in completion.clone().into_events() {
            fold.push(event).expect("events in order");
        }
        assert_eq!(fold.finish(), Ok(completion));
    }
});
