"""Constructed replies of three model APIs, rendered from one description.

They are written from the vendors' published wire formats, not recorded from a vendor. `record.py`
answers clients with them, and `accept.py` and `accept.mjs` prove that the official accumulators
take them. Every id, time and count is fixed, so that a file written twice is the same file.

    python replies.py WRITE_TO        writes <dialect>/<case>.{json,sse} below WRITE_TO
"""

import json
import sys
from pathlib import Path

MODEL = "constructed-model"
CREATED = 1767323045
INPUT, OUTPUT, CACHED, REASONING = 120, 34, 20, 11
# Both are opaque to a client, which must hand them back byte for byte.
SIGNATURE = "Y29uc3RydWN0ZWQtc2lnbmF0dXJlLTAwMDE="
ENCRYPTED = "Y29uc3RydWN0ZWQtZW5jcnlwdGVkLXJlYXNvbmluZy0wMDAx"


def text(words):
    return {"kind": "text", "text": words}


def reasoning(words):
    return {"kind": "reasoning", "text": words}


def redacted():
    return {"kind": "redacted"}


def refusal(words):
    return {"kind": "refusal", "text": words}


def call(name, arguments, namespace=None, number=1):
    """A tool call whose arguments are a JSON object; `number` keeps the ids of one reply apart."""
    return {"kind": "call", "name": name, "arguments": json.dumps(arguments, ensure_ascii=False),
            "namespace": namespace, "number": number}


def custom(name, raw, namespace=None, number=1):
    """A call of a custom tool, whose input is free text."""
    return {"kind": "custom", "name": name, "input": raw, "namespace": namespace, "number": number}


def search(arguments, number=1):
    """A call of the client's own tool search, a kind of its own in the Responses API."""
    return {"kind": "search", "name": "tool_search", "arguments": arguments, "number": number}


def pieces(words, size=11):
    """Cuts text as a model would stream it: small pieces that know nothing of words or JSON."""
    return [words[at:at + size] for at in range(0, len(words), size)]


def sse(payload, event=None):
    line = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return (f"event: {event}\n" if event else "") + f"data: {line}\n\n"


# --- OpenAI Chat Completions ---------------------------------------------------------------------

