//! The laws over what real clients sent and what upstreams answer.

use std::fs;
use std::path::{Path, PathBuf};

use model::Dialect;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::same::asked;
use crate::{DIALECTS, read_reply, read_request, read_stream, write_request};

#[derive(Deserialize)]
struct Recording<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
}

const fn folder(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAiChat => "openai_chat",
        Dialect::OpenAiResponses => "openai_responses",
        Dialect::AnthropicMessages => "anthropic_messages",
    }
}

fn files(kind: &str, dialect: Dialect, extension: &str) -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = fs::read_dir(golden.join(kind).join(folder(dialect)))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    assert!(files.len() > 5, "{kind} {dialect}");
    files
}

#[test]
fn a_recorded_request_goes_back_to_its_dialect_as_it_was() {
    for dialect in DIALECTS {
        let mut read = 0;
        for file in files("recorded", dialect, "json") {
            let text = fs::read_to_string(&file).unwrap();
            let recording: Recording<'_> = serde_json::from_str(&text).unwrap();
            // Those that are refused say nothing to an upstream.
            let Ok(first) = read_request(dialect, recording.body.get().as_bytes()) else {
                continue;
            };
            let (body, losses) = write_request(dialect, &first);
            assert!(losses.is_empty(), "{}: {losses}", file.display());
            let again = read_request(dialect, &body).unwrap();
            similar(&format!("{}", file.display()), &asked(again), &asked(first));
            read += 1;
        }
        assert!(read > 5, "{dialect}: {read} were read");
    }
}

/// Compares two values by what they print, so that a difference can be found.
fn similar<T: std::fmt::Debug + PartialEq>(name: &str, found: &T, wanted: &T) {
    if found != wanted {
        let (found, wanted) = (format!("{found:#?}"), format!("{wanted:#?}"));
        let differs = found.lines().zip(wanted.lines()).enumerate().find(|(_, (a, b))| a != b);
        panic!("{name}: {differs:?}\nfound {found}\nwanted {wanted}");
    }
}

#[test]
fn a_constructed_stream_is_its_whole_reply() {
    for dialect in DIALECTS {
        for file in files("constructed", dialect, "sse") {
            let stream = fs::read(&file).unwrap();
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            let read = read_stream(dialect, &stream);
            if name == "error_in_stream" {
                let failure = read.unwrap_err();
                assert!(failure.source.is_some(), "{failure:?}");
                continue;
            }
            let mut read = read.unwrap();
            let whole = file.with_file_name(name.replace("_without_usage", "") + ".json");
            let whole = read_reply(dialect, &fs::read(whole).unwrap()).unwrap();
            if name.ends_with("_without_usage") {
                assert!(read.usage.estimated);
                read.usage = whole.usage;
            }
            similar(&format!("{dialect} {name}"), &read, &whole);
            assert!(!read.content.is_empty(), "{dialect} {name}");
        }
    }
}

#[test]
fn a_stream_that_breaks_off_is_a_failure() {
    for dialect in DIALECTS {
        for file in files("constructed", dialect, "sse") {
            let stream = fs::read_to_string(&file).unwrap();
            // The last frame that says anything ends the answer.
            let frames: Vec<&str> =
                stream.split_inclusive("\n\n").filter(|frame| frame.contains("data:")).collect();
            for kept in 0..frames.len() {
                let cut = frames[..kept].concat();
                assert!(read_stream(dialect, cut.as_bytes()).is_err(), "{} {kept}", file.display());
            }
        }
    }
}
