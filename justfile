# Recipes for working on mcptb. `just` alone lists them.

_default:
    @just --list

# Installs what the other recipes need, as far as cargo and rustup can.
setup:
    rustup component add rustfmt clippy
    @command -v cargo-deny > /dev/null || echo "hint: cargo install --locked cargo-deny  (just check runs it when it is there)"

# Formatting, lints, documentation, and licences and floors if cargo-deny is installed.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    @if command -v cargo-deny > /dev/null; then cargo deny check; else echo "cargo-deny is not installed: skipped"; fi

# All tests; arguments go to cargo, for example `just test -p mcptb-model`.
test *arguments:
    cargo test --workspace {{ arguments }}

# The official SDKs as clients and real MCP clients as hosts, against a real bridge.
conformance:
    cargo build
    python3 conformance/run.py --binary target/debug/mcptb

# Latency and throughput beside floors measured in the same run.
bench *arguments:
    cargo build --release
    cargo run --release -p mcptb-bench -- {{ arguments }}

# Cost of reading requests and replies, in microseconds and allocations.
bench-reading:
    cargo run --release -p mcptb-bench --bin mcptb-bench-reading

# Rows of the audit per second, look-ups, start and check; for example `just bench-store --grown 900000`.
bench-store *arguments:
    cargo run --release -p mcptb-bench --bin mcptb-bench-store -- {{ arguments }}

# The property tests (readers, streams, folds) with many more cases than usual.
laws cases="20000":
    PROPTEST_CASES={{ cases }} cargo test --workspace --profile laws

# `kill -9` at random points under load, and then everything must add up.
crash rounds="200":
    MCPTB_CRASH_ROUNDS={{ rounds }} cargo test -p mcptb --test black_box -- crash:: --nocapture

# One fuzz target for a while (see fuzz/README.md); needs a nightly toolchain and cargo-fuzz.
fuzz target="mcp_lines" seconds="60":
    cd fuzz && cargo +nightly fuzz run {{ target }} -- -max_total_time={{ seconds }}

# Shows the main job without an editor.
demo *arguments:
    cargo run --release -- demo {{ arguments }}

# The program that is handed out.
release:
    cargo build --release --locked
    @ls -l target/release/mcptb