def chat_usage():
    return {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT,
            "prompt_tokens_details": {"cached_tokens": CACHED, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": REASONING, "audio_tokens": 0,
                                          "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}


def chat_call(block):
    head = {"id": f"call_{block['number']:024d}"}
    if block["kind"] == "custom":
        return head | {"type": "custom", "custom": {"name": block["name"], "input": block["input"]}}
    return head | {"type": "function", "function": {"name": block["name"], "arguments": block["arguments"]}}


def chat_calls(blocks):
    return [chat_call(block) for block in blocks if block["kind"] in ("call", "custom")]


def joined(blocks, kind):
    return "".join(block["text"] for block in blocks if block["kind"] == kind) or None


def chat_finish(blocks, stop):
    return {"max_tokens": "length", "filter": "content_filter"}.get(stop) or (
        "tool_calls" if chat_calls(blocks) else "stop")


def chat_json(blocks, stop=None, model=MODEL):
    message = {"role": "assistant", "content": joined(blocks, "text"), "refusal": joined(blocks, "refusal"),
               "annotations": []}
    if joined(blocks, "reasoning"):
        message["reasoning_content"] = joined(blocks, "reasoning")
    if chat_calls(blocks):
        message["tool_calls"] = chat_calls(blocks)
    return {"id": "chatcmpl-0000000000000000000001", "object": "chat.completion", "created": CREATED, "model": model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": chat_finish(blocks, stop)}],
            "usage": chat_usage(), "service_tier": "default", "system_fingerprint": "fp_0000000001"}


def chat_sse(blocks, stop=None, model=MODEL, usage=True):
    def chunk(delta, finish=None):
        payload = {"id": "chatcmpl-0000000000000000000001", "object": "chat.completion.chunk", "created": CREATED,
                   "model": model, "service_tier": "default", "system_fingerprint": "fp_0000000001",
                   "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
        return sse(payload | ({"usage": None} if usage else {}))

    calls = chat_calls(blocks)
    out = [chunk({"role": "assistant", "content": "" if joined(blocks, "text") else None, "refusal": None})]
    for kind, field in (("reasoning", "reasoning_content"), ("refusal", "refusal"), ("text", "content")):
        out += [chunk({field: piece}) for piece in pieces(joined(blocks, kind) or "")]
    for index, made in enumerate(calls):
        kind = made["type"]
        field = "arguments" if kind == "function" else "input"
        opening = made | {kind: made[kind] | {field: ""}}
        out.append(chunk({"tool_calls": [{"index": index} | opening]}))
        out += [chunk({"tool_calls": [{"index": index, kind: {field: piece}}]}) for piece in pieces(made[kind][field])]
    out.append(chunk({}, chat_finish(blocks, stop)))
    if usage:
        last = {"id": "chatcmpl-0000000000000000000001", "object": "chat.completion.chunk", "created": CREATED,
                "model": model, "service_tier": "default", "system_fingerprint": "fp_0000000001", "choices": [],
                "usage": chat_usage()}
        out.append(sse(last))
    return "".join(out) + "data: [DONE]\n\n"


# --- OpenAI Responses ----------------------------------------------------------------------------

def response_item(block, index):
    """The finished item of one block; ids depend on its place only."""
    kind, status = block["kind"], {"status": "completed"}
    if kind == "text":
        part = {"type": "output_text", "text": block["text"], "annotations": [], "logprobs": []}
        return {"id": f"msg_{index:048d}", "type": "message"} | status | {"role": "assistant", "content": [part]}
    if kind == "refusal":
        part = {"type": "refusal", "refusal": block["text"]}
        return {"id": f"msg_{index:048d}", "type": "message"} | status | {"role": "assistant", "content": [part]}
    if kind == "reasoning":
        return {"id": f"rs_{index:048d}", "type": "reasoning",
                "summary": [{"type": "summary_text", "text": block["text"]}], "encrypted_content": ENCRYPTED}
    if kind == "search":
        return {"id": f"tsc_{index:048d}", "type": "tool_search_call"} | status | {
            "call_id": f"call_{block['number']:024d}", "execution": "client", "arguments": block["arguments"]}
    where = {"namespace": block["namespace"]} if block["namespace"] else {}
    head = {"call_id": f"call_{block['number']:024d}", "name": block["name"]} | where
    if kind == "custom":
        return {"id": f"ctc_{index:048d}", "type": "custom_tool_call"} | status | head | {"input": block["input"]}
    return {"id": f"fc_{index:048d}", "type": "function_call"} | status | head | {"arguments": block["arguments"]}


def response_object(output, status, usage, incomplete=None, error=None, model=MODEL):
    counted = {"input_tokens": INPUT, "input_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": 0},
               "output_tokens": OUTPUT, "output_tokens_details": {"reasoning_tokens": REASONING},
               "total_tokens": INPUT + OUTPUT}
    return {"id": "resp_" + "0" * 47 + "1", "object": "response", "created_at": CREATED,
            "completed_at": CREATED + 2 if status == "completed" else None, "status": status, "error": error,
            "incomplete_details": incomplete, "instructions": None, "max_output_tokens": None, "max_tool_calls": None,
            "model": model, "output": output, "parallel_tool_calls": True, "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None}, "store": False, "temperature": 1.0,
            "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
            "presence_penalty": 0.0, "frequency_penalty": 0.0, "top_logprobs": 0, "truncation": "disabled",
            "background": False, "service_tier": "default", "safety_identifier": None, "prompt_cache_key": None,
            "user": None, "metadata": {}, "usage": counted if usage else None}


def responses_json(blocks, stop=None, model=MODEL):
    output = [response_item(block, index) for index, block in enumerate(blocks)]
    if stop in ("max_tokens", "filter"):
        reason = {"max_tokens": "max_output_tokens", "filter": "content_filter"}[stop]
        return response_object(output, "incomplete", True, incomplete={"reason": reason}, model=model)
    return response_object(output, "completed", True, model=model)


def responses_sse(blocks, stop=None, model=MODEL):
    out = []

    def emit(kind, **fields):
        out.append(sse({"type": kind, "sequence_number": len(out)} | fields, kind))

    begun = response_object([], "in_progress", False, model=model)
    emit("response.created", response=begun)
    emit("response.in_progress", response=begun)
    for index, block in enumerate(blocks):
        item = response_item(block, index)
        at = {"item_id": item["id"], "output_index": index}
        if block["kind"] in ("text", "refusal"):
            part = item["content"][0]
            field = "text" if block["kind"] == "text" else "refusal"
            name = "response.output_text" if field == "text" else "response.refusal"
            extra = {"logprobs": []} if field == "text" else {}
            at_part = at | {"content_index": 0}
            emit("response.output_item.added", output_index=index,
                 item=item | {"status": "in_progress", "content": []})
            emit("response.content_part.added", **at_part, part=part | {field: ""})
            for piece in pieces(block["text"]):
                emit(f"{name}.delta", **at_part, delta=piece, **extra)
            emit(f"{name}.done", **at_part, **{field: block["text"]}, **extra)
            emit("response.content_part.done", **at_part, part=part)
        elif block["kind"] == "reasoning":
            at_part = at | {"summary_index": 0}
            # The encrypted content of an item that has only begun is empty; the finished item holds it.
            emit("response.output_item.added", output_index=index,
                 item=item | {"summary": [], "encrypted_content": ""})
            emit("response.reasoning_summary_part.added", **at_part, part={"type": "summary_text", "text": ""})
            for piece in pieces(block["text"]):
                emit("response.reasoning_summary_text.delta", **at_part, delta=piece)
            emit("response.reasoning_summary_text.done", **at_part, text=block["text"])
            emit("response.reasoning_summary_part.done", **at_part, part=item["summary"][0])
        elif block["kind"] == "search":
            emit("response.output_item.added", output_index=index, item=item | {"status": "in_progress"})
        else:
            field = "arguments" if block["kind"] == "call" else "input"
            name = "response.function_call_arguments" if field == "arguments" else "response.custom_tool_call_input"
            emit("response.output_item.added", output_index=index, item=item | {"status": "in_progress", field: ""})
            for piece in pieces(block[field]):
                emit(f"{name}.delta", **at, delta=piece)
            named = {"name": block["name"]} if field == "arguments" else {}
            emit(f"{name}.done", **at, **{field: block[field]}, **named)
        emit("response.output_item.done", output_index=index, item=item)
    final = responses_json(blocks, stop, model)
    emit(f"response.{final['status']}", response=final)
    return "".join(out)


# --- Anthropic Messages --------------------------------------------------------------------------

def message_usage(output=OUTPUT):
    return {"input_tokens": INPUT - CACHED, "cache_creation_input_tokens": 0, "cache_read_input_tokens": CACHED,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output, "service_tier": "standard"}


def message_block(block):
    kind = block["kind"]
    if kind in ("text", "refusal"):
        return {"type": "text", "text": block["text"], "citations": None}
    if kind == "reasoning":
        return {"type": "thinking", "thinking": block["text"], "signature": SIGNATURE}
    if kind == "redacted":
        return {"type": "redacted_thinking", "data": ENCRYPTED}
    if kind == "custom":
        raise ValueError("Anthropic Messages knows no tool with free text as its input.")
    return {"type": "tool_use", "id": f"toolu_01{block['number']:022d}", "name": block["name"],
            "input": json.loads(block["arguments"]), "caller": {"type": "direct"}}


def messages_json(blocks, stop=None, model=MODEL):
    used = any(block["kind"] == "call" for block in blocks)
    refused = any(block["kind"] == "refusal" for block in blocks)
    reason = {"max_tokens": "max_tokens", "stop_sequence": "stop_sequence"}.get(stop) or (
        "tool_use" if used else "refusal" if refused else "end_turn")
    return {"id": "msg_01" + "0" * 21 + "1", "type": "message", "role": "assistant", "model": model,
            "content": [message_block(block) for block in blocks], "container": None, "stop_reason": reason,
            "stop_sequence": "END" if reason == "stop_sequence" else None, "stop_details": None,
            "usage": message_usage()}


def messages_sse(blocks, stop=None, model=MODEL):
    final = messages_json(blocks, stop, model)
    out = []

    def emit(kind, **fields):
        out.append(sse({"type": kind} | fields, kind))

    emit("message_start", message=final | {"content": [], "stop_reason": None, "stop_sequence": None,
                                           "usage": message_usage(1)})
    for index, block in enumerate(final["content"]):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}},
                 "redacted_thinking": {}}[block["type"]]
        emit("content_block_start", index=index, content_block=block | empty)
        if index == 0:
            emit("ping")
        deltas = []
        if block["type"] == "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        elif block["type"] == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif block["type"] == "tool_use":
            # The text of the arguments is cut as it stands, so that key order and spacing reach the client.
            source = blocks[index]["arguments"]
            cut = [] if source == "{}" else pieces(source)
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in [""] + cut]
        for delta in deltas:
            emit("content_block_delta", index=index, delta=delta)
        emit("content_block_stop", index=index)
    emit("message_delta", delta={"stop_reason": final["stop_reason"], "stop_sequence": final["stop_sequence"],
                                 "stop_details": None, "container": None}, usage=message_usage())
    emit("message_stop")
    return "".join(out)


