"""The markup in which the bridge writes tools for a model that has none: read and written as a model would.

Besides the bridge's own markup the model can answer in the forms that other models were trained on.
Its JavaScript twin is `markup.mjs`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass


FREE_TEXT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


@dataclass
class Call:
    """A call that the model makes; `form` says in which markup, where calls are written as text."""

    name: str
    arguments: dict
    form: str = "ours"


def compact(value: object) -> str:
    """JSON as JavaScript writes it, because the twins must answer alike."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def nonce_of(system: str) -> str | None:
    """What the bridge hung on the names of its tags in this conversation."""
    found = re.search(r"<tool_calls_([0-9a-f]{4,})>", system)
    return found and found[1]


def tools_of(system: str) -> tuple[dict[str, dict], bool]:
    """The tools that are described, and whether one of them must be called."""
    _, _, described = system.partition("\n## The tools\n")
    described, _, demand = described.rpartition("\n## Now\n")
    tools, name = {}, None
    for line in described.split("\n"):
        # A description may have headings of its own.
        if name is None:
            name = line[4:] if line.startswith("### ") else None
        elif line.startswith(("Parameters: {", "Parameters: one string", "Parameters: none")):
            parameters = line.removeprefix("Parameters: ")
            tools[name] = json.loads(parameters) if parameters.startswith("{") else FREE_TEXT
            name = None
    return tools, "MUST call" in demand


def results_of(text: str, nonce: str | None) -> tuple[str, list[tuple[str, str, bool]]]:
    """What a text holds beside results, and the results: name, text and whether it is an error."""
    if not nonce:
        return text, []
    tag = re.compile(rf"<tool_result_{nonce}([^>]*)>(.*?)</tool_result_{nonce}>", re.DOTALL)
    results = []
    for attributes, inside in tag.findall(text):
        name = re.search(r'name="([^"]*)"', attributes)
        inside = inside.removeprefix("\n").removesuffix("\n")
        results.append((name[1] if name else "?", inside, 'is_error="true"' in attributes))
    return tag.sub("", text), results


def without_reminder(text: str, nonce: str | None) -> str:
    """The text without what the bridge repeats at its end of the rules."""
    before, found, _ = text.rpartition(f"(To call a tool, end the reply with <tool_calls_{nonce}>")
    return before if nonce and found and text.endswith(")") else text


def write(text: str, calls: list[Call], nonce: str) -> str:
    """The model's answer with its calls; all calls of one answer have the same form."""
    body = FORMS[calls[0].form](calls, nonce)
    return f"{text}\n\n{body}" if text else body


def _ours(calls: list[Call], nonce: str) -> str:
    written = []
    for call in calls:
        arguments = "".join(f'<arg_{nonce} name="{name}">{_value(value)}</arg_{nonce}>\n' for name, value in call.arguments.items())
        written.append(f'<call name="{call.name}">\n{arguments}</call>\n')
    return f"<tool_calls_{nonce}>\n{''.join(written)}</tool_calls_{nonce}>"


def _value(value: object) -> str:
    if not isinstance(value, str):
        return compact(value)
    # One line break at each end belongs to the markup.
    return f"\n{value}\n" if "\n" in value else value


def _unclosed(calls: list[Call], nonce: str) -> str:
    """As a host leaves it that honours the stop sequence."""
    return _ours(calls, nonce).removesuffix(f"</tool_calls_{nonce}>")


def _hallucinated(calls: list[Call], nonce: str) -> str:
    """The model goes on and makes up what the tools return."""
    made_up = f'<tool_result_{nonce} id="x" name="{calls[0].name}">made up</tool_result_{nonce}>'
    return f"{_ours(calls, nonce)}\n{made_up}\nSo the answer is made up."


def _hermes(calls: list[Call], _nonce: str) -> str:
    return "\n".join(f"<tool_call>\n{_json(call)}\n</tool_call>" for call in calls)


def _qwen(calls: list[Call], _nonce: str) -> str:
    written = []
    for call in calls:
        values = {name: value if isinstance(value, str) else compact(value)
                  for name, value in call.arguments.items()}
        arguments = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in values.items())
        written.append(f"<tool_call>\n<function={call.name}>\n{arguments}</function>\n</tool_call>")
    return "\n".join(written)


def _bare(calls: list[Call], _nonce: str) -> str:
    return _json(calls[0])


def _openai(calls: list[Call], _nonce: str) -> str:
    listed = [{"id": f"call_{at}", "type": "function",
               "function": {"name": call.name, "arguments": compact(call.arguments)}}
              for at, call in enumerate(calls)]
    return compact({"tool_calls": listed})


def _json(call: Call) -> str:
    return compact({"name": call.name, "arguments": call.arguments})


FORMS = {"ours": _ours, "unclosed": _unclosed, "hallucinated": _hallucinated, "hermes": _hermes, "qwen": _qwen,
         "bare": _bare, "openai": _openai}
