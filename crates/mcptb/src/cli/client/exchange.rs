//! One request and its reply, over whatever carries bytes.

use std::pin::pin;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Ask, Problem};

/// The largest reply: two bodies of a call, written as JSON.
const LARGEST: usize = 512 << 20;

/// A reply.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

/// Whom a request is for, and what it shows.
pub(super) struct Addressed<'a> {
    pub(super) host: &'a str,
    /// What stands before the path.
    pub(super) prefix: &'a str,
    pub(super) credential: Option<HeaderValue>,
}

/// Asks over a local socket.
#[cfg(unix)]
pub(super) async fn local(path: &std::path::Path, ask: &Ask) -> Result<Reply, Problem> {
    let stream = tokio::net::UnixStream::connect(path).await.map_err(|error| {
        Problem::away(format!("the bridge cannot be reached: {error}"), "try again")
    })?;
    let to = Addressed { host: "localhost", prefix: "", credential: None };
    over(stream, to, ask).await
}

/// Asks over a stream that is used for this alone.
pub(super) async fn over<S>(stream: S, to: Addressed<'_>, ask: &Ask) -> Result<Reply, Problem>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed =
        |error: String| Problem::away(format!("the bridge broke off: {error}"), "try again");
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(format!("{}{}", to.prefix, ask.path))
        .header(HOST, to.host);
    if let Some(credential) = to.credential {
        request = request.header(AUTHORIZATION, credential);
    }
    if ask.body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = Full::new(Bytes::from(ask.body.clone().unwrap_or_default()));
    let request = request.body(body).map_err(|error| failed(error.to_string()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
    let reply = async move {
        let reply =
            sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
        let (head, body) = reply.into_parts();
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body.map_err(|error| failed(error.to_string()))?;
        Ok(Reply { status: head.status, body: body.to_bytes().into() })
    };
    let (mut reply, mut connection) = (pin!(reply), pin!(connection));
    tokio::select! {
        biased;
        reply = &mut reply => return reply,
        _ = &mut connection => {}
    }
    // The connection has ended; what came of it is known.
    reply.await
}
