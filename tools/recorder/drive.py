"""Sends what the official Python SDKs send, case by case, to a recorder.

    python drive.py http://127.0.0.1:PORT

Needs the packages `openai`, `anthropic` and `pydantic`. Each case is one or more requests; where a
case answers tool calls, the history is what the SDK itself makes of the reply, not written by hand.
"""

import base64
import struct
import sys
import zlib

import anthropic
import openai
from pydantic import BaseModel


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png():
    """One red pixel."""
    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b""))


PIXEL = base64.b64encode(png()).decode()
PIXEL_URL = f"data:image/png;base64,{PIXEL}"
PDF = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
WAV = base64.b64encode(b"RIFF\x24\0\0\0WAVEfmt ").decode()
FAR = "https://example.com/cat.png"
CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "Zürich, \"Oslo\" …"},
                                         "days": {"type": ["integer", "null"], "minimum": 1}},
        "required": ["city"], "additionalProperties": False}
ZONE = {"properties": {"zone": {"enum": ["Europe/Zurich", "Europe/Oslo"]}}, "type": "object", "required": ["zone"]}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": 'start: "say" WORD\nWORD: /[a-z]+/\n'}


class Weather(BaseModel):
    city: str
    celsius: float
    tags: list[str]


# --- OpenAI Chat Completions ---------------------------------------------------------------------

CHAT_TOOLS = [{"type": "function", "function": {"name": name, "description": about, "parameters": schema, "strict": strict}}
              for name, about, schema, strict in (("get_weather", "Weather of a city.", CITY, True),
                                                  ("get_time", "Time in a zone.", ZONE, False))]


