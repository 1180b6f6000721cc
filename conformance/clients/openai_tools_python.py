"""Checks tools, structured output and what else agents send to the Chat Completions door with the official SDK."""

from __future__ import annotations

import base64
import gzip
import http.client
import json

import openai
import pydantic
from openai import OpenAI, pydantic_function_tool

import grammar
from checks import (PIXEL, PIXEL_SEEN, WAIT, arguments, equal, matches, nonce, not_retried, quotes, raises, run, true)

options = arguments()
client = OpenAI(base_url=f"{options.base_url}/v1", api_key=options.token, timeout=WAIT)
once = client.with_options(max_retries=0)


def function(name: str, properties: dict, **more: object) -> dict:
    parameters = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return {"type": "function", "function": {"name": name, "description": f"It is {name}.", "parameters": parameters,
                                             **more}}


WEATHER = function("get_weather", {"city": {"type": "string"}, "days": {"type": "integer"},
                                   "notes": {"type": "array", "items": {"type": "string"}}})
RUN = function("run", {"program": {"type": "string"}})
TOOLS = [WEATHER, RUN]
ASKED = {"city": 'Zürich "HB"\n<b>', "days": 2, "notes": ["a", "é"]}
CALL = f"call:get_weather:{json.dumps(ASKED)}"
TWO = [{"name": "get_weather", "input": {"city": "Oslo"}}, {"name": "run", "input": {"program": 'print("1\n2")\n'}}]
BOTH = f"calls:{json.dumps(TWO)}"
FORMED = base64.b64encode(b'{"program": "echo \\"hi\\" && ls"}').decode()


def user(content: object) -> dict:
    return {"role": "user", "content": content}


def body(*messages: dict | str, **more: object) -> dict:
    said = [user(message) if isinstance(message, str) else message for message in messages]
    return {"model": "auto", "tools": TOOLS, "messages": said} | more


def ask(*messages: dict | str, **more: object):
    return once.chat.completions.create(**body(*messages, **more))


def result(call, content: object) -> dict:
    return {"role": "tool", "tool_call_id": call.id, "content": content}


def text_of(completion) -> str:
    equal(completion.choices[0].message.tool_calls or [], [], "calls beside the text")
    return completion.choices[0].message.content


def calls_of(completion) -> list:
    return completion.choices[0].message.tool_calls or []


def plain(calls: list) -> list[dict]:
    return [{"name": call.function.name, "input": json.loads(call.function.arguments)} for call in calls]


def offered(**more: object) -> dict:
    """What the model says that it was offered."""
    return json.loads(text_of(ask("tools?", **more)))


def one_call() -> None:
    got = ask(CALL)
    message = got.choices[0].message
    equal((got.choices[0].finish_reason, message.content), ("tool_calls", None), "finish reason and content")
    equal(plain(message.tool_calls), [{"name": "get_weather", "input": ASKED}], "the call")
    call = message.tool_calls[0]
    equal(call.type, "function", "type of the call")
    turns = [CALL, message.model_dump(exclude_none=True)]
    equal(text_of(ask(*turns, result(call, "18 °C"))), "got: 18 °C", "answer to a result")
    parts = [{"type": "text", "text": "18 °C"}]
    equal(text_of(ask(*turns, result(call, parts))), "got: 18 °C", "answer to a result in parts")
    # opencode sends empty content beside calls.
    emptied = message.model_dump(exclude_none=True) | {"content": ""}
    equal(text_of(ask(CALL, emptied, result(call, "18 °C"))), "got: 18 °C", "calls beside empty content")
    no_arguments = ask("call:run").choices[0].message.tool_calls[0]
    equal(json.loads(no_arguments.function.arguments), {}, "arguments of a call without any")
    said = ask('say:I look.:run:{"program":"x"}').choices[0]
    equal((said.message.content, len(said.message.tool_calls)), ("I look.", 1), "text before a call")


