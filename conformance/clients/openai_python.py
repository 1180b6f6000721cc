"""Checks the Chat Completions door with the official `openai` Python SDK, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import json

import openai
from openai import AsyncOpenAI, OpenAI

import grammar
from checks import (LARGE, LARGE_SEEN, LONG_TEXT, PIXEL, PIXEL_SEEN, UUID7, WAIT, arguments, equal, matches, nonce,
                    not_retried, raises, run, true)

options = arguments()
BASE = f"{options.base_url}/v1"
client = OpenAI(base_url=BASE, api_key=options.token, timeout=WAIT)
once = client.with_options(max_retries=0)


def user(content: object) -> list:
    return [{"role": "user", "content": content}]


def ask(content: object, **more: object):
    """One non-streaming call; `content` may also be a whole list of messages."""
    messages = content if isinstance(content, list) and content and "role" in content[0] else user(content)
    return once.chat.completions.create(**{"model": "auto", "messages": messages} | more)


def text_of(completion) -> str:
    return completion.choices[0].message.content


def raw(path_body: dict) -> tuple[bytes, dict]:
    with once.chat.completions.with_streaming_response.create(stream=True, **path_body) as reply:
        return reply.read(), reply.headers


def image(url: str) -> dict:
    return {"type": "image_url", "image_url": {"url": url}}


def non_streaming() -> None:
    said = nonce()
    got = ask(f"echo:{said}")
    equal(text_of(got), said, "content")
    equal((got.object, got.choices[0].index, got.choices[0].finish_reason), ("chat.completion", 0, "stop"), "shape")
    equal(got.choices[0].message.role, "assistant", "role")
    equal(got.model, "scripted-1", "the served model answers for `auto`")
    matches(r"^chatcmpl-\w{22,}$", got.id, "id")
    true(got.usage.prompt_tokens > 0 and got.usage.completion_tokens > 0, "usage is zero", got.usage)
    equal(got.usage.total_tokens, got.usage.prompt_tokens + got.usage.completion_tokens, "total tokens")
    equal(text_of(ask("long")), LONG_TEXT, "long answer")


def request_id_and_headers() -> None:
    reply = once.chat.completions.with_raw_response.create(model="auto", messages=user("echo:x"))
    got = reply.parse()
    matches(UUID7, got._request_id, "_request_id")
    equal(got._request_id, reply.headers["x-request-id"], "x-request-id header")
    matches(r"^mcptb/\d", reply.headers.get("x-mcp-bridge"), "X-MCP-Bridge")
    equal(reply.headers.get("x-mcp-model"), "scripted-1", "X-MCP-Model")
    matches("usage-estimated", reply.headers.get("x-mcptb-loss"), "x-mcptb-loss")
    equal((got.text, got.request_id), ("x", got._request_id), "the prototype's extra fields text and request_id")


def model_names() -> None:
    for name in ("auto", "", "mcp-external-sampling"):
        equal(ask("echo:x", model=name).model, "scripted-1", f"model for {name!r}")
        true("modelPreferences" not in text_of(ask("params?", model=name)), f"a hint was sent for {name!r}")
    got = ask("params?", model="gpt-test")
    equal(got.model, "gpt-test", "requested model")
    equal(json.loads(text_of(got))["modelPreferences"]["hints"], [{"name": "gpt-test"}], "hint at the host")


def streaming() -> None:
    said = nonce()
    chunks = list(once.chat.completions.create(model="auto", messages=user(f"echo:{said}"), stream=True))
    equal("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), said, "streamed text")
    with client.chat.completions.stream(model="auto", messages=user("long")) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    equal(text_of(final), LONG_TEXT, "accumulated text")
    equal((final.choices[0].message.role, final.choices[0].finish_reason), ("assistant", "stop"), "accumulated end")
    equal(kinds.count("content.done"), 1, "content.done events")


def streaming_grammar() -> None:
    body, headers = raw({"model": "auto", "messages": user("long")})
    matches(r"^text/event-stream", headers["content-type"], "content-type")
    matches(UUID7, headers["x-request-id"], "x-request-id")
    seen = grammar.chat(body)
    equal((seen.texts, seen.finish_reasons), ([LONG_TEXT], ["stop"]), "text and finish reason")
    true(seen.deltas >= 40, "4 KB must come in many deltas", seen.deltas)
    body, _ = raw({"model": "gpt-test", "messages": user("echo:x"), "stream_options": {"include_usage": True}})
    seen = grammar.chat(body, include_usage=True)
    equal(seen.model, "gpt-test", "requested model in the chunks")
    true(seen.usage["prompt_tokens"] > 0 and seen.usage["completion_tokens"] > 0, "usage is zero", seen.usage)


def keep_alive() -> None:
    body, _ = raw({"model": "auto", "messages": user("slow:15000:done")})
    equal(grammar.chat(body).texts, ["done"], "text")
    true(any(line.startswith(b":") for line in body.split(b"\n")), "no keep-alive comment while the host took 15 s")


def error_after_the_head() -> None:
    stream = once.chat.completions.create(model="auto", messages=user("slow-fail:7000:broken"), stream=True)
    error = raises(openai.APIError, lambda: list(stream), "a failure after the head")
    true(not isinstance(error, openai.APIStatusError), "the head was held back for 7 s")
    matches("fell over", error.message, "message")


def conversation() -> None:
    turns = [{"role": "system", "content": "Be brief."}, *user("one"), {"role": "assistant", "content": "two"}]
    equal(text_of(ask([*turns, *user("history")])), "3 messages: user assistant user", "roles at the host")
    equal(text_of(ask([*turns, *user("system?")])), "Be brief.", "system prompt")
    developer = [{"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}, *user("system?")]
    equal(text_of(ask(developer)), "Be kind.", "developer message")
    matches(r"(?s)Be brief\..*Be kind\.", text_of(ask([turns[0], *developer])), "system and developer together")
    equal(text_of(ask([{"type": "text", "text": f"echo:{PIXEL}"}])), PIXEL, "content parts")


def images() -> None:
    url = f"data:image/png;base64,{PIXEL}"
    text = {"type": "text", "text": "describe-image"}
    equal(text_of(ask([text, image(url)])), PIXEL_SEEN, "text, then image")
    equal(text_of(ask([image(url), text])), PIXEL_SEEN, "image, then text")
    large = f"data:image/png;base64,{LARGE}"
    equal(text_of(ask([text, image(large)])), LARGE_SEEN, "an image of 3 MiB")
    fetch = [text, image("http://127.0.0.1:9/x.png")]
    error = raises(openai.BadRequestError, lambda: ask(fetch), "http image url")
    matches(r"^messages\[0\]\.content\[1\]", error.param, "param")


def stop_sequences() -> None:
    for stop in ("END", ["zzz", "END"]):
        got = ask("echo:before END after", stop=stop)
        equal((text_of(got), got.choices[0].finish_reason), ("before ", "stop"), f"stop={stop!r}")
    body, _ = raw({"model": "auto", "messages": user("echo:before END after"), "stop": ["END"]})
    seen = grammar.chat(body)
    equal((seen.texts, seen.finish_reasons), (["before "], ["stop"]), "streamed with stop")


def several_choices() -> None:
    got = ask("echo:twice", n=2)
    equal([(c.index, c.message.content, c.finish_reason) for c in got.choices],
          [(0, "twice", "stop"), (1, "twice", "stop")], "choices")
    body, _ = raw({"model": "auto", "messages": user("echo:twice"), "n": 2})
    equal(grammar.chat(body, choices=2).texts, ["twice", "twice"], "streamed choices")
    equal(raises(openai.BadRequestError, lambda: ask("echo:x", n=9), "n=9").param, "n", "param")


def parameters() -> None:
    equal(json.loads(text_of(ask("params?"))), {"maxTokens": 8192}, "nothing but the default maxTokens is sent")
    equal(json.loads(text_of(ask("params?", max_tokens=77)))["maxTokens"], 77, "max_tokens")
    both = ask("params?", max_tokens=77, max_completion_tokens=55, temperature=0.25)
    seen = json.loads(text_of(both))
    equal((seen["maxTokens"], seen["temperature"]), (55, 0.25), "max_completion_tokens wins; temperature")
    cut = ask("truncated")
    equal((text_of(cut), cut.choices[0].finish_reason), ("cut off he", "length"), "a reply cut by the host")
    ignored = {"seed": 7, "user": "u", "metadata": {"a": "b"}, "store": False, "unknown_field": {"deep": [1]}}
    equal(text_of(ask("echo:x", extra_body=ignored)), "x", "ignored fields")
    nulls = dict.fromkeys(("stop", "n", "max_tokens", "temperature", "tools", "response_format", "stream_options"))
    equal(text_of(ask("echo:x", extra_body=nulls)), "x", "null fields")
    loss = once.chat.completions.with_raw_response.create(model="auto", messages=user("echo:x"), frequency_penalty=0.5)
    matches("frequency-penalty", loss.headers.get("x-mcptb-loss"), "x-mcptb-loss")


def models() -> None:
    listed = client.models.list().data
    true(listed and all(m.object == "model" and m.owned_by and m.created > 0 for m in listed), "model list", listed)
    equal(client.models.retrieve(listed[0].id).id, listed[0].id, "retrieved model")
    error = raises(openai.NotFoundError, lambda: once.models.retrieve("no/such"), "unknown model")
    equal((error.code, error.param), ("model_not_found", "model"), "code and param")


def errors() -> None:
    quota = raises(openai.RateLimitError, lambda: ask("fail:quota"), "quota at the host")
    matches(UUID7, quota.request_id, "request id of an error")
    equal(raises(openai.NotFoundError, lambda: ask("fail:model"), "model at the host").code, "model_not_found", "code")
    context = raises(openai.BadRequestError, lambda: ask("fail:context"), "context")
    equal(context.code, "context_length_exceeded", "code")
    equal(raises(openai.InternalServerError, lambda: ask("fail:broken"), "failing host").status_code, 502, "status")
    raises(openai.RateLimitError, lambda: list(once.chat.completions.create(
        model="auto", messages=user("fail:quota"), stream=True)), "an early failure of a stream keeps its status")
    equal(raises(openai.BadRequestError, lambda: ask("echo:x", logprobs=True), "logprobs").param, "logprobs", "param")
    unknown = raises(openai.NotFoundError, lambda: once.images.generate(model="m", prompt="x"), "unknown route")
    equal(unknown.code, "unknown_url", "code")
    wrong = raises(openai.BadRequestError, lambda: ask("x", extra_body={"messages": "not a list"}), "wrong type")
    matches("^messages", wrong.param, "param")


def at_once() -> None:
    """64 calls together, every other one streamed, each with a text of its own."""
    texts: list[str] = []

    async def all_of_them() -> None:
        async with AsyncOpenAI(base_url=BASE, api_key=options.token, timeout=WAIT, max_retries=0) as concurrent:

            async def one(number: int) -> None:
                said = f"{number}-{nonce()}"
                call = {"model": "auto", "messages": user(f"slow:40:{said}")}
                if number % 2:
                    got = ""
                    async for chunk in await concurrent.chat.completions.create(stream=True, **call):
                        got += "".join(choice.delta.content or "" for choice in chunk.choices)
                else:
                    got = text_of(await concurrent.chat.completions.create(**call))
                equal(got, said, f"answer of call {number}")
                texts.append(f"slow:40:{said}")

            await asyncio.gather(*(one(number) for number in range(64)))
            async with concurrent.chat.completions.stream(model="auto", messages=user("long")) as stream:
                equal(text_of(await stream.get_final_completion()), LONG_TEXT, "async accumulated text")

    asyncio.run(all_of_them())
    equal([text_of(ask(f"asked:{text}")) for text in texts[:4]], ["1"] * 4, "samplings of four of the calls")
    most = int(text_of(ask("most-at-once")))
    true(1 < most <= 8, "samplings at once at the host must be more than one and at most eight", most)


def refused() -> None:
    error = raises(openai.PermissionDeniedError, lambda: client.chat.completions.create(
        model="auto", messages=user(f"reject:{nonce()}")), "a refusal")
    equal(error.code, "sampling_rejected", "code")
    not_retried(error, "a refusal")


def refused_stream() -> None:
    error = raises(openai.PermissionDeniedError, lambda: list(client.chat.completions.create(
        model="auto", messages=user(f"reject:{nonce()}"), stream=True)), "a refused stream")
    not_retried(error, "a refused stream")


def token() -> None:
    equal(text_of(ask("echo:x")), "x", "with the token")
    for wrong in ("wrong-token-of-twenty-characters", options.token[:-1]):
        stranger = once.with_options(api_key=wrong)
        error = raises(openai.AuthenticationError, lambda: stranger.chat.completions.create(
            model="auto", messages=user("echo:x")), "a wrong token")
        equal(error.code, "invalid_api_key", "code")
        true(wrong not in str(error), "the error repeats the key it was given")
        raises(openai.AuthenticationError, lambda: stranger.models.list(), "models with a wrong token")


run(options.group, {
    "main": [non_streaming, request_id_and_headers, model_names, streaming, streaming_grammar, conversation, images,
             stop_sequences, several_choices, parameters, models, errors, at_once],
    "refusal": [refused, refused_stream],
    "smoke": [non_streaming],
    "token": [token],
}, beside={"main": [keep_alive, error_after_the_head]})
