//! The rules as tables, and the promise that no header can make them panic.

use std::net::IpAddr;

use gateway::Caller;
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderValue, Request, Version};
use model::{Failure, FailureKind, Secret};
use proptest::prelude::*;

use super::{AccessRules, AuthMode};

mod keys;

const TOKEN: &str = "correct-horse-battery-staple";
const LOCAL: (&str, &str) = ("host", "localhost:8000");

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn open() -> AccessRules {
    AccessRules::default()
}

fn with_token(auth: AuthMode) -> AccessRules {
    AccessRules { token: Some(Secret::new(TOKEN.to_owned())), auth, ..AccessRules::default() }
}

fn admit(rules: &AccessRules, peer: &str, headers: &[(&str, &str)]) -> Result<Caller, Failure> {
    rules.admit(ip(peer), &head("/v1/models", headers))
}

fn kind(outcome: Result<Caller, Failure>) -> FailureKind {
    outcome.unwrap_err().kind
}

/// What a Host leads to on a loopback peer without a token.
#[derive(Debug, PartialEq)]
enum Host {
    Loopback,
    Accepted,
    Forbidden,
    Malformed,
}

#[test]
fn hosts() {
    use Host::{Accepted, Forbidden, Loopback, Malformed};
    let long = "a".repeat(254);
    let table = [
        ("localhost", Loopback),
        ("LocalHost:8000", Loopback),
        ("localhost.", Loopback),
        ("localhost:", Loopback),
        ("127.0.0.1", Loopback),
        ("127.0.0.1:8000", Loopback),
        ("[::1]", Loopback),
        ("[::1]:8000", Loopback),
        ("[0:0:0:0:0:0:0:1]", Loopback),
        ("127.0.0.2", Accepted),
        ("0.0.0.0:8000", Accepted),
        ("192.168.1.7:8000", Accepted),
        ("[::ffff:127.0.0.1]:8000", Accepted),
        ("[fe80::1]:8000", Accepted),
        ("bridge.example", Accepted),
        ("BRIDGE.Example.:8443", Accepted),
        ("other.example", Forbidden),
        ("sub.bridge.example", Forbidden),
        ("bridge.example.evil.test", Forbidden),
        ("localhost.evil.test", Forbidden),
        ("127.1", Forbidden),
        ("0x7f000001", Forbidden),
        ("2130706433", Forbidden),
        ("127.0.0.1.evil.test:80", Forbidden),
        ("", Malformed),
        (".", Malformed),
        (":8000", Malformed),
        ("::1", Malformed),
        ("[::1", Malformed),
        ("[::1]8000", Malformed),
        ("[127.0.0.1]", Malformed),
        ("[fe80::1%25eth0]", Malformed),
        ("localhost:port", Malformed),
        ("localhost:99999", Malformed),
        ("localhost:+80", Malformed),
        ("localhost:80:80", Malformed),
        ("user@localhost", Malformed),
        ("localhost, localhost", Malformed),
        ("local host", Malformed),
        ("localhost/", Malformed),
        ("evil\"`name", Malformed),
        (&long, Malformed),
    ];
    let rules = AccessRules { allow_hosts: vec!["Bridge.Example:443".to_owned()], ..open() };
    for (host, expected) in table {
        let outcome = match admit(&rules, "127.0.0.1", &[("host", host)]) {
            Ok(caller) if caller.loopback => Loopback,
            Ok(_) => Accepted,
            // Without a token only loopback gets past the credential: the Host was accepted.
            Err(failure) if failure.kind == FailureKind::Unauthenticated => Accepted,
            Err(failure) if failure.kind == FailureKind::Forbidden => {
                assert!(failure.message.contains("--allow-host"), "{host}: {failure}");
                Forbidden
            }
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::BadRequest, "{host}");
                Malformed
            }
        };
        assert_eq!(outcome, expected, "{host}");
    }
}

#[test]
fn a_host_is_needed_exactly_once() {
    assert_eq!(kind(admit(&open(), "127.0.0.1", &[])), FailureKind::BadRequest);
    assert_eq!(kind(admit(&open(), "127.0.0.1", &[LOCAL, LOCAL])), FailureKind::BadRequest);

    let mut old = head("/", &[]);
    old.version = Version::HTTP_10;
    assert_eq!(kind(open().admit(ip("127.0.0.1"), &old)), FailureKind::Unauthenticated);

    let opaque = HeaderValue::from_bytes(b"local\xffhost").unwrap();
    let mut strange = head("/", &[]);
    strange.headers.insert("host", opaque);
    assert_eq!(kind(open().admit(ip("127.0.0.1"), &strange)), FailureKind::BadRequest);
}

