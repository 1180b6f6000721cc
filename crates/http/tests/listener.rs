//! The accept loop over real sockets: limits, hang-ups, the end, TLS.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml lets tests unwrap, but does not see the functions that they share here"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_doors::listener::{Peer, ServeLimits, bind, serve};
use http_doors::tls::server_config;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const LONG: Duration = Duration::from_mins(10);
const SHORT: Duration = Duration::from_millis(50);
const LIMITS: ServeLimits = ServeLimits {
    head_timeout: LONG,
    tls_handshake: LONG,
    max_connections: 64,
    max_head_bytes: 16 * 1024,
};

struct Server {
    address: SocketAddr,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Server {
    fn start(router: Router, limits: ServeLimits, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = TaskTracker::new();
        let shutdown = CancellationToken::new();
        let running = serve(listener, tls, router, limits, tasks.clone(), shutdown.clone());
        tasks.spawn(running);
        tasks.close();
        Self { address, tasks, shutdown }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &str) {
    stream.write_all(bytes.as_bytes()).await.unwrap();
}

/// Reads up to and including `end`, and fails where the stream ends before.
async fn read_until<S: AsyncRead + Unpin>(stream: &mut S, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = stream.read_u8().await.unwrap_or_else(|error| panic!("{error} after {text:?}"));
        text.push(char::from(byte));
    }
    text
}

/// Reads to the end of the stream; a reset counts as a failure.
async fn read_rest<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn ask_hello<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    send(stream, GET).await;
    assert!(read_until(stream, "hello").await.starts_with("HTTP/1.1 200"));
}

/// Tells the test when it is dropped.
struct Guard(mpsc::UnboundedSender<&'static str>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// A handler that says when it begins and when it is dropped, and waits for `go` in between.
fn waiting() -> (Router, Arc<Semaphore>, mpsc::UnboundedReceiver<&'static str>) {
    let (events, seen) = mpsc::unbounded_channel();
    let go = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&go);
    let handler = move |_body: Bytes| async move {
        let _guard = Guard(events.clone());
        events.send("entered").unwrap();
        let _pass = gate.acquire().await.unwrap();
        "done"
    };
    (Router::new().route("/", get(handler.clone()).post(handler)), go, seen)
}

