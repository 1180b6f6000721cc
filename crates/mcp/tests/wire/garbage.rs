//! No input ends the connection: any bytes, in any pieces, leave it answering.

use std::sync::Arc;

use mcp::Limits;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

use crate::script::{Recorder, Script, outcome};

const MESSAGES: &[&str] = &[
    r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":{"a":[1,2,{"b":null}]}}"#,
    r#"{"jsonrpc":"2.0","id":"s-1","result":{"content":{"type":"text","text":"hi"}}}"#,
    r#"{"jsonrpc":"2.0","id":"s-2","error":{"code":-1,"message":"User rejected"}}"#,
    r#"[{"id":1,"method":"drop"},{"id":"s-1","result":1},{"method":"note"}]"#,
    r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"s-1"}}"#,
];

/// Bytes that look more and less like messages.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    let signs = "[\\{\\}\\[\\]\",:\\\\ids1 \r\nmethodresult-]{0,200}".prop_map(String::into_bytes);
    let bent = (
        prop::collection::vec(select(MESSAGES), 1..4),
        prop::collection::vec((any::<Index>(), any::<u8>()), 0..6),
    )
        .prop_map(|(lines, bends)| {
            let mut bytes = lines.join("\n").into_bytes();
            for (place, byte) in bends {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes
        });
    prop_oneof![noise, signs, bent]
}

/// Splits at the given places.
fn pieces(bytes: &[u8], cuts: &[Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #[test]
    fn a_valid_message_after_any_garbage_is_answered(
        garbage in garbage(), cuts in prop::collection::vec(any::<Index>(), 0..6),
        max_line in prop_oneof![Just(40_usize), Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let limits = Limits { max_line, ..Limits::default() };
            let mut script = Script::attach_with(&Arc::new(Recorder::default()), limits, 1 << 20);
            // Two requests are out, so that bent answers have something to hit.
            let _pending = [script.ask("1").await, script.ask("2").await];
            for piece in pieces(&garbage, &cuts) {
                script.write(&piece).await;
                tokio::task::yield_now().await;
            }
            script.write(b"\n").await;
            script.say(r#"{"id":-7,"method":"echo"}"#).await;
            loop {
                let line = script.line().await.expect("the connection still answers");
                if line.starts_with(r#"{"jsonrpc":"2.0","id":-7,"#) {
                    break;
                }
            }
            let (pending, id) = script.ask("3").await;
            script.say(&json!({"id": id, "result": 3}).to_string()).await;
            assert_eq!(outcome(pending).await.expect("an answer"), "3");
            assert!(!script.peer.is_closed());
        });
    }
}
