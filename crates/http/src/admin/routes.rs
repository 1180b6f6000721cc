//! The one table of routes: what is served, and what the OpenAPI document says.

use super::query::{LONGEST_PAGE, PAGE};

/// Which credential opens a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// That of an administrator.
    Admin,
    /// A key that may make child keys.
    Children,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    KeyList,
    KeyCreate,
    KeyShow,
    KeyEdit,
    KeyDelete,
    KeyRotate,
    KeyRevoke,
    TenantList,
    TenantCreate,
    TenantShow,
    TenantEdit,
    TenantDelete,
    TenantRevoke,
    CallList,
    CallShow,
    EndList,
    Usage,
    RefusalList,
    Verify,
    VerifyProgress,
    Status,
    Document,
    ChildList,
    ChildMint,
    ChildShow,
    ChildRevoke,
}

/// A method that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether its requests have a body.
    pub(super) const fn takes_body(self) -> bool {
        matches!(self, Self::Post | Self::Patch)
    }
}

/// A parameter of a query.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) takes: Takes,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    Text,
    /// A whole number from the first to the second; else the third.
    Whole(u64, u64, u64),
    /// One of these.
    Word(&'static [&'static str]),
}

/// One method of one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) door: Door,
    pub(super) method: Verb,
    pub(super) path: &'static str,
    pub(super) operation: Operation,
    pub(super) about: &'static str,
    pub(super) query: &'static [Parameter],
    /// The schemas of the request, where it has a body, and of the reply.
    pub(super) body: Option<&'static str>,
    pub(super) reply: &'static str,
}

const fn text(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, about, takes: Takes::Text }
}

const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "Entries of a page",
    takes: Takes::Whole(1, LONGEST_PAGE as u64, PAGE as u64),
};
const CURSOR: Parameter = text("cursor", "The `next` of the page before");
const STATE: Parameter = Parameter {
    name: "state",
    about: "Whether they still work",
    takes: Takes::Word(&["active", "ended"]),
};
const TENANT: Parameter = text("tenant", "The name of a tenant");
const KEY: Parameter = text("key", "The id of a key");
const FROM: Parameter = text("from", "The first instant, RFC 3339 or a date");
const TO: Parameter = text("to", "The instant after the last one");
const PAGES: &[Parameter] = &[LIMIT, CURSOR];
const CHILDREN: &[Parameter] = &[STATE, LIMIT, CURSOR];
const KEYS: &[Parameter] = &[
    TENANT,
    Parameter {
        name: "kind",
        about: "What they are for",
        takes: Takes::Word(&["model", "sandbox", "admin"]),
    },
    STATE,
    text("parent", "Keys below this one, at whatever distance"),
    LIMIT,
    CURSOR,
];
const CALLS: &[Parameter] = &[
    KEY,
    TENANT,
    text("model", "The model asked for or served"),
    text("status", "A status like `429`, `4xx` or `400-499`"),
    FROM,
    TO,
    text("text", "Words that all stand in the request or the reply"),
    LIMIT,
    CURSOR,
];
const ENDS: &[Parameter] = &[
    text("after", "The `place` of the page before; else the end of the record"),
    KEY,
    TENANT,
    text("model", "The model asked for or served"),
    text("status", "A status like `429`, `4xx` or `400-499`"),
    LIMIT,
];
const USAGE: &[Parameter] = &[
    Parameter {
        name: "by",
        about: "What one sum is of; else `key`",
        takes: Takes::Word(&["key", "tenant", "model", "day"]),
    },
    FROM,
    TO,
    KEY,
    TENANT,
];
const REFUSALS: &[Parameter] = &[
    text("reason", "The kind of failure, such as `unauthenticated`"),
    KEY,
    text("network", "A network or an address that the callers may be in"),
    FROM,
    TO,
    LIMIT,
    CURSOR,
];

const fn route(
    method: Verb,
    path: &'static str,
    operation: Operation,
    reply: &'static str,
    about: &'static str,
) -> Route {
    Route { door: Door::Admin, method, path, operation, about, query: &[], body: None, reply }
}