#[test]
fn an_absolute_uri_counts_as_well_as_the_host() {
    let ask =
        |uri: &str, headers: &[(&str, &str)]| open().admit(ip("127.0.0.1"), &head(uri, headers));
    assert!(ask("http://localhost:8000/v1/models", &[]).unwrap().loopback);
    assert!(ask("http://localhost:8000/v1/models", &[LOCAL]).unwrap().loopback);
    assert_eq!(kind(ask("http://evil.test/v1/models", &[LOCAL])), FailureKind::Forbidden);
    assert_eq!(
        kind(ask("http://localhost/v1/models", &[("host", "evil.test")])),
        FailureKind::Forbidden
    );
    assert_eq!(kind(ask("http://me@localhost/", &[LOCAL])), FailureKind::BadRequest);
    // Both names are accepted, but one is not loopback, so the caller is not either.
    assert_eq!(kind(ask("http://10.0.0.1/", &[LOCAL])), FailureKind::Unauthenticated);
}

#[test]
fn origins() {
    let rules = AccessRules {
        allow_origins: vec!["https://app.example".to_owned(), "null-ish".to_owned()],
        ..open()
    };
    let table: [(&[&str], bool); 9] = [
        (&["https://app.example"], true),
        (&["https://app.example", "https://app.example"], true),
        (&["null"], false),
        (&[""], false),
        (&["http://localhost:8000"], false),
        (&["https://app.example/"], false),
        (&["https://APP.example"], false),
        (&["https://app.example.evil.test"], false),
        (&["https://app.example", "https://evil.test"], false),
    ];
    for (shown, accepted) in table {
        let mut headers = vec![LOCAL];
        headers.extend(shown.iter().map(|origin| ("origin", *origin)));
        match admit(&rules, "127.0.0.1", &headers) {
            Ok(_) => assert!(accepted, "{shown:?}"),
            Err(failure) => {
                assert!(!accepted, "{shown:?}");
                assert_eq!(failure.kind, FailureKind::Forbidden);
                assert!(failure.message.contains("--allow-origin"));
            }
        }
    }
    let listed = AccessRules { allow_origins: vec!["null".to_owned()], ..open() };
    assert!(admit(&listed, "127.0.0.1", &[LOCAL, ("origin", "null")]).is_ok());
}

#[test]
fn the_rules_come_in_order() {
    let rules = with_token(AuthMode::Required);
    let origin = ("origin", "https://evil.test");
    // Host before Origin before credential: a page learns nothing about the token.
    assert_eq!(kind(admit(&rules, "10.0.0.9", &[("host", "::"), origin])), FailureKind::BadRequest);
    let key = ("x-api-key", TOKEN);
    assert_eq!(kind(admit(&rules, "10.0.0.9", &[LOCAL, origin, key])), FailureKind::Forbidden);
    assert_eq!(kind(admit(&rules, "10.0.0.9", &[LOCAL])), FailureKind::Unauthenticated);
}

#[test]
fn loopback_means_no_proxy_in_between() {
    let table = [
        ("127.0.0.1", None, true),
        ("127.8.9.10", None, true),
        ("::1", None, true),
        ("::ffff:127.0.0.1", None, true),
        ("::ffff:10.0.0.1", None, false),
        ("10.0.0.1", None, false),
        ("0.0.0.0", None, false),
        ("127.0.0.1", Some(("forwarded", "for=1.2.3.4")), false),
        ("127.0.0.1", Some(("x-forwarded-for", "127.0.0.1")), false),
        ("127.0.0.1", Some(("X-Forwarded-Proto", "https")), false),
        ("127.0.0.1", Some(("x-forwarded-anything", "")), false),
        ("127.0.0.1", Some(("via", "1.1 proxy")), false),
        ("127.0.0.1", Some(("x-real-ip", "127.0.0.1")), false),
        ("127.0.0.1", Some(("x-request-id", "1")), true),
    ];
    for (peer, extra, loopback) in table {
        let headers: Vec<_> = [Some(LOCAL), extra].into_iter().flatten().collect();
        match admit(&open(), peer, &headers) {
            Ok(caller) => assert!(loopback && caller.loopback, "{peer} {extra:?}"),
            Err(failure) => {
                assert!(!loopback, "{peer} {extra:?}");
                assert_eq!(failure.kind, FailureKind::Unauthenticated);
            }
        }
    }
}

