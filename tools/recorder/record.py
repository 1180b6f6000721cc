"""Records the requests of real clients on loopback and answers them with constructed replies.

    python record.py LOG_FOLDER [--port N] [--port-file PATH] [--hide REAL=STAND_IN]...

A client is pointed at http://127.0.0.1:PORT/_/<client>/<version>/<case> (with /v1 behind it where the
client wants that), so that each request says who sent it. It is logged, scrubbed, as
LOG_FOLDER/NNN-<client>-<case>.json = {client, version, method, path, headers, body}; `bytes` is the
size of the body as it came. What a client is answered is scripted below: first tool calls, when it
offers tools, then text; so one run of an agent yields requests with calls and results in their history.
"""

import argparse
import gzip
import itertools
import json
import re
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import replies
from replies import call, custom, search, text
from scrub import LONG, Scrubber, pretty

WRITE = "*** Begin Patch\n*** Add File: note.txt\n+hello\n*** End Patch\n"
# The rounds of tool calls that a case plays; a round of tools the client lacks is left out.
SCRIPTS = {
    "agent": [
        [text("I shall look."), call("Bash", {"command": "echo one", "description": "Say one"}),
         call("Bash", {"command": "ls /nowhere", "description": "Fail"}, number=2)],
        [call("Read", {"file_path": "PROJECT/dot.png"}, number=3)],
        [call("exec_command", {"cmd": "echo one"}, number=4), call("exec_command", {"cmd": "ls /nowhere"}, number=5)],
        [call("view_image", {"path": "PROJECT/dot.png"}, number=6)],
        [text("I shall look."), call("bash", {"command": "echo one", "description": "Say one"}, number=7),
         call("bash", {"command": "ls /nowhere", "description": "Fail"}, number=8)],
        [call("read", {"filePath": "PROJECT/dot.png"}, number=9)],
        [custom("apply_patch", WRITE, number=10)],
        [custom("exec", "text(await tools.exec_command({cmd: \"echo one\"}));", number=11)],
        [call("get_weather", {"city": "Zürich"}, number=12)],
        [call("ToolSearch", {"query": "select:mcp__weather__get_weather", "max_results": 1}, number=13)],
        [call("mcp__weather__get_weather", {"city": "Zürich"}, number=14)],
        [call("weather_get_weather", {"city": "Zürich"}, number=15)],
        [search({"query": "weather snow", "limit": 2}, number=16)],
    ],
    "plain": [],
    "image": [],
    "structured": [[call("StructuredOutput", {"city": "Zürich"})]],
}
# Ids that a reply gives; agents join replies that share one, so each reply gets ids of its own.
GIVEN_ID = re.compile(r"\b(msg_01|toolu_01|chatcmpl-|(?:resp|msg|rs|fc|ctc|tsc|call)_)(0{8,}\d+)\b")


def dialect_of(path):
    for ending, dialect in (("/chat/completions", "openai_chat"), ("/responses", "openai_responses"),
                            ("/messages", "anthropic_messages")):
        if path.split("?")[0].endswith(ending):
            return dialect
    return None


def offered(body):
    """Yields (kind, name, namespace, schema) of every tool the request offers, wherever it stands."""
    hidden = [tool for item in items(body, "input") if item.get("type") == "additional_tools" for tool in item["tools"]]
    for tool in [*(body.get("tools") or []), *hidden]:
        inner = tool["tools"] if tool.get("type") == "namespace" else [tool]
        namespace = tool["name"] if tool.get("type") == "namespace" else None
        for one in inner:
            kind = one.get("type") or "function"
            one = one.get(kind) if isinstance(one.get(kind), dict) else one
            if kind == "tool_search":
                yield "search", kind, None, {}
            elif one.get("name") and kind in ("function", "custom"):
                schema = one.get("parameters") or one.get("input_schema")
                yield ("custom" if kind == "custom" and not schema else "call"), one["name"], namespace, schema or {}


def items(body, field):
    value = body.get(field)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def rounds_played(dialect, body):
    """Counts the assistant's rounds of tool calls in the history."""
    if dialect == "openai_responses":
        calls = [item.get("type") in ("function_call", "custom_tool_call", "tool_search_call") for item in items(body, "input")
                 if str(item.get("type")).endswith(("_call", "_call_output", "tool_search_output"))]
        return sum(1 for is_call, _ in itertools.groupby(calls) if is_call)
    made = 0
    for message in items(body, "messages"):
        blocks = message["content"] if isinstance(message.get("content"), list) else []
        made += bool(message.get("tool_calls")) or any(block.get("type") == "tool_use" for block in blocks)
    return made


def instance(schema):
    """The least value that a simple JSON schema accepts; enough to please a client's own parser."""
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    if schema.get("enum"):
        return schema["enum"][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return instance(schema[word][0])
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: instance(properties.get(name, {"type": "string"})) for name in schema.get("required", [])}
    if kind == "array":
        return [instance(schema["items"])] if schema.get("minItems") else []
    return {"string": "Zürich", "integer": max(1, schema.get("minimum", 1)), "number": 1.5, "boolean": True}.get(kind)


def wanted_schema(body):
    for way in (("response_format", "json_schema", "schema"), ("text", "format", "schema"), ("output_config", "format", "schema")):
        at = body
        for key in way:
            at = at.get(key) if isinstance(at, dict) else None
        if at:
            return at
    return None


