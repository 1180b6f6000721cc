//! Good and bad files.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{TlsError, server_config};

struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn a_good_pair_speaks_http_1() {
    let files = Files::new();
    let (cert, key) = pair();
    let config =
        server_config(&files.write("cert.pem", cert), &files.write("key.pem", key)).unwrap();
    assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
}

#[test]
fn one_file_may_hold_both() {
    let files = Files::new();
    let (cert, key) = pair();
    let both = files.write("both.pem", cert + &key);
    assert!(server_config(&both, &both).is_ok());
}

#[test]
fn bad_files_are_named() {
    let files = Files::new();
    let (cert, key) = pair();
    let (other_cert, _) = pair();
    let cert_path = files.write("cert.pem", &cert);
    let key_path = files.write("key.pem", &key);
    let other_path = files.write("other.pem", other_cert);
    let empty = files.write("empty.pem", "");
    let binary = files.write("binary.pem", [0, 255, 10, 13]);
    let torn = files.write("torn.pem", &cert.as_bytes()[..cert.len() / 2]);
    let torn_key = files.write("torn-key.pem", &key.as_bytes()[..key.len() / 2]);
    let encrypted =
        files.write("encrypted.pem", key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    let false_cert =
        files.write("false.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let absent = files.folder.path().join("absent.pem");

    let table = [
        (&absent, &key_path, "Unreadable", "absent.pem"),
        (&cert_path, &absent, "Unreadable", "absent.pem"),
        (&empty, &key_path, "NoCertificate", "empty.pem"),
        (&binary, &key_path, "NoCertificate", "binary.pem"),
        (&key_path, &key_path, "NoCertificate", "key.pem"),
        (&torn, &key_path, "Malformed", "torn.pem"),
        (&cert_path, &empty, "NoKey", "empty.pem"),
        (&cert_path, &cert_path, "NoKey", "cert.pem"),
        (&cert_path, &encrypted, "NoKey", "encrypted.pem"),
        (&cert_path, &torn_key, "Malformed", "torn-key.pem"),
        (&other_path, &key_path, "Unusable", "other.pem"),
        (&false_cert, &key_path, "Unusable", "false.pem"),
    ];
    for (cert, key, expected, named) in table {
        let error = server_config(cert, key).unwrap_err();
        let variant = match &error {
            TlsError::Unreadable { .. } => "Unreadable",
            TlsError::Malformed { .. } => "Malformed",
            TlsError::NoCertificate { .. } => "NoCertificate",
            TlsError::NoKey { .. } => "NoKey",
            TlsError::Unusable { .. } => "Unusable",
            TlsError::Provider(_) => "Provider",
        };
        assert_eq!(variant, expected, "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}
