//! HTTPS.

use std::io::Write;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::NamedTempFile;

use crate::support::{Door, Launch, Target};

pub(crate) struct Certificate {
    pub(crate) cert: NamedTempFile,
    pub(crate) key: NamedTempFile,
    pub(crate) der: CertificateDer<'static>,
    /// The private key, as it stands in its file.
    pub(crate) secret: Vec<u8>,
}

pub(crate) fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

pub(crate) fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Certificate {
        cert: file(&made.cert.pem()),
        key: file(&made.signing_key.serialize_pem()),
        der: made.cert.der().clone(),
        secret: made.signing_key.serialize_der(),
    }
}

pub(crate) fn launch(certificate: &Certificate) -> Launch {
    Launch::new()
        .arg("--tls-cert", certificate.cert.path().to_str().unwrap())
        .arg("--tls-key", certificate.key.path().to_str().unwrap())
}

pub(crate) fn trusting(der: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[test]
fn both_doors_are_served_over_tls() {
    let certificate = certificate();
    let rig = launch(&certificate).ready();
    let url = rig.host.status()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://"), "{url}");
    let secure = Target { address: rig.target.address, tls: Some(trusting(&certificate.der)) };
    for door in Door::BOTH {
        let mut call = secure.send(&door.ask("secret?"));
        rig.host.sampling().answer("secret");
        assert_eq!(door.text(&call.finish()), "secret");
        let mut call = secure.send(&door.ask_streamed("secret?"));
        rig.host.sampling().answer("a secret that comes in several pieces over the wire");
        let text = door.streamed_text(&mut call);
        assert_eq!(text, "a secret that comes in several pieces over the wire");
        let call = secure.send(&door.ask("never mind"));
        let sampling = rig.host.sampling();
        drop(call);
        assert_eq!(rig.host.cancelled(), sampling.id);
    }
}

#[test]
fn plain_http_gets_nothing_there() {
    let rig = launch(&certificate()).ready();
    let mut call = rig.send(&Door::Chat.ask("in the clear"));
    let said = call.until_closed();
    assert!(!said.starts_with(b"HTTP/1.1 200"), "{said:?}");
    rig.host.assert_not_asked();
}

#[test]
fn files_that_cannot_be_used_stop_the_start() {
    let (one, other) = (certificate(), certificate());
    let empty = file("");
    let path = |file: &NamedTempFile| file.path().to_str().unwrap().to_owned();
    let cases = [
        (path(&one.cert), path(&other.key)),
        (path(&empty), path(&one.key)),
        (path(&one.cert), path(&empty)),
        (path(&one.cert), "/no/such/key.pem".to_owned()),
    ];
    for (cert, key) in cases {
        let launch = Launch::new().arg("--tls-cert", &cert).arg("--tls-key", &key);
        let (mut process, _host) = launch.spawn();
        assert_eq!(process.wait().code(), Some(2), "{cert} {key}");
        let said = process.stderr.wait_end().join("\n");
        assert!(said.contains(&cert) || said.contains(&key), "{said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
    let (mut process, _host) = Launch::new().arg("--tls-cert", &path(&one.cert)).spawn();
    assert_eq!(process.wait().code(), Some(2), "a certificate without a key");
}
