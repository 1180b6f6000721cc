//! MCP Token Bridge: OpenAI and Anthropic endpoints for the model of your own MCP host.

mod bridge;
mod cli;
mod control;
mod demo;
mod entropy;
mod listen;
mod panics;
mod records;
mod reload;
mod settings;
mod telemetry;
mod wiring;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    panics::install();
    cli::run()
}
