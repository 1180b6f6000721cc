"""Starts MCP hosts, talks to them as `hosts/attach.py` describes, and makes sure that nothing stays behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import installing

READY_WITHIN = 90.0
ORDER_WITHIN = 60.0
END_WITHIN = 15.0
MARK = "MCPTB_CONFORMANCE_RUN"
"""Environment variable by which the processes of one run are known."""


class HostFailed(Exception):
    """The host did not come up, died, or does not answer."""


class Host:
    """A running MCP host with the bridge it started; a context manager that ends both."""

    def __init__(self, tools: installing.Tools, run: Path, script: str, label: str, bridge: list[str],
                 negotiation: str, environment: dict[str, str], sampling_tools: bool = False) -> None:
        self.tools = tools
        self.suite = run / "suite"
        self.port = _free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.answers: dict[int, dict] = {}
        self.gone = False
        self._label = label
        self._numbers = itertools.count(1)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.log = run / "logs" / f"{label}.log"
        self.log.parent.mkdir(exist_ok=True)
        home = run / f"home-{label}"
        home.mkdir()
        # Nothing of the caller's environment gets through, so no key, proxy or setting of theirs can.
        self.environment = {
            "PATH": os.pathsep.join(dict.fromkeys(
                [str(tools.python.parent), str(tools.node.parent), str(Path(shutil.which("curl") or "curl").parent),
                 "/usr/bin", "/bin"])),
            "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", MARK: str(run),
        }
        command = [*tools.command(self.suite / "hosts" / script), "--base-url", self.base_url,
                   "--negotiation", negotiation, *(["--sampling-tools"] if sampling_tools else []), "--", *bridge, "--port", str(self.port)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, env=self.environment | environment, cwd=home, encoding="utf-8",
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                             start_new_session=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put(None)

    def __enter__(self) -> Host:
        try:
            line = self._next_line(time.monotonic() + READY_WITHIN)
            if line != f"READY {self.base_url}":
                raise HostFailed(f"{self._label}: expected READY, got {line!r}")
        except HostFailed:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_WITHIN)
        kill_group(self._process)
        deadline = time.monotonic() + 5.0
        while not (gone := not _listening(self.port)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.gone = gone

    def _next_line(self, deadline: float) -> str:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise HostFailed(f"{self._label}: nothing heard in time; stderr ends {self._log_end()!r}") from None
        if line is None:
            raise HostFailed(f"{self._label}: the host ended; stderr ends {self._log_end()!r}")
        return line

    def _log_end(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-600:]

    def send(self, **order: object) -> int:
        """Gives the host an order and returns its number; the answer will be in `answers`."""
        number = next(self._numbers)
        try:
            self._process.stdin.write(json.dumps({"id": number} | order) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise HostFailed(f"{self._label}: the host takes no orders: {error}; {self._log_end()!r}") from error
        return number

    def order(self, **order: object) -> dict:
        """Gives the host an order and waits for the answer."""
        number, deadline = self.send(**order), time.monotonic() + ORDER_WITHIN
        while number not in self.answers:
            answer = json.loads(self._next_line(deadline))
            self.answers[answer["id"]] = answer
        return self.answers[number]

    def wait_ready(self, seconds: float) -> bool:
        """Whether `GET /readyz` answers 200 within this time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, OSError):
                with urllib.request.urlopen(f"{self.base_url}/readyz", timeout=5):
                    return True
            time.sleep(0.1)
        return False


def kill_group(process: subprocess.Popen) -> None:
    """Kills a process that was started in a session of its own, with its children."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill_marked(run: Path) -> None:
    """Kills what is left of this run: some SDKs put the bridge into a session of its own.

    Works where /proc exists; elsewhere the bridge's own end on a closed stdin must do.
    """
    mark = f"{MARK}={run}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in entry.read_bytes().split(b"\0"):
                os.kill(int(entry.parent.name), signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
