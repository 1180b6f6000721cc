//! The accept loop: sockets in, requests to the router.
//!
//! axum's own loop sets no limits, so hyper is driven here. What hyper 1.12 does with the
//! settings below, read from its source:
//!
//! - `header_read_timeout` starts when a connection begins to wait for a head, which includes
//!   the first one *and* every idle wait after a reply. It is therefore the keep-alive limit
//!   too. A connection that is cut by it gets no reply, only the end of the stream.
//! - A caller that hangs up while its handler runs ends the connection, which drops the handler
//!   (`half_close(false)`). hyper notices only while its read buffer is empty: behind a pipelined
//!   second request the hang-up shows when the reply is written.
//! - hyper answers a head that is malformed (400) or too large (431) by itself.
//! - A reply that is sent before the body was read closes the connection. Bytes that the kernel
//!   still holds then would turn the close into a reset, and the caller might never see the
//!   reply. So the rest is read and thrown away for a while.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[cfg(unix)]
mod local;

#[cfg(unix)]
pub use local::serve_local;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// hyper panics below this size of its read buffer.
const SMALLEST_BUFFER: usize = 8 * 1024;
/// The read buffer of a connection grows to this size while a large body arrives.
const BODY_BUFFER: usize = 128 * 1024;
/// How long the rest of an unread body is thrown away before the socket closes.
const LINGER: Duration = Duration::from_secs(5);
/// A year, for limits that are too long for the clock to add.
const FOREVER: Duration = Duration::from_hours(365 * 24);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// The longest wait for a request head, idle keep-alive time included; also the longest time
    /// in which the peer may take nothing of a reply that is ready to be sent.
    pub head_timeout: Duration,
    /// The longest TLS handshake.
    pub tls_handshake: Duration,
    /// Connections at once, at least 1; more wait in the kernel.
    pub max_connections: usize,
    /// The largest request head, in bytes.
    pub max_head_bytes: usize,
}

/// The address at the other end of the socket, as an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Listens on an address. Must be called within the runtime.
///
/// # Errors
///
/// `AddrInUse` where somebody listens there already, and whatever else the system says.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Unix this lets a restart take a port whose old connections are not gone yet. On Windows
    // it would let two processes share the port, which the exclusive default prevents.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Systems differ on whether `::` includes IPv4.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until `shutdown`, and serves each on a task of `tasks`.
///
/// Returns as soon as it has stopped accepting; the connections finish the reply they are at
/// and end, so wait for `tasks` afterwards. Dropping the future stops the accepting only.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: ServeLimits,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let tls = tls.map(TlsAcceptor::from);
    let door = Arc::new(Door::new(router, tls, limits, shutdown));
    let begin = |(stream, peer), slot| {
        tasks.spawn(Arc::clone(&door).connection(stream, peer, slot));
    };
    accept_all(&door, || listener.accept(), begin).await;
}

/// The accept loop: begins whatever is accepted, until the door's shutdown.
async fn accept_all<C, F: Future<Output = io::Result<C>>>(
    door: &Door,
    accept: impl Fn() -> F,
    begin: impl Fn(C, OwnedSemaphorePermit),
) {
    let most = door.limits.max_connections.clamp(1, Semaphore::MAX_PERMITS);
    let slots = Arc::new(Semaphore::new(most));
    let mut stop = pin!(door.shutdown.cancelled());
    let mut pause = FIRST_PAUSE;
    loop {
        // A free slot first, so that what we cannot serve stays with the kernel.
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
            io::Result::Ok((accept().await?, slot))
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = next => accepted,
        };
        match accepted {
            Ok((connection, slot)) => {
                pause = FIRST_PAUSE;
                begin(connection, slot);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory: the connection stays in the backlog, so
                // accepting again at once would spin.
                if pause == FIRST_PAUSE {
                    tracing::warn!(%error, "connections cannot be accepted at the moment");
                }
                tokio::select! {
                    biased;
                    () = &mut stop => break,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn http_settings(limits: &ServeLimits) -> http1::Builder {
    let head = limits.max_head_bytes.max(1);
    let mut settings = http1::Builder::new();
    settings
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(head)
        .max_buf_size(head.max(BODY_BUFFER).max(SMALLEST_BUFFER))
        .keep_alive(true)
        .half_close(false);
    settings
}

/// What all connections share.
struct Door {
    http: http1::Builder,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
}

impl Door {
    fn new(
        router: Router,
        tls: Option<TlsAcceptor>,
        mut limits: ServeLimits,
        shutdown: CancellationToken,
    ) -> Self {
        limits.head_timeout = limits.head_timeout.min(FOREVER);
        // Turns handlers into routes once and not for each request.
        let router = router.with_state(());
        Self { http: http_settings(&limits), tls, router, limits, shutdown }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        slot: OwnedSemaphorePermit,
    ) {
        // Events are written whole: waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.http(stream, Some(peer)).await,
            Some(tls) => {
                // Boxed, or every plain connection would hold room for a handshake.
                let handshake = Box::pin(timeout(self.limits.tls_handshake, tls.accept(stream)));
                let shaken = tokio::select! {
                    biased;
                    () = self.shutdown.cancelled() => return,
                    shaken = handshake => shaken,
                };
                match shaken {
                    Ok(Ok(stream)) => Box::pin(self.http(stream, Some(peer))).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
                }
            }
        }
        drop(slot);
    }

    /// Serves one connection. On a local socket there is no address at the other end.
    async fn http<S>(&self, stream: S, peer: Option<SocketAddr>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let io = TokioIo::new(Patient::new(stream, self.limits.head_timeout));
        let router = TowerToHyperService::new(self.router.clone());
        let service = WithPeer { peer: peer.map(Peer), router };
        let mut connection = self.http.serve_connection(io, service);
        let ended = tokio::select! {
            biased;
            ended = &mut connection => Some(ended),
            () = self.shutdown.cancelled() => None,
        };
        let ended = if let Some(ended) = ended {
            ended
        } else {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        };
        if let Err(error) = ended {
            tracing::debug!(?peer, %error, "the connection ended early");
        }
        let stream = connection.into_parts().io.into_inner();
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => {}
            // On the heap, so that a connection does not carry it from its start.
            () = Box::pin(linger(stream)) => {}
        }
    }
}

/// Ends our half of the stream and throws away what the peer still sends, for a while.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let drain = async {
        stream.shutdown().await?;
        // On the heap, so that connections that never come here do not carry it.
        let mut scrap = vec![0; 16 * 1024];
        while stream.read(&mut scrap).await? > 0 {}
        io::Result::Ok(())
    };
    // However it ends, the socket is closed next.
    let _ = timeout(LINGER, drain).await;
}

/// The router, told who is at the other end.
struct WithPeer {
    peer: Option<Peer>,
    router: TowerToHyperService<Router>,
}

impl Service<Request<Incoming>> for WithPeer {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = TowerToHyperServiceFuture<Router, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.router.call(request)
    }
}

/// A stream whose writes fail when the peer takes nothing for too long.
///
/// hyper has no such limit, and a caller who stops reading would hold its connection for good.
/// The timer exists only once a write had to wait.
struct Patient<S> {
    stream: S,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl<S> Patient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, timer: None, waiting: false }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = false;
            return written;
        }
        let patience = self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(Instant::now() + patience);
        }
        ready!(timer.as_mut().poll(cx));
        self.waiting = false;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, ended)
    }
}