def chat_cases(at):
    def client(case):
        return openai.OpenAI(base_url=at("openai-python", openai.__version__, case) + "/v1", api_key="recorder-key")

    user = {"role": "user", "content": "What is the weather in Zürich?"}
    client("text").chat.completions.create(model="gpt-5.5", messages=[{"role": "system", "content": "Be brief."}, user])
    with client("stream").chat.completions.stream(
            model="gpt-5.5", messages=[user], stream_options={"include_usage": True}) as events:
        events.get_final_completion()
    client("multi-turn").chat.completions.create(model="gpt-5.5", messages=[
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]},
        {"role": "developer", "content": "Answer in German.", "name": "house"},
        {"role": "user", "content": "Hello", "name": "anna"}, {"role": "user", "content": "Are you there?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Ja."}]},
        {"role": "assistant", "content": None, "refusal": "Nein."},
        {"role": "system", "content": "Now in French."}, {"role": "user", "content": [{"type": "text", "text": "Again?"}]}])
    client("media").chat.completions.create(model="gpt-5.5", messages=[{"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PIXEL_URL, "detail": "high"}},
        {"type": "image_url", "image_url": {"url": FAR}},
        {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        {"type": "file", "file": {"file_id": "file-0001"}}]}])

    for case, choice, streamed in (("parallel-tools", "auto", False), ("parallel-tools-stream", "required", True)):
        history = [{"role": "system", "content": "Use the tools."}, user]
        asking = {"model": "gpt-5.5", "tools": CHAT_TOOLS, "parallel_tool_calls": True}
        if streamed:
            with client(case).chat.completions.stream(**asking, messages=history, tool_choice=choice) as events:
                reply = events.get_final_completion().choices[0].message
        else:
            reply = client(case).chat.completions.create(**asking, messages=history, tool_choice=choice).choices[0].message
        history.append(reply)
        history.append({"role": "tool", "tool_call_id": reply.tool_calls[0].id, "content": "{\"celsius\": -2}"})
        history.append({"role": "tool", "tool_call_id": reply.tool_calls[1].id,
                        "content": [{"type": "text", "text": "12:00"}, {"type": "text", "text": "noon"}]})
        history.append({"role": "user", "content": "And?"})
        client(case).chat.completions.create(**asking, messages=history, tool_choice=choice)

    tools = [{"type": "custom", "custom": {"name": "say", "description": "Says a word.",
                                           "format": {"type": "grammar", "grammar": {
                                               "syntax": "lark", "definition": GRAMMAR["definition"]}}}},
             {"type": "custom", "custom": {"name": "note"}}]
    history = [user]
    reply = client("custom-tool").chat.completions.create(model="gpt-5.5", messages=history, tools=tools,
                                                          tool_choice={"type": "custom", "custom": {"name": "say"}})
    history.append(reply.choices[0].message)
    history.append({"role": "tool", "tool_call_id": reply.choices[0].message.tool_calls[0].id, "content": "said"})
    client("custom-tool").chat.completions.create(model="gpt-5.5", messages=history, tools=tools)

    client("structured").chat.completions.parse(model="gpt-5.5", messages=[user], response_format=Weather)
    client("json-object").chat.completions.create(model="gpt-5.5", messages=[user], response_format={"type": "json_object"})
    client("every-parameter").chat.completions.create(
        model="gpt-5.5", messages=[user], max_completion_tokens=50, max_tokens=60, temperature=0.25, top_p=0.9, n=1,
        stop=["END", "\n\n"], seed=-9007199254740991, frequency_penalty=0.5, presence_penalty=-0.5, logit_bias={"50256": -100},
        logprobs=False, user="u-1", metadata={"job": "7"}, store=False, service_tier="flex", reasoning_effort="high",
        verbosity="low", prompt_cache_key="k", safety_identifier="s", modalities=["text"],
        prediction={"type": "content", "content": "It is"}, tools=CHAT_TOOLS, parallel_tool_calls=False,
        tool_choice={"type": "allowed_tools", "allowed_tools": {
            "mode": "required", "tools": [{"type": "function", "function": {"name": "get_time"}}]}})
    client("legacy-functions").chat.completions.create(
        model="gpt-4o", functions=[{"name": "get_weather", "parameters": CITY}], function_call={"name": "get_weather"},
        messages=[user, {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": "{}"}},
                  {"role": "function", "name": "get_weather", "content": "snow"}])


# --- OpenAI Responses ----------------------------------------------------------------------------

RESPONSE_TOOLS = [{"type": "function", "name": "get_weather", "description": "Weather of a city.", "parameters": CITY, "strict": True},
                  {"type": "function", "name": "get_time", "parameters": ZONE, "strict": None}]


def responses_cases(at):
    def client(case):
        return openai.OpenAI(base_url=at("openai-python", openai.__version__, case) + "/v1", api_key="recorder-key")

    client("text").responses.create(model="gpt-5.5", input="What is the weather in Zürich?", instructions="Be brief.")
    with client("stream").responses.stream(model="gpt-5.5", input="Hello", store=False) as events:
        events.get_final_response()
    client("multi-turn").responses.create(model="gpt-5.5", store=False, input=[
        {"role": "system", "content": "Be brief."},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "In German."}]},
        {"role": "user", "content": "Hello"},
        {"id": "msg_0001", "type": "message", "role": "assistant", "status": "completed", "phase": "commentary",
         "content": [{"type": "output_text", "text": "Hallo.", "annotations": []}, {"type": "refusal", "refusal": "Nein."}]},
        {"role": "assistant", "content": "Und?"}, {"role": "developer", "content": "Now in French."},
        {"role": "user", "content": [{"type": "input_text", "text": "Again?"}]}])
    client("media").responses.create(model="gpt-5.5", store=False, input=[{"role": "user", "content": [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": PIXEL_URL, "detail": "low"},
        {"type": "input_image", "image_url": FAR, "detail": "auto"}, {"type": "input_image", "file_id": "file-0001", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"}]}])

    for case, streamed in (("parallel-tools", False), ("parallel-tools-reasoning-stream", True)):
        history = [{"role": "user", "content": "Weather and time?"}]
        asking = {"model": "gpt-5.5", "tools": RESPONSE_TOOLS, "store": False, "parallel_tool_calls": True}
        if streamed:
            asking |= {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "high", "summary": "auto"}}
            with client(case).responses.stream(**asking, input=history) as events:
                reply = events.get_final_response()
        else:
            reply = client(case).responses.create(**asking, input=history, tool_choice="required")
        history += reply.output
        calls = [item for item in reply.output if item.type == "function_call"]
        history.append({"type": "function_call_output", "call_id": calls[0].call_id, "output": "{\"celsius\": -2}"})
        history.append({"type": "function_call_output", "call_id": calls[1].call_id, "output": [
            {"type": "input_text", "text": "12:00"}, {"type": "input_image", "image_url": PIXEL_URL, "detail": "auto"}]})
        client(case).responses.create(**asking, input=history)

    tools = [{"type": "custom", "name": "say", "description": "Says a word.", "format": GRAMMAR},
             {"type": "custom", "name": "note", "format": {"type": "text"}}]
    history = [{"role": "user", "content": "Say hello"}]
    reply = client("custom-tool").responses.create(model="gpt-5.5", input=history, tools=tools, store=False,
                                                   tool_choice={"type": "custom", "name": "say"})
    history += reply.output
    history.append({"type": "custom_tool_call_output", "call_id": reply.output[0].call_id,
                    "output": [{"type": "input_text", "text": "said"}]})
    client("custom-tool").responses.create(model="gpt-5.5", input=history, tools=tools, store=False)

    spaces = [{"type": "namespace", "name": "mcp__weather", "description": "Weather tools.", "tools": [RESPONSE_TOOLS[0]]},
              {"type": "web_search"}, {"type": "image_generation"}]
    history = [{"role": "user", "content": "Weather?"},
               {"type": "additional_tools", "role": "developer", "tools": [
                   {"type": "namespace", "name": "functions", "description": "", "tools": [tools[1], RESPONSE_TOOLS[1]]}]}]
    reply = client("namespaces").responses.create(model="gpt-5.5", input=history, tools=spaces, store=False)
    history += reply.output
    history.append({"type": "function_call_output", "call_id": reply.output[0].call_id, "output": "snow"})
    client("namespaces").responses.create(model="gpt-5.5", input=history, tools=spaces, store=False)

    client("structured").responses.parse(model="gpt-5.5", input="Weather?", text_format=Weather, store=False)
    client("stored").responses.create(model="gpt-5.5", input=[{"type": "item_reference", "id": "msg_0001"},
                                                              {"role": "user", "content": "Go on"}],
                                      previous_response_id="resp_0001")
    client("every-parameter").responses.create(
        model="gpt-5.5", input="Hello", max_output_tokens=50, max_tool_calls=3, temperature=0.25, top_p=0.9, top_logprobs=0,
        text={"format": {"type": "json_object"}, "verbosity": "low"}, reasoning={"effort": "none"}, truncation="auto",
        metadata={"job": "7"}, service_tier="flex", user="u-1", safety_identifier="s", prompt_cache_key="k", store=False,
        background=False, tools=RESPONSE_TOOLS, parallel_tool_calls=False, tool_choice={
            "type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]})


# --- Anthropic Messages --------------------------------------------------------------------------

MARK = {"type": "ephemeral"}
LONG_MARK = {"type": "ephemeral", "ttl": "1h"}
MESSAGE_TOOLS = [{"name": "get_weather", "description": "Weather of a city.", "input_schema": CITY, "strict": True},
                 {"name": "get_time", "input_schema": ZONE, "type": "custom", "cache_control": MARK}]


def messages_cases(at):
    def client(case):
        return anthropic.Anthropic(base_url=at("anthropic-python", anthropic.__version__, case), api_key="recorder-key")

    usual = {"model": "claude-sonnet-5-5", "max_tokens": 1000}
    user = {"role": "user", "content": "What is the weather in Zürich?"}
    client("text").messages.create(**usual, system="Be brief.", messages=[user])
    with client("stream").messages.stream(**usual, messages=[user]) as events:
        events.get_final_message()
    client("multi-turn").messages.create(**usual, system=[{"type": "text", "text": "Be brief."},
                                                          {"type": "text", "text": "Be kind.", "cache_control": LONG_MARK}], messages=[
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there", "cache_control": MARK}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi.", "citations": None}]},
        {"role": "user", "content": "One"}, {"role": "user", "content": "Two"},
        {"role": "system", "content": "Now in French."}, {"role": "assistant", "content": "Un, "}], stop_sequences=["END"])
    client("media").messages.create(**usual, messages=[{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}, "cache_control": MARK},
        {"type": "image", "source": {"type": "url", "url": FAR}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": "A"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Snow."},
         "context": "old", "citations": {"enabled": True}},
        {"type": "search_result", "source": "https://example.com", "title": "B", "content": [{"type": "text", "text": "Ice."}]},
        {"type": "text", "text": "What is this?"}]}])

    for case, more in (("parallel-tools", {}), ("parallel-tools-thinking", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
                       ("parallel-tools-adaptive", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}})):
        history = [user]
        asking = usual | more | {"tools": MESSAGE_TOOLS, "max_tokens": 4000}
        if more:
            with client(case).messages.stream(**asking, messages=history) as events:
                reply = events.get_final_message()
        else:
            reply = client(case).messages.create(**asking, messages=history,
                                                 tool_choice={"type": "any", "disable_parallel_tool_use": False})
        history.append({"role": "assistant", "content": reply.content})
        calls = [block for block in reply.content if block.type == "tool_use"]
        history.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": calls[0].id, "content": [
                {"type": "text", "text": "snow"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}]},
            {"type": "tool_result", "tool_use_id": calls[1].id, "is_error": True, "content": "no such zone", "cache_control": MARK},
            {"type": "text", "text": "And?"}]})
        client(case).messages.create(**asking, messages=history)

    client("redacted-thinking").messages.create(**usual, thinking={"type": "enabled", "budget_tokens": 1024}, messages=[
        user, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "b3BhcXVl"}, {"type": "text", "text": "Snow."}]},
        {"role": "user", "content": "Sure?"}])
    client("structured").messages.parse(**usual, messages=[user], output_format=Weather)
    client("tool-choice").messages.create(**usual, messages=[user], tools=MESSAGE_TOOLS,
                                          tool_choice={"type": "tool", "name": "get_time", "disable_parallel_tool_use": True})
    client("server-tools").messages.create(**usual, tools=[
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}, {"type": "bash_20250124", "name": "bash"},
        MESSAGE_TOOLS[0] | {"defer_loading": True, "input_examples": [{"city": "Oslo"}]}], messages=[
        user, {"role": "assistant", "content": [
            {"type": "server_tool_use", "id": "srvtoolu_0001", "name": "web_search", "input": {"query": "snow"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_0001", "content": [
                {"type": "web_search_result", "url": "https://example.com", "title": "Snow", "encrypted_content": "b3BhcXVl"}]},
            {"type": "text", "text": "Snow."}]},
        {"role": "user", "content": [{"type": "text", "text": "Sure?"}]}])
    client("every-parameter").messages.create(
        **usual, messages=[user], stop_sequences=["END"], metadata={"user_id": "u-1"}, service_tier="standard_only",
        cache_control=MARK, thinking={"type": "disabled"}, extra_body={"temperature": 0.25, "top_p": 0.9, "top_k": 5},
        extra_headers={"anthropic-version": "2023-06-01"})
    client("count-tokens").messages.count_tokens(model="claude-sonnet-5-5", messages=[user], tools=MESSAGE_TOOLS)

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """Weather of a city."""
        return f"snow in {city}"

    runner = client("tool-runner").beta.messages.tool_runner(**usual, tools=[get_weather], messages=[user])
    runner.until_done()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    ORIGIN = sys.argv[1].rstrip("/")
    for name, cases in (("chat", chat_cases), ("responses", responses_cases), ("messages", messages_cases)):
        cases(lambda client, version, case, name=name: f"{ORIGIN}/_/{client}/{version}/{name}-{case}")
        print(f"{name}: sent")
