"""The scripted model of the Python hosts: answers depend on nothing but the question.

Its JavaScript twin is `scripted_model.mjs`; both must answer alike, because the clients do not
know which host is behind the bridge. The commands are listed in the README of this folder.
It ignores stop sequences and `maxTokens` on purpose, as VS Code does: what a caller was promised
must be kept by the bridge.
"""

from __future__ import annotations

import asyncio
import base64
import json
import pathlib
from collections import Counter

LONG_TEXT = (pathlib.Path(__file__).parent.parent / "long.txt").read_text(encoding="utf-8")
MODEL = "scripted-1"

FAILURES = {
    "quota": "You have exceeded your premium request quota. Try again later.",
    "model": "model_not_supported: the requested model is not available to this plan",
    "context": "prompt is too long: 210000 tokens > 200000 maximum",
    "broken": "the model's server fell over",
}


class Refused(Exception):
    """The person at the host said no; each host has its own way to put this on the wire."""


class ModelError(Exception):
    """The model could not answer; the text is what a host would report."""


def blocks_of(message: dict) -> list[dict]:
    content = message["content"]
    return content if isinstance(content, list) else [content]


def last_user_text(messages: list[dict]) -> str:
    for message in reversed(messages):
        if message["role"] == "user":
            for block in reversed(blocks_of(message)):
                if block["type"] == "text":
                    return block["text"]
    return ""


def last_image(messages: list[dict]) -> str:
    for message in reversed(messages):
        for block in reversed(blocks_of(message)):
            if block["type"] == "image":
                return f"{block['mimeType']} {len(base64.b64decode(block['data'], validate=True))} bytes"
    return "no image"


class ScriptedModel:
    """Answers `sampling/createMessage` params; counts how often each text was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.running = 0
        self.most_running = 0

    async def answer(self, params: dict) -> tuple[str, str]:
        """Returns the reply text and the MCP stop reason."""
        messages = params["messages"]
        text = last_user_text(messages).strip()
        self.asked[text] += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._answer(text, params, messages)
        finally:
            self.running -= 1

    async def _answer(self, text: str, params: dict, messages: list[dict]) -> tuple[str, str]:
        command, _, rest = text.partition(":")
        if command == "echo":
            return rest, "endTurn"
        if command == "slow":
            milliseconds, _, reply = rest.partition(":")
            await asyncio.sleep(int(milliseconds) / 1000)
            return reply, "endTurn"
        if command == "reject":
            raise Refused
        if command == "fail":
            raise ModelError(FAILURES[rest.partition(":")[0]])
        if command == "slow-fail":
            milliseconds, _, kind = rest.partition(":")
            await asyncio.sleep(int(milliseconds) / 1000)
            raise ModelError(FAILURES[kind])
        if command == "truncated":
            return "cut off he", "maxTokens"
        if command == "asked":
            return str(self.asked[rest]), "endTurn"
        if command == "most-at-once":
            return str(self.most_running), "endTurn"
        if command == "long":
            return LONG_TEXT, "endTurn"
        if command == "describe-image":
            return last_image(messages), "endTurn"
        if command == "system?":
            return params.get("systemPrompt") or "no system prompt", "endTurn"
        if command == "history":
            roles = " ".join(message["role"] for message in messages)
            return f"{len(messages)} messages: {roles}", "endTurn"
        if command == "params?":
            names = ("maxTokens", "temperature", "stopSequences", "modelPreferences")
            return json.dumps({name: params[name] for name in names if name in params}), "endTurn"
        return f"You said: {text[:200]}", "endTurn"
