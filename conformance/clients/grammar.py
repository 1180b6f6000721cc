"""Reads whole event streams as strictly as their grammars are written.

The SDKs forgive much (a repeated role, a missing end); other callers do not, so this module does not.
Sources: OpenAI API reference, "Chat Completions streaming"; Anthropic API docs, "Streaming Messages".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from checks import equal, true


def frames(body: bytes) -> list[tuple[str | None, str]]:
    """Splits a body into (event name, data); comments are dropped, anything irregular fails."""
    text = body.decode("utf-8")
    true("\r" not in text, "the stream holds a bare carriage return")
    true(text.endswith("\n\n"), "the stream does not end with an empty line", text[-80:])
    found = []
    for frame in text[:-2].split("\n\n"):
        lines = [line for line in frame.split("\n") if not line.startswith(":")]
        if not lines:
            continue
        events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        equal(len(events) + len(data), len(lines), f"lines of the frame {frame!r} that are neither event nor data")
        equal(len(data), 1, f"data lines of the frame {frame!r}")
        true(len(events) <= 1, f"more than one event line in {frame!r}")
        found.append((events[0] if events else None, data[0]))
    return found


@dataclass
class ChatStream:
    texts: list[str]
    finish_reasons: list[str | None]
    calls: list[dict] = field(default_factory=list)
    deltas: int = 0
    model: str = ""
    usage: dict | None = None


def chat(body: bytes, choices: int = 1, include_usage: bool = False) -> ChatStream:
    """Checks a Chat Completions stream from its role deltas to `[DONE]`."""
    all_frames = frames(body)
    true(all_frames, "the stream is empty")
    equal([event for event, _ in all_frames if event], [], "event lines in a Chat Completions stream")
    equal(all_frames[-1][1], "[DONE]", "the last data line")
    chunks = [json.loads(data) for _, data in all_frames[:-1]]
    seen = ChatStream(texts=[""] * choices, finish_reasons=[None] * choices)
    roles = [0] * choices
    for name in ("id", "object", "created", "model"):
        equal(len({json.dumps(chunk.get(name)) for chunk in chunks}), 1, f"distinct values of {name!r} in the chunks")
    equal(chunks[0]["object"], "chat.completion.chunk", "object")
    true(isinstance(chunks[0]["created"], int), "created is not an integer")
    seen.model = chunks[0]["model"]
    if include_usage:
        last = chunks.pop()
        equal(last["choices"], [], "choices of the usage chunk")
        seen.usage = last["usage"]
        nulls = all("usage" in chunk and chunk["usage"] is None for chunk in chunks)
        true(nulls, "a chunk before the last lacks usage:null")
    else:
        true(not any(chunk.get("usage") for chunk in chunks), "usage was not asked for")
    for chunk in chunks:
        for choice in chunk["choices"]:
            at, delta = choice["index"], choice["delta"]
            equal(seen.finish_reasons[at], None, f"finish reason of choice {at} before a further delta")
            if "role" in delta:
                equal(delta["role"], "assistant", "role")
                equal(seen.texts[at], "", "text before the role")
                roles[at] += 1
            if delta.get("content"):
                equal(roles[at], 1, f"roles of choice {at} before its first text")
                seen.texts[at] += delta["content"]
                seen.deltas += 1
            for call in delta.get("tool_calls", []):
                equal(roles[at], 1, "roles before the first call")
                _call_delta(seen.calls, call)
            seen.finish_reasons[at] = choice["finish_reason"]
    equal(roles, [1] * choices, "roles sent per choice")
    true(all(seen.finish_reasons), "a choice has no finish reason", seen.finish_reasons)
    return seen


def _call_delta(calls: list[dict], delta: dict) -> None:
    """Clients concatenate every string that comes twice, so a call has its id, type and name once, at its start."""
    if delta["index"] == len(calls):
        kind = delta["type"]
        inner = delta[kind]
        true(delta["id"] and inner["name"], "a call opens without id or name", delta)
        calls.append({"id": delta["id"], "type": kind, "name": inner["name"], "input": ""})
    else:
        equal(delta["index"], len(calls) - 1, "index of a further delta of a call")
        equal(set(delta) & {"id", "type"}, set(), "what a further delta of a call repeats")
        inner = delta[calls[-1]["type"]]
        true("name" not in inner, "a further delta of a call repeats its name", delta)
    calls[-1]["input"] += inner.get("arguments", inner.get("input", ""))


DELTAS = {"text": ("text_delta",), "tool_use": ("input_json_delta",),
          "thinking": ("thinking_delta", "signature_delta")}


@dataclass
class MessageStream:
    text: str = ""
    calls: list[dict] = field(default_factory=list)
    deltas: int = 0
    start: dict = field(default_factory=dict)
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: dict = field(default_factory=dict)


def message(body: bytes) -> MessageStream:
    """Checks a Messages stream from `message_start` to `message_stop`, after which nothing may come."""
    events = []
    for event, data in frames(body):
        value = json.loads(data)
        equal(event, value["type"], "event line and type")
        if event != "ping":
            events.append(value)
    kinds = [value["type"] for value in events]
    equal(kinds[0], "message_start", "the first event")
    equal(kinds[-2:], ["message_delta", "message_stop"], "the last two events")
    seen = MessageStream(start=events[0]["message"])
    equal(seen.start["content"], [], "content of message_start")
    equal(seen.start["stop_reason"], None, "stop_reason of message_start")
    true(seen.start["usage"]["input_tokens"] > 0, "message_start carries no input tokens", seen.start["usage"])
    blocks, open_block, block = 0, None, {}
    for value in events[1:-2]:
        match value["type"]:
            case "content_block_start":
                equal((open_block, value["index"]), (None, blocks), "open block and index of the next one")
                block, open_block = value["content_block"], blocks
                if block["type"] == "tool_use":
                    true(block["id"] and block["name"], "a call opens without id or name", block)
                    equal(block["input"], {}, "input of an opening call")
                    seen.calls.append({"id": block["id"], "name": block["name"], "input": ""})
                elif block["type"] != "redacted_thinking":
                    # A redacted block comes whole, all others empty.
                    kind = block["type"]
                    true(kind in DELTAS, "an unknown kind of block", block)
                    equal(block[kind], "", f"the {kind} of an opening block")
            case "content_block_delta":
                equal(value["index"], open_block, "index of a delta")
                delta = value["delta"]
                true(delta["type"] in DELTAS.get(block["type"], ()), f"delta of a block {block['type']}", delta)
                if block["type"] == "tool_use":
                    seen.calls[-1]["input"] += delta["partial_json"]
                elif block["type"] == "text":
                    seen.text += delta["text"]
                    seen.deltas += 1
            case "content_block_stop":
                equal(value["index"], open_block, "index of a block's end")
                if block["type"] == "tool_use":
                    seen.calls[-1]["input"] = json.loads(seen.calls[-1]["input"] or "{}")
                open_block, blocks = None, blocks + 1
            case other:
                raise AssertionError(f"unexpected event {other}")
    equal(open_block, None, "block left open")
    seen.stop_reason = events[-2]["delta"]["stop_reason"]
    seen.stop_sequence = events[-2]["delta"]["stop_sequence"]
    seen.usage = events[-2]["usage"]
    true(seen.stop_reason, "message_delta has no stop_reason")
    true(seen.usage["output_tokens"] > 0 and seen.usage["input_tokens"] > 0, "message_delta lacks usage", seen.usage)
    return seen