#[tokio::test]
async fn a_second_listener_is_told_that_the_port_is_taken() {
    let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let error = bind(first.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_port_can_be_taken_again_right_after_its_connections() {
    let server = Server::start(hello(), LIMITS, None);
    let mut stream = server.connect().await;
    ask_hello(&mut stream).await;
    // The server ends the connection first, so it is its side that stays in TIME_WAIT.
    server.shutdown.cancel();
    assert_eq!(read_rest(&mut stream).await, "");
    drop(stream);
    server.tasks.wait().await;
    assert!(bind(server.address).is_ok());
}

#[tokio::test]
async fn requests_know_their_peer() {
    let handler = |request: Request<Body>| async move {
        request.extensions().get::<Peer>().unwrap().0.to_string()
    };
    let server = Server::start(Router::new().route("/", get(handler)), LIMITS, None);
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    let own = stream.local_addr().unwrap().to_string();
    assert!(read_until(&mut stream, &own).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn pipelined_requests_are_all_answered() {
    let server = Server::start(hello(), LIMITS, None);
    let mut stream = server.connect().await;
    send(&mut stream, &GET.repeat(3)).await;
    for _ in 0..3 {
        read_until(&mut stream, "hello").await;
    }
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let server = Server::start(hello(), ServeLimits { head_timeout: SHORT, ..LIMITS }, None);
    let mut silent = server.connect().await;
    assert_eq!(read_rest(&mut silent).await, "");
    let mut slow = server.connect().await;
    send(&mut slow, "GET / HTTP/1.1\r\nhost: loc").await;
    assert_eq!(read_rest(&mut slow).await, "");
    let mut idle = server.connect().await;
    ask_hello(&mut idle).await;
    assert_eq!(read_rest(&mut idle).await, "");
}

#[tokio::test]
async fn endless_timeouts_do_not_overflow_the_clock() {
    let limits = ServeLimits { head_timeout: Duration::MAX, ..LIMITS };
    let server = Server::start(hello(), limits, None);
    ask_hello(&mut server.connect().await).await;
}

#[tokio::test]
async fn bad_heads_are_answered() {
    let server = Server::start(hello(), LIMITS, None);
    let long = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    for (head, status) in [("no http at all\r\n\r\n", "400"), (long.as_str(), "431")] {
        let mut stream = server.connect().await;
        send(&mut stream, head).await;
        let reply = read_rest(&mut stream).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{reply}");
    }
    let below = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(15_000));
    let mut stream = server.connect().await;
    send(&mut stream, &below).await;
    read_until(&mut stream, "hello").await;
}

#[tokio::test]
async fn connections_above_the_limit_wait_their_turn() {
    let (events, mut seen) = mpsc::unbounded_channel();
    let handler = move |request: Request<Body>| async move {
        events.send(request.uri().path().to_owned()).unwrap();
        "hello"
    };
    let router = Router::new().fallback(handler);
    let server = Server::start(router, ServeLimits { max_connections: 1, ..LIMITS }, None);
    let mut first = server.connect().await;
    ask_hello(&mut first).await;
    let mut second = server.connect().await;
    send(&mut second, "GET /second HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    for _ in 0..20 {
        ask_hello(&mut first).await;
    }
    for _ in 0..21 {
        assert_eq!(seen.recv().await.unwrap(), "/");
    }
    drop(first);
    read_until(&mut second, "hello").await;
    assert_eq!(seen.recv().await.unwrap(), "/second");
}

#[tokio::test]
async fn a_hang_up_drops_the_handler() {
    let (router, _go, mut seen) = waiting();
    let server = Server::start(router, LIMITS, None);
    let with_body = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}";
    for request in [GET, with_body] {
        let mut stream = server.connect().await;
        send(&mut stream, request).await;
        assert_eq!(seen.recv().await.unwrap(), "entered");
        drop(stream);
        assert_eq!(seen.recv().await.unwrap(), "dropped");
    }
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_finishes_running_ones() {
    let (router, go, mut seen) = waiting();
    let server = Server::start(router, LIMITS, None);
    let mut unused = server.connect().await;
    let mut idle = server.connect().await;
    go.add_permits(1);
    send(&mut idle, GET).await;
    read_until(&mut idle, "done").await;
    assert_eq!(seen.recv().await.unwrap(), "entered");
    assert_eq!(seen.recv().await.unwrap(), "dropped");
    let pass = go.acquire().await.unwrap();
    let mut running = server.connect().await;
    send(&mut running, GET).await;
    assert_eq!(seen.recv().await.unwrap(), "entered");

    server.shutdown.cancel();
    assert_eq!(read_rest(&mut idle).await, "");
    // Accepted or still in the backlog: either way it ends, and without a reply.
    let _ = unused.read_to_end(&mut Vec::new()).await;
    drop(pass);
    let reply = read_rest(&mut running).await;
    assert!(reply.contains("connection: close") && reply.ends_with("done"), "{reply}");
    server.tasks.wait().await;
    let refused = TcpStream::connect(server.address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_reply_before_the_body_still_arrives() {
    let refuse = || async { StatusCode::PAYLOAD_TOO_LARGE };
    let server = Server::start(Router::new().route("/", post(refuse)), LIMITS, None);
    let mut stream = server.connect().await;
    let length = 40 * 1024 * 1024;
    let head = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    send(&mut stream, &head).await;
    // A client that writes everything before it reads, as many do.
    stream.write_all(&vec![b' '; length]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(read_rest(&mut stream).await.starts_with("HTTP/1.1 413"));
}

/// A reply without an end.
struct Flood {
    _guard: Guard,
}

impl http_body::Body for Flood {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))))
    }
}

#[tokio::test]
async fn a_caller_who_takes_nothing_is_cut() {
    let (events, mut seen) = mpsc::unbounded_channel();
    let handler = move || async move { Body::new(Flood { _guard: Guard(events) }) };
    let limits = ServeLimits { head_timeout: SHORT, ..LIMITS };
    let server = Server::start(Router::new().route("/", get(handler)), limits, None);
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    assert_eq!(seen.recv().await.unwrap(), "dropped");
    drop(stream);
}

fn certificate() -> (Arc<ServerConfig>, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cert = folder.path().join("cert.pem");
    let key = folder.path().join("key.pem");
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = server_config(&cert, &key).unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(made.cert.der().to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (server, TlsConnector::from(Arc::new(client)))
}

#[tokio::test]
async fn tls_is_served() {
    let (tls, connector) = certificate();
    let (router, _go, mut seen) = waiting();
    let router = router.route("/hello", get(|| async { "hello" }));
    let server = Server::start(router, LIMITS, Some(tls));
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name.clone(), server.connect().await).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    for _ in 0..2 {
        send(&mut stream, "GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        read_until(&mut stream, "hello").await;
    }
    send(&mut stream, GET).await;
    assert_eq!(seen.recv().await.unwrap(), "entered");
    drop(stream);
    assert_eq!(seen.recv().await.unwrap(), "dropped");

    let mut idle = connector.connect(name, server.connect().await).await.unwrap();
    send(&mut idle, "GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    read_until(&mut idle, "hello").await;
    server.shutdown.cancel();
    assert_eq!(read_rest(&mut idle).await, "", "the end is announced, not a cut");
    server.tasks.wait().await;
}

#[tokio::test]
async fn a_slow_or_false_handshake_is_cut() {
    let (tls, _) = certificate();
    let limits = ServeLimits { tls_handshake: SHORT, ..LIMITS };
    let server = Server::start(hello(), limits, Some(tls));
    let mut silent = server.connect().await;
    assert_eq!(read_rest(&mut silent).await, "");
    let mut plain = server.connect().await;
    send(&mut plain, GET).await;
    let mut reply = Vec::new();
    let _ = plain.read_to_end(&mut reply).await;
    assert!(!reply.starts_with(b"HTTP/"));
}
