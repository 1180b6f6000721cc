//! Lines are what they were when they were written with formats.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::super::{LineQueue, LogFormat, Style};
use super::{CallLines, Line, push_milliseconds};

fn written(time: Duration) -> String {
    let mut text = Vec::new();
    push_milliseconds(&mut text, time);
    String::from_utf8(text).unwrap()
}

fn formatted(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

#[test]
fn times_around_each_middle_are_rounded_as_floats_are() {
    let scales = [0, 1, 9, 10, 99, 1_000, 54_321, 600_000, 86_400_000, 281_474_975].into_iter();
    for millis in scales.flat_map(|scale| scale..scale + 12) {
        for nanos in [0, 1, 49_999, 50_000, 50_001, 99_999, 150_000, 949_999, 950_000, 950_001] {
            let time = Duration::from_millis(millis) + Duration::from_nanos(nanos);
            assert_eq!(written(time), formatted(time), "{time:?}");
        }
    }
    assert_eq!(written(Duration::MAX), formatted(Duration::MAX));
}

proptest! {
    #[test]
    fn times_are_written_as_floats_are(nanos in any::<u64>(), shift in 0..64_u32) {
        let time = Duration::from_nanos(nanos >> shift);
        prop_assert_eq!(written(time), formatted(time));
    }
}

/// A line with each kind of field, behind its time.
fn line(format: LogFormat, colour: bool) -> String {
    let style = Style { format, colour };
    let lines = CallLines::new(Arc::new(LineQueue::start(style)), style, true, false);
    let mut line = Line::new(&lines, "TX", "\x1b[32m", model::CallId::from_bytes([0xAB; 16]));
    line.word("dialect", "openai-chat");
    line.flag("stream", false);
    line.number("bytes", 1234);
    line.foreign("model", "a \"b\"\n中");
    line.milliseconds("total_ms", Duration::from_micros(12_345));
    let text = String::from_utf8(line.end()).unwrap();
    let (before, behind) = match format {
        LogFormat::Text => text.split_once(' ').unwrap(),
        LogFormat::Json => text.strip_prefix("{\"time\":\"").unwrap().split_once('"').unwrap(),
    };
    assert!(humantime::parse_rfc3339(before).is_ok(), "{text}");
    behind.to_owned()
}

#[test]
fn both_formats_have_the_same_fields() {
    let fields = " dialect=openai-chat stream=false bytes=1234 model=\"a \\\"b\\\"\\n中\" \
                  total_ms=12.3\n";
    let id = "abababab-abab-abab-abab-abababababab";
    assert_eq!(line(LogFormat::Text, false), format!("TX {id}{fields}"));
    assert_eq!(line(LogFormat::Text, true), format!("\x1b[32mTX\x1b[0m {id}{fields}"));
    let json = format!(
        ",\"kind\":\"TX\",\"id\":\"{id}\",\"dialect\":\"openai-chat\",\"stream\":false,\
         \"bytes\":1234,\"model\":\"a \\\"b\\\"\\n中\",\"total_ms\":12.3}}\n"
    );
    assert_eq!(line(LogFormat::Json, false), json);
}
