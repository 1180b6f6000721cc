//! A bridge by its address, with an admin key.
//!
//! The key comes from a file or a variable: a command line is visible to every program of the
//! machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::header::HeaderValue;
use model::Secret;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::exchange::{self, Addressed, Reply};
use super::{Ask, Problem};
use crate::cli::note;
use crate::settings;

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Where systems keep the certificates that they trust.
const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// A bridge by its address.
pub(super) struct Remote {
    host: String,
    port: u16,
    /// Host and port as the bridge has to hear them.
    authority: String,
    prefix: String,
    key: HeaderValue,
    tls: Option<TlsConnector>,
}

impl Remote {
    pub(super) fn new(
        url: &str,
        key_file: Option<&Path>,
        ca_file: Option<&Path>,
    ) -> Result<Self, Problem> {
        let wrong = || {
            Problem::new(
                "--url is no address of a bridge",
                "write it like http://127.0.0.1:8000 or https://bridge.example",
            )
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        // A name or password in an address would be on the command line.
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let (usual, tls) = match uri.scheme_str() {
            Some("http") => (80, None),
            Some("https") => (443, Some(connector(ca_file)?)),
            _ => return Err(wrong()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let near = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if tls.is_none() && !near {
            note("mcptb: the admin key goes over the network unencrypted; https would hide it");
        }
        let port = authority.port_u16().unwrap_or(usual);
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let key = credential(&key(key_file)?)?;
        Ok(Self { host, port, authority: authority.to_string(), prefix, key, tls })
    }

    pub(super) async fn ask(&self, ask: &Ask) -> Result<Reply, Problem> {
        let failed = |error: String| {
            Problem::away(
                format!("{} cannot be reached: {error}", self.authority),
                "check the address in --url, and that the bridge runs",
            )
        };
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(CONNECT, connecting)
            .await
            .map_err(|_| failed("it took too long".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        let credential = Some(self.key.clone());
        let to = Addressed { host: &self.authority, prefix: &self.prefix, credential };
        let Some(tls) = &self.tls else { return exchange::over(stream, to, ask).await };
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| failed(error.to_string()))?;
        let shaken = tokio::time::timeout(CONNECT, tls.connect(name, stream))
            .await
            .map_err(|_| failed("the TLS handshake took too long".to_owned()))?;
        let stream = shaken.map_err(|error| {
            Problem::refused(
                format!("{} cannot be trusted: {error}", self.authority),
                "name the certificate of whoever vouches for it with --ca-file",
            )
        })?;
        exchange::over(stream, to, ask).await
    }
}

fn key(file: Option<&Path>) -> Result<Secret<String>, Problem> {
    let Some(path) = file else {
        return settings::admin_key().ok_or_else(|| {
            Problem::new(
                "--url needs an admin key",
                "put it in a file and name that with --key-file, or set MCPTB_ADMIN_KEY",
            )
        });
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problem::new(
            format!("the key file {} cannot be read: {error}", path.display()),
            "name a file that holds an admin key and nothing else",
        )
    })?;
    Ok(Secret::new(text.trim().to_owned()))
}

fn credential(key: &Secret<String>) -> Result<HeaderValue, Problem> {
    let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
    let mut value = value.map_err(|_| {
        Problem::new(
            "the admin key holds characters that no key has",
            "copy it again: it is one word that begins with mcptb_admin_",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, Problem> {
    let hint = "name a PEM file with --ca-file";
    let found = SYSTEM.iter().map(Path::new).find(|path| path.exists());
    let path = ca_file.or(found).ok_or_else(|| {
        Problem::new("the certificates that this system trusts are not found", hint)
    })?;
    let unreadable =
        |why: String| Problem::new(format!("{} cannot be used: {why}", path.display()), hint);
    let mut roots = RootCertStore::empty();
    let read =
        CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
    let mut certificates = Vec::new();
    for certificate in read {
        certificates.push(certificate.map_err(|error| unreadable(error.to_string()))?);
    }
    // Bundles of systems hold a few that are too odd for the library.
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(unreadable("it holds no certificate".to_owned()));
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unreadable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
