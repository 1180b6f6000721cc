//! An HTTP/1.1 client that can also misbehave: half bodies, slow heads, hang-ups.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

mod request;

pub(crate) use request::Request;

use super::PATIENCE;

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection on which a request was sent. Dropping it hangs up.
pub(crate) struct Call {
    stream: BufReader<Box<dyn Stream>>,
    /// The same socket, for its time-outs.
    socket: TcpStream,
    address: SocketAddr,
    head: Option<Head>,
    left: Left,
    events: String,
}

/// What of the body has not been read.
enum Left {
    Bytes(usize),
    Chunks,
    UntilEnd,
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

/// A whole reply.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Finds a header whose name is given in lower case.
fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// All of them, with names in lower case.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {} {}", self.status, String::from_utf8_lossy(&self.body))
        })
    }
}

impl Target {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Opens a connection and sends a request on it.
    pub(crate) fn send(&self, request: &Request) -> Call {
        self.send_raw(&request.write(self.address))
    }

    /// Sends a request and reads the whole reply.
    pub(crate) fn fetch(&self, request: &Request) -> Reply {
        self.send(request).finish()
    }

    /// Sends a request to whom may be gone at any moment. Nothing is encrypted.
    pub(crate) fn try_send(&self, request: &Request) -> io::Result<TcpStream> {
        let mut socket = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(&request.write(self.address))?;
        Ok(socket)
    }

    /// Opens a connection and sends these bytes on it.
    pub(crate) fn send_raw(&self, bytes: &[u8]) -> Call {
        let socket = TcpStream::connect_timeout(&self.address, PATIENCE)
            .unwrap_or_else(|error| panic!("{}: {error}", self.address));
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let same = socket.try_clone().unwrap();
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(socket),
            Some(config) => {
                let name = ServerName::try_from("localhost").unwrap();
                let client = ClientConnection::new(Arc::clone(config), name).unwrap();
                Box::new(StreamOwned::new(client, socket))
            }
        };
        let mut call = Call {
            stream: BufReader::new(stream),
            socket: same,
            address: self.address,
            head: None,
            left: Left::Nothing,
            events: String::new(),
        };
        call.push(bytes).unwrap();
        call
    }
}

impl Call {
    /// Sends more bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).and_then(|()| stream.flush())
    }

    /// Sends the next request on the same connection.
    pub(crate) fn send(&mut self, request: &Request) {
        let bytes = request.write(self.address);
        self.push(&bytes).unwrap();
        self.head = None;
    }

    /// Waits for the head of the reply.
    pub(crate) fn head(&mut self) -> Head {
        if let Some(head) = &self.head {
            return head.clone();
        }
        let first = self.line();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        self.left = match (find(&headers, "content-length"), find(&headers, "transfer-encoding")) {
            (Some(length), _) => Left::Bytes(length.parse().unwrap()),
            (None, Some("chunked")) => Left::Chunks,
            _ => Left::UntilEnd,
        };
        let head = Head { status, headers };
        self.head = Some(head.clone());
        head
    }

    /// Reads to the end of the reply.
    pub(crate) fn finish(&mut self) -> Reply {
        let Head { status, headers } = self.head();
        let mut body = std::mem::take(&mut self.events).into_bytes();
        while let Some(piece) = self.piece() {
            body.extend_from_slice(&piece);
        }
        Reply { status, headers, body }
    }

    /// Reads the head of a reply that has no body (`HEAD`).
    pub(crate) fn finish_head(&mut self) -> Head {
        let head = self.head();
        self.left = Left::Nothing;
        head
    }

    /// Turns to the next reply on the connection.
    pub(crate) fn next_reply(&mut self) {
        self.head = None;
    }

    /// The next piece of the body; `None` at its end.
    fn piece(&mut self) -> Option<Vec<u8>> {
        match self.left {
            Left::Nothing => None,
            Left::Bytes(length) => {
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body).unwrap();
                self.left = Left::Nothing;
                Some(body)
            }
            Left::UntilEnd => {
                let mut body = Vec::new();
                self.stream.read_to_end(&mut body).unwrap();
                self.left = Left::Nothing;
                Some(body)
            }
            Left::Chunks => {
                let size = self.line();
                let size = usize::from_str_radix(&size, 16).unwrap();
                let mut piece = vec![0; size];
                self.stream.read_exact(&mut piece).unwrap();
                assert_eq!(self.line(), "", "a chunk ends with a line break");
                if size == 0 {
                    self.left = Left::Nothing;
                    return None;
                }
                Some(piece)
            }
        }
    }

    /// The next server-sent event, or comment, as its lines; `None` at the end of the body.
    pub(crate) fn event(&mut self) -> Option<Vec<String>> {
        self.head();
        loop {
            if let Some(end) = self.events.find("\n\n") {
                let rest = self.events.split_off(end + 2);
                let event = std::mem::replace(&mut self.events, rest);
                return Some(event.trim_end().lines().map(str::to_owned).collect());
            }
            let Some(piece) = self.piece() else {
                assert_eq!(self.events, "", "the stream ends with a whole event");
                return None;
            };
            // Events are cut between characters, so pieces are text.
            self.events.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// That nothing comes for this long.
    pub(crate) fn assert_silent(&mut self, time: Duration) {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let quiet = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        let came = self.stream.fill_buf().map(<[u8]>::to_vec);
        assert!(came.as_ref().is_err_and(|error| quiet.contains(&error.kind())), "{came:?}");
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// Waits for the bridge to end the connection, and gives what it said before.
    pub(crate) fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        }
        rest
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap_or_else(|error| panic!("no reply: {error}"));
        assert!(line.ends_with("\r\n"), "the connection ended early, after {line:?}");
        line.truncate(line.len() - 2);
        line
    }
}