#[test]
fn forwarded_addresses_count_from_trusted_proxies_only() {
    let rules = AccessRules {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        ..with_token(AuthMode::Auto)
    };
    let table: [(&str, &[&str], &str); 17] = [
        ("10.0.0.1", &["203.0.113.5"], "203.0.113.5"),
        ("::ffff:10.0.0.1", &["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", &["6.6.6.6, 203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", &["6.6.6.6, 203.0.113.5, 10.0.0.2"], "203.0.113.5"),
        ("10.0.0.1", &["203.0.113.5", "10.0.0.2"], "203.0.113.5"),
        ("10.0.0.1", &["6.6.6.6", "203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", &["203.0.113.5:4711"], "203.0.113.5"),
        ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", &["::ffff:203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", &["garbage, 203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", &["203.0.113.5, garbage"], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.5, "], "10.0.0.1"),
        ("10.0.0.1", &[""], "10.0.0.1"),
        ("192.0.2.1", &["203.0.113.5"], "192.0.2.1"),
        ("127.0.0.1", &["203.0.113.5"], "127.0.0.1"),
    ];
    for (peer, forwarded, expected) in table {
        let mut headers = vec![LOCAL, ("x-api-key", TOKEN)];
        headers.extend(forwarded.iter().map(|value| ("x-forwarded-for", *value)));
        let caller = admit(&rules, peer, &headers).unwrap();
        assert_eq!(caller.address, ip(expected), "{peer} {forwarded:?}");
        assert!(!caller.loopback);
    }
    // Other forwarding headers say nothing about the address.
    let headers = [LOCAL, ("x-api-key", TOKEN), ("x-real-ip", "203.0.113.5")];
    assert_eq!(admit(&rules, "10.0.0.1", &headers).unwrap().address, ip("10.0.0.1"));
}

/// Every auth mode, with and without a token, near and far, with every credential.
#[test]
fn credentials() {
    use AuthMode::{Auto, OpenLoopback, Required};
    // mode, token set, peer on loopback, then the outcome for: nothing, a wrong and the right
    // credential. `-` is 401, `o` is open (not authenticated), `+` is authenticated.
    let table = [
        (Auto, false, true, "ooo"),
        (Auto, false, false, "---"),
        (Auto, true, true, "--+"),
        (Auto, true, false, "--+"),
        (Required, false, true, "---"),
        (Required, false, false, "---"),
        (Required, true, true, "--+"),
        (Required, true, false, "--+"),
        (OpenLoopback, false, true, "ooo"),
        (OpenLoopback, false, false, "---"),
        (OpenLoopback, true, true, "oo+"),
        (OpenLoopback, true, false, "--+"),
    ];
    let bearer = format!("Bearer {TOKEN}");
    for (auth, token, near, outcomes) in table {
        let rules = if token { with_token(auth) } else { AccessRules { auth, ..open() } };
        let peer = if near { "127.0.0.1" } else { "192.0.2.7" };
        let shown: [&[(&str, &str)]; 3] =
            [&[], &[("x-api-key", "wrong-horse-battery-staple!!")], &[("authorization", &bearer)]];
        for (credential, outcome) in shown.iter().zip(outcomes.chars()) {
            let headers = [&[LOCAL][..], credential].concat();
            let case = format!("{auth:?} token={token} near={near} {credential:?}");
            match admit(&rules, peer, &headers) {
                Err(failure) => {
                    assert_eq!(failure.kind, FailureKind::Unauthenticated, "{case}");
                    assert_eq!('-', outcome, "{case}");
                    assert!(!failure.message.contains(TOKEN));
                    let says_how = failure.message.contains("--token-file")
                        && failure.message.contains("MCPTB_TOKEN");
                    assert_eq!(says_how, !token, "{case}: {failure}");
                    let says_none = failure.message.contains("no token is configured");
                    assert_eq!(says_none, auth == Required && !token, "{case}: {failure}");
                }
                Ok(caller) => {
                    assert_eq!(if caller.authenticated { '+' } else { 'o' }, outcome, "{case}");
                    assert_eq!(caller.loopback, near, "{case}");
                }
            }
        }
    }
}

#[test]
fn ways_to_show_the_token() {
    let rules = with_token(AuthMode::Required);
    let bearer = |scheme: &str| format!("{scheme}{TOKEN}");
    let longer = format!("Bearer {TOKEN}x");
    let padded = format!("Bearer {TOKEN}\u{20}\u{20}");
    let good = bearer("Bearer ");
    let table: [(&[(&str, &str)], bool); 17] = [
        (&[("authorization", &good)], true),
        (&[("authorization", &bearer("bearer "))], true),
        (&[("authorization", &bearer("BEARER   "))], true),
        (&[("authorization", &padded)], true),
        (&[("x-api-key", TOKEN)], true),
        (&[("X-Api-Key", TOKEN)], true),
        (&[("authorization", "Bearer wrong"), ("x-api-key", TOKEN)], true),
        (&[("authorization", &good), ("x-api-key", "wrong")], true),
        (&[("authorization", "Basic abc"), ("authorization", &good)], true),
        (&[("authorization", TOKEN)], false),
        (&[("authorization", &bearer("Bearer"))], false),
        (&[("authorization", &bearer("Basic "))], false),
        (&[("authorization", "Bearer")], false),
        (&[("authorization", "Bearer ")], false),
        (&[("authorization", &longer)], false),
        (&[("x-api-key", "correct-horse-battery-stapl")], false),
        (&[("x-api-key", "CORRECT-horse-battery-staple")], false),
    ];
    for (credential, valid) in table {
        let headers = [&[LOCAL][..], credential].concat();
        let outcome = admit(&rules, "192.0.2.7", &headers);
        assert_eq!(outcome.is_ok_and(|caller| caller.authenticated), valid, "{credential:?}");
    }
}

#[test]
fn an_empty_token_never_matches() {
    let rules = AccessRules { token: Some(Secret::new(String::new())), ..open() };
    for credential in [("x-api-key", ""), ("authorization", "Bearer "), ("x-api-key", "x")] {
        let outcome = admit(&rules, "127.0.0.1", &[LOCAL, credential]);
        assert_eq!(kind(outcome), FailureKind::Unauthenticated, "{credential:?}");
    }
}

#[test]
fn agents_are_cut_by_characters() {
    let agent = |value: &[u8]| {
        let mut head = head("/", &[LOCAL]);
        head.headers.insert("user-agent", HeaderValue::from_bytes(value).unwrap());
        open().admit(ip("127.0.0.1"), &head).unwrap().agent
    };
    assert_eq!(agent(b"curl/8").as_deref(), Some("curl/8"));
    assert_eq!(agent(b""), None);
    assert_eq!(agent("ü".repeat(300).as_bytes()), Some("ü".repeat(200)));
    assert_eq!(agent(b"a\xff").as_deref(), Some("a\u{fffd}"));
}

#[test]
fn the_token_is_not_printed() {
    let printed = format!("{:?}", with_token(AuthMode::Auto));
    assert!(!printed.contains(TOKEN) && printed.contains("****"), "{printed}");
}

fn any_header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let names = prop::sample::select(vec![
        "host",
        "origin",
        "authorization",
        "x-api-key",
        "x-forwarded-for",
        "forwarded",
        "via",
        "x-real-ip",
        "user-agent",
    ]);
    let values = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[\\[\\]:.,0-9a-f %@]{0,20}".prop_map(String::into_bytes),
        "(?i)bearer[ \t]{0,3}.{0,12}".prop_map(String::into_bytes),
        Just(b"localhost".to_vec()),
    ];
    (names, values)
}

proptest! {
    #[test]
    fn no_header_makes_it_panic(
        fields in prop::collection::vec(any_header(), 0..6),
        peer in any::<IpAddr>(),
        token in prop::option::of(".{0,30}"),
    ) {
        let rules = AccessRules {
            token: token.map(Secret::new),
            allow_hosts: vec!["[".to_owned(), "bridge.example".to_owned()],
            trusted_proxies: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
            ..AccessRules::default()
        };
        let mut head = head("/", &[]);
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                head.headers.append(HeaderName::from_static(name), value);
            }
        }
        let _ = rules.admit(peer, &head);
    }

    /// Only the token itself opens the door, whatever is sent.
    #[test]
    fn only_the_token_opens(shown in prop_oneof!["[!-~]{0,40}", Just(TOKEN.to_owned())]) {
        let rules = with_token(AuthMode::Required);
        let admitted = admit(&rules, "192.0.2.7", &[LOCAL, ("x-api-key", &shown)]).is_ok();
        prop_assert_eq!(admitted, shown == TOKEN);
    }
}
