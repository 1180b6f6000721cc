"""The scripted model where the bridge asks for JSON: a small instance of the schema, or what models do instead.

Its JavaScript twin is `structured.mjs`.
"""

from __future__ import annotations

import json
import re

from conversation import Conversation
from instances import smallest
from markup import compact

SCHEMA = re.compile(r"<json_schema>\n(.*)\n</json_schema>", re.DOTALL)
HEAD = "# Format of your answer"


def answer(conversation: Conversation, params: dict) -> str | None:
    """The answer to `json:…` and to whatever is no command, if JSON is asked for."""
    system = params.get("systemPrompt") or ""
    found = SCHEMA.search(system)
    if not found and HEAD not in system:
        return None
    value = smallest(json.loads(found[1])) if found else {"scripted": True}
    text = compact(value)
    command, _, kind = conversation.instruction.partition(":")
    match kind.partition(":")[0] if command == "json" else "":
        case "fenced":
            return f"Here is what you asked for:\n\n```json\n{text}\n```\n\nTell me if anything is missing."
        case "repair" if not conversation.again:
            return f"Let me think: {text[:-1]}, and so on"
        case "wrong":
            return compact({"wrong": "on purpose"})
        case "prose":
            return "I would rather write prose."
    return text