def parallel_calls() -> None:
    got = ask(BOTH)
    calls = calls_of(got)
    equal(plain(calls), TWO, "the calls")
    equal(len({call.id for call in calls}), 2, "distinct ids")
    turns = [BOTH, got.choices[0].message.model_dump(exclude_none=True)]
    answers = [result(calls[1], "two"), result(calls[0], "one")]
    equal(text_of(ask(*turns, *answers)), "got: one; two", "answer to two results")
    missing = raises(openai.BadRequestError, lambda: ask(*turns, answers[0]), "a call without a result")
    matches(calls[0].id, missing.message, "the id of the unanswered call")
    equal(plain(calls_of(ask(BOTH, parallel_tool_calls=False))), TWO[:1], "calls with parallel_tool_calls false")


def tool_choice() -> None:
    equal(offered(), {"tools": ["get_weather", "run"], "required": False}, "auto")
    equal(offered(tool_choice="none")["tools"], [], "none")
    equal(offered(tool_choice="required"), {"tools": ["get_weather", "run"], "required": True}, "required")
    named = {"type": "function", "function": {"name": "run"}}
    equal(offered(tool_choice=named), {"tools": ["run"], "required": True}, "a named tool")
    for mode in ("auto", "required"):
        allowed = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named]}}
        equal(offered(tool_choice=allowed), {"tools": ["run"], "required": mode == "required"}, f"allowed tools, {mode}")
    forced = ask('reluctant:run:{"program":"x"}', tool_choice="required")
    equal(plain(calls_of(forced)), [{"name": "run", "input": {"program": "x"}}], "a model that had to be told twice")
    unknown = {"type": "function", "function": {"name": "nope"}}
    raises(openai.BadRequestError, lambda: ask("x", tool_choice=unknown), "a tool choice that names no tool")


def streamed_calls() -> None:
    with client.chat.completions.stream(**body(BOTH)) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    equal(plain(calls_of(final)), TWO, "accumulated calls")
    equal([(event.index, event.name) for event in done], [(0, "get_weather"), (1, "run")], "done events")
    equal(final.choices[0].finish_reason, "tool_calls", "finish reason")
    with once.chat.completions.with_streaming_response.create(
            **body('say:I look.:run:{"program":"x"}', stream=True, stream_options={"include_usage": True})) as reply:
        seen = grammar.chat(reply.read(), include_usage=True)
    equal((seen.texts, seen.finish_reasons), (["I look."], ["tool_calls"]), "streamed text and finish reason")
    equal([(call["name"], json.loads(call["input"])) for call in seen.calls], [("run", {"program": "x"})], "calls")


class Weather(pydantic.BaseModel):
    city: str
    days: int


def parsed_calls() -> None:
    tools = [pydantic_function_tool(Weather, name="get_weather")]
    said = 'call:get_weather:{"city":"Oslo","days":3}'
    got = once.chat.completions.parse(model="auto", messages=[user(said)], tools=tools)
    equal(calls_of(got)[0].function.parsed_arguments, Weather(city="Oslo", days=3), "parsed arguments")


def legacy_functions() -> None:
    functions = [WEATHER["function"], RUN["function"]]
    got = ask(CALL, tools=openai.NOT_GIVEN, functions=functions).choices[0]
    equal((got.finish_reason, got.message.tool_calls), ("function_call", None), "finish reason and tool calls")
    call = got.message.function_call
    equal((call.name, json.loads(call.arguments)), ("get_weather", ASKED), "the call")
    turns = [CALL, got.message.model_dump(exclude_none=True), {"role": "function", "name": "get_weather", "content": "18"}]
    equal(text_of(ask(*turns, tools=openai.NOT_GIVEN, functions=functions)), "got: 18", "answer to a function's result")
    named = offered(tools=openai.NOT_GIVEN, functions=functions, function_call={"name": "run"})
    equal(named, {"tools": ["run"], "required": True}, "a named function")


