"""Lets coding agents work through the bridge: each writes a file, reads it, changes it, runs it and reports.

The agents are the programs from npm as they are; what they are told and what must come of it stands here. Their
model is the scripted one (`hosts/coding.py`), so what is proved is the road between: every tool that the agent
defines, every call and every result passes through the bridge.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hosting

sys.path.insert(0, str(Path(__file__).parent / "hosts"))
from coding import OUTPUT, program  # noqa: E402

WITHIN = 120.0
ROUNDS = 4

# Nothing that an agent looks up beside its model may leave the machine: there is no proxy at this port.
OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}

CODEX = """
model = "{model}"
model_provider = "bridge"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.bridge]
name = "bridge"
base_url = "{base_url}/v1"
env_key = "BRIDGE_KEY"
wire_api = "responses"
"""
# Where a failure of the bridge must not be hidden.
NO_REPEATS = "request_max_retries = 0\nstream_max_retries = 0\n"


def claude_code(host: hosting.Host, folder: Path, task: str) -> str:
    """Runs Claude Code; returns its report."""
    out = _run(host, folder, [
        "claude", "-p", task, "--output-format", "json", "--model", "scripted",
        "--allowedTools", "Write,Read,Edit,Bash"], {
        "ANTHROPIC_BASE_URL": host.base_url, "ANTHROPIC_AUTH_TOKEN": "unused", "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"})
    report = json.loads(out)
    if report.get("is_error") or report.get("num_turns") != ROUNDS + 1:
        raise AssertionError(f"it ended with {out[:800]}")
    return report["result"]


def codex(host: hosting.Host, folder: Path, task: str) -> str:
    """Runs Codex with a model that it does not know, so that it offers plain functions."""
    return _codex(host, folder, task, "scripted", {"command_execution": ROUNDS})


def codex_patches(host: hosting.Host, folder: Path, task: str) -> str:
    """Runs Codex with a model for which it offers patches as a free-text tool."""
    return _codex(host, folder, task, "gpt-5.5", {"command_execution": 2, "file_change": 2})


def _codex(host: hosting.Host, folder: Path, task: str, model: str, expected: dict[str, int],
           settings: str = NO_REPEATS) -> str:
    home = folder / "codex-home"
    home.mkdir()
    (home / "config.toml").write_text(CODEX.format(model=model, base_url=host.base_url) + settings, encoding="utf-8")
    out = _run(host, folder, [
        "codex", "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", task],
        {"CODEX_HOME": str(home), "BRIDGE_KEY": "unused"})
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    done = [event["item"] for event in events if event["type"] == "item.completed"]
    kinds = [item["type"] for item in done]
    if not events or events[-1]["type"] != "turn.completed" or any(
            kinds.count(kind) != number for kind, number in expected.items()):
        raise AssertionError(f"it ended with {out[-1200:]}")
    return next(item["text"] for item in reversed(done) if item["type"] == "agent_message")


def _run(host: hosting.Host, folder: Path, command: list[str], settings: dict[str, str]) -> str:
    environment = host.environment | OFFLINE | settings | {"HOME": str(folder)}
    command = [str(host.tools.agent(command[0])), *command[1:]]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, encoding="utf-8", errors="replace", start_new_session=True)
    try:
        out, err = process.communicate(timeout=WITHIN)
    except subprocess.TimeoutExpired:
        hosting.kill_group(process)
        out, err = process.communicate()
        raise AssertionError(f"not finished after {WITHIN:.0f} s: {out[-400:]} {err[-400:]}") from None
    if process.returncode != 0:
        raise AssertionError(f"exit code {process.returncode}: {out[-800:]} {err[-400:]}")
    return out


AGENTS: dict[str, Callable[[hosting.Host, Path, str], str]] = {
    "Claude Code": claude_code, "Codex": codex, "Codex with patches": codex_patches,
}


def work(name: str, host: hosting.Host, run: Path) -> str:
    """Lets an agent do the task; returns what is wrong, or nothing."""
    word = f"word{secrets.token_hex(4)}"
    folder = run / f"agent-{word}"
    folder.mkdir()
    path = folder / "job.sh"
    try:
        report = AGENTS[name](host, folder, f"TASK write-and-run: {path} {word}")
    except (AssertionError, ValueError, KeyError, StopIteration, OSError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    expected = f"REPORT: the program printed {OUTPUT.replace('WORD', word)}"
    if report != expected:
        return f"it reported {report[:400]!r}"
    written = path.read_text(encoding="utf-8") if path.exists() else None
    return "" if written == program(word) else f"the file holds {written!r}"


def give_up(name: str, host: hosting.Host, run: Path) -> str:
    """Lets an agent with its own settings for repeats meet a host that fails at once; returns what is wrong.

    Every repeat would be a sampling, so there must be one call, and no report.
    """
    folder = run / f"agent-fails-{secrets.token_hex(4)}"
    folder.mkdir()
    before = calls(host)
    try:
        if name == "Claude Code":
            report = claude_code(host, folder, "fail:broken")
        else:
            report = _codex(host, folder, "fail:broken", "scripted", {}, settings="")
    except AssertionError:
        made = calls(host) - before
        return "" if made == 1 else f"{made} calls"
    return f"it reported {report[:400]!r}"


def calls(host: hosting.Host) -> int:
    """How many calls the bridge has recorded as ended."""
    return sum(" TX " in line for line in host.log.read_text(encoding="utf-8", errors="replace").splitlines())
