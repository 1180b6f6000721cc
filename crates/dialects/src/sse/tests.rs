//! Laws of pieces, frames and the reader.

use proptest::prelude::*;

use super::{MAX_PIECE, MIN_PIECE, SseEvent, SseFault, SseReader, pieces, push_data, push_event};

fn read(chunks: &[&[u8]]) -> Vec<SseEvent> {
    let mut reader = SseReader::new(1 << 20);
    let mut events = Vec::new();
    for chunk in chunks {
        reader.push(chunk, &mut events).unwrap();
    }
    events
}

fn event(name: &str, data: &str) -> SseEvent {
    SseEvent { name: name.to_owned(), data: data.to_owned() }
}

#[test]
fn pieces_end_behind_words() {
    let text = "The quick brown fox jumps over the lazy dog and runs far away from it all.";
    let cut: Vec<_> = pieces(text).collect();
    assert_eq!(
        cut,
        ["The quick brown fox jumps over the lazy dog and runs far ", "away from it all."]
    );
    assert_eq!(pieces("").count(), 0);
    assert_eq!(pieces(&"x".repeat(60)).count(), 1);
    assert_eq!(pieces(&"x".repeat(61)).map(str::len).collect::<Vec<_>>(), [60, 1]);
    assert!(pieces(&"雪".repeat(100)).all(|piece| piece.len() <= MAX_PIECE));
}

#[test]
fn a_raw_line_break_cannot_leave_a_frame() {
    let mut out = Vec::new();
    push_data(&mut out, b"{\"a\":1,\n\ndata: {\"forged\":true}\r\n}");
    push_event(&mut out, "x\ny", b"{}\r");
    let events = read(&[&out]);
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].data, "{\"a\":1,  data: {\"forged\":true}  }");
    assert_eq!(events[1], event("x y", "{} "));
}

#[test]
fn the_reader_knows_all_line_ends_comments_and_joined_data() {
    let stream = b"\xef\xbb\xbf: hi\r\nevent: a\rdata: 1\ndata:2\r\n\r\ndata\n\nid: 7\n\ndata: cut";
    assert_eq!(read(&[stream]), [event("a", "1\n2"), event("", "")]);
}

#[test]
fn the_reader_is_bounded() {
    let mut reader = SseReader::new(16);
    let mut events = Vec::new();
    assert_eq!(reader.push(b"data: 0123456789\n", &mut events), Ok(()));
    assert_eq!(reader.push(b"data: 0123456789\n", &mut events), Err(SseFault::TooLarge));
}

proptest! {
    #[test]
    fn pieces_are_the_text(text in "(\\PC|[ \n]){0,300}") {
        let cut: Vec<_> = pieces(&text).collect();
        prop_assert_eq!(cut.concat(), text.as_str());
        for (at, piece) in cut.iter().enumerate() {
            prop_assert!(piece.len() <= MAX_PIECE);
            prop_assert!(piece.len() >= MIN_PIECE || at + 1 == cut.len());
        }
    }

    #[test]
    fn any_chunking_gives_the_same_events(
        bytes in "(data: ?|event:|:|id:|\r|\n|\r\n|\n\n|[a-z雪]){0,60}",
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let bytes = bytes.as_bytes();
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for end in at {
            chunks.push(&bytes[from..end]);
            from = end;
        }
        chunks.push(&bytes[from..]);
        prop_assert_eq!(read(&chunks), read(&[bytes]));
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(read(&single), read(&[bytes]));
    }

    #[test]
    fn the_reader_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut reader = SseReader::new(64);
        let _ = reader.push(&bytes, &mut Vec::new());
    }
}