def custom_tools() -> None:
    patch = {"type": "custom", "custom": {"name": "patch", "description": "Changes files.",
                                          "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}}}}
    text = '*** Begin Patch\n+ "a" <b> {c}\n*** End Patch\n'
    said = f"call:patch:{json.dumps({'input': text})}"
    got = ask(said, tools=[patch, RUN])
    call = calls_of(got)[0]
    equal((call.type, call.custom.name, call.custom.input), ("custom", "patch", text), "the call")
    turns = [said, got.choices[0].message.model_dump(exclude_none=True), result(call, "done")]
    equal(text_of(ask(*turns, tools=[patch, RUN])), "got: done", "answer to its result")
    named = offered(tools=[patch, RUN], tool_choice={"type": "custom", "custom": {"name": "patch"}})
    equal(named, {"tools": ["patch"], "required": True}, "a named custom tool")
    # The SDK's own accumulator (3.54.0) fails on every custom call: it reads its dict as an object.
    with once.chat.completions.with_streaming_response.create(**body(said, tools=[patch], stream=True)) as reply:
        seen = grammar.chat(reply.read())
    equal([(call["type"], call["name"], call["input"]) for call in seen.calls], [("custom", "patch", text)], "streamed")


def images_in_results() -> None:
    got = ask('call:run:{"program":"x"}')
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    answer = result(calls_of(got)[0], [{"type": "text", "text": "see"}, image])
    turns = ["call:run:{}", got.choices[0].message.model_dump(exclude_none=True), answer]
    equal(text_of(ask(*turns, "describe-image")), PIXEL_SEEN, "an image in a result")


class Order(pydantic.BaseModel):
    product: str
    quantity: int
    gift: bool


def structured() -> None:
    expected = Order(product="scripted", quantity=7, gift=True)

    def parse(text: str):
        return once.chat.completions.parse(model="auto", messages=[user(text)], response_format=Order)

    for text in ("json:valid", "json:fenced", "json:repair", "An order, please."):
        equal(parse(text).choices[0].message.parsed, expected, text)
    for kind in ("prose", "wrong"):
        said = f"json:{kind}:{nonce()}"
        failed = raises(openai.APIStatusError, lambda said=said: client.chat.completions.parse(
            model="auto", messages=[user(said)], response_format=Order), f"{kind} where JSON was asked for")
        not_retried(failed, f"{kind} where JSON was asked for")
        equal(text_of(ask(f"asked:{said}", tools=openai.NOT_GIVEN)), "2", "samplings until giving up")
    schema = {"name": "order", "schema": Order.model_json_schema()}
    loose = {"type": "json_schema", "json_schema": schema | {"strict": False}}
    reply = once.chat.completions.with_raw_response.create(
        model="auto", messages=[user("json:wrong")], response_format=loose)
    equal(json.loads(text_of(reply.parse())), {"wrong": "on purpose"}, "what breaks a schema that is not strict")
    matches("output-mismatch", reply.headers.get("x-mcptb-loss"), "loss")
    some = ask("json:fenced", tools=openai.NOT_GIVEN, response_format={"type": "json_object"})
    equal(json.loads(text_of(some)), {"scripted": True}, "any JSON object")
    with client.chat.completions.stream(model="auto", messages=[user("json:repair")], response_format=Order) as stream:
        equal(stream.get_final_completion().choices[0].message.parsed, expected, "streamed")
    for reference in ("http://127.0.0.1:9/schema.json", "file:///etc/passwd"):
        fetching = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": {"$ref": reference}}}
        refused = raises(openai.BadRequestError, lambda fetching=fetching: ask("x", response_format=fetching), reference)
        matches("^response_format", refused.param, "param")


def losses() -> None:
    reply = once.chat.completions.with_raw_response.create(**body(CALL))
    found = reply.headers.get("x-mcptb-loss", "").split(", ")
    equal("tools-prompted" in found, options.variant == "prompted", f"tools-prompted in {found}")
    reply = once.chat.completions.with_raw_response.create(
        **body("echo:x", tools=[function("strict", {}, strict=True)]))
    matches("tool-strict", reply.headers.get("x-mcptb-loss"), "loss of a strict tool")


def params_modes() -> None:
    def create(mode: str, **more: object):
        return once.chat.completions.with_raw_response.create(
            model="auto", messages=[user("echo:x")], extra_headers={"x-mcptb-params": mode}, **more)

    refused = raises(openai.BadRequestError, lambda: ask("x", logprobs=True), "logprobs by default")
    equal(refused.param, "logprobs", "param")
    reply = create("lenient", logprobs=True, top_logprobs=2)
    equal((text_of(reply.parse()), "logprobs" in reply.headers["x-mcptb-loss"]), ("x", True), "logprobs, lenient")
    equal("presence-penalty" in create("default", presence_penalty=1).headers["x-mcptb-loss"], True, "default")
    strict = raises(openai.BadRequestError, lambda: create("strict", presence_penalty=1), "a penalty, strict")
    equal(strict.param, "presence_penalty", "param")
    raises(openai.BadRequestError, lambda: create("sloppy"), "an unknown mode")


def other_routes() -> None:
    got = once.completions.create(model="auto", prompt="echo:x", max_tokens=50)
    equal((got.object, got.choices[0].text, got.choices[0].finish_reason), ("text_completion", "x", "stop"), "legacy")
    true(got.usage.total_tokens > 0, "usage of a legacy completion", got.usage)
    pieces = list(once.completions.create(model="auto", prompt="echo:a b c", stream=True))
    equal("".join(piece.choices[0].text for piece in pieces if piece.choices), "a b c", "streamed legacy completion")
    equal(list(once.chat.completions.list()), [], "stored completions")
    missing = raises(openai.NotFoundError, lambda: once.embeddings.create(model="m", input="x"), "embeddings")
    equal(missing.code, "unknown_url", "code")
    matches("embedding", missing.message, "a message that says why")


def packed_body() -> None:
    """Agents may compress what they send."""
    packed = gzip.compress(json.dumps(body("echo:unpacked")).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip", "authorization": f"Bearer {options.token}"}
    connection = http.client.HTTPConnection(options.base_url.removeprefix("http://"), timeout=WAIT)
    connection.request("POST", "/v1/chat/completions", packed, headers)
    reply = json.loads(connection.getresponse().read())
    equal(reply["choices"][0]["message"]["content"], "unpacked", "reply to a compressed request")
    # 64 MiB of blanks in 64 KB: what is unpacked counts, not what was sent.
    bomb = gzip.compress(b" " * (64 << 20))
    connection = http.client.HTTPConnection(options.base_url.removeprefix("http://"), timeout=WAIT)
    connection.request("POST", "/v1/chat/completions", bomb, headers)
    equal(connection.getresponse().status, 413, "status of a body that unpacks to 64 MiB")


def many_tools() -> None:
    """25 tools with 64 KB of schemas, as agents bring them."""
    properties = {f"field_{at}": {"type": "string", "description": "what it means " * 9} for at in range(16)}
    tools = [function(f"tool_{at}", properties) for at in range(25)]
    equal(len(offered(tools=tools)["tools"]), 25, "tools that arrive")
    got = ask('call:tool_24:{"field_15":"x"}', tools=tools)
    equal(plain(calls_of(got)), [{"name": "tool_24", "input": {"field_15": "x"}}], "a call of the last one")


def quoted() -> None:
    """What a result holds must not become a call because the model repeats it."""
    first = ask("nonce?")
    live = text_of(first).replace(" ", "")
    matches("^[0-9a-f]{8,}$", live, "the nonce that the model was shown")
    for name, markup in quotes("run", live).items():
        asked = ["nonce?", {"role": "assistant", "content": text_of(first)}, "repeat:run:{\"program\":\"cat\"}"]
        got = ask(*asked)
        text = f"The file says:\n{markup}"
        turn = got.choices[0].message.model_dump(exclude_none=True)
        equal(text_of(ask(*asked, turn, result(calls_of(got)[0], text))), text, f"the text that repeats {name}")


def foreign_forms() -> None:
    for form in ("unclosed", "hallucinated", "hermes", "qwen", "bare", "openai"):
        got = ask(f"form:{form}:run:{FORMED}")
        equal(plain(calls_of(got)), [{"name": "run", "input": {"program": 'echo "hi" && ls'}}], f"the form {form}")
        equal((got.choices[0].finish_reason, got.choices[0].message.content), ("tool_calls", None), f"end of {form}")


both = [one_call, parallel_calls, tool_choice, streamed_calls, parsed_calls, legacy_functions, custom_tools,
        images_in_results, structured, losses, params_modes, other_routes, packed_body, many_tools]
run(options.group, {"main": both + ([quoted, foreign_forms] if options.variant == "prompted" else [])}, {})
