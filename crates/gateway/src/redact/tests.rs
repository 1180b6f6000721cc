//! Every kind in every dress, the laws about JSON, and hostile texts.

use std::borrow::Cow;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Redactor, SecretKind, assigned, tokens};

/// Letters and digits as a generator of tokens makes them.
fn random(length: usize) -> String {
    "q7Rz0LmX2vBn4KpT8sWd".chars().cycle().take(length).collect()
}

/// One credential of each kind that is known by itself.
fn canaries() -> Vec<(SecretKind, String)> {
    let of = |prefix: &str, length| format!("{prefix}{}", random(length));
    vec![
        (SecretKind::BridgeKey, of("mcptb_k7m2_", 43)),
        (SecretKind::BridgeKey, of("mcptb_test_k7m2_", 43)),
        (SecretKind::BridgeKey, of("mcptb_admin_k7m2_", 43)),
        (SecretKind::OpenAi, of("sk-", 48)),
        (SecretKind::OpenAi, of("sk-proj-", 60)),
        (SecretKind::Anthropic, of("sk-ant-api03-", 80)),
        (SecretKind::GitHub, of("ghp_", 36)),
        (SecretKind::GitHub, of("gho_", 36)),
        (SecretKind::GitHub, of("ghu_", 36)),
        (SecretKind::GitHub, of("ghs_", 36)),
        (SecretKind::GitHub, of("ghr_", 76)),
        (SecretKind::GitHub, of("github_pat_", 82)),
        (SecretKind::GitLab, of("glpat-", 20)),
        (SecretKind::AwsKeyId, "AKIAIOSFODNN7EXAMPLE".to_owned()),
        (SecretKind::AwsKeyId, "ASIAIOSFODNN7EXAMPLE".to_owned()),
        (SecretKind::Google, of("AIza", 35)),
        (SecretKind::Slack, of("xoxb-123456789012-", 24)),
        (SecretKind::Slack, of("xoxp-123456789012-", 24)),
        (SecretKind::Stripe, of("sk_live_", 24)),
        (SecretKind::Stripe, of("rk_live_", 24)),
        (SecretKind::Npm, of("npm_", 36)),
        (SecretKind::PyPi, of("pypi-AgEIcHlwaS5vcmc", 60)),
        (SecretKind::HuggingFace, of("hf_", 34)),
        (SecretKind::Jwt, format!("eyJ{}.eyJ{}.{}", random(30), random(50), random(43))),
    ]
}

