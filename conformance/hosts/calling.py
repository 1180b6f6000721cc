"""The commands that make the scripted model call tools. Its JavaScript twin is `calling.mjs`."""

from __future__ import annotations

import base64
import json

from conversation import Conversation
from markup import Call, compact


def obey(conversation: Conversation) -> tuple[str, list[Call]] | None:
    """The text and the calls that the instruction demands; nothing if it is no command of this kind."""
    command, _, rest = conversation.instruction.partition(":")
    if command == "tools?":
        return compact({"tools": list(conversation.tools), "required": conversation.must_call}), []
    if command == "schema?":
        return compact(conversation.tools.get(rest)), []
    if command == "nonce?":
        # Spelled out, because the bridge takes out of an answer whatever looks like a piece of its tags.
        return " ".join(conversation.nonce or "none"), []
    calls, rounds, text, form, reluctant = [], 1, "", "ours", False
    match command:
        case "calls":
            calls = [Call(call["name"], call["input"]) for call in json.loads(rest)]
        case "call" | "repeat" | "reluctant":
            reluctant = command == "reluctant"
        case "rounds":
            number, _, rest = rest.partition(":")
            rounds = int(number)
        case "say":
            text, _, rest = rest.partition(":")
        case "form":
            form, _, rest = rest.partition(":")
        case _:
            return None
    if not conversation.tools:
        return "no tools", []
    if len(conversation.results) >= rounds:
        if command == "repeat":
            # Word for word: whatever stands in a result must not become a call by being repeated.
            return "".join(result.text for result in conversation.results), []
        said = [f"error {result.text}" if result.is_error else result.text for result in conversation.results]
        return f"got: {'; '.join(said)}", []
    if reluctant and not conversation.again:
        return "I would rather not.", []
    if not calls:
        name, _, arguments = rest.partition(":")
        # A call that stands in the request is taken for a quoted one, unless it is in the bridge's own markup.
        arguments = base64.b64decode(arguments).decode() if command == "form" else arguments
        calls = [Call(name, json.loads(arguments or "{}"), form)]
    return text, calls
