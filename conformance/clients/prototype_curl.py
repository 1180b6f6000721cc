"""Runs the curl lines of the prototype's README, and checks what else a bridge bound to 0.0.0.0 owes its machine.

The bridge was started with the prototype's own arguments (`--host 0.0.0.0 --port …`) and environment
(`MCPTB_HTTP_TIMEOUT=none`); only the port differs from the README, because 8000 may be taken.
"""

from __future__ import annotations

import http.client
import json
import shlex
import subprocess

import grammar
from checks import UUID7, WAIT, arguments, equal, matches, run, true

options = arguments()
ADDRESS = options.base_url.removeprefix("http://")

# The lines are the README's, word for word.
MESSAGES_HI = """curl -s http://127.0.0.1:8000/v1/messages -H "Content-Type: application/json" -d '{"model":"auto","messages":[{"role":"user","content":"hi"}],"stream":false}'"""
CHAT = """curl -X POST http://127.0.0.1:8000/v1/chat/completions -H "Content-Type: application/json" -d '{"model":"auto","messages":[{"role":"user","content":"Hello"}],"stream":false}'"""
CHAT_STREAM = """curl -N -X POST http://127.0.0.1:8000/v1/chat/completions -H "Content-Type: application/json" -d '{"model":"auto","messages":[{"role":"user","content":"Stream"}],"stream":true}'"""
MESSAGES = """curl -X POST http://127.0.0.1:8000/v1/messages -H "Content-Type: application/json" -d '{"model":"auto","messages":[{"role":"user","content":"Hello"}],"stream":false}'"""
MESSAGES_STREAM = """curl -N -X POST http://127.0.0.1:8000/v1/messages -H "Content-Type: application/json" -d '{"model":"auto","messages":[{"role":"user","content":"Stream"}],"stream":true}'"""


def curl(line: str, *more: str) -> bytes:
    words = shlex.split(line.replace("127.0.0.1:8000", ADDRESS))
    # --noproxy, because a proxy named by the environment would not be this machine.
    done = subprocess.run([*words, "--noproxy", "*", "--max-time", str(WAIT), *more], capture_output=True, check=False)
    equal(done.returncode, 0, f"exit code of curl ({done.stderr.decode(errors='replace')[-200:]})")
    return done.stdout


def status(line: str, *more: str) -> tuple[int, str]:
    """The status code, and the body before it."""
    body, _, code = curl(line, *more, "-w", "\n%{http_code}").decode().rpartition("\n")
    return int(code), body


def messages() -> None:
    for line, word in ((MESSAGES_HI, "hi"), (MESSAGES, "Hello")):
        got = json.loads(curl(line))
        equal((got["type"], got["content"][0]["text"]), ("message", f"You said: {word}"), "reply")
        equal(got["model"], "scripted-1", "model")


def messages_streamed() -> None:
    equal(grammar.message(curl(MESSAGES_STREAM)).text, "You said: Stream", "streamed text")


def chat() -> None:
    got = json.loads(curl(CHAT))
    equal(got["choices"][0]["message"]["content"], "You said: Hello", "reply")
    equal(got["text"], "You said: Hello", "the extra field text")
    matches(UUID7, got["request_id"], "the extra field request_id")


def chat_streamed() -> None:
    equal(grammar.chat(curl(CHAT_STREAM)).texts, ["You said: Stream"], "streamed text")


def without_v1() -> None:
    for line in (CHAT, MESSAGES, "curl -s http://127.0.0.1:8000/v1/models"):
        equal(status(line.replace("/v1/", "/"))[0], 200, f"status of {line.split('8000')[1][:24]} without /v1")


def small_routes() -> None:
    for path in ("healthz", "readyz"):
        equal(status(f"curl -s http://127.0.0.1:8000/{path}")[0], 200, path)
    for path in ("", "api/hello"):
        equal(status(f"curl -s -I http://127.0.0.1:8000/{path}")[0], 200, f"HEAD /{path}")
    code, body = status("curl -s http://127.0.0.1:8000/v1/nowhere")
    equal((code, json.loads(body)["error"]["code"]), (404, "unknown_url"), "an unknown path")
    code, body = status("curl -s -X DELETE http://127.0.0.1:8000/v1/messages")
    equal((code, json.loads(body)["type"]), (405, "error"), "a wrong method, in the shape of the path's dialect")


def strangers() -> None:
    """Without a token only this machine is served, whatever a request claims to be."""
    equal(status(CHAT, "-H", "X-Forwarded-For: 203.0.113.9")[0], 401, "a forwarded request")
    equal(status(CHAT, "-H", "Origin: https://example.com")[0], 403, "a web page's request")
    equal(status(CHAT, "-H", "Origin: null")[0], 403, "a request of origin null")
    code, _ = status(CHAT, "-H", "Host: bridge.example.com")
    true(code in (400, 401, 403, 421), "a foreign Host must be refused", code)


def kept_connections() -> None:
    """A reply made before the body was read must announce that the connection closes, or leave it usable.

    Clients that keep connections otherwise lose a later call, now and then: "Connection error".
    """
    body = b'{"model": "auto", "messages": []}' + b" " * 100_000
    for path, headers in (("/v1/embeddings", {}), ("/v1/responses", {}), ("/v1/chat/completions", {"Origin": "null"})):
        connection = http.client.HTTPConnection(ADDRESS, timeout=WAIT)
        connection.request("POST", path, body, {"content-type": "application/json"} | headers)
        reply = connection.getresponse()
        reply.read()
        true(reply.status >= 400, f"{path} must be refused", reply.status)
        if reply.getheader("connection", "").lower() == "close":
            continue
        try:
            connection.request("GET", "/healthz")
            equal(connection.getresponse().status, 200, f"the next request after {path}")
        except (http.client.HTTPException, OSError) as error:
            raise AssertionError(f"after {reply.status} on {path} the connection closed, and no `Connection: close` "
                                 f"said so ({type(error).__name__})") from error


run(options.group, {"main": [messages, messages_streamed, chat, chat_streamed, without_v1, small_routes, strangers,
                             kept_connections]}, {})
