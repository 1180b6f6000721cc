"""Checks tools, structured output, threads and token counts of the Messages door with the official `anthropic` SDK."""

from __future__ import annotations

import base64
import http.client
import json
import threading

import anthropic
import pydantic
from anthropic import Anthropic, beta_tool

import grammar
from checks import (PIXEL, PIXEL_SEEN, WAIT, arguments, at_once, equal, matches, nonce, not_retried, quotes, raises, run,
                    true)

options = arguments()
client = Anthropic(base_url=options.base_url, api_key=options.token, timeout=WAIT)
once = client.with_options(max_retries=0)

WEATHER = {
    "name": "get_weather", "description": "The weather of a city.",
    "input_schema": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string"}, "days": {"type": "integer"}, "units": {"enum": ["C", "F"]},
        "notes": {"type": "array", "items": {"type": "string"}}}},
}
RUN = {"name": "run", "description": "Runs a program.", "input_schema": {
    "type": "object", "required": ["program"], "properties": {"program": {"type": "string"}}}}
TOOLS = [WEATHER, RUN]
ASKED = {"city": 'Zürich "HB"\n<b>', "days": 2, "units": "C", "notes": ["a", "é"]}
CALL = f"call:get_weather:{json.dumps(ASKED)}"
TWO = [{"name": "get_weather", "input": {"city": "Oslo"}}, {"name": "run", "input": {"program": 'print("1\n2")\n'}}]
BOTH = f"calls:{json.dumps(TWO)}"


FORMED = base64.b64encode(b'{"program": "echo \\"hi\\" && ls"}').decode()


def user(content: object) -> dict:
    return {"role": "user", "content": content}


def ask(*messages: dict | str, **more: object):
    said = [user(message) if isinstance(message, str) else message for message in messages]
    return once.messages.create(**{"model": "auto", "max_tokens": 1000, "tools": TOOLS, "messages": said} | more)


def result(call, content: object, **more: object) -> dict:
    return {"type": "tool_result", "tool_use_id": call.id, "content": content} | more


def calls_of(message) -> list:
    return [block for block in message.content if block.type == "tool_use"]


def text_of(message) -> str:
    equal([block.type for block in message.content], ["text"], "content blocks")
    return message.content[0].text


def offered(**more: object) -> dict:
    """What the model says that it was offered."""
    return json.loads(text_of(ask("tools?", **more)))


def one_call() -> None:
    message = ask(CALL)
    call, = calls_of(message)
    equal((message.stop_reason, len(message.content)), ("tool_use", 1), "stop reason and number of blocks")
    equal((call.name, call.input), ("get_weather", ASKED), "the call")
    matches(r"^[a-zA-Z0-9_-]+$", call.id, "id of the call")
    turns = [CALL, {"role": "assistant", "content": message.content}]
    equal(text_of(ask(*turns, user([result(call, "18 °C")]))), "got: 18 °C", "answer to a result")
    blocks = [{"type": "text", "text": "18"}, {"type": "text", "text": " °C"}]
    matches(r"^got: 18\s*°C$", text_of(ask(*turns, user([result(call, blocks)]))), "answer to a result of two blocks")
    failed = ask(*turns, user([result(call, "no such city", is_error=True)]))
    equal(text_of(failed), "got: error no such city", "answer to an error")


def text_and_call() -> None:
    message = ask("say:I look it up.:run:{\"program\":\"x\"}")
    equal([block.type for block in message.content], ["text", "tool_use"], "blocks")
    equal(message.content[0].text, "I look it up.", "text before the call")
    turns = [{"role": "assistant", "content": message.content}, user([result(message.content[1], "")])]
    matches("^got:", text_of(ask("say:I look it up.:run:{}", *turns)), "answer to an empty result")