/// The part of a text that must not survive, in its place.
fn dressed() -> Vec<(SecretKind, &'static str, &'static str)> {
    use SecretKind::{Assigned, Authorization, AwsSecret, PrivateKey, UrlPassword};
    const AWS: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const PEM: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
    vec![
        (AwsSecret, "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n", AWS),
        (AwsSecret, "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", AWS),
        (AwsSecret, r#"{"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}"#, AWS),
        (
            PrivateKey,
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n\
             MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END RSA PRIVATE KEY-----\n",
            PEM,
        ),
        (
            PrivateKey,
            r"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n",
            PEM,
        ),
        (PrivateKey, "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nMII", PEM),
        (Authorization, "Authorization: Bearer 9f8e7d6c5b4a", "9f8e7d6c5b4a"),
        (Authorization, "Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        (Authorization, "authorization: 9f8e7d6c5b4a32109f8e", "9f8e7d6c5b4a32109f8e"),
        (Authorization, r#"curl -H "x-api-key: 9f8e7d6c5b4a""#, "9f8e7d6c5b4a"),
        (UrlPassword, "postgres://bob:hunter2@db:5432/x", "hunter2"),
        (UrlPassword, r"https:\/\/bob:hunter2@db\/x", "hunter2"),
        (Assigned, "password = \"hunter2hunter\"", "hunter2hunter"),
        (Assigned, "password: 'hunter2hunter'", "hunter2hunter"),
        (Assigned, r#"{"db_password": "hunter2hunter"}"#, "hunter2hunter"),
        (Assigned, r#"{"password":",hunter2\"hun"}"#, "hunter2"),
        (Assigned, "A=1\nDB_PASSWORD=correcthorse,battery\nB=2", "correcthorse,battery"),
        (Assigned, "export passwd=correcthorse", "correcthorse"),
        (Assigned, "FOO=1 CLIENT_SECRET=correcthorse run", "correcthorse"),
        (Assigned, "GET /x?api_key=abc123def456&page=2", "abc123def456"),
        (Assigned, "const apiKey = `abc123def456`;", "abc123def456"),
        (Assigned, "access_token: \"abc123def456\"", "abc123def456"),
    ]
}

fn redactor() -> &'static Redactor {
    static BUILT_IN: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(&[]).unwrap());
    &BUILT_IN
}

/// One that walks through every byte, as on machines without vector instructions.
fn walking() -> &'static Redactor {
    static WALKING: LazyLock<Redactor> = LazyLock::new(|| {
        let mut redactor = Redactor::new(&[]).unwrap();
        redactor.scan = redactor.scan.without_ahead();
        redactor
    });
    &WALKING
}

/// One whose patterns and secrets match nearly anything.
fn greedy() -> &'static Redactor {
    static GREEDY: LazyLock<Redactor> = LazyLock::new(|| {
        let patterns = ["[0-9]{5,}".to_owned(), "e.{1,3}r".to_owned()];
        Redactor::new(&patterns).unwrap().with_exact(["en", "\",\"", "12", "\\"])
    });
    &GREEDY
}

fn text(redactor: &Redactor, text: &str) -> String {
    String::from_utf8(redactor.redact(text.as_bytes()).text.into_owned()).unwrap()
}

#[test]
fn every_kind_is_found_in_every_dress() {
    let redactor = redactor();
    let mut cases: Vec<(SecretKind, String, String)> =
        canaries().into_iter().map(|(kind, secret)| (kind, secret.clone(), secret)).collect();
    let dressed = dressed();
    cases.extend(
        dressed.iter().map(|(kind, text, secret)| (*kind, (*text).into(), (*secret).into())),
    );
    for (kind, plain, secret) in cases {
        let once = json!({ "messages": [{ "content": plain }] }).to_string();
        let twice = json!({ "arguments": once }).to_string();
        let within = format!("see (\n{plain}\n) there");
        for dress in [&plain, &once, &twice, &within] {
            let redacted = redactor.redact(dress.as_bytes());
            let left = String::from_utf8(redacted.text.into_owned()).unwrap();
            assert!(!left.contains(&secret), "{dress} became {left}");
            assert!(redacted.kinds.contains(kind), "{kind} in {dress}: {:?}", redacted.kinds);
            assert_eq!(redacted.count, 1, "{dress} became {left}");
            assert!(left.contains(&format!("[redacted:{kind}]")), "{dress} became {left}");
            assert_eq!(text(redactor, &left), left, "the second time");
        }
    }
}

#[test]
fn what_stands_around_a_credential_stays() {
    let redactor = redactor();
    let key = format!("sk-proj-{}", random(48));
    let before = json!({"a": format!("use {key}, then"), "api_key": key, "n": 1}).to_string();
    assert_eq!(
        text(redactor, &before),
        r#"{"a":"use [redacted:openai_key], then","api_key":"[redacted:openai_key]","n":1}"#
    );
    assert_eq!(
        text(redactor, r#"{"password":"abcdefgh\\","b":"c"}"#),
        r#"{"password":"[redacted:assigned_secret]","b":"c"}"#
    );
    assert_eq!(
        text(redactor, "postgres://bob:hunter2@db:5432/x?password=abc12345&y=1"),
        "postgres://bob:[redacted:url_password]@db:5432/x?password=[redacted:assigned_secret]&y=1"
    );
    assert_eq!(
        text(redactor, r#"{"f":"A=1\nSECRET=abcdefgh\nB=2"}"#),
        r#"{"f":"A=1\nSECRET=[redacted:assigned_secret]\nB=2"}"#
    );
    assert_eq!(
        text(redactor, r#"{"f":"{\"f\":\"SECRET=abcdefgh\\nB=2\"}"}"#),
        r#"{"f":"{\"f\":\"SECRET=[redacted:assigned_secret]\\nB=2\"}"}"#
    );
}

#[test]
fn clean_texts_come_back_as_they_are() {
    let redactor = redactor();
    for clean in [
        "",
        "The task-oriented risk-averse-but-reasonable-desk-organiser asked for the basic idea.",
        r#"{"max_tokens":1000,"token_type":"bearer","password":"short"}"#,
        r#"{"type":"object","properties":{"password":{"type":"string"}},"required":["password"]}"#,
        r#"["token=",12345678,"x"]"#,
        r#"["password:","b:c","d:eeeeeeee"]"#,
        r#"{"password":12345678,"secret" : null}"#,
        r#"{"say \"token\"":"a b c d e f"}"#,
        "password = get_password(user)",
        "client(token=settings.token_value)",
        "PASSWORD=${DB_PASSWORD}\nTOKEN=$TOKEN_VALUE\nSECRET=<your-secret>\nSECRET=********",
        "if token == 12345678 { }",
        "https://example.com/a:b@c and mailto:a@b.c",
        "Basic JavaScript knowledge; the bearer of this letter; Authorization: required here",
        "-----BEGIN PRIVATE KEY----- is the first line",
        "-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END CERTIFICATE-----",
        "AKIA and ASIA and eyJ and sk- and mcptb_upstream_requests_total and hf_hub_download",
        "name.eyJhbGciOiJIUzI1NiJ9 only one part",
    ] {
        let redacted = redactor.redact(clean.as_bytes());
        assert!(
            matches!(redacted.text, Cow::Borrowed(_)),
            "{clean} became {}",
            text(redactor, clean)
        );
        assert_eq!((&*redacted.text, redacted.count), (clean.as_bytes(), 0));
        assert!(redacted.kinds.is_empty());
    }
}

#[test]
fn bytes_that_are_no_text_pass() {
    let redactor = redactor();
    let key = format!("ghp_{}", random(36));
    let mut bytes = vec![0xff, 0xfe, 0x80];
    assert_eq!(*redactor.redact(&bytes).text, bytes);
    bytes.extend(key.as_bytes());
    bytes.push(0xc3);
    assert_eq!(*redactor.redact(&bytes).text, *b"\xff\xfe\x80[redacted:github_token]\xc3");
}

#[test]
fn an_escape_is_taken_whole_or_not_at_all() {
    // A line break, then `pm_`: only together with the letter of the escape it looks like npm's.
    let body = format!(r#"{{"a":"x\npm_{}"}}"#, random(36));
    let left = text(redactor(), &body);
    assert_eq!(left, r#"{"a":"x[redacted:npm_token]"}"#);
    let body = format!(r#"{{"a":"-----BEGIN PRIVATE KEY-----\n{}\""}}"#, random(40));
    assert!(serde_json::from_str::<Value>(&text(redactor(), &body)).is_ok());
}

#[test]
fn known_secrets_are_found_in_each_form() {
    let secret = "ab\"c/\\d\n<é&'> 0123456789";
    let redactor = Redactor::new(&[]).unwrap().with_exact([secret, ""]);
    let json = serde_json::to_string(secret).unwrap();
    let json = json.trim_matches('"');
    let twice = serde_json::to_string(json).unwrap();
    for form in [
        secret.to_owned(),
        json.to_owned(),
        twice.trim_matches('"').to_owned(),
        json.replace('é', "\\u00e9"),
        json.replace('/', "\\/"),
        json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
    ] {
        let left = text(&redactor, &format!("<{form}>"));
        assert_eq!(left, "<[redacted:known_secret]>", "{form}");
    }
}

#[test]
fn numbers_and_structure_stay_json() {
    let patterns = [r"\b4[0-9]{15}\b".to_owned(), r#""ssn": *"([0-9-]+)""#.to_owned()];
    let redactor = Redactor::new(&patterns).unwrap().with_exact(["u\",\"v", "987654321"]);
    let left = text(&redactor, r#"{"n":[4111111111111111,2],"t":"4111111111111111"}"#);
    assert_eq!(left, r#"{"n":["[redacted:configured]",2],"t":"[redacted:configured]"}"#);
    let left = text(&redactor, r#"{"ssn": "123-45-6789", "x": 1}"#);
    assert_eq!(left, r#"{"ssn": "[redacted:configured]", "x": 1}"#);
    let left = text(&redactor, r#"["tu","vw",-19876543210e3]"#);
    assert_eq!(
        left,
        r#"["t[redacted:known_secret]","[redacted:known_secret]w","[redacted:known_secret]"]"#
    );
    assert_eq!(text(&redactor, "my card 4111111111111111."), "my card [redacted:configured].");
}

#[test]
fn a_bad_pattern_is_named_by_its_place_alone() {
    for (pattern, why) in [
        ("hush(hush", "unclosed group"),
        ("hush*|", "it matches the empty text"),
        (r"(hush\w{500}){500}", "it takes more than 1048576 bytes when compiled"),
        (r"(?=hush)", "look-around, including look-ahead and look-behind, is not supported"),
    ] {
        let bad = Redactor::new(&["fine".to_owned(), pattern.to_owned()]).unwrap_err();
        assert_eq!(bad.place, Some(1));
        assert_eq!(bad.to_string(), format!("redaction pattern 2 cannot be used: {why}"));
    }
}

#[test]
fn neither_patterns_nor_secrets_are_printed() {
    let redactor =
        Redactor::new(&["hush[0-9]".to_owned()]).unwrap().with_exact(["correct horse battery"]);
    let printed = format!("{redactor:?} {redactor:#?}");
    assert!(!printed.contains("hush") && !printed.contains("horse"), "{printed}");
}

#[test]
fn texts_of_nothing_but_beginnings_are_read_once() {
    // Were they read again from each beginning, this would take minutes.
    for beginning in ["mcptb_", "sk-", "eyJ", "authorization:", "token=<", "password=\"", "://a"] {
        let text = beginning.repeat(300_000 / beginning.len());
        let redacted = redactor().redact(text.as_bytes());
        assert!(redacted.text.len() <= 2 * text.len(), "{beginning}");
    }
}

/// Text around canaries, with what is hard: quotes, backslashes, breaks, other scripts.
fn filler() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z ]{0,12}",
        Just("\\".to_owned()),
        Just("\"".to_owned()),
        Just("'".to_owned()),
        Just("\n".to_owned()),
        Just("中é\u{1}".to_owned()),
        Just("password".to_owned()),
        Just("token=".to_owned()),
        Just("api_key\":\"".to_owned()),
        Just("secret\\\":\\\"".to_owned()),
        Just("-----BEGIN PRIVATE KEY-----".to_owned()),
        Just("https://a:b@".to_owned()),
        Just(",:{}[]".to_owned()),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// A string with a canary in it, set off by something that no token holds.
fn with_canary() -> impl Strategy<Value = String> {
    let edges = prop::sample::select(vec![" ", "\n", "\"", "\\", "(", "中", "\\\n", "\t", "/"]);
    (filler(), prop::sample::select(canaries()), edges, filler())
        .prop_map(|(before, (_, canary), edge, after)| format!("{before}{edge}{canary} {after}"))
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        filler().prop_map(Value::from),
        with_canary().prop_map(Value::from),
        prop::sample::select(dressed()).prop_map(|(_, text, _)| Value::from(text)),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let names = prop_oneof![filler(), with_canary(), Just("password".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((names, inner.clone()), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
            inner.prop_map(|inner| Value::from(inner.to_string())),
        ]
    })
}

/// Pieces of what the search looks for, in any case, at any distance from the border of a part that
/// is searched at once.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let literals: Vec<&str> = tokens::SHAPES
        .iter()
        .map(|shape| shape.prefix)
        .chain(assigned::NAMES.iter().map(|(name, _)| *name))
        .chain(["eyJ", "-----BEGIN ", "://", r":\/", r":\\/", r":\\\\/", "bearer", "basic"])
        .collect();
    let part = (prop::sample::select(literals), 0..16_usize, 0..16_usize, any::<u64>());
    let part = part.prop_map(|(literal, from, left, case)| {
        let bytes = literal.bytes().enumerate();
        let cased = bytes.map(
            |(at, byte)| {
                if case >> at & 1 == 0 { byte } else { byte ^ (byte & 0x40) >> 1 }
            },
        );
        let cased: Vec<u8> = cased.collect();
        let from = if from < 10 { 0 } else { from.min(cased.len()) };
        let to = if left < 10 { cased.len() } else { left.max(from).min(cased.len()) };
        cased[from..to].to_vec()
    });
    let piece = prop_oneof![
        6 => part,
        1 => prop::collection::vec(any::<u8>(), 0..6),
        1 => "[a-z :=\"]{0,20}".prop_map(String::into_bytes),
        2 => (0..40_usize).prop_map(|more| vec![b' '; 1000 + more]),
    ];
    prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn looking_ahead_finds_what_walking_finds(text in pieces(), steps in any::<bool>()) {
        // The way of the search goes on behind each literal, or one byte after its beginning.
        let all = |redactor: &Redactor| {
            let mut hits = redactor.scan.hits(&text);
            let mut from = 0;
            std::iter::from_fn(|| {
                let hit = hits.next(from)?;
                from = if steps { hit.start() + 1 } else { hit.end() };
                Some((hit.pattern(), hit.start(), hit.end()))
            })
            .collect::<Vec<_>>()
        };
        prop_assert_eq!(all(redactor()), all(walking()));
        prop_assert_eq!(redactor().redact(&text), walking().redact(&text));
    }

    #[test]
    fn json_stays_json_and_no_canary_is_left(document in document(), pretty in any::<bool>()) {
        let before = if pretty {
            serde_json::to_string_pretty(&document).unwrap()
        } else {
            document.to_string()
        };
        for redactor in [redactor(), greedy()] {
            let redacted = redactor.redact(before.as_bytes());
            let left = std::str::from_utf8(&redacted.text).unwrap();
            if document.is_object() || document.is_array() || document.is_string() {
                prop_assert!(
                    serde_json::from_str::<Value>(left).is_ok(), "{before}\nbecame\n{left}"
                );
            }
            for (_, canary) in canaries() {
                prop_assert!(!left.contains(&canary), "{before}\nbecame\n{left}");
            }
            prop_assert_eq!(redacted.count == 0, matches!(redacted.text, Cow::Borrowed(_)));
            prop_assert!(redacted.count > 0 || left == before);
        }
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let redacted = redactor().redact(&bytes);
        prop_assert!(redacted.count > 0 || *redacted.text == *bytes);
    }

    #[test]
    fn texts_of_beginnings_end(pieces in prop::collection::vec(prop::sample::select(vec![
        "password=", "\"", "\\", "'", "`", ":", "=", " ", "\n", "authorization", "eyJ", ".", "sk-",
        "mcptb_", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "://", "@", "a1b2c3d4",
        "bearer ", "basic ", "secret", "access_key", "n", "u00", "AKIA", "<", ">", "$", "{", "}",
    ]), 0..60)) {
        let text = pieces.concat();
        let quoted = json!([text]).to_string();
        let left = redactor().redact(quoted.as_bytes()).text.into_owned();
        prop_assert!(serde_json::from_slice::<Value>(&left).is_ok(), "{}", quoted);
        redactor().redact(text.as_bytes());
    }
}
