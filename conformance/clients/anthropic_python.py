"""Checks the Messages door with the official `anthropic` Python SDK, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import json

import anthropic
from anthropic import Anthropic, AsyncAnthropic

import grammar
from checks import (ANTHROPIC_REQUEST_ID, LARGE, LARGE_SEEN, LONG_TEXT, PIXEL, PIXEL_SEEN, WAIT, arguments, equal,
                    matches, nonce, not_retried, raises, run, true)

options = arguments()
VERSIONS = ("2023-06-01", "2026-10-21")
client = Anthropic(base_url=options.base_url, api_key=options.token, timeout=WAIT)
once = client.with_options(max_retries=0)


def user(content: object) -> list:
    return [{"role": "user", "content": content}]


def call(content: object, more: dict) -> dict:
    messages = content if isinstance(content, list) and content and "role" in content[0] else user(content)
    return {"model": "auto", "max_tokens": 1000, "messages": messages} | more


def ask(content: object, **more: object):
    """One non-streaming call; `content` may also be a whole list of messages."""
    return once.messages.create(**call(content, more))


def text_of(message) -> str:
    equal([block.type for block in message.content], ["text"], "content blocks")
    return message.content[0].text


def raw(content: object, **more: object) -> tuple[bytes, dict]:
    with once.messages.with_streaming_response.create(stream=True, **call(content, more)) as reply:
        return reply.read(), reply.headers


def image(source: dict) -> dict:
    return {"type": "image", "source": source}


def non_streaming() -> None:
    said = nonce()
    got = ask(f"echo:{said}")
    equal(text_of(got), said, "text")
    equal((got.type, got.role, got.stop_reason, got.stop_sequence), ("message", "assistant", "end_turn", None), "shape")
    equal(got.model, "scripted-1", "the served model answers for `auto`")
    matches(r"^msg_\w{20,}$", got.id, "id")
    true(got.usage.input_tokens > 0 and got.usage.output_tokens > 0, "usage is zero", got.usage)
    equal(text_of(ask("long")), LONG_TEXT, "long answer")


def request_id_and_headers() -> None:
    reply = once.messages.with_raw_response.create(**call("echo:x", {}))
    got = reply.parse()
    matches(f"^{ANTHROPIC_REQUEST_ID.pattern}$", got._request_id, "_request_id")
    equal(reply.headers["request-id"], got._request_id, "request-id header")
    bare = reply.headers["x-request-id"].replace("-", "")
    equal(got._request_id, f"req_{bare}", "both ids must be of the same UUID")
    matches(r"^mcptb/\d", reply.headers.get("x-mcp-bridge"), "X-MCP-Bridge")
    equal(reply.headers.get("x-mcp-model"), "scripted-1", "X-MCP-Model")
    matches("usage-estimated", reply.headers.get("x-mcptb-loss"), "x-mcptb-loss")


def model_names() -> None:
    for name in ("auto", "mcp-external-sampling"):
        equal(ask("echo:x", model=name).model, "scripted-1", f"model for {name!r}")
    got = ask("params?", model="claude-test")
    equal(got.model, "claude-test", "requested model")
    equal(json.loads(text_of(got))["modelPreferences"]["hints"], [{"name": "claude-test"}], "hint at the host")


def streaming() -> None:
    said = nonce()
    deltas = [event.delta.text for event in once.messages.create(stream=True, **call(f"echo:{said}", {}))
              if event.type == "content_block_delta"]
    equal("".join(deltas), said, "streamed text")
    with client.messages.stream(**call("long", {})) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
        matches(ANTHROPIC_REQUEST_ID, stream.request_id, "request id of a stream")
    equal(("".join(pieces), text_of(final)), (LONG_TEXT, LONG_TEXT), "text stream and accumulated text")
    equal((final.stop_reason, final.role), ("end_turn", "assistant"), "accumulated end")
    true(final.usage.input_tokens > 0 and final.usage.output_tokens > 100, "accumulated usage", final.usage)


def streaming_grammar() -> None:
    body, headers = raw("long")
    matches(r"^text/event-stream", headers["content-type"], "content-type")
    seen = grammar.message(body)
    equal((seen.text, seen.stop_reason, seen.stop_sequence), (LONG_TEXT, "end_turn", None), "text and stop reason")
    true(seen.deltas >= 40, "4 KB must come in many deltas", seen.deltas)
    named, _ = raw("echo:x", model="claude-test")
    equal(grammar.message(named).start["model"], "claude-test", "model of message_start")


def keep_alive() -> None:
    body, _ = raw("slow:15000:done")
    equal(grammar.message(body).text, "done", "text")
    # One ping belongs to the opening, as in the vendor's own streams; it keeps nothing alive.
    true(body.count(b"event: ping\n") >= 2, "no ping while the host took 15 s", body[:1500])


def error_after_the_head() -> None:
    stream = once.messages.create(stream=True, **call("slow-fail:7000:broken", {}))
    error = raises(anthropic.APIStatusError, lambda: list(stream), "a failure after the head")
    equal((error.response.status_code, error.body["type"]), (200, "error"), "status and body type")
    matches("fell over", error.body["error"]["message"], "message")


def versions() -> None:
    for version in VERSIONS:
        headers = {"anthropic-version": version}
        equal(text_of(ask("echo:x", extra_headers=headers)), "x", version)
        equal(grammar.message(raw("echo:y", extra_headers=headers)[0]).text, "y", f"{version}, streamed")
    old = {"extra_headers": {"anthropic-version": VERSIONS[0]}, "extra_body": {"temperature": 0.25}}
    equal(json.loads(text_of(ask("params?", **old)))["temperature"], 0.25, "temperature under 2023-06-01")


def conversation() -> None:
    turns = [*user("one"), {"role": "assistant", "content": [{"type": "text", "text": "two"}]}]
    equal(text_of(ask([*turns, *user("history")], system="Be brief.")), "3 messages: user assistant user", "roles")
    equal(text_of(ask([*turns, *user("system?")], system="Be brief.")), "Be brief.", "system")
    cached = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    both = text_of(ask("system?", system=[cached, {"type": "text", "text": "Be kind."}]))
    matches(r"(?s)Be brief\..*Be kind\.", both, "system blocks")
    between = [*turns, {"role": "system", "content": "Mind the gap."}, *user("echo:x")]
    equal(text_of(ask(between)), "x", "a system message in mid-conversation")
    equal(text_of(ask([cached | {"text": f"echo:{PIXEL}"}])), PIXEL, "content blocks")


def images() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    text = {"type": "text", "text": "describe-image"}
    equal(text_of(ask([text, image(source)])), PIXEL_SEEN, "text, then image")
    equal(text_of(ask([image(source), text])), PIXEL_SEEN, "image, then text")
    equal(text_of(ask([text, image(source | {"data": LARGE})])), LARGE_SEEN, "an image of 3 MiB")
    fetch = [text, image({"type": "url", "url": "http://127.0.0.1:9/x.png"})]
    error = raises(anthropic.BadRequestError, lambda: ask(fetch), "image by url")
    matches(r"messages\.0\.content\.1", error.body["error"]["message"], "message")


def stop_sequences() -> None:
    got = ask("echo:before END after", stop_sequences=["zzz", "END"])
    equal((text_of(got), got.stop_reason, got.stop_sequence), ("before ", "stop_sequence", "END"), "stop sequence")
    seen = grammar.message(raw("echo:before END after", stop_sequences=["END"])[0])
    equal((seen.text, seen.stop_reason, seen.stop_sequence), ("before ", "stop_sequence", "END"), "streamed")


def parameters() -> None:
    equal(json.loads(text_of(ask("params?", max_tokens=77))), {"maxTokens": 77}, "nothing but max_tokens is sent")
    # The prototype's curl lines name no max_tokens, so it must not be required here.
    unnamed = ask("params?", extra_body={"max_tokens": None})
    equal(json.loads(text_of(unnamed)), {"maxTokens": 8192}, "the default max_tokens")
    cut = ask("truncated")
    equal((text_of(cut), cut.stop_reason), ("cut off he", "max_tokens"), "a reply cut by the host")
    ignored = {"metadata": {"user_id": "u"}, "thinking": {"type": "adaptive"}, "service_tier": "auto",
               "context_management": {"edits": []}, "unknown_field": {"deep": [1]}}
    beta = {"anthropic-beta": "some-2026-01-01"}
    equal(text_of(ask("echo:x", extra_body=ignored, extra_headers=beta)), "x", "ignored fields")
    nulls = dict.fromkeys(("stop_sequences", "system", "tools", "tool_choice", "metadata", "thinking"))
    equal(text_of(ask("echo:x", extra_body=nulls)), "x", "null fields")
    equal(text_of(ask("echo:x", extra_query={"beta": "true"})), "x", "?beta=true")


def models() -> None:
    for version in VERSIONS:
        caller = client.with_options(default_headers={"anthropic-version": version})
        listed = caller.models.list(limit=1000)
        true(listed.data and listed.has_more is False, f"model list under {version}", listed)
        first = listed.data[0]
        equal((first.type, first.lifecycle, listed.first_id), ("model", "active", first.id), "shape")
        true(first.display_name and first.created_at.year > 1970, "name and time", first)
        equal(caller.models.retrieve(first.id).id, first.id, "retrieved model")
    missing = raises(anthropic.NotFoundError, lambda: once.models.retrieve("no-such"), "unknown model")
    equal(missing.body["error"]["type"], "not_found_error", "type")


def errors() -> None:
    quota = raises(anthropic.RateLimitError, lambda: ask("fail:quota"), "quota at the host")
    equal(quota.body["error"]["type"], "rate_limit_error", "type")
    matches(ANTHROPIC_REQUEST_ID, quota.request_id, "request id of an error")
    equal(quota.body["request_id"], quota.request_id, "request_id of the body")
    model = raises(anthropic.NotFoundError, lambda: ask("fail:model"), "model at the host")
    equal(model.body["error"]["type"], "not_found_error", "type")
    context = raises(anthropic.BadRequestError, lambda: ask("fail:context"), "context")
    matches("prompt is too long", context.body["error"]["message"], "message")
    broken = raises(anthropic.InternalServerError, lambda: ask("fail:broken"), "failing host")
    equal(broken.body["error"]["type"], "api_error", "type")
    early = raises(anthropic.RateLimitError, lambda: list(once.messages.create(
        stream=True, **call("fail:quota", {}))), "an early failure of a stream")
    equal(early.status_code, 429, "status")
    wrong = raises(anthropic.BadRequestError, lambda: ask("x", extra_body={"messages": "not a list"}), "wrong type")
    matches("messages", wrong.body["error"]["message"], "message")


def at_once() -> None:
    """64 calls together, every other one streamed, each with a text of its own."""
    texts: list[str] = []

    async def all_of_them() -> None:
        async with AsyncAnthropic(base_url=options.base_url, api_key=options.token, timeout=WAIT,
                                  max_retries=0) as concurrent:

            async def one(number: int) -> None:
                said = f"{number}-{nonce()}"
                request = call(f"slow:40:{said}", {})
                if number % 2:
                    async with concurrent.messages.stream(**request) as stream:
                        got = await stream.get_final_text()
                else:
                    got = text_of(await concurrent.messages.create(**request))
                equal(got, said, f"answer of call {number}")
                texts.append(f"slow:40:{said}")

            await asyncio.gather(*(one(number) for number in range(64)))

    asyncio.run(all_of_them())
    equal([text_of(ask(f"asked:{text}")) for text in texts[:4]], ["1"] * 4, "samplings of four of the calls")
    most = int(text_of(ask("most-at-once")))
    true(1 < most <= 8, "samplings at once at the host must be more than one and at most eight", most)


def refused() -> None:
    error = raises(anthropic.PermissionDeniedError,
                   lambda: client.messages.create(**call(f"reject:{nonce()}", {})), "a refusal")
    equal(error.body["error"]["type"], "permission_error", "type")
    not_retried(error, "a refusal")


def refused_stream() -> None:
    error = raises(anthropic.PermissionDeniedError, lambda: list(client.messages.create(
        stream=True, **call(f"reject:{nonce()}", {}))), "a refused stream")
    not_retried(error, "a refused stream")


def token() -> None:
    equal(text_of(ask("echo:x")), "x", "with the token as bearer")
    no_bearer = {"authorization": anthropic.Omit(), "x-api-key": options.token}
    equal(text_of(ask("echo:x", extra_headers=no_bearer)), "x", "with the token as x-api-key")
    for wrong in ("wrong-token-of-twenty-characters", options.token[:-1]):
        stranger = once.with_options(api_key=wrong)
        error = raises(anthropic.AuthenticationError,
                       lambda: stranger.messages.create(**call("echo:x", {})), "a wrong token")
        equal(error.body["error"]["type"], "authentication_error", "type")
        true(wrong not in str(error), "the error repeats the key it was given")
        raises(anthropic.AuthenticationError, lambda: stranger.models.list(), "models with a wrong token")


run(options.group, {
    "main": [non_streaming, request_id_and_headers, model_names, streaming, streaming_grammar, versions, conversation,
             images, stop_sequences, parameters, models, errors, at_once],
    "refusal": [refused, refused_stream],
    "smoke": [non_streaming],
    "token": [token],
}, beside={"main": [keep_alive, error_after_the_head]})