# --- the cases -----------------------------------------------------------------------------------

RENDER = {
    "openai_chat": (chat_json, chat_sse),
    "openai_responses": (responses_json, responses_sse),
    "anthropic_messages": (messages_json, messages_sse),
}
SAID = "Snow is falling in Zürich: −2 °C, \"light\" wind.\n雪が降っています。🌨"
THOUGHT = "The caller wants the weather, so the weather tool is the way."
ZURICH = call("get_weather", {"city": "Zürich", "days": 2, "unit": None})
OSLO = call("get_weather", {"city": "Oslo", "days": 1, "unit": None}, number=2)
NOTHING = call("list_cities", {})
PATCH = "*** Begin Patch\n*** Add File: hello.txt\n+hello \"world\"\n*** End Patch\n"
ALL = tuple(RENDER)
OPENAI = ALL[:2]

CASES = [  # name, dialects, blocks, stop
    ("text", ALL, [text(SAID)], None),
    ("tool_call", ALL, [ZURICH], None),
    ("text_then_tool_call", ALL, [text("I shall look."), ZURICH], None),
    ("parallel_tool_calls", ALL, [ZURICH, OSLO], None),
    ("tool_call_without_arguments", ALL, [NOTHING], None),
    ("reasoning_then_text", ALL, [reasoning(THOUGHT), text(SAID)], None),
    ("reasoning_then_tool_call", ALL, [reasoning(THOUGHT), ZURICH], None),
    ("custom_tool_call", OPENAI, [custom("apply_patch", PATCH)], None),
    ("namespaced_tool_call", ("openai_responses",), [call("get_weather", {"city": "Oslo"}, namespace="mcp__weather")], None),
    ("tool_search_call", ("openai_responses",), [search({"query": "weather", "limit": 2})], None),
    ("structured_output", ALL, [text('{"city":"Zürich","celsius":-2.0,"tags":["snow"]}')], None),
    ("refusal", ALL, [refusal("I cannot help with that.")], None),
    ("cut_at_max_tokens", ALL, [text("Snow is fall")], "max_tokens"),
    ("content_filter", OPENAI, [text("Snow")], "filter"),
    ("stop_sequence", ("anthropic_messages",), [text("Snow is falling. ")], "stop_sequence"),
    ("redacted_thinking", ("anthropic_messages",), [redacted(), text("Snow.")], None),
]


