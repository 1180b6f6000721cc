"""Runs the SDK makers' own test suites against the bridge: the parts that talk to a model, unchanged.

The tests come from the source distributions of the pinned versions; the libraries that they use stand in
`requirements.txt`. The numbers are those of a correct server, so a test that vanishes is a failure too.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

import hosting

WITHIN = 300.0


@dataclass(frozen=True)
class Suite:
    """Which tests of which package are run, and how many there are."""

    package: str
    base: str
    tests: tuple[str, ...]
    number: int


SUITES = [
    Suite("anthropic", "", ("test_messages.py", "test_models.py"), 110),
    Suite("openai", "/v1", ("chat/test_completions.py", "test_models.py", "test_responses.py",
                            "responses/test_input_tokens.py",
                            "-k", "create or count or list or (models and retrieve)"), 155),
]


def run(suite: Suite, host: hosting.Host) -> tuple[bool, str]:
    """Whether all tests passed, and the lines that say so or why not."""
    folder = host.tools.sources(suite.package)
    tests = [test if test.startswith("-") or not test.endswith(".py") else f"tests/api_resources/{test}"
             for test in suite.tests]
    command = [str(host.tools.python), "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    environment = host.environment | {"TEST_API_BASE_URL": f"{host.base_url}{suite.base}"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", start_new_session=True)
    try:
        out, _ = process.communicate(timeout=WITHIN)
    except subprocess.TimeoutExpired:
        hosting.kill_group(process)
        return False, f"not finished after {WITHIN:.0f} s"
    passed = re.search(r"(\d+) passed", out)
    others = re.findall(r"\d+ (?:failed|errors?|skipped|xfailed)", out)
    if process.returncode == 0 and passed and int(passed[1]) == suite.number and not others:
        return True, ""
    failures = [line for line in out.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return False, "; ".join([passed[0] if passed else "none passed", *others, *failures[:5], *out.splitlines()[-3:]])