impl Route {
    const fn asking(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    const fn taking(self, body: &'static str) -> Self {
        Self { body: Some(body), ..self }
    }

    const fn for_holders(self) -> Self {
        Self { door: Door::Children, ..self }
    }
}

const KEYS_PATH: &str = "/admin/v1/keys";
const KEY_PATH: &str = "/admin/v1/keys/{id}";
const TENANTS_PATH: &str = "/admin/v1/tenants";
const TENANT_PATH: &str = "/admin/v1/tenants/{id}";
const VERIFY_PATH: &str = "/admin/v1/audit/verify";
const CHILDREN_PATH: &str = "/v1/keys";
const CHILD_PATH: &str = "/v1/keys/{id}";

/// Every route. Those of one path stand side by side.
pub(super) static ROUTES: [Route; 26] = [
    route(Verb::Get, KEYS_PATH, Operation::KeyList, "KeyPage", "Lists keys, newest first.")
        .asking(KEYS),
    route(Verb::Post, KEYS_PATH, Operation::KeyCreate, "IssuedKey", "Makes a key.")
        .taking("KeyNew"),
    route(Verb::Get, KEY_PATH, Operation::KeyShow, "Key", "Shows a key."),
    route(Verb::Patch, KEY_PATH, Operation::KeyEdit, "Key", "Changes a key.").taking("KeyEdit"),
    route(Verb::Delete, KEY_PATH, Operation::KeyDelete, "Deleted", "Forgets a key."),
    route(
        Verb::Post,
        "/admin/v1/keys/{id}/rotate",
        Operation::KeyRotate,
        "IssuedKey",
        "Gives a key a new secret; the earlier one works for the time of the overlap.",
    )
    .taking("KeyRotate"),
    route(
        Verb::Post,
        "/admin/v1/keys/{id}/revoke",
        Operation::KeyRevoke,
        "Key",
        "Ends a key and its children, with their running calls, for good.",
    ),
    route(Verb::Get, TENANTS_PATH, Operation::TenantList, "TenantPage", "Lists tenants by name.")
        .asking(PAGES),
    route(Verb::Post, TENANTS_PATH, Operation::TenantCreate, "Tenant", "Makes a tenant.")
        .taking("TenantNew"),
    route(Verb::Get, TENANT_PATH, Operation::TenantShow, "Tenant", "Shows a tenant."),
    route(Verb::Patch, TENANT_PATH, Operation::TenantEdit, "Tenant", "Changes a tenant.")
        .taking("TenantEdit"),
    route(
        Verb::Delete,
        TENANT_PATH,
        Operation::TenantDelete,
        "Deleted",
        "Forgets a tenant that has no keys.",
    ),
    route(
        Verb::Post,
        "/admin/v1/tenants/{id}/revoke",
        Operation::TenantRevoke,
        "Tenant",
        "Shuts a tenant out, with all of its keys, for good.",
    ),
    route(
        Verb::Get,
        "/admin/v1/calls",
        Operation::CallList,
        "CallPage",
        "Lists calls, newest first.",
    )
    .asking(CALLS),
    route(
        Verb::Get,
        "/admin/v1/calls/{id}",
        Operation::CallShow,
        "FullCall",
        "Shows a call with its bodies, by any of its names: a UUID, its 32 digits, `req_…`, \
         `chatcmpl-…`, `cmpl-…`, `msg_…` or `resp_…`.",
    ),
    route(
        Verb::Get,
        "/admin/v1/ends",
        Operation::EndList,
        "EndPage",
        "Lists calls in the order in which they ended, behind a place of the record.",
    )
    .asking(ENDS),
    route(Verb::Get, "/admin/v1/usage", Operation::Usage, "Usage", "Sums what was spent.")
        .asking(USAGE),
    route(
        Verb::Get,
        "/admin/v1/refusals",
        Operation::RefusalList,
        "RefusalPage",
        "Lists what was counted of refusals that have no row, newest first.",
    )
    .asking(REFUSALS),
    route(
        Verb::Get,
        VERIFY_PATH,
        Operation::VerifyProgress,
        "Progress",
        "Tells how far a check of the journal is.",
    ),
    route(
        Verb::Post,
        VERIFY_PATH,
        Operation::Verify,
        "Verdict",
        "Checks the journal and answers at the end; the check ends when the caller goes.",
    ),
    route(
        Verb::Get,
        "/admin/v1/status",
        Operation::Status,
        "Status",
        "Tells how the store is, and how many keys there are.",
    ),
    route(Verb::Get, "/admin/v1/openapi.json", Operation::Document, "Document", "This document."),
    route(
        Verb::Get,
        CHILDREN_PATH,
        Operation::ChildList,
        "KeyPage",
        "Lists the keys below the one that asks.",
    )
    .asking(CHILDREN)
    .for_holders(),
    route(
        Verb::Post,
        CHILDREN_PATH,
        Operation::ChildMint,
        "IssuedKey",
        "Makes a child of the key that asks; what is not said is as with it.",
    )
    .taking("KeyEdit")
    .for_holders(),
    route(
        Verb::Get,
        CHILD_PATH,
        Operation::ChildShow,
        "Key",
        "Shows a key below the one that asks.",
    )
    .for_holders(),
    route(
        Verb::Delete,
        CHILD_PATH,
        Operation::ChildRevoke,
        "Key",
        "Ends a key below the one that asks, for good.",
    )
    .for_holders(),
];

impl Operation {
    /// Its name in the document.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::KeyList => "key_list",
            Self::KeyCreate => "key_create",
            Self::KeyShow => "key_show",
            Self::KeyEdit => "key_edit",
            Self::KeyDelete => "key_delete",
            Self::KeyRotate => "key_rotate",
            Self::KeyRevoke => "key_revoke",
            Self::TenantList => "tenant_list",
            Self::TenantCreate => "tenant_create",
            Self::TenantShow => "tenant_show",
            Self::TenantEdit => "tenant_edit",
            Self::TenantDelete => "tenant_delete",
            Self::TenantRevoke => "tenant_revoke",
            Self::CallList => "call_list",
            Self::CallShow => "call_show",
            Self::EndList => "end_list",
            Self::Usage => "usage",
            Self::RefusalList => "refusal_list",
            Self::Verify => "audit_verify",
            Self::VerifyProgress => "audit_verify_progress",
            Self::Status => "status",
            Self::Document => "openapi",
            Self::ChildList => "child_list",
            Self::ChildMint => "child_mint",
            Self::ChildShow => "child_show",
            Self::ChildRevoke => "child_revoke",
        }
    }

    /// The status of its reply.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::KeyCreate | Self::TenantCreate | Self::ChildMint => 201,
            _ => 200,
        }
    }
}
