//! No input ends a connection: after any bytes, in any pieces, a valid request is answered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp::{Connection, Handler, Limits, Peer, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

struct Echo;

impl Handler for Echo {
    fn request(&self, peer: &Peer, request: Request) {
        match request.method.len() % 3 {
            0 => {
                let params = request.params.clone();
                request.reply(|out| out.extend_from_slice(params.as_deref().unwrap_or(b"null")));
            }
            1 => request.fail(-32601, "no such method"),
            _ => {
                let _ = peer.notify("dropped", |out| out.extend_from_slice(b"{}"));
            }
        }
    }

    fn notification(&self, _: &Peer, _: &str, _: Option<bytes::Bytes>) {}
}

const LAST: &[u8] = b"\n{\"id\":\"the end of the input\",\"method\":\"end\"}\n";
const ANSWER: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":\"the end of the input\",\"result\":null}\n";

fuzz_target!(|input: &[u8]| {
    let [settings, input @ ..] = input else {
        return;
    };
    let limits = Limits {
        max_line: if settings & 1 == 0 { 64 } else { 1 << 20 },
        max_queued: if settings & 2 == 0 { 16 } else { 1 << 20 },
    };
    let piece = usize::from(settings >> 2) + 1;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (near, far) = tokio::io::duplex(256);
        let (source, sink) = tokio::io::split(near);
        let connection = Connection::new(source, sink, limits);
        let peer = connection.peer().clone();
        // Requests are out, so that answers in the input have something to hit.
        let mut pending = Vec::new();
        for _ in 0..2 {
            let mut request = peer.prepare("ask");
            request.params().extend_from_slice(b"{}");
            if let Ok(Ok(sent)) =
                tokio::time::timeout(std::time::Duration::ZERO, peer.send(request)).await
            {
                pending.push(sent);
            }
        }
        let (mut reader, mut writer) = tokio::io::split(far);
        let feed = async {
            for piece in input.chunks(piece) {
                writer.write_all(piece).await.expect("an open connection");
            }
            writer.write_all(LAST).await.expect("an open connection");
            writer.shutdown().await.expect("an open connection");
        };
        let mut heard = Vec::new();
        let listen = reader.read_to_end(&mut heard);
        let run = connection.run(&Echo, CancellationToken::new());
        let (ended, (), _) = tokio::join!(run, feed, listen);
        assert!(matches!(ended, mcp::Ended::Eof), "{ended:?}");
        assert!(heard.ends_with(ANSWER), "{}", String::from_utf8_lossy(&heard));
        for line in heard.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let read: Result<&serde_json::value::RawValue, _> = serde_json::from_slice(line);
            assert!(read.is_ok(), "{}", String::from_utf8_lossy(line));
        }
    });
});
