#!/usr/bin/env python3
"""Runs the official SDKs, as MCP hosts and as HTTP clients, against `mcptb`.

Needs Python 3.11, npm and curl; everything else is installed, in pinned versions, into a cache folder
(`MCPTB_CONFORMANCE_DIR`, by default `target/conformance`). See README.md of this folder.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import agents
import hosting
import installing
import suites

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CLIENTS = ["openai_python.py", "anthropic_python.py", "openai_node.mjs", "anthropic_node.mjs"]
TOOL_CLIENTS = ["anthropic_tools_python.py", "anthropic_tools_node.mjs", "openai_tools_python.py",
                "openai_tools_node.mjs", "openai_responses_python.py", "openai_responses_node.mjs"]
HOSTS = {"mcp-python": "mcp_python.py", "fastmcp": "fastmcp_host.py", "typescript": "typescript.mjs"}
CLIENT_WITHIN = 240.0

# Each variant of tools under one host of its own, else the run would take an hour.
VARIANTS = {"native": "typescript", "prompted": "mcp-python"}
AGENTS_UNDER = "fastmcp"


class Tally:
    """Prints one line per check and counts."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def add(self, where: str, ok: bool, text: str, instead: object = "") -> None:
        """Counts a check; `instead` is what was seen, and is shown when it failed."""
        if ok:
            self.passed += 1
            print(f"PASS  {where} · {text}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL  {where} · {text}{f' (seen: {instead})' if instead else ''}", flush=True)


def run_client(tally: Tally, where: str, host: hosting.Host, client: str, group: str, *more: str) -> None:
    """Runs one group of one client."""
    command = [*host.tools.command(host.suite / "clients" / client), "--base-url", host.base_url, "--group", group]
    take_over(tally, f"{where} · {client.partition('.')[0]} {group}", [*command, *more], host.environment)


def take_over(tally: Tally, where: str, command: list[str], environment: dict[str, str]) -> None:
    """Runs a program that prints one line per check; one that dies or hangs has failed."""
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, encoding="utf-8", errors="replace", start_new_session=True)
    try:
        out, err = process.communicate(timeout=CLIENT_WITHIN)
        end = f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        hosting.kill_group(process)
        out, err = process.communicate()
        end = f"not finished after {CLIENT_WITHIN:.0f} s"
    lines = [line for line in out.splitlines() if line.startswith(("PASS ", "FAIL "))]
    for line in lines:
        tally.add(where, line.startswith("PASS"), line[5:])
    if process.returncode != 0 or not lines:
        tally.add(where, False, f"the program itself: {end}; {' '.join(err.split())[-600:]}")


def open_bridge(tally: Tally, where: str, host: hosting.Host, clients: list[str]) -> None:
    """An open bridge on loopback, started by a host that probes for the newest protocol first."""
    tools = host.order(list=True)
    ok = {"hook", "bridge_status"} <= set(tools.get("result", {}).get("tools", []))
    tally.add(where, ok, "offers the tools hook and bridge_status", tools)
    status = host.order(call="bridge_status", arguments={})
    tally.add(where, host.base_url in str(status.get("result")), f"bridge_status names {host.base_url}", status)
    hook = host.send(call="hook", arguments={})
    for client in clients:
        run_client(tally, where, host, client, "main")
        run_client(tally, where, host, client, "refusal")
        # A refusal is final until a person acts; here the person acts through the tool.
        again = host.order(call="bridge_status", arguments={"ask_again": True})
        ok = "result" in again and not again["result"].get("isError") and host.wait_ready(30.0)
        tally.add(where, ok, "ready again after a refusal and ask_again", again)
        run_client(tally, where, host, client, "smoke")
    answer = host.answers.get(hook)
    ok = answer is None or ("result" in answer and not answer["result"].get("isError"))
    tally.add(where, ok, "a hook call held open meanwhile", answer)
    log = host.log.read_text(encoding="utf-8", errors="replace")
    leaked = [text for text in ("Be brief", "naïve café") if text in log]
    tally.add(where, not leaked, "stderr of the bridge holds nothing of a request or reply", leaked)


