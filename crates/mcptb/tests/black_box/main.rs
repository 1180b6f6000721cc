//! The bridge from outside: real child processes, real sockets, hosts and callers as they are.
//!
//! Start with `support`: it holds the bridge as a child, the fake host with the quirks of real
//! ones, and an HTTP client that can also misbehave. Nothing here sleeps to wait for something:
//! every wait is for a line, a request, a byte or an end, and has a deadline.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "a test ends where something is not as it should be"
)]

mod support;

mod access;
mod access_network;
mod admin_doors;
mod admin_refusals;
mod audit;
mod audit_cli;
mod audit_tail;
mod bodies;
mod bridging;
mod calls;
mod command_line;
mod config;
mod consent;
mod control_socket;
mod count_tokens;
mod crash;
mod cut_answers;
mod damaged;
mod data_folder;
mod ends;
mod ends_in_time;
mod full_disk;
mod handshake;
mod hang_ups;
mod host_faults;
mod hosts;
mod keys_cli;
mod keys_scopes;
mod leaks;
mod limits;
mod limits_restart;
mod load;
mod logs;
mod logs_quiet;
mod loose_lines;
mod models;
mod packed_bodies;
mod parameters;
mod parameters_carried;
mod params_modes;
mod prototype;
mod readiness;
mod refusals;
mod refused_rows;
mod replay;
mod responses;
mod responses_kept;
mod responses_tools;
mod revoking_behind_a_lock;
mod rmcp_host;
mod slots;
mod streams;
mod streams_late;
mod surface;
mod tenants_apart;
mod tenants_walk;
mod text_completions;
mod tls;
mod tools;
mod tools_native;
mod tools_prompted;
