"""The scripted model of the Python hosts: answers depend on nothing but the question.

Its JavaScript twin is `scripted_model.mjs`; both must answer alike, because the clients do not
know which host is behind the bridge. The commands are listed in the README of this folder.
It ignores stop sequences and `maxTokens` on purpose, as VS Code does: what a caller was promised
must be kept by the bridge.
"""

from __future__ import annotations

import asyncio
import base64
import pathlib
from collections import Counter

import calling
import coding
import markup
import structured
from conversation import Conversation, blocks_of, read
from markup import Call

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


def last_image(messages: list[dict]) -> str:
    for message in reversed(messages):
        for block in reversed(blocks_of(message)):
            # An image stands for itself or in a tool's result.
            for part in reversed([block, *block.get("content", [])]):
                if part["type"] == "image":
                    return f"{part['mimeType']} {len(base64.b64decode(part['data'], validate=True))} bytes"
    return "no image"


class ScriptedModel:
    """Answers `sampling/createMessage` params; counts how often each text was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.running = 0
        self.most_running = 0
        self.calls = 0

    async def answer(self, params: dict) -> tuple[dict | list[dict], str]:
        """Returns the content (one block, or a list where tools are called) and the MCP stop reason."""
        conversation = read(params)
        self.asked[conversation.instruction] += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            found = coding.next_step(conversation) or calling.obey(conversation)
            if found and found[1]:
                return self._call(*found, conversation.nonce)
            if found:
                text, stop_reason = found[0], "endTurn"
            else:
                text, stop_reason = await self._answer(conversation, params)
            return {"type": "text", "text": text}, stop_reason
        finally:
            self.running -= 1

    def _call(self, text: str, calls: list[Call], nonce: str | None) -> tuple[dict | list[dict], str]:
        if nonce:
            return {"type": "text", "text": markup.write(text, calls, nonce)}, "endTurn"
        blocks: list[dict] = [{"type": "text", "text": text}] if text else []
        for call in calls:
            self.calls += 1
            blocks.append({"type": "tool_use", "id": f"call-{self.calls}", "name": call.name, "input": call.arguments})
        return blocks, "toolUse"

    async def _answer(self, conversation: Conversation, params: dict) -> tuple[str, str]:
        text, messages = conversation.instruction, params["messages"]
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
            return markup.compact({name: params[name] for name in names if name in params}), "endTurn"
        shaped = structured.answer(conversation, params)
        return shaped or f"You said: {text[:200]}", "endTurn"
