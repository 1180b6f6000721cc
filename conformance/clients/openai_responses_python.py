"""Checks the Responses door with the official `openai` Python SDK."""

from __future__ import annotations

import json

import openai
import pydantic
from openai import OpenAI
from openai.lib.responses_tool_runner import RegisteredFunction, ResponsesToolRunner

import grammar_responses
from checks import (LONG_TEXT, PIXEL, PIXEL_SEEN, UUID7, WAIT, arguments, equal, matches, nonce, not_retried, raises,
                    run, true)
from grammar import frames

options = arguments()
client = OpenAI(base_url=f"{options.base_url}/v1", api_key=options.token, timeout=WAIT)
once = client.with_options(max_retries=0)

RUN = {"type": "function", "name": "run", "description": "Runs a program.", "strict": False, "parameters": {
    "type": "object", "required": ["program"], "properties": {"program": {"type": "string"}}}}
LOOK = RUN | {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
PATCH = {"type": "custom", "name": "patch", "description": "Changes files.",
         "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}}
AGENTS = {"type": "namespace", "name": "agents", "description": "Other agents.", "tools": [RUN]}
PROGRAM = 'print("1\n2")  # é <b>\n'
CALL = f"call:run:{json.dumps({'program': PROGRAM})}"
BOTH = f"calls:{json.dumps([{'name': 'run', 'input': {'program': PROGRAM}}, {'name': 'look', 'input': {}}])}"


def ask(said: object, **more: object):
    return once.responses.create(**{"model": "auto", "input": said} | more)


def raw(said: object, **more: object) -> bytes:
    with once.responses.with_streaming_response.create(model="auto", input=said, stream=True, **more) as reply:
        return reply.read()


def user(text: object) -> dict:
    return {"role": "user", "content": text}


def calls_of(response) -> list:
    return [item for item in response.output if item.type in ("function_call", "custom_tool_call")]


def replayed(response) -> list[dict]:
    """The items of an answer as agents send them back."""
    return [item.model_dump(exclude_none=True) for item in response.output]


def output(call, text: object) -> dict:
    return {"type": call.type + "_output", "call_id": call.call_id, "output": text}


def non_streaming() -> None:
    said = nonce()
    got = ask(f"echo:{said}")
    equal((got.output_text, got.status, got.object, got.error), (said, "completed", "response", None), "answer")
    matches("^resp_", got.id, "id")
    matches("^msg_", got.output[0].id, "id of the message")
    equal(got.model, "scripted-1", "the served model answers for `auto`")
    true(got.usage.input_tokens > 0 and got.usage.output_tokens > 0, "usage is zero", got.usage)
    equal(got.usage.total_tokens, got.usage.input_tokens + got.usage.output_tokens, "total tokens")
    equal(ask("long").output_text, LONG_TEXT, "long answer")
    matches(UUID7, got._request_id, "request id")
    cut = ask("truncated")
    equal((cut.status, cut.incomplete_details.reason, cut.output_text), ("incomplete", "max_output_tokens", "cut off he"),
          "an answer cut by the host")


def inputs() -> None:
    equal(ask("system?", instructions="Be brief.").output_text, "Be brief.", "instructions")
    developer = [{"role": "developer", "content": "Be kind."}, user("system?")]
    matches(r"(?s)Be brief\..*Be kind\.", ask(developer, instructions="Be brief.").output_text, "developer message")
    parts = [{"type": "input_text", "text": "describe-image"},
             {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PIXEL}"}]
    equal(ask([user(parts)]).output_text, PIXEL_SEEN, "an image inline")
    turns = [user("one"), {"type": "message", "role": "assistant", "content": [
        {"type": "output_text", "text": "two", "annotations": []}]}, user("history")]
    equal(ask(turns).output_text, "3 messages: user assistant user", "history")
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "opaque"}
    more = {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low", "summary": "auto"}, "store": False}
    equal(ask([reasoning, user("echo:x")], **more).output_text, "x", "reasoning of another model")
    url = [user([{"type": "input_image", "detail": "auto", "image_url": "http://127.0.0.1:9/x.png"}])]
    raises(openai.BadRequestError, lambda: ask(url), "an image by url")


def streaming() -> None:
    with client.responses.stream(model="auto", input="long") as stream:
        pieces = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    equal((pieces, final.output_text), (LONG_TEXT, LONG_TEXT), "deltas and accumulated text")
    seen = grammar_responses.response(raw("long"))
    equal(seen["output"][0]["content"][0]["text"], LONG_TEXT, "text")
    true(seen["usage"]["input_tokens"] > 0, "usage", seen["usage"])
    equal(grammar_responses.response(raw("truncated"))["status"], "incomplete", "status of a cut stream")


def keep_alive() -> None:
    """Comments do not reset Codex's timer, so a silent host must show as events."""
    events = [event for event, _ in frames(raw("slow:15000:done"))]
    alive = [event for event in events if event in grammar_responses.REPEATED]
    true(len(alive) >= 2, "no typed keep-alive while the host took 15 s", events)


def error_after_the_head() -> None:
    stream = ask("slow-fail:7000:broken", stream=True)
    error = raises(openai.APIError, lambda: list(stream), "a failure after the head")
    matches("fell over", error.message, "message")
    kinds = [event for event, _ in frames(raw("slow-fail:7000:broken"))]
    equal(kinds[-2:], ["error", "response.failed"], "the last events")


def stored() -> None:
    first = ask("echo:one", instructions="Be brief.")
    equal(first.store, True, "store by default")
    second = ask("history", previous_response_id=first.id)
    equal((second.output_text, second.previous_response_id), ("3 messages: user assistant user", first.id), "a chain")
    equal(ask("system?", previous_response_id=second.id).output_text, "no system prompt", "instructions end with a call")
    got = once.responses.retrieve(second.id)
    equal((got.id, got.output_text), (second.id, second.output_text), "retrieved")
    once.responses.delete(second.id)
    raises(openai.NotFoundError, lambda: once.responses.retrieve(second.id), "retrieve what was deleted")
    gone = raises(openai.BadRequestError, lambda: ask("x", previous_response_id=second.id), "go on from what was deleted")
    equal((gone.code, gone.param), ("previous_response_not_found", "previous_response_id"), "code and param")
    unstored = ask("echo:x", store=False)
    equal(unstored.store, False, "store false")
    raises(openai.NotFoundError, lambda: once.responses.retrieve(unstored.id), "retrieve what was not stored")
    with client.responses.stream(model="auto", input="history", previous_response_id=first.id) as stream:
        final = stream.get_final_response()
    equal(final.output_text, "3 messages: user assistant user", "a chain, streamed")
    equal(ask("history", previous_response_id=final.id).output_text.split(":")[0], "5 messages", "on from a stream")


def calls() -> None:
    got = ask(CALL, tools=[RUN, LOOK])
    call, = calls_of(got)
    equal((call.type, call.name, json.loads(call.arguments)), ("function_call", "run", {"program": PROGRAM}), "the call")
    equal((got.status, call.status), ("completed", "completed"), "status")
    matches("^fc_", call.id, "id of the item")
    history = [user(CALL), *replayed(got), output(call, "ran it")]
    equal(ask(history, tools=[RUN, LOOK]).output_text, "got: ran it", "answer to a result")
    listed = output(call, [{"type": "input_text", "text": "ran it"}])
    equal(ask([*history[:-1], listed], tools=[RUN]).output_text, "got: ran it", "answer to a result in parts")
    chained = ask([output(call, "ran it")], previous_response_id=got.id, tools=[RUN])
    equal(chained.output_text, "got: ran it", "answer to a result in a chain")
    two = ask(BOTH, tools=[RUN, LOOK])
    equal([call.name for call in calls_of(two)], ["run", "look"], "parallel calls")
    answers = [output(call, call.name) for call in reversed(calls_of(two))]
    equal(ask([user(BOTH), *replayed(two), *answers], tools=[RUN, LOOK]).output_text, "got: run; look", "both results")
    one = ask(BOTH, tools=[RUN, LOOK], parallel_tool_calls=False)
    equal([call.name for call in calls_of(one)], ["run"], "parallel_tool_calls false")


def tool_choice() -> None:
    def offered(**more: object) -> dict:
        return json.loads(ask("tools?", tools=[RUN, LOOK], **more).output_text)

    equal(offered(), {"tools": ["run", "look"], "required": False}, "auto")
    equal(offered(tool_choice="none")["tools"], [], "none")
    equal(offered(tool_choice={"type": "function", "name": "look"}), {"tools": ["look"], "required": True}, "named")
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]}
    equal(offered(tool_choice=allowed), {"tools": ["look"], "required": False}, "allowed tools")
    search = {"type": "web_search"}
    equal(json.loads(ask("tools?", tools=[search, RUN]).output_text)["tools"], ["run"], "beside a hosted tool")
    raises(openai.BadRequestError, lambda: ask("x", tools=[search, RUN], tool_choice=search), "a forced hosted tool")


def other_kinds_of_tools() -> None:
    text = '*** Begin Patch\n+ "a" <b> {c}\n*** End Patch\n'
    said = f"call:patch:{json.dumps({'input': text})}"
    got = ask(said, tools=[PATCH])
    call, = calls_of(got)
    equal((call.type, call.name, call.input), ("custom_tool_call", "patch", text), "a custom call")
    matches("^ctc_", call.id, "id of the item")
    answered = ask([user(said), *replayed(got), output(call, "done")], tools=[PATCH])
    equal(answered.output_text, "got: done", "answer to its result")
    inside = 'call:agents__run:{"program":"x"}'
    got = ask(inside, tools=[AGENTS, LOOK])
    call, = calls_of(got)
    equal((call.name, call.namespace), ("run", "agents"), "a call of a tool in a namespace")
    answered = ask([user(inside), *replayed(got), output(call, "done")], tools=[AGENTS, LOOK])
    equal(answered.output_text, "got: done", "answer to its result")
    # Newer models get their tools from Codex in the input.
    added = {"type": "additional_tools", "role": "developer", "tools": [AGENTS]}
    equal([call.name for call in calls_of(ask([added, user(inside)]))], ["run"], "tools in the input")


def streamed_calls() -> None:
    with client.responses.stream(model="auto", input=BOTH, tools=[RUN, LOOK]) as stream:
        done = [event for event in stream if event.type == "response.function_call_arguments.done"]
        final = stream.get_final_response()
    equal([call.name for call in calls_of(final)], ["run", "look"], "accumulated calls")
    equal(json.loads(done[0].arguments), {"program": PROGRAM}, "arguments when done")
    seen = grammar_responses.response(raw('say:I look.:patch:{"input":"a\\nb"}', tools=[PATCH]))
    equal([item["type"] for item in seen["output"]], ["message", "custom_tool_call"], "items of a stream")
    equal(seen["output"][1]["input"], "a\nb", "streamed input of a custom call")
    seen = grammar_responses.response(raw(CALL, tools=[RUN]))
    equal(json.loads(seen["output"][0]["arguments"]), {"program": PROGRAM}, "streamed arguments")


def runner() -> None:
    """The SDK's own loop over function tools."""
    ran: list[object] = []

    def execute(values: dict) -> str:
        ran.append(values["program"])
        return f"ran {values['program']}"

    for stream in (False, True):
        ran.clear()
        tools = ResponsesToolRunner(functions=[RegisteredFunction(RUN, execute)])
        final = tools.run(client, {"model": "auto", "input": 'rounds:2:run:{"program":"é"}'}, stream=stream)
        equal((final.output_text, ran), ("got: ran é; ran é", ["é", "é"]), f"a loop of two rounds, stream={stream}")


class Order(pydantic.BaseModel):
    product: str
    quantity: int
    gift: bool


def structured() -> None:
    expected = Order(product="scripted", quantity=7, gift=True)
    for text in ("json:valid", "json:fenced", "json:repair"):
        equal(once.responses.parse(model="auto", input=text, text_format=Order).output_parsed, expected, text)
    said = f"json:prose:{nonce()}"
    failed = raises(openai.APIStatusError, lambda: client.responses.parse(model="auto", input=said, text_format=Order),
                    "prose where JSON was asked for")
    not_retried(failed, "prose where JSON was asked for")
    with client.responses.stream(model="auto", input="json:fenced", text_format=Order) as stream:
        equal(stream.get_final_response().output_parsed, expected, "streamed")
    some = ask("json:fenced", text={"format": {"type": "json_object"}})
    equal(json.loads(some.output_text), {"scripted": True}, "any JSON object")


def input_tokens() -> None:
    said = f"echo:{nonce()}"
    small = once.responses.input_tokens.count(model="auto", input=said)
    equal(small.object, "response.input_tokens", "object")
    more = once.responses.input_tokens.count(model="auto", input=said, instructions="Be brief.", tools=[RUN])
    true(more.input_tokens > small.input_tokens > 0, "counts", (more.input_tokens, small.input_tokens))
    equal(ask(f"asked:{said}").output_text, "0", "samplings for counting")


def errors() -> None:
    quota = raises(openai.RateLimitError, lambda: ask("fail:quota"), "quota at the host")
    matches(UUID7, quota.request_id, "request id of an error")
    equal(raises(openai.BadRequestError, lambda: ask("fail:context"), "context").code, "context_length_exceeded", "code")
    raises(openai.RateLimitError, lambda: list(ask("fail:quota", stream=True)), "an early failure of a stream")
    for name, value in (("background", True), ("conversation", "conv_1"), ("prompt", {"id": "pmpt_1"})):
        refused = raises(openai.BadRequestError, lambda name=name, value=value: ask("x", **{name: value}), name)
        equal(refused.param, name, "param")
    unknown = raises(openai.BadRequestError, lambda: ask("x", previous_response_id="resp_0"), "an unknown response")
    equal(unknown.code, "previous_response_not_found", "code")
    raises(openai.NotFoundError, lambda: once.responses.retrieve("resp_0"), "retrieve an unknown response")


run(options.group, {"main": [non_streaming, inputs, streaming, stored, calls, tool_choice, other_kinds_of_tools,
                             streamed_calls, runner, structured, input_tokens, errors]},
    {"main": [keep_alive, error_after_the_head]})
