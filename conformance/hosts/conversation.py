"""What the scripted model makes of `sampling/createMessage`: who said what, which tools there are, what they returned.

With native tools this stands in the params. Without, it stands in the text, in the bridge's own markup (`markup.py`).
Its JavaScript twin is `conversation.mjs`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import markup

# What the bridge puts behind the last message, and what it says when an answer would not do.
REMINDER = re.compile(r"\s*\(Answer with the JSON value only[^\n]*\)$")
FOLLOW_UPS = ("That answer cannot be used", "You must call one of the tools now")


@dataclass
class Result:
    """What a tool returned."""

    name: str
    text: str
    is_error: bool


@dataclass
class Conversation:
    instruction: str = ""
    """The last text of the user that is neither a tool's result nor a reminder."""
    texts: list[str] = field(default_factory=list)
    """Every text of the user, results excepted."""
    again: bool = False
    """Whether the bridge was not satisfied with the answer to the instruction."""
    tools: dict[str, dict] = field(default_factory=dict)
    """The schemas of the tools by name."""
    must_call: bool = False
    results: list[Result] = field(default_factory=list)
    """What the tools returned since the instruction."""
    all_results: list[Result] = field(default_factory=list)
    nonce: str | None = None
    """What hangs on the names of the markup's tags, where tools are prompted."""

    def told(self, text: str) -> None:
        text = markup.without_reminder(REMINDER.sub("", text), self.nonce).strip()
        if text.startswith(FOLLOW_UPS):
            self.again = True
            return
        self.texts.append(text)
        # Agents remind their model of this and that in messages of their own.
        if text and not text.startswith("<system-reminder>"):
            self.instruction, self.again, self.results = text, False, []

    def returned(self, name: str, text: str, is_error: bool) -> None:
        self.results.append(Result(name, text, is_error))
        self.all_results.append(self.results[-1])


def blocks_of(message: dict) -> list[dict]:
    content = message["content"]
    return content if isinstance(content, list) else [content]


def read(params: dict) -> Conversation:
    system = params.get("systemPrompt") or ""
    conversation = Conversation(nonce=None if "tools" in params else markup.nonce_of(system))
    if "tools" in params:
        conversation.tools = {tool["name"]: tool["inputSchema"] for tool in params["tools"]}
        conversation.must_call = (params.get("toolChoice") or {}).get("mode") == "required"
        if (params.get("toolChoice") or {}).get("mode") == "none":
            conversation.tools = {}
    elif conversation.nonce:
        conversation.tools, conversation.must_call = markup.tools_of(system)
    names: dict[str, str] = {}
    for message in params["messages"]:
        user = message["role"] == "user"
        for block in blocks_of(message):
            if block["type"] == "tool_use":
                names[block["id"]] = block["name"]
            elif block["type"] == "tool_result":
                text = "".join(part.get("text", "") for part in block.get("content", []))
                conversation.returned(names.get(block["toolUseId"], "?"), text, bool(block.get("isError")))
            elif block["type"] == "text" and user:
                rest, results = markup.results_of(block["text"], conversation.nonce)
                for result in results:
                    conversation.returned(*result)
                conversation.told(rest) if rest.strip() else None
    return conversation
