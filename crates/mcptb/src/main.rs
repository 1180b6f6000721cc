//! MCP Token Bridge: turns private model access into safe public endpoints.

mod bridge;
mod cli;
mod demo;
mod listen;
mod settings;
mod telemetry;
mod wiring;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
