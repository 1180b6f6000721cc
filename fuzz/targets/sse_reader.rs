//! Server-sent events: any chunking gives the same events.
#![no_main]

use dialects::sse::SseReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (piece, bytes) = input;
    let mut whole = Vec::new();
    let at_once = SseReader::new(1 << 20).push(&bytes, &mut whole);
    assert!(at_once.is_ok(), "the bound is far above this");
    let mut pieces = Vec::new();
    let mut reader = SseReader::new(1 << 20);
    for piece in bytes.chunks(usize::from(piece) + 1) {
        assert!(reader.push(piece, &mut pieces).is_ok());
    }
    assert_eq!(whole, pieces);
    // A small bound is kept, and never a reason to panic.
    let mut small = SseReader::new(16);
    let mut events = Vec::new();
    for piece in bytes.chunks(usize::from(piece) + 1) {
        if small.push(piece, &mut events).is_err() {
            break;
        }
    }
    assert!(events.iter().all(|event| event.data.len() <= 3 * 16));
});
