//! The one table of the public paths: what is served, and what a check of every door walks.

use axum::routing::{MethodRouter, get, post};

use crate::asked::CallDoor;
use crate::count_tokens::count_tokens;
use crate::doors::{self, Doors};
use crate::{explain, health, models, responses, usage};

/// A path of the public doors.
#[derive(Clone, Copy, Debug)]
pub struct PublicPath {
    /// As the router has it, with `{id}` where an id stands.
    pub path: &'static str,
    /// What it takes. `HEAD` goes where `GET` goes.
    pub methods: &'static [&'static str],
    /// Whether it stands behind `/v1` too, as most clients expect it.
    pub versioned: bool,
    pub(crate) opens: fn() -> MethodRouter<Doors>,
}

const fn versioned(
    path: &'static str,
    methods: &'static [&'static str],
    opens: fn() -> MethodRouter<Doors>,
) -> PublicPath {
    PublicPath { path, methods, versioned: true, opens }
}

const fn probe(path: &'static str, opens: fn() -> MethodRouter<Doors>) -> PublicPath {
    PublicPath { path, methods: &["GET"], versioned: false, opens }
}

/// Every path that callers of models use.
pub static PUBLIC_PATHS: [PublicPath; 18] = [
    versioned("/chat/completions", &["GET", "POST"], || {
        post(CallDoor::Chat).get(doors::stored_chats)
    }),
    versioned("/completions", &["POST"], || post(CallDoor::Completions)),
    versioned("/embeddings", &["POST"], || post(doors::no_embeddings)),
    versioned("/messages", &["POST"], || post(CallDoor::Messages)),
    versioned("/messages/count_tokens", &["POST"], || post(count_tokens)),
    // What is got there is a web socket, where one is offered.
    versioned("/responses", &["GET", "POST"], || {
        post(CallDoor::Responses).get(responses::no_socket)
    }),
    versioned("/responses/input_tokens", &["POST"], || post(responses::input_tokens)),
    versioned("/responses/compact", &["POST"], || post(responses::no_compaction)),
    versioned("/responses/{id}", &["GET", "DELETE"], || {
        get(responses::one).delete(responses::delete)
    }),
    versioned("/responses/{id}/input_items", &["GET"], || get(responses::input_items)),
    versioned("/explain", &["POST"], || post(explain::explain)),
    versioned("/usage", &["GET"], || get(usage::usage)),
    versioned("/models", &["GET"], || get(models::list)),
    versioned("/models/{*id}", &["GET"], || get(models::one)),
    probe("/", || get(health::hello)),
    probe("/api/hello", || get(health::hello)),
    probe("/healthz", || get(health::healthz)),
    probe("/readyz", || get(health::readyz)),
];
