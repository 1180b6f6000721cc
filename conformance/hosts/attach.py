"""What every Python host shares: its command line, waiting for the bridge, and the runner's protocol.

The host prints `READY <base_url>` once `GET /readyz` answers 200. From then on the runner writes one
JSON object per line to its stdin, `{"id": 1, "call": "bridge_status", "arguments": {}}` or
`{"id": 2, "list": true}`, and gets `{"id": 1, "result": {...}}` or `{"id": 1, "error": "..."}` back,
in the order in which they finish. The host ends, and with it the bridge, when its stdin closes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable

import mcp_types as types

READY_WITHIN = 60.0

CallTool = Callable[[str, dict], Awaitable[dict]]
ListTools = Callable[[], Awaitable[list[str]]]


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Starts a bridge as its MCP server and offers it sampling.")
    parser.add_argument("--base-url", required=True, help="where the bridge will listen")
    parser.add_argument("--negotiation", choices=["auto", "legacy"], default="auto",
                        help="probe for the newest protocol first, or send initialize at once")
    parser.add_argument("--sampling-tools", action="store_true", help="offer sampling with tools")
    parser.add_argument("command", nargs="+", help="the bridge and its arguments, after --")
    return parser.parse_args()


def sampling(arguments: argparse.Namespace) -> types.SamplingCapability:
    """What the host declares of sampling."""
    return types.SamplingCapability(tools=types.SamplingToolsCapability() if arguments.sampling_tools else None)


def say(line: str) -> None:
    print(line, flush=True)


def _ready(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base_url}/readyz", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


async def serve(base_url: str, call_tool: CallTool, list_tools: ListTools) -> None:
    """Announces readiness and obeys the runner until stdin closes."""
    async with asyncio.timeout(READY_WITHIN):
        while not await asyncio.to_thread(_ready, base_url):
            await asyncio.sleep(0.1)
    say(f"READY {base_url}")

    async def obey(order: dict) -> None:
        try:
            if order.get("list"):
                result = {"tools": await list_tools()}
            else:
                result = await call_tool(order["call"], order.get("arguments", {}))
            say(json.dumps({"id": order["id"], "result": result}))
        except Exception as error:  # The runner judges it; the host must stay up.
            say(json.dumps({"id": order["id"], "error": f"{type(error).__name__}: {error}"}))

    running: set[asyncio.Task] = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        task = asyncio.create_task(obey(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
