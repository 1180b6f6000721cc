//! Bodies with a `content-encoding`.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::json;

use crate::support::{Door, Launch, Request};

fn pack(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        _ => compress_to_vec(plain, CompressionLevel::Fastest),
    }
}

fn packed(path: &str, coding: &str, body: &[u8]) -> Request {
    Request::post(path).bytes(&pack(coding, body)).header("content-encoding", coding)
}

#[test]
fn packed_bodies_are_read() {
    let rig = Launch::new().ready();
    for door in Door::BOTH {
        for coding in ["gzip", "zstd"] {
            let body = door.body(&"a long question. ".repeat(5000), &json!({})).to_string();
            let mut call = rig.send(&packed(door.path(), coding, body.as_bytes()));
            let sampling = rig.host.sampling();
            assert_eq!(sampling.asked().len(), 85_000);
            sampling.answer("a short answer");
            assert_eq!(door.text(&call.finish()), "a short answer");
        }
    }
    let body = Door::Messages.body("count this", &json!({})).to_string();
    let counted = rig.fetch(&packed("/v1/messages/count_tokens", "zstd", body.as_bytes()));
    assert!(counted.json()["input_tokens"].as_u64().unwrap() > 1);
}

#[test]
fn bombs_and_broken_bodies_are_refused_and_leave_the_memory_free() {
    let rig = Launch::new().arg("--body-limit", "600000").arg("--body-memory", "1000000").ready();
    for door in Door::BOTH {
        for coding in ["gzip", "zstd"] {
            let bomb = door.body(&"x".repeat(20 << 20), &json!({})).to_string();
            let reply = rig.fetch(&packed(door.path(), coding, bomb.as_bytes()));
            assert_eq!(reply.status, 413);
            assert!(door.error(&reply).contains("600000"));
            let unpacked = door.ask("never packed").header("content-encoding", coding);
            let reply = rig.fetch(&unpacked);
            assert_eq!(reply.status, 400);
            assert!(door.error(&reply).contains("content-encoding"));
        }
        let reply = rig.fetch(&door.ask("hi").header("content-encoding", "br"));
        assert_eq!(reply.status, 400);
        assert!(door.error(&reply).contains("content-encoding"));
    }
    rig.host.assert_not_asked();
    rig.host.respond(|sampling| sampling.answer("room for all"));
    let large = Door::Chat.body(&"x".repeat(500_000), &json!({})).to_string();
    for _ in 0..3 {
        assert_eq!(
            rig.fetch(&packed("/v1/chat/completions", "gzip", large.as_bytes())).status,
            200
        );
        rig.host.wait_status("no call", |status| status["hosts"][0]["in_flight"] == 0);
    }
    // What a call has unpacked stays charged until its end.
    let rig = Launch::new().arg("--body-limit", "600000").arg("--body-memory", "1000000").ready();
    let mut first = rig.send(&packed("/v1/chat/completions", "zstd", large.as_bytes()));
    let sampling = rig.host.sampling();
    let second = rig.fetch(&packed("/v1/chat/completions", "zstd", large.as_bytes()));
    assert_eq!(second.status, 503);
    sampling.answer("done");
    assert_eq!(first.finish().status, 200);
}