def with_a_token(tally: Tally, where: str, host: hosting.Host, clients: list[str], token: str) -> None:
    """A bridge that asks everyone for its token, started by a host that sends `initialize` at once."""
    for client in clients:
        run_client(tally, where, host, client, "token", "--token", token)
    leaked = token in host.log.read_text(encoding="utf-8", errors="replace")
    tally.add(where, not leaked, "stderr of the bridge does not hold the token")


def accumulators(tally: Tally, tools: installing.Tools, run: Path, streams: Path) -> None:
    """Whether the SDKs make of the streams that the bridge's writers write what was to be said."""
    for script in ("accumulators.py", "accumulators.mjs"):
        command = [*tools.command(run / "suite" / "accumulators" / script), str(streams)]
        take_over(tally, f"accumulators · {script}", command, {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})


def twins(tally: Tally, tools: installing.Tools, run: Path) -> None:
    """Whether the two scripted models still answer alike."""
    done = subprocess.run([*tools.command(run / "suite" / "hosts" / "twins.py"), str(tools.node)], capture_output=True,
                          encoding="utf-8", stdin=subprocess.DEVNULL, check=False, timeout=CLIENT_WITHIN)
    tally.add("scripted model", done.returncode == 0, "Python and JavaScript answer alike",
              f"{done.stdout[-1200:]} {done.stderr[-600:]}")


def with_tools(tally: Tally, where: str, host: hosting.Host, clients: list[str], variant: str) -> None:
    """Tools, structured output and the rest of the agents' surface, under a host with tools or without."""
    for client in clients:
        run_client(tally, where, host, client, "main", "--variant", variant)
    log = host.log.read_text(encoding="utf-8", errors="replace")
    leaked = [text for text in ("Zürich", "Oslo", "rm -rf", "Be brief") if text in log]
    tally.add(where, not leaked, "stderr of the bridge holds nothing of a tool or call", leaked)


def coding_agents(tally: Tally, where: str, host: hosting.Host, names: list[str], run: Path) -> None:
    """Every agent does a whole task."""
    for name in names:
        begun = time.monotonic()
        wrong = agents.work(name, host, run)
        tally.add(where, not wrong, f"{name} writes, reads, changes and runs a file ({time.monotonic() - begun:.0f} s)",
                  wrong)
    for name in set(names) & {"Claude Code", "Codex"}:
        wrong = agents.give_up(name, host, run)
        tally.add(where, not wrong, f"{name} asks a host that fails once and no more", wrong)


def makers_suites(tally: Tally, where: str, host: hosting.Host) -> None:
    """The suites of the SDKs' makers; every one of their tests counts."""
    for suite in suites.SUITES:
        ok, seen = suites.run(suite, host)
        tally.add(where, ok, f"{suite.number} tests of {suite.package}-python", seen)


