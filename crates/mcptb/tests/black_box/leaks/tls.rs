//! The private key of TLS.

use std::fs;

use super::assert_none;
use crate::support::canaries::{Canary, Left, Way, Whose, files, hits};
use crate::support::{Books, Door, Launch, Request, Target};
use crate::tls::{Certificate, certificate, file, launch, trusting};

/// A key as it is, in hex, and each line of its file.
fn canaries(certificate: &Certificate) -> Vec<Canary> {
    let pem = fs::read_to_string(certificate.key.path()).unwrap();
    let lines = pem.lines().filter(|line| line.len() >= 12 && !line.starts_with('-'));
    let line = |(at, line)| Canary::new(Whose::Ours, &format!("line {at} of the key"), line);
    let mut canaries: Vec<Canary> = lines.enumerate().map(line).collect();
    assert!(!canaries.is_empty());
    canaries.extend(Canary::binary("the key", &certificate.secret));
    canaries
}

#[test]
fn the_private_key_is_in_its_file_only() {
    let (certificate, books) = (certificate(), Books::new());
    let rig = launch(&certificate)
        .env("MCPTB_DATA_DIR", books.path().to_str().unwrap())
        .env("MCPTB_LOG", "debug")
        .env("MCPTB_LOG_BODIES", "1")
        .ready();
    rig.host.respond(|sampling| sampling.answer("ok"));
    let secure = Target { address: rig.target.address, tls: Some(trusting(&certificate.der)) };
    let mut left = Vec::new();
    let mut keep = |name: &str, way, bytes| left.push(Left { name: name.to_owned(), way, bytes });
    for door in Door::BOTH {
        let reply = secure.fetch(&door.ask("hi"));
        assert_eq!(reply.status, 200);
        keep("a reply", Way::Reply, [reply.body, format!("{:?}", reply.status).into()].concat());
    }
    for path in ["/readyz", "/healthz", "/v1/models", "/no/such/route"] {
        keep(path, Way::Reply, secure.fetch(&Request::get(path)).body);
    }
    // Who speaks no TLS is told nothing either.
    keep("plain", Way::Reply, rig.send(&Door::Chat.ask("in the clear")).until_closed());
    keep("the status", Way::Host, rig.host.status().to_string().into());
    keep("what the host read", Way::Host, rig.host.lines.so_far().join("\n").into_bytes());
    if cfg!(target_os = "linux") {
        for name in ["cmdline", "environ"] {
            let shown = fs::read(format!("/proc/{}/{name}", rig.process.pid())).unwrap();
            keep(name, Way::Process, shown);
        }
    }
    keep("stderr", Way::Stderr, rig.end().join("\n").into_bytes());
    left.extend(files(books.path(), "after it"));
    // The search would find it.
    let there = fs::read(certificate.key.path()).unwrap();
    let there = [Left { name: "its file".to_owned(), way: Way::Disk, bytes: there }];
    assert!(!hits(&canaries(&certificate), &there).is_empty());
    assert_none(hits(&canaries(&certificate), &left));
}

#[test]
fn a_private_key_that_cannot_be_used_is_not_shown() {
    let (one, other) = (certificate(), certificate());
    let pem = fs::read_to_string(one.key.path()).unwrap();
    let middle = pem.len() / 2;
    for broken in [
        pem.clone(),
        pem.replace("PRIVATE KEY", "SECRET THING"),
        pem[..middle].to_owned(),
        pem.replacen('\n', "\n!", 2),
        pem.lines().filter(|line| !line.starts_with('-')).collect(),
    ] {
        let key = file(&broken);
        let (mut process, host) = Launch::new()
            .env("MCPTB_LOG", "debug")
            .arg("--tls-cert", other.cert.path().to_str().unwrap())
            .arg("--tls-key", key.path().to_str().unwrap())
            .spawn();
        assert_eq!(process.wait().code(), Some(2));
        let said = process.stderr.wait_end().join("\n").into_bytes();
        let heard = host.lines.so_far().join("\n").into_bytes();
        let left = [("stderr", Way::Stderr, said), ("stdout", Way::Host, heard)];
        let left = left.map(|(name, way, bytes)| Left { name: name.to_owned(), way, bytes });
        assert!(!left[0].bytes.is_empty());
        assert_none(hits(&canaries(&one), &left));
    }
}