def errors():
    """Errors as an HTTP body and in the middle of a stream, by file name."""
    chat = {"error": {"message": "The upstream ended.", "type": "server_error", "param": None, "code": "upstream_error"}}
    refused = {"error": {"message": "Unsupported parameter: 'logprobs' is not supported with this model.",
                         "type": "invalid_request_error", "param": "logprobs", "code": "unsupported_parameter"}}
    begun = chat_sse([text(SAID)]).split("\n\n")[:3]
    yield "openai_chat/error_http_400.json", refused
    yield "openai_chat/error_in_stream.sse", "\n\n".join(begun) + "\n\n" + sse(chat)

    events = responses_sse([text(SAID)]).split("\n\n")[:6]
    failure = {"code": "server_error", "message": "The upstream ended."}
    flat = {"type": "error", "sequence_number": 6} | failure | {"param": None}
    ended = response_object([], "failed", False, error=failure)
    yield "openai_responses/error_http_400.json", refused
    yield "openai_responses/error_in_stream.sse", (
        "\n\n".join(events) + "\n\n" + sse(flat | {"error": {"type": "server_error"} | failure | {"param": None}}, "error")
        + sse({"type": "response.failed", "sequence_number": 7, "response": ended}, "response.failed"))

    events = messages_sse([text(SAID)]).split("\n\n")[:4]
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    yield "anthropic_messages/error_http_400.json", {
        "type": "error", "request_id": "req_000000000000000000000001",
        "error": {"type": "invalid_request_error", "message": "messages.0.content.1.source.type: url images are not "
                  "supported by this upstream"}}
    yield "anthropic_messages/error_in_stream.sse", "\n\n".join(events) + "\n\n" + sse(overloaded, "error")


def write_all(root):
    for name, dialects, blocks, stop in CASES:
        for dialect in dialects:
            as_json, as_sse = RENDER[dialect]
            save(root / dialect / f"{name}.json", as_json(blocks, stop))
            save(root / dialect / f"{name}.sse", as_sse(blocks, stop))
    save(root / "openai_chat" / "text_without_usage.sse", chat_sse([text(SAID)], usage=False))
    for path, content in errors():
        save(root / path, content)


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str):
        content = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_all(Path(sys.argv[1]))
