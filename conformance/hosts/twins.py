"""Compares the two scripted models: the clients rely on getting the same answer from either.

Run with the Node interpreter as its only argument; prints what differs and ends with 1.
"""

from __future__ import annotations

import asyncio
import base64
import json
import pathlib
import subprocess
import sys

import markup
from scripted_model import ScriptedModel

SCHEMA = {
    "type": "object", "required": ["path", "lines", "how"],
    "properties": {"path": {"type": "string", "minLength": 12}, "lines": {"type": "array", "items": {"$ref": "#/$defs/n"}},
                   "how": {"anyOf": [{"enum": ["fast", "slow"]}, {"type": "null"}]}, "more": {"type": "boolean"}},
    "$defs": {"n": {"type": ["integer", "null"], "minimum": 3}},
}
SHELL = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
AGENTS = {
    "shell alone": [{"name": "exec_command", "inputSchema": {
        "type": "object", "properties": {"cmd": {"type": "string"}, "why": SCHEMA}, "required": ["cmd", "why"]}}],
    "file tools": [
        {"name": "Bash", "inputSchema": SHELL},
        {"name": "Write", "inputSchema": {"type": "object", "properties": {"file_path": {}, "content": {}}}},
        {"name": "Read", "inputSchema": {"type": "object", "properties": {"file_path": {}}}},
        {"name": "Edit", "inputSchema": {"type": "object", "properties": dict.fromkeys(
            ("file_path", "old_string", "new_string"), {})}}],
    "patches": [
        {"name": "functions__apply_patch", "inputSchema": {"type": "object", "properties": {"input": {}}}},
        {"name": "shell", "inputSchema": {"type": "object", "properties": {"command": {"type": "array"}}}}],
}
FORMED = base64.b64encode(b'{"command":"one\\ntwo","n":3}').decode()
TEXTS = [
    "echo:a:b", "truncated", "long", "describe-image", "system?", "history", "params?", "x" * 300, "tools?",
    "schema?:Bash", "nonce?", 'call:Bash:{"command":"ls: \\"é\\" 文"}', "call:Bash",
    'calls:[{"name":"Bash","input":{"command":"a"}},{"name":"x","input":{}}]', "rounds:2:Bash:{}",
    'say:I look.:Bash:{"n":[1,2.5,null,true]}', "repeat:Bash:{}", "reluctant:Bash:{}", "json:valid", "json:fenced",
    "json:repair", "json:wrong", "json:prose", "TASK write-and-run: /tmp/job.sh word",
    *(f"form:{form}:Bash:{FORMED}" for form in markup.FORMS),
]


def user(text: str) -> dict:
    return {"role": "user", "content": {"type": "text", "text": text}}


PROMPTED = """Be brief.

# Tools

<tool_calls_12345678>
</tool_calls_12345678>

## The tools

### Bash
Runs things.

### Some heading
Parameters: are not here
Parameters: {"type":"object","properties":{"command":{"type":"string"}},"required":["command"]}

### apply_patch
Parameters: one string, `input`, which is the whole input as raw text.
The input must match this lark grammar:
start: x

## Example of the form

<tool_calls_12345678>
</tool_calls_12345678>

## Now

You MUST call at least one of the tools in this reply."""
REMINDER = """

(To call a tool, end the reply with <tool_calls_12345678> and stop there.
Tools: Bash, apply_patch. You MUST call.)"""


def prompted(text: str) -> list[dict]:
    """What the bridge makes of five rounds of calls where it has to describe the tools."""
    base = {"maxTokens": 100, "systemPrompt": PROMPTED, "stopSequences": ["</tool_calls_12345678>"]}
    messages, found = [user(text)], []
    for step in range(5):
        last = messages[-1]["content"]["text"]
        found.append(base | {"messages": [*messages[:-1], user(last + REMINDER)]})
        found.append(base | {"messages": [*messages, user("You must call one of the tools now." + REMINDER)]})
        error = ' is_error="true"' if len(text) == 300 else ""
        results = "\n".join(f'<tool_result_12345678 id="i{at}" name="Bash"{error}>\nresult {step} word: 2319\n'
                            f"</tool_result_12345678>" for at in range(1 + step % 2))
        messages += [{"role": "assistant", "content": {"type": "text", "text": "…"}}, user(results)]
    return found


def cases() -> list[dict]:
    base = {"maxTokens": 100}
    shaped = f"Be brief.\n\n# Format of your answer\n<json_schema>\n{json.dumps(SCHEMA)}\n</json_schema>"
    found = []
    for text in TEXTS:
        messages = [user(text), user("<system-reminder>\nmind\n</system-reminder>")]
        found.append(base | {"messages": messages})
        found.append(base | {"messages": messages, "systemPrompt": shaped})
        again = [*messages, {"role": "assistant", "content": {"type": "text", "text": "no"}},
                 user("That answer cannot be used: why.\n\n(Answer with the JSON value only: no prose.)")]
        found.append(base | {"messages": again, "systemPrompt": shaped})
        found += prompted(text)
        for tools in AGENTS.values():
            messages = [user(text)]
            for step in range(5):
                found.append(base | {"messages": list(messages), "tools": tools, "toolChoice": {"mode": "required"}})
                use = {"type": "tool_use", "id": f"id{step}", "name": tools[0]["name"], "input": {}}
                result = {"type": "tool_result", "toolUseId": f"id{step}", "isError": len(text) == 300,
                          "content": [{"type": "text", "text": f"result {step} word: 2319"}]}
                messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
            found.append(base | {"messages": [user(text)], "tools": tools, "toolChoice": {"mode": "none"}})
    return found


async def main() -> int:
    asked = cases()
    lines = "\n".join(json.dumps(params) for params in asked)
    twin = subprocess.run([sys.argv[1], str(pathlib.Path(__file__).with_suffix(".mjs"))], input=lines, text=True,
                          encoding="utf-8", capture_output=True, check=True, timeout=60)
    model, different = ScriptedModel(), 0
    for params, line in zip(asked, twin.stdout.splitlines(), strict=True):
        ours = json.loads(json.dumps(await model.answer(params)))
        if ours != json.loads(line):
            different += 1
            print(f"asked {json.dumps(params)[:400]}\n  Python {json.dumps(ours)[:400]}\n  Node   {line[:400]}")
    print(f"{len(asked) - different} of {len(asked)} answers alike")
    return 1 if different else 0


sys.exit(asyncio.run(main()))
