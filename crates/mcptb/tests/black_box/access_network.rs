//! Who may come in over the network, on an address of this machine that is not loopback.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::support::{Door, Launch, Request, Rig, Target};

const TOKEN: &str = "a-token-of-more-than-twenty-characters";

/// An address of this machine that others could use. Nothing is sent to find it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // An address for documentation (RFC 5737): it only makes the system choose a route.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// The bridge on every address, and the way to it from outside.
fn exposed(launch: Launch) -> Option<(Rig, Target)> {
    let Some(address) = own_address() else {
        eprintln!("skipped: this machine has no address but loopback");
        return None;
    };
    let rig = launch.arg("--host", "0.0.0.0").ready();
    let outside = Target::plain(SocketAddr::new(address, rig.target.address.port()));
    Some((rig, outside))
}

#[test]
fn without_a_token_the_network_gets_nothing_and_this_machine_everything() {
    let Some((rig, outside)) = exposed(Launch::new()) else {
        return;
    };
    let warned = rig.process.stderr.wait("a warning", |line| line.contains("no token is set"));
    assert!(warned.contains("WARN"), "{warned}");
    rig.process.stderr.wait("a warning", |line| line.contains("without TLS"));
    for door in Door::BOTH {
        let reply = outside.fetch(&door.ask("hi"));
        assert_eq!(reply.status, 401);
        let why = door.error(&reply);
        assert!(why.contains("--token-file"), "it says how to set a token: {why}");
        // A Host header that lies about it changes nothing.
        assert_eq!(outside.fetch(&door.ask("hi").header("host", "localhost")).status, 401);
        assert_eq!(outside.fetch(&door.ask("hi").header("x-api-key", "anything")).status, 401);
    }
    assert_eq!(outside.fetch(&Request::get("/v1/models")).status, 401);
    assert_eq!(outside.fetch(&Request::get("/healthz")).status, 200);
    let ready = outside.fetch(&Request::get("/readyz"));
    assert_eq!(ready.json()["hosts"], serde_json::Value::Null, "no details");
    rig.host.assert_not_asked();
    let mut call = rig.send(&Door::Chat.ask("from here"));
    rig.host.sampling().answer("welcome");
    assert_eq!(Door::Chat.text(&call.finish()), "welcome");
}

#[test]
fn with_the_token_the_network_is_served() {
    let Some((rig, outside)) = exposed(Launch::new().env("MCPTB_TOKEN", TOKEN)) else {
        return;
    };
    for door in Door::BOTH {
        assert_eq!(outside.fetch(&door.ask("hi")).status, 401);
        for (name, value) in
            [("authorization", format!("Bearer {TOKEN}")), ("x-api-key", TOKEN.into())]
        {
            let mut call = outside.send(&door.ask("hi").header(name, &value));
            rig.host.sampling().answer("welcome");
            assert_eq!(door.text(&call.finish()), "welcome");
        }
    }
    assert_eq!(rig.fetch(&Door::Chat.ask("from here, without")).status, 401);
}

#[test]
fn a_trusted_proxy_names_the_caller_and_opens_nothing() {
    let proxies = "127.0.0.0/8";
    let rig = Launch::new().env("MCPTB_TOKEN", TOKEN).arg("--trusted-proxy", proxies).ready();
    let forwarded =
        |request: Request| request.header("x-forwarded-for", "203.0.113.9, 198.51.100.7");
    assert_eq!(rig.fetch(&forwarded(Door::Chat.ask("hi"))).status, 401);
    let mut call = rig.send(&forwarded(Door::Chat.ask("hi")).header("x-api-key", TOKEN));
    rig.host.sampling().answer("welcome");
    assert_eq!(call.finish().status, 200);
    // The rightmost address that is no proxy; what stands left of it proves nothing.
    rig.process
        .stderr
        .wait("the caller", |line| line.contains(" RX ") && line.contains("from=198.51.100.7"));
    let rig = Launch::new().arg("--trusted-proxy", proxies).ready();
    assert_eq!(rig.fetch(&forwarded(Door::Chat.ask("hi"))).status, 401);
}

#[test]
fn without_trust_the_peer_is_the_caller() {
    let rig = Launch::new().env("MCPTB_TOKEN", TOKEN).ready();
    let request = Door::Chat.ask("hi").header("x-forwarded-for", "203.0.113.9");
    let mut call = rig.send(&request.header("x-api-key", TOKEN));
    rig.host.sampling().answer("welcome");
    assert_eq!(call.finish().status, 200);
    let line = rig.process.stderr.wait("the caller", |line| line.contains(" RX "));
    assert!(line.contains("from=127.0.0.1"), "{line}");
}
