//! Calls, keys and tenants to tell a store of.

use gateway::amounts::{Amounts, Budget, Span, Unit};
use gateway::keys::{
    AuditPolicy, Bounds, Endpoint, KeyId, KeyKind, ScopeId, SecretDigest, Tenant, UnixMillis,
    VirtualKey,
};
use gateway::store::{Closed, Opened, Spending};
use model::{CallId, Dialect};

/// Some time in 2026.
pub(crate) const START: UnixMillis = 1_790_000_040_000;
/// A minute in milliseconds.
pub(crate) const MINUTE: UnixMillis = 60_000;

/// The id of a call that came in at a time.
pub(crate) fn id(number: u32, received: UnixMillis) -> CallId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&received.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    CallId::from_bytes(bytes)
}

pub(crate) fn key_id(number: u8) -> KeyId {
    KeyId::from_entropy([number; 12])
}

pub(crate) fn key_scope(number: u8) -> ScopeId {
    ScopeId::Key(key_id(number))
}

pub(crate) fn tenant_scope(name: &str) -> ScopeId {
    ScopeId::Tenant(name.parse().unwrap())
}

pub(crate) fn amounts(requests: u64, tokens: u64, cost: u64) -> Amounts {
    Amounts { requests, tokens, cost }
}

/// The scopes of key 1.
pub(crate) fn spending(admitted: UnixMillis, amounts: Amounts) -> Spending {
    Spending { scopes: [key_scope(1), tenant_scope("team")].into(), admitted, amounts }
}

/// A call with key 1, received `number` milliseconds after the start.
pub(crate) fn opened(number: u32) -> Opened {
    let received = START + UnixMillis::from(number);
    Opened {
        id: id(number, received),
        received,
        key: Some(key_id(1)),
        tenant: Some("team".parse().unwrap()),
        sandbox: false,
        address: "192.0.2.7".parse().unwrap(),
        agent: Some("curl/8".into()),
        dialect: Dialect::OpenAiChat,
        endpoint: Endpoint::Chat,
        model: "auto".into(),
        stream: true,
        messages: 3,
        bytes_in: 1000,
        input_tokens: 250,
        reserved: spending(received, amounts(1, 4000, 90)),
        body: Some(format!("{{\"request\":{number}}}{}", " ".repeat(500)).into()),
    }
}

/// The end of that call, settled.
pub(crate) fn closed(number: u32) -> Closed {
    let opened = opened(number);
    Closed {
        id: opened.id,
        first_byte: Some(opened.received + 5),
        ended: opened.received + 9,
        model_served: Some("gpt-5".into()),
        upstream: Some("vscode".into()),
        replay_of: None,
        status: 200,
        stop_reason: Some("end_turn"),
        input_tokens: 260,
        output_tokens: 40,
        cached_tokens: 7,
        estimated: true,
        overrun: false,
        losses: "top_k,seed".into(),
        bytes_out: 160,
        failure: None,
        message: None,
        body: Some(format!("{{\"reply\":{number}}}").into()),
        spending: Some(spending(opened.received, amounts(1, 300, 20))),
    }
}

pub(crate) fn key(number: u8) -> VirtualKey {
    VirtualKey {
        parent: Some(key_id(99)),
        name: "für \"Tests\"".to_owned(),
        notes: "a\nb".to_owned(),
        expires: Some(START + 5),
        earlier: Some((SecretDigest([7; 32]), START + 9)),
        uses: Some(u64::MAX),
        can_mint: true,
        priority: 200,
        audit: AuditPolicy::Metadata,
        bounds: Bounds {
            models: vec!["gpt-*".parse().unwrap()],
            endpoints: vec![Endpoint::Responses, Endpoint::CountTokens],
            networks: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            max_output: Some(1),
            max_body: Some(2),
            requests_per_minute: Some(3),
            tokens_per_minute: Some(4),
            concurrency: Some(0),
            budgets: vec![
                Budget { unit: Unit::Cost, span: Span::Month, limit: u64::MAX },
                Budget { unit: Unit::Requests, span: Span::Total, limit: 0 },
            ],
        },
        ..VirtualKey::new(
            KeyKind::Sandbox,
            "team".parse().unwrap(),
            key_id(number),
            SecretDigest([number; 32]),
            START,
        )
    }
}

pub(crate) fn tenant(name: &str) -> Tenant {
    Tenant {
        revoked: Some(START + 1),
        weight: 3,
        bounds: Bounds { max_body: Some(5), ..Bounds::default() },
        ..Tenant::new(name.parse().unwrap(), START)
    }
}