def scenarios(tally: Tally, name: str, binary: Path, tools: installing.Tools, run: Path, chosen: Chosen) -> None:
    """Starts the bridge several times under one host; a host that fails costs its own scenario only."""

    def under_host(label: str, check: Callable[[str, hosting.Host], None], arguments: tuple[str, ...] = (),
                   negotiation: str = "auto", sampling_tools: bool = False, **environment: str) -> None:
        if chosen.scenarios and label not in chosen.scenarios:
            return
        where = f"{name} · {label}"
        host = hosting.Host(tools, run, HOSTS[name], f"{name}-{label}", [str(binary), *arguments], negotiation,
                            environment, sampling_tools)
        try:
            with host:
                check(where, host)
        except hosting.HostFailed as failed:
            tally.add(where, False, "the host stays up", failed)
        tally.add(where, host.gone, "the bridge ends with its host", f"{host.base_url} still answers")

    clients, tool_clients = chosen.of(CLIENTS), chosen.of(TOOL_CLIENTS)
    under_host("open", lambda where, host: open_bridge(tally, where, host, clients))
    under_host("prototype", lambda where, host: run_client(tally, where, host, "prototype_curl.py", "main"),
               arguments=("--host", "0.0.0.0"), MCPTB_HTTP_TIMEOUT="none")
    token = secrets.token_hex(24)
    under_host("token", lambda where, host: with_a_token(tally, where, host, clients, token),
               negotiation="legacy", MCPTB_TOKEN=token)
    for variant, host_name in VARIANTS.items():
        if tool_clients and name == host_name:
            under_host(f"tools-{variant}", sampling_tools=variant == "native", check=lambda where, host: with_tools(
                tally, where, host, tool_clients, variant))
        if chosen.agents and name == AGENTS_UNDER:
            under_host(f"agents-{variant}", sampling_tools=variant == "native", check=lambda where, host: coding_agents(
                tally, where, host, chosen.agents, run))
        if chosen.all and name == AGENTS_UNDER:
            under_host(f"suites-{variant}", lambda where, host: makers_suites(tally, where, host),
                       ("--params", "lenient"), sampling_tools=variant == "native")


@dataclass
class Chosen:
    """What the command line leaves to run."""

    clients: list[str]
    scenarios: list[str]
    agents: list[str]

    def of(self, clients: list[str]) -> list[str]:
        return [client for client in clients if self.all or Path(client).stem in self.clients]

    @property
    def all(self) -> bool:
        return not self.clients


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs the official SDKs against mcptb started by real MCP hosts.")
    parser.add_argument("--binary", type=Path, help="the mcptb to test (default: the newest under target/)")
    parser.add_argument("--host", choices=[*HOSTS, "all"], default="all")
    parser.add_argument("--client", choices=[Path(c).stem for c in CLIENTS + TOOL_CLIENTS], action="append",
                        help="only this client (may be repeated; default: all, agents and suites too)")
    parser.add_argument("--streams", type=Path, help="streams written by the example write_streams of mcptb-dialects")
    parser.add_argument("--scenario", action="append", help="only this start of the bridge (may be repeated)")
    arguments = parser.parse_args()
    if arguments.binary is None:
        built = [p for p in (ROOT / "target" / kind / "mcptb" for kind in ("release", "debug")) if p.is_file()]
        if not built:
            parser.error("no binary under target/: build it with `cargo build`, or name one with --binary")
        arguments.binary = max(built, key=lambda path: path.stat().st_mtime)
    if not os.access(arguments.binary, os.X_OK):
        parser.error(f"{arguments.binary} is not an executable file")
    return arguments


def main() -> int:
    arguments = read_arguments()
    # A terminated run must clean up like a failed one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cache = Path(os.environ.get("MCPTB_CONFORMANCE_DIR") or ROOT / "target" / "conformance").resolve()
    tools = installing.install(HERE, cache)
    chosen = Chosen(arguments.client or [], arguments.scenario or [], [] if arguments.client else list(agents.AGENTS))
    tally, begun = Tally(), time.monotonic()
    # Inside the cache, because Node looks for packages in the folders above a script.
    run = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    try:
        shutil.copytree(HERE, run / "suite", ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        twins(tally, tools, run)
        if arguments.streams:
            accumulators(tally, tools, run, arguments.streams.resolve())
        for name in HOSTS if arguments.host == "all" else [arguments.host]:
            scenarios(tally, name, arguments.binary.resolve(), tools, run, chosen)
    finally:
        hosting.kill_marked(run)
        if tally.failed:
            logs = cache / "logs"
            shutil.rmtree(logs, ignore_errors=True)
            shutil.copytree(run / "logs", logs, dirs_exist_ok=True)
            print(f"The stderr of hosts and bridges is in {logs}")
        shutil.rmtree(run, ignore_errors=True)
    print(f"{tally.passed} passed, {tally.failed} failed in {time.monotonic() - begun:.0f} s "
          f"({arguments.binary})")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