def parallel_calls() -> None:
    message = ask(BOTH)
    calls = calls_of(message)
    equal([{"name": call.name, "input": call.input} for call in calls], TWO, "the calls")
    equal(len({call.id for call in calls}), 2, "distinct ids")
    turns = [BOTH, {"role": "assistant", "content": message.content}]
    # Claude Code puts text beside results, and results need not come in order.
    reminder = {"type": "text", "text": "<system-reminder>Mind the gap.</system-reminder>"}
    answers = [result(calls[1], "two"), result(calls[0], "one"), reminder]
    matches("^got: (one; two|two; one)$", text_of(ask(*turns, user(answers))), "answer to two results")
    apart = [user([result(calls[0], "one")]), user([result(calls[1], "two")])]
    equal(text_of(ask(*turns, *apart)), "got: one; two", "answer to results in two messages")
    system = {"role": "system", "content": "Mind the gap."}
    equal(text_of(ask(*turns, system, user(answers[:2][::-1]))), "got: one; two", "system text before the results")
    unanswered = raises(anthropic.BadRequestError, lambda: ask(*turns, user([result(calls[0], "one")])),
                        "a call without a result")
    matches(calls[1].id, unanswered.body["error"]["message"], "the id of the unanswered call")


def parallel_off() -> None:
    message = ask(BOTH, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    equal([call.name for call in calls_of(message)], ["get_weather"], "calls without parallel use")


def tool_choice() -> None:
    equal(offered(), {"tools": ["get_weather", "run"], "required": False}, "auto")
    equal(offered(tool_choice={"type": "auto"})["required"], False, "auto by name")
    named = ask("call:run:{\"program\":\"x\"}", tool_choice={"type": "tool", "name": "run"})
    equal(calls_of(named)[0].name, "run", "the named tool")
    equal(offered(tool_choice={"type": "none"})["tools"], [], "none")
    equal(offered(tools=[], tool_choice=anthropic.NOT_GIVEN)["tools"], [], "an empty list")
    forced = ask("reluctant:run:{\"program\":\"x\"}", tool_choice={"type": "any"})
    equal([call.name for call in calls_of(forced)], ["run"], "a model that had to be told twice")
    equal(offered(tool_choice={"type": "any"}), {"tools": ["get_weather", "run"], "required": True}, "any")
    only = {"tools": ["run"], "required": True}
    equal(offered(tool_choice={"type": "tool", "name": "run"}), only, "what is offered with a named tool")
    raises(anthropic.BadRequestError, lambda: ask("x", tool_choice={"type": "tool", "name": "nope"}), "an unknown name")


def streamed_calls() -> None:
    with client.messages.stream(model="auto", max_tokens=1000, tools=TOOLS, messages=[user(BOTH)]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    equal([{"name": call.name, "input": call.input} for call in calls_of(final)], TWO, "accumulated calls")
    equal((final.stop_reason, kinds.count("input_json") > 0), ("tool_use", True), "stop reason and events")
    said = "say:I look.:run:{\"program\":\"x\"}"
    with once.messages.with_streaming_response.create(
            model="auto", max_tokens=1000, tools=TOOLS, messages=[user(said)], stream=True) as reply:
        seen = grammar.message(reply.read())
    equal((seen.text, seen.stop_reason), ("I look.", "tool_use"), "streamed text and stop reason")
    equal([(call["name"], call["input"]) for call in seen.calls], [("run", {"program": "x"})], "streamed calls")
    equal(seen.usage["output_tokens"] > 0, True, "usage of a call")


def images_in_results() -> None:
    message = ask("call:run:{\"program\":\"x\"}")
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    answer = user([result(calls_of(message)[0], [{"type": "text", "text": "see"}, image]),
                   {"type": "text", "text": "describe-image"}])
    turns = ["call:run:{}", {"role": "assistant", "content": message.content}, answer]
    equal(text_of(ask(*turns)), PIXEL_SEEN, "an image in a result")


def history_without_tools() -> None:
    message = ask(CALL)
    turns = [CALL, {"role": "assistant", "content": message.content}, user([result(calls_of(message)[0], "ok")])]
    equal(text_of(ask(*turns, "echo:on", tools=anthropic.NOT_GIVEN)), "on", "calls in the history, but no tools now")


def losses() -> None:
    reply = once.messages.with_raw_response.create(model="auto", max_tokens=9, tools=TOOLS, messages=[user(CALL)])
    found = reply.headers.get("x-mcptb-loss", "").split(", ")
    equal("tools-prompted" in found, options.variant == "prompted", f"tools-prompted in {found}")
    search = {"type": "web_search_20250305", "name": "web_search"}
    reply = once.messages.with_raw_response.create(
        model="auto", max_tokens=9, tools=[search, RUN], messages=[user("tools?")])
    matches("hosted-tools", reply.headers.get("x-mcptb-loss"), "loss of a hosted tool")
    equal(json.loads(text_of(reply.parse()))["tools"], ["run"], "what is left without the hosted tool")
    bash = {"type": "bash_20250124", "name": "bash"}
    refused = raises(anthropic.BadRequestError, lambda: ask("x", tools=[bash]), "a tool that the caller would run")
    matches("bash_20250124", refused.body["error"]["message"], "message")


def schemas_keep_their_order() -> None:
    schema = {"type": "object", "properties": {"z": {"type": "number"}, "a": {"type": "string"}, "m": {"enum": [2, 1]}},
              "required": ["z", "a"]}
    tool = {"name": "ordered", "input_schema": schema}
    seen = json.loads(text_of(ask("schema?:ordered", tools=[tool])))
    equal((list(seen["properties"]), seen["required"]), (["z", "a", "m"], ["z", "a"]), "order of the properties")
    call, = calls_of(ask('call:ordered:{"z":1.5,"a":"x","m":2}', tools=[tool]))
    equal(list(call.input.items()), [("z", 1.5), ("a", "x"), ("m", 2)], "order and kinds of the arguments")


def many_tools() -> None:
    """25 tools with 64 KB of schemas, as agents bring them."""
    properties = {f"field_{at}": {"type": "string", "description": "what it means " * 9} for at in range(16)}
    tools = [{"name": f"tool_{at}", "description": "does a thing " * 20,
              "input_schema": {"type": "object", "properties": properties}} for at in range(25)]
    true(len(json.dumps(tools)) > 60_000, "the tools are too small")
    equal(len(offered(tools=tools)["tools"]), 25, "tools that arrive")
    call, = calls_of(ask('call:tool_24:{"field_15":"x"}', tools=tools))
    equal((call.name, call.input), ("tool_24", {"field_15": "x"}), "a call of the last one")


def runners() -> None:
    """The SDK's own loop; by default it keeps the conversation in a message thread."""
    ran: list[str] = []

    @beta_tool
    def run_it(program: str) -> str:
        """Runs a program."""
        ran.append(program)
        return f"ran {program}"

    for more in ({}, {"thread": False}, {"stream": True}):
        ran.clear()
        said = 'rounds:2:run_it:{"program":"é"}'
        runner = client.beta.messages.tool_runner(
            model="auto", max_tokens=1000, tools=[run_it], messages=[user(said)], **more)
        final = runner.until_done()
        equal((final.content[0].text, ran), ("got: ran é; ran é", ["é", "é"]), f"a loop of two rounds with {more}")


def threads() -> None:
    """Threads that a caller asks for itself cannot be gone on without, so they are refused by name."""
    thread = client.beta.messages.thread(model="auto", max_tokens=1000, system="Be brief.")
    error = raises(anthropic.BadRequestError, lambda: thread.send(user("echo:one")), "a message thread")
    equal(error.body["error"]["details"]["error_code"], "thread_unsupported_request", "error_code")


class Order(pydantic.BaseModel):
    product: str
    quantity: int
    gift: bool


def parsed() -> None:
    def parse(text: str):
        return once.messages.parse(model="auto", max_tokens=1000, messages=[user(text)], output_format=Order)

    expected = Order(product="scripted", quantity=7, gift=True)
    for text in ("json:valid", "json:fenced", "json:repair", "An order, please."):
        equal(parse(text).parsed_output, expected, text)
    equal(parse('echo:{"product":"é","quantity":1,"gift":false}').parsed_output.product, "é", "the model's own JSON")
    said = f"json:prose:{nonce()}"
    failed = raises(anthropic.APIStatusError, lambda: client.messages.parse(
        model="auto", max_tokens=1000, messages=[user(said)], output_format=Order), "prose where JSON was asked for")
    not_retried(failed, "prose where JSON was asked for")
    equal(text_of(ask(f"asked:{said}", tools=anthropic.NOT_GIVEN)), "2", "samplings until giving up")
    with client.messages.stream(model="auto", max_tokens=1000, messages=[user("json:fenced")],
                                output_format=Order) as stream:
        equal(stream.get_final_message().parsed_output, expected, "streamed")
    both = ask(CALL, output_config={"format": {"type": "json_schema", "schema": Order.model_json_schema() | {
        "additionalProperties": False}}})
    equal([call.name for call in calls_of(both)], ["get_weather"], "a call where an answer would be JSON")


def count_tokens() -> None:
    def count(text: str, **more: object) -> int:
        return once.messages.count_tokens(model="auto", messages=[user(text)], **more).input_tokens

    said = f"echo:{nonce()}"
    small = count(said)
    true(small >= 1, "the count is below one", small)
    true(count(said + " more of it" * 50) > small, "more text is not more tokens")
    true(count(said, tools=TOOLS) > count(said, system="Be brief.") > small, "system and tools are not counted")
    # Claude Code's /context counts per tool, all at once.
    counts = at_once(lambda: count(said), 25)
    equal(counts, [small] * 25, "25 counts at once")
    equal(text_of(ask(f"asked:{said}")), "0", "samplings for counting")


def taken_over() -> None:
    """Claude Code sends a stream that failed again without `stream`: that must not ask the model twice."""
    said = f"slow:4000:{nonce()}"
    body = {"model": "auto", "max_tokens": 128000, "messages": [user(said)], "stream": True}
    headers = {"content-type": "application/json", "authorization": f"Bearer {options.token}",
               "anthropic-version": "2023-06-01", "x-claude-code-session-id": nonce()}
    address = options.base_url.removeprefix("http://")
    first = http.client.HTTPConnection(address, timeout=WAIT)
    first.request("POST", "/v1/messages?beta=true", json.dumps(body), headers)
    # The model must be at work before the caller goes; it counts what it was asked.
    wait_until_asked(said)
    first.close()
    again = {name: value for name, value in body.items() if name != "stream"} | {"max_tokens": 64000}
    second = http.client.HTTPConnection(address, timeout=WAIT)
    second.request("POST", "/v1/messages?beta=true", json.dumps(again), headers)
    reply = json.loads(second.getresponse().read())
    equal(reply["content"][0]["text"], said.rpartition(":")[2], "the answer of the second call")
    equal(text_of(ask(f"asked:{said}", tools=anthropic.NOT_GIVEN)), "1", "samplings for both calls")


def wait_until_asked(said: str) -> None:
    for _ in range(100):
        if text_of(ask(f"asked:{said}", tools=anthropic.NOT_GIVEN)) == "1":
            return
    raise AssertionError("the host never got the call")


def quoted() -> None:
    """What a result holds must not become a call because the model repeats it."""
    first = ask("nonce?")
    live = text_of(first).replace(" ", "")
    matches("^[0-9a-f]{8,}$", live, "the nonce that the model was shown")
    for name, markup in quotes("run", live).items():
        asked = ["nonce?", {"role": "assistant", "content": first.content}, "repeat:run:{\"program\":\"cat\"}"]
        message = ask(*asked)
        call, = calls_of(message)
        text = f"The file says:\n{markup}"
        reply = ask(*asked, {"role": "assistant", "content": message.content}, user([result(call, text)]))
        equal([call.name for call in calls_of(reply)], [], f"calls made by repeating {name}")
        equal(text_of(reply), text, f"the text that repeats {name}")


def foreign_forms() -> None:
    for form in ("unclosed", "hallucinated", "hermes", "qwen", "bare", "openai"):
        message = ask(f"form:{form}:run:{FORMED}")
        equal([(call.name, call.input) for call in calls_of(message)], [("run", {"program": 'echo "hi" && ls'})],
              f"a call in the form {form}")
        equal((message.stop_reason, len(message.content)), ("tool_use", 1), f"stop reason and blocks of the form {form}")


both = [one_call, text_and_call, parallel_calls, parallel_off, tool_choice, streamed_calls, images_in_results,
        history_without_tools, losses, schemas_keep_their_order, many_tools, runners, threads, parsed, count_tokens,
        taken_over]
run(options.group, {"main": both + ([quoted, foreign_forms] if options.variant == "prompted" else [])}, {})
