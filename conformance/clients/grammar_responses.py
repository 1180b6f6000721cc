"""Reads a whole Responses stream as strictly as its grammar is written; see `grammar.py` for the other two.

Source: OpenAI API reference, "Responses streaming events"; what openai-python's accumulator asks for on top.
"""

from __future__ import annotations

import json

from checks import equal, true
from grammar import frames

ENDS = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
REPEATED = ("response.in_progress", "keepalive")

# The events that carry a part's text, by the field in which the finished part holds it.
DELTAS = {
    "response.output_text.delta": "text", "response.refusal.delta": "refusal",
    "response.function_call_arguments.delta": "arguments", "response.custom_tool_call_input.delta": "input",
    "response.reasoning_summary_text.delta": "text", "response.reasoning_text.delta": "text",
}

# Where an item holds what comes after its start, and where the kinds of parts are gathered.
HOLDS = {"message": "content", "function_call": "arguments", "custom_tool_call": "input", "reasoning": "summary"}
PARTS = {"response.content_part": ("content", "content_index"),
         "response.reasoning_summary_part": ("summary", "summary_index")}


def response(body: bytes) -> dict:
    """Checks a stream from `response.created` to its end and returns the final response object."""
    events = []
    for number, (event, data) in enumerate(frames(body)):
        value = json.loads(data)
        equal(event, value["type"], "event line and type")
        equal(value["sequence_number"], number, f"sequence number of {event}")
        events.append(value)
    kinds = [value["type"] for value in events]
    equal(kinds[:2], ["response.created", "response.in_progress"], "the first events")
    true(kinds[-1] in ENDS, "the last event is not an end", kinds[-1])
    final = events[-1]["response"]
    equal(final["status"], ENDS[kinds[-1]], "status of the final response")
    ids = {value["response"]["id"] for value in events if "response" in value}
    equal(len(ids), 1, "ids of one response")
    start = events[0]["response"]
    equal((start["status"], start["output"], start["usage"]), ("in_progress", [], None), "the response at its start")
    items: list[dict] = []
    open_item: dict | None = None
    open_part: dict | None = None
    for value in events[1:-1]:
        kind = value["type"]
        if kind in REPEATED:
            continue
        equal(value["output_index"], len(items), f"output_index of {kind}")
        if kind == "response.output_item.added":
            equal(open_item, None, "item left open")
            open_item = value["item"]
            true(open_item["id"], "an item without an id", open_item)
            held = HOLDS[open_item["type"]]
            true(not open_item[held], f"{held} of an item at its start", open_item)
        elif kind == "response.output_item.done":
            _same_item(open_item, value["item"])
            equal(open_part, None, "part left open")
            allowed = ("completed",) if final["status"] == "completed" else ("completed", "incomplete")
            # Reasoning has no status of its own.
            status = value["item"].get("status", "completed")
            true(status in allowed, "status of a finished item", status)
            items.append(value["item"])
            open_item = None
        else:
            equal(value["item_id"], open_item["id"], f"item_id of {kind}")
            open_part = _part(kind, value, open_item, open_part)
    equal(open_item, None, "item left open")
    equal(final["output"], items, "items of the final response and of its stream")
    return final


def _same_item(opened: dict, done: dict) -> None:
    for name in ("id", "type", "call_id", "name", "namespace"):
        equal(done.get(name), opened.get(name), f"{name} of a finished item")
    for name in ("arguments", "input"):
        if name in opened:
            equal(done[name], opened[name], f"{name} of a finished item and its deltas")
    for name in ("content", "summary"):
        if name in opened:
            equal(done[name], opened[name], f"{name} of a finished item and of its stream")


def _part(kind: str, value: dict, item: dict, part: dict | None) -> dict | None:
    """Follows the parts of a message, and the arguments of a call; returns the part that is open."""
    family, _, end = kind.rpartition(".")
    if family in PARTS:
        name, index = PARTS[family]
        equal(value[index], len(item.setdefault(name, [])), f"{index} of {kind}")
        if end == "added":
            equal(part, None, "part left open")
            return value["part"]
        equal(value["part"], part, "a finished part and its deltas")
        item[name].append(part)
        return None
    holder = item if part is None else part
    if kind in DELTAS:
        holder[DELTAS[kind]] += value["delta"]
    elif kind.endswith(".done") and f"{kind.removesuffix('done')}delta" in DELTAS:
        name = DELTAS[f"{kind.removesuffix('done')}delta"]
        equal(value[name], holder[name], f"{name} of {kind} and its deltas")
    else:
        raise AssertionError(f"unexpected event {kind}")
    return part
