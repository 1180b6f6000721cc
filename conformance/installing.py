"""Brings the pinned SDKs into the cache folder, once per change of the pins."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

INSTALL_WITHIN = 900.0
OLDEST_PYTHON = (3, 11)
WITH_TESTS = ("anthropic", "openai")


@dataclass(frozen=True)
class Tools:
    """The interpreters that hold the SDKs."""

    python: Path
    node: Path
    cache: Path

    def command(self, script: Path) -> list[str]:
        """How to run a script of the suite."""
        return [str(self.python), "-B", str(script)] if script.suffix == ".py" else [str(self.node), str(script)]

    def agent(self, name: str) -> Path:
        """The program of an agent."""
        return self.cache / "node_modules" / ".bin" / name

    def sources(self, package: str) -> Path:
        """The unpacked source distribution of a Python SDK."""
        return next((self.cache / "sources").glob(f"{package}-*"))


def install(here: Path, cache: Path) -> Tools:
    """Installs what is missing; ends the program with a plain reason when it cannot.

    The package tools keep the caller's environment, because mirrors, proxies and certificates are set there.
    """
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed, this is {sys.version.split()[0]}")
    for program in ("npm", "curl"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is needed and was not found on the PATH")
    bin_folder = "Scripts" if sys.platform == "win32" else "bin"
    tools = Tools(cache / "venv" / bin_folder / "python", cache / "node_modules" / "node" / "bin" / "node",
                  cache)
    pins = [(here / name).read_bytes() for name in ("requirements.txt", "package.json")]
    wanted = hashlib.sha256(b"\0".join([*pins, sys.version.encode()])).hexdigest()
    stamp = cache / "installed"
    if stamp.is_file() and stamp.read_text() == wanted and tools.python.exists() and tools.node.exists():
        return tools
    print(f"Installing the SDKs into {cache}", flush=True)
    stamp.unlink(missing_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    venv.create(cache / "venv", clear=True, with_pip=True)
    _run([str(tools.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
          "-r", str(here / "requirements.txt")], cache)
    shutil.rmtree(cache / "node_modules", ignore_errors=True)
    shutil.copy(here / "package.json", cache / "package.json")
    _run([shutil.which("npm") or "npm", "install", "--no-package-lock", "--no-audit", "--no-fund",
          "--loglevel=error"], cache)
    _run([str(tools.node), "--version"], cache)
    _unpack_sources(tools, here, cache)
    stamp.write_text(wanted)
    return tools


def _unpack_sources(tools: Tools, here: Path, cache: Path) -> None:
    """Fetches the source distributions whose tests are run, in the versions that are installed."""
    sources = cache / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    pinned = [line for line in (here / "requirements.txt").read_text(encoding="utf-8").splitlines()
              if line.partition("==")[0] in WITH_TESTS]
    _run([str(tools.python), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
          "--no-binary", ":all:", "--dest", str(sources), *pinned], cache)
    for archive in sources.glob("*.tar.gz"):
        with tarfile.open(archive) as packed:
            packed.extractall(sources, filter="data")
        archive.unlink()


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_WITHIN, stdin=subprocess.DEVNULL)
    except (subprocess.SubprocessError, OSError) as error:
        sys.exit(f"Installing failed: {error}")