def plan(dialect, case, body, project):
    """Chooses the blocks to answer with."""
    tools = {name: (kind, name, namespace, schema) for kind, name, namespace, schema in offered(body)}
    if "parallel" in case:
        script = [[call("get_weather", {"city": "Zürich"}), call("get_time", {"zone": "Europe/Zurich"}, number=2)]]
    elif case.split(".")[0] in SCRIPTS:
        script = SCRIPTS[case.split(".")[0]]
    else:
        script = [[(custom(name, "say hello", where) if kind == "custom" else call(name, instance(schema), where))]
                  for kind, name, where, schema in list(tools.values())[:1]]
    kinds = {name: tool[0] for name, tool in tools.items()}
    script = [blocks for blocks in script
              if all("name" not in block or kinds.get(block["name"]) == block["kind"] for block in blocks)]
    played = rounds_played(dialect, body)
    blocks = []
    thinks = (body.get("thinking") or {}).get("type", "disabled") != "disabled"
    if thinks or "reasoning.encrypted_content" in (body.get("include") or []):
        blocks.append(replies.reasoning(replies.THOUGHT))
    if played < len(script) and body.get("tool_choice") not in ("none", {"type": "none"}):
        for block in script[played]:
            block = dict(block)
            if "namespace" in block:
                block["namespace"] = tools[block["name"]][2]
            if isinstance(block.get("arguments"), str):
                block["arguments"] = block["arguments"].replace("PROJECT", project)
            blocks.append(block)
    elif wanted_schema(body):
        blocks.append(text(json.dumps(instance(wanted_schema(body)), ensure_ascii=False)))
    else:
        blocks.append(text("Done: it is snowing."))
    return blocks


class Recorder(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address, folder, scrubber, project):
        super().__init__(address, Door)
        self.folder, self.scrubber, self.project = folder, scrubber, project
        self.count, self.lock = 0, threading.Lock()

    def keep(self, door, body, size):
        """Writes one recording and gives its case and number."""
        parts = door.path.split("/")
        client, version, case = parts[2:5] if parts[1:2] == ["_"] and len(parts) > 5 else ("unknown", "", "unknown")
        path = "/" + "/".join(parts[5:]) if client != "unknown" else door.path
        scrub = self.scrubber()
        recording = {"client": client, "version": version, "method": door.command, "path": scrub.text(path),
                     "headers": scrub.headers(door.headers), "bytes": size, "body": scrub.value(body)}
        with self.lock:
            self.count += 1
            number = self.count
        name = f"{number:03d}-{client}-{case}.json"
        (self.folder / name).write_text(pretty(recording), encoding="utf-8")
        return case, number


def numbered(content, number):
    """Gives a rendered reply the ids of the request's number."""
    raw = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return GIVEN_ID.sub(lambda hit: hit[1] + f"{number}{int(hit[2]):03d}".zfill(len(hit[2])), raw)


class Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def take(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            raw = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(self.headers.get("content-encoding"))
        body = unpack(raw) if unpack else raw
        try:
            return json.loads(body) if body else None, len(body)
        except ValueError:
            return {"not_json": True}, len(body)

    def send(self, status, content, kind="application/json"):
        raw = content.encode() if isinstance(content, str) else json.dumps(content, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(raw)))
        self.send_header("x-request-id", "req_000000000000000000000001")
        self.send_header("request-id", "req_000000000000000000000001")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def answer(self):
        body, size = self.take()
        case, number = self.server.keep(self, body, size)
        path, dialect = self.path.split("?")[0], dialect_of(self.path)
        if dialect and self.command == "POST" and isinstance(body, dict):
            as_json, as_sse = replies.RENDER[dialect]
            blocks = plan(dialect, case, body, self.server.project)
            if "thread" in body:  # Without a store a thread cannot be continued; clients then go on without.
                return self.send(400, {"type": "error", "error": {
                    "type": "invalid_request_error", "message": "Threads are not supported.",
                    "details": {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}}})
            model = body.get("model") or replies.MODEL
            if not body.get("stream"):
                return self.send(200, numbered(as_json(blocks, model=model), number))
            more = {"usage": bool((body.get("stream_options") or {}).get("include_usage"))} if dialect == "openai_chat" else {}
            return self.send(200, numbered(as_sse(blocks, model=model, **more), number), "text/event-stream; charset=utf-8")
        if path.endswith("/count_tokens"):
            return self.send(200, {"input_tokens": max(1, size // 4)})
        if path.endswith("/models"):
            listed = {"id": replies.MODEL, "object": "model", "created": replies.CREATED, "owned_by": "constructed"}
            return self.send(200, {"object": "list", "data": [listed]})
        if self.command == "HEAD":
            return self.send(200, "")
        return self.send(404, {"error": {"message": "Unknown request URL.", "type": "invalid_request_error",
                                         "param": None, "code": "unknown_url"}})

    do_GET = do_POST = do_HEAD = do_DELETE = answer

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, help="gets the port once requests can come")
    parser.add_argument("--project", default="/nowhere", help="the folder agents work in; it holds dot.png")
    parser.add_argument("--keep", type=int, default=LONG, metavar="CHARACTERS", help="longer texts are cut")
    parser.add_argument("--hide", action="append", default=[], metavar="REAL=STAND_IN")
    settings = parser.parse_args()
    settings.folder.mkdir(parents=True, exist_ok=True)
    hide = dict(pair.split("=", 1) for pair in settings.hide)
    server = Recorder(("127.0.0.1", settings.port), settings.folder, lambda: Scrubber(hide, settings.keep),
                      settings.project)
    if settings.port_file:
        settings.port_file.write_text(str(server.server_port), encoding="utf-8")
    print(f"recording on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
