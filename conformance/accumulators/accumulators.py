"""Feeds streams of the bridge's own writers to the accumulators of the official Python SDKs.

The streams and what must come of each are written by `cargo run -p mcptb-dialects --example write_streams`; the
transport of the SDKs is told to answer with them. Each answer is also read as a whole, and each stream by the strict
grammars of the clients.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
from anthropic import Anthropic
from openai import ContentFilterFinishReasonError, LengthFinishReasonError, OpenAI

sys.path.insert(0, str(Path(__file__).parent.parent / "clients"))
import grammar  # noqa: E402
import grammar_responses  # noqa: E402

answer: dict = {}
"""The sample that the transport answers with."""


def _transport(request: httpx2.Request) -> httpx2.Response:
    if json.loads(request.content).get("stream"):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=answer["sse"].encode())
    return httpx2.Response(200, headers={"content-type": "application/json"}, json=answer["whole"])


BASE = "http://127.0.0.1:9"
openai = OpenAI(base_url=BASE, api_key="x", http_client=httpx2.Client(transport=httpx2.MockTransport(_transport)))
anthropic = Anthropic(base_url=BASE, api_key="x", http_client=httpx2.Client(transport=httpx2.MockTransport(_transport)))


def _chat(completion) -> dict:
    choice = completion.choices[0]
    return {
        "model": completion.model, "text": choice.message.content or "", "stop": choice.finish_reason,
        "calls": [{"id": call.id, "kind": call.type, **_chat_input(call)} for call in choice.message.tool_calls or []],
        "usage": [completion.usage.prompt_tokens, completion.usage.completion_tokens,
                  completion.usage.prompt_tokens_details.cached_tokens],
    }


def _chat_input(call) -> dict:
    if call.type == "custom":
        return {"name": call.custom.name, "input": call.custom.input}
    return {"name": call.function.name, "input": json.loads(call.function.arguments)}


def chat_stream() -> dict:
    body = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}
    with openai.chat.completions.stream(**body) as stream:
        try:
            stream.until_done()
        except (LengthFinishReasonError, ContentFilterFinishReasonError):
            # The helper refuses to hand out such an answer, after it has accumulated it.
            pass
        return _chat(stream.current_completion_snapshot)


def chat_whole() -> dict:
    return _chat(openai.chat.completions.create(model="m", messages=[]))


def _message(message) -> dict:
    kinds = {"text": "text", "tool_use": "call", "thinking": "thinking", "redacted_thinking": "thinking"}
    usage = message.usage
    cached = usage.cache_read_input_tokens
    return {
        "model": message.model, "stop": message.stop_reason, "stop_sequence": message.stop_sequence,
        "blocks": [kinds[block.type] for block in message.content],
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "calls": [{"id": block.id, "kind": "function", "name": block.name, "input": block.input}
                  for block in message.content if block.type == "tool_use"],
        "thinking": [[getattr(block, "thinking", ""), getattr(block, "signature", None), getattr(block, "data", None)]
                     for block in message.content if block.type.endswith("thinking")],
        "usage": [usage.input_tokens + cached, usage.output_tokens, cached],
    }


def message_stream() -> dict:
    with anthropic.messages.stream(model="m", max_tokens=1, messages=[]) as stream:
        return _message(stream.get_final_message())


def message_whole() -> dict:
    return _message(anthropic.messages.create(model="m", max_tokens=1, messages=[]))


def _response(response) -> dict:
    kinds = {"message": "text", "reasoning": "thinking"}
    calls = [item for item in response.output if item.type in ("function_call", "custom_tool_call")]
    return {
        "model": response.model, "text": response.output_text, "stop": response.status,
        "kinds": [kinds.get(item.type, "call") for item in response.output],
        "calls": [{
            "id": item.call_id, "item_id": item.id, "namespace": item.namespace, "name": item.name,
            **({"kind": "custom", "input": item.input} if item.type == "custom_tool_call" else
               {"kind": "function", "input": json.loads(item.arguments)})} for item in calls],
        "thinking": [[item.id, [part.text for part in item.summary], "".join(part.text for part in item.content or []),
                      item.encrypted_content] for item in response.output if item.type == "reasoning"],
        "usage": [response.usage.input_tokens, response.usage.output_tokens,
                  response.usage.input_tokens_details.cached_tokens],
    }


def response_stream() -> dict:
    with openai.responses.stream(model="m", input="x") as stream:
        # An incomplete response has no final response in the SDK, so its last event is read.
        last = [event for event in stream][-1]
        return _response(last.response)


def response_whole() -> dict:
    return _response(openai.responses.create(model="m", input="x"))


def expected(dialect: str, sample: dict) -> dict:
    """What the sample says, in the words of the functions above."""
    expect = sample["expect"]
    calls = [{name: call[name] for name in ("id", "kind", "name", "input")} for call in expect["calls"]]
    usage = expect["usage"]["cached"]
    usage = [expect["usage"]["input"] + usage, expect["usage"]["output"], usage]
    common = {"model": expect["model"], "text": expect["text"], "stop": expect["stop"], "usage": usage}
    thinking = expect["thinking"]
    if dialect == "openai-chat":
        return common | {"calls": calls}
    if dialect == "anthropic-messages":
        return common | {
            "calls": calls, "blocks": expect["blocks"], "stop_sequence": expect["stop_sequence"],
            "thinking": [[one["text"], one["signature"], one["encrypted"]] for one in thinking]}
    for call, said in zip(calls, expect["calls"], strict=True):
        call |= {"item_id": said["item_id"], "namespace": said["namespace"]}
    return common | {
        # Texts that follow each other are one message item, and an answer of nothing is an empty one.
        "calls": calls, "kinds": [kind for at, kind in enumerate(expect["blocks"])
                                  if kind != "text" or expect["blocks"][at - 1:at] != ["text"]] or ["text"],
        "thinking": [[one["id"], one["summary"], one["text"], one["encrypted"]] for one in thinking]}


READERS: dict[str, dict[str, Callable[[], object]]] = {
    "openai-chat": {"streamed": chat_stream, "whole": chat_whole,
                    "grammar": lambda: grammar.chat(answer["sse"].encode(), include_usage=True)},
    "anthropic-messages": {"streamed": message_stream, "whole": message_whole,
                           "grammar": lambda: grammar.message(answer["sse"].encode())},
    "openai-responses": {"streamed": response_stream, "whole": response_whole,
                         "grammar": lambda: grammar_responses.response(answer["sse"].encode())},
}


def wrong_with(dialect: str, how: str, sample: dict) -> str:
    custom = any(call["kind"] == "custom" for call in sample["expect"]["calls"])
    if dialect == "openai-chat" and how == "streamed" and custom:
        # The SDK's own accumulator (3.54.0) fails on every custom call; the grammar reads it.
        return ""
    try:
        got = READERS[dialect][how]()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    wanted = expected(dialect, sample)
    if how == "grammar" or got == wanted:
        return ""
    return "; ".join(f"{name}: expected {wanted[name]!r}, got {got[name]!r}" for name in wanted
                     if got[name] != wanted[name])


def main() -> None:
    counts: dict[tuple[str, str], int] = {}
    wrong: dict[tuple[str, str], list[str]] = {}
    with open(sys.argv[1], encoding="utf-8") as samples:
        for line in samples:
            sample = json.loads(line)
            answer.clear()
            answer.update(sample)
            for how in READERS[sample["dialect"]]:
                key = (sample["dialect"], how)
                counts[key] = counts.get(key, 0) + 1
                if found := wrong_with(*key, sample):
                    wrong.setdefault(key, []).append(f"sample {sample['at']}: {' '.join(found.split())[:700]}")
    for key, count in counts.items():
        name = f"{count} replies of {key[0]}, {key[1]}, Python"
        failures = wrong.get(key, [])
        print(f"FAIL {name}: {len(failures)} wrong, first {failures[0]}" if failures else f"PASS {name}", flush=True)


main()
