//! The floor of the HTTP end: a bare axum echo. It is a child process and has no wires to a host.
//!
//! A request that asks for a stream gets its bytes back as one server-sent event and `[DONE]`.

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use memchr::memmem;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::error::Outcome;
use crate::stdio;

/// Serves until standard input ends.
pub(crate) fn serve(port: u16) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (input, _) = stdio::own_ends()?;
        let mut input = stdio::reader(input)?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await?.tap_io(|stream| {
            // A connection that was closed at once is found out by whoever serves it.
            let _closed = stream.set_nodelay(true);
        });
        let doors = Router::new().route("/v1/chat/completions", post(echo));
        let mut ignored = [0; 64];
        tokio::select! {
            served = axum::serve(listener, doors) => served?,
            ended = input.read(&mut ignored) => drop(ended),
        }
        Ok(())
    })
}

async fn echo(body: Bytes) -> Response {
    if memmem::find(&body, br#""stream":true"#).is_none() {
        return ([(CONTENT_TYPE, "application/json")], body).into_response();
    }
    let events = [b"data: ".as_slice(), &body, b"\n\ndata: [DONE]\n\n"].concat();
    ([(CONTENT_TYPE, "text/event-stream")], events).into_response()
}
