//! One HTTP call, as plain as curl.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest wait for a reply.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reply as it came over the wire, chunk sizes removed.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<String>,
    pub(super) body: String,
}

/// Posts JSON and reads the whole reply.
pub(super) async fn post(address: SocketAddr, path: &str, body: &str) -> io::Result<Answer> {
    tokio::time::timeout(PATIENCE, exchange(address, path, body))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn exchange(address: SocketAddr, path: &str, body: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    let reply = String::from_utf8_lossy(&reply);
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP reply");
    let (head, body) = reply.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(malformed)?;
    let headers: Vec<String> = lines.map(str::to_owned).collect();
    let chunked =
        headers.iter().any(|header| header.eq_ignore_ascii_case("transfer-encoding: chunked"));
    let body = if chunked { unchunk(body).ok_or_else(malformed)? } else { body.to_owned() };
    Ok(Answer { status, headers, body })
}

fn unchunk(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::unchunk;

    #[test]
    fn joins_chunks() {
        assert_eq!(unchunk("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").as_deref(), Some("abcde"));
        assert_eq!(unchunk("5\r\nabc"), None);
    }
}
