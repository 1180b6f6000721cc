"""Drives the official Python accumulators over the constructed replies.

Each `.sse` file must be taken by the streaming accumulator and fold to what the SDK reads from the
`.json` file of the same name; each `.json` file must come through the typed client unchanged.
Files that hold an error must raise the SDK's error. Needs the packages `openai` and `anthropic`.

    python accept.py FOLDER           FOLDER holds openai_chat/, openai_responses/, anthropic_messages/,
                                      or some of them
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anthropic
import openai
from openai.lib.streaming._deltas import accumulate_delta

# The chat accumulator of openai-python refuses these finished replies by design, and it has no type for
# a custom call in a stream. Their chunks are folded by the SDK's own fold of deltas instead.
RAISES = {
    "cut_at_max_tokens.sse": openai.LengthFinishReasonError,
    "content_filter.sse": openai.ContentFilterFinishReasonError,
    "custom_tool_call.sse": AttributeError,
}


def serve(root):
    """Serves FOLDER/<dialect>/<file> on every path that begins with /<dialect>/<file>/."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            dialect, name = self.path.split("/")[1:3]
            body = (root / dialect / name).read_bytes()
            self.send_response(400 if "http_400" in name else 200)
            self.send_header("content-type", "text/event-stream" if name.endswith(".sse") else "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def chat(base, stream):
    ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client:
        if not stream:
            return client.chat.completions.create(**ask).to_dict()
        with client.chat.completions.stream(**ask, stream_options={"include_usage": True}) as events:
            seen = [event.type for event in events]
            final = events.get_final_completion().to_dict()
        assert "chunk" in seen, seen
        return final


def chat_deltas(base):
    """Folds the chunks of a chat stream without the accumulator's checks."""
    final, message = {}, {}
    ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client:
        for chunk in client.chat.completions.create(**ask, stream_options={"include_usage": True}):
            sent = chunk.to_dict()
            for choice in sent.pop("choices"):
                accumulate_delta(message, choice.pop("delta"))
                final["choices"] = [choice | {"message": message}]
            final |= sent
    return final | {"object": "chat.completion"}


def responses(base, stream):
    ask = {"model": "m", "input": "hi"}
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client:
        if not stream:
            return client.responses.create(**ask).to_dict()
        with client.responses.stream(**ask) as events:
            numbers, last = [], None
            for event in events:
                numbers.append(event.sequence_number)
                last = event
            assert numbers == sorted(set(numbers)), numbers
            # The accumulator gives a final response for response.completed only, as with the vendor.
            if last.type == "response.incomplete":
                return last.response.to_dict()
            return events.get_final_response().to_dict()


def messages(base, stream):
    ask = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
    with anthropic.Anthropic(base_url=base, api_key="none", max_retries=0) as client:
        if not stream:
            return client.messages.create(**ask).to_dict()
        with client.messages.stream(**ask) as events:
            assert [event.type for event in events][-1] == "message_stop"
            return events.get_final_message().to_dict()


DRIVE = {"openai_chat": chat, "openai_responses": responses, "anthropic_messages": messages}


def without_parser_marks(value):
    """Removes what an accumulator adds for its own parsing: `parsed*`, and the index of a tool call."""
    if isinstance(value, list):
        return [without_parser_marks(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    out = {key: without_parser_marks(entry) for key, entry in value.items() if not key.startswith("parsed")}
    if "function" in out or "custom" in out:
        out.pop("index", None)
    return out


def differences(got, want, at=""):
    """Names where two values differ; a null and an absent key are the same to every client."""
    if isinstance(want, dict) and isinstance(got, dict):
        return [line for key in sorted({*got, *want})
                for line in differences(got.get(key), want.get(key), f"{at}.{key}")]
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [line for index, pair in enumerate(zip(got, want)) for line in differences(*pair, f"{at}[{index}]")]
    if got == want or (got in (None, []) and want in (None, [])):
        return []
    return [f"{at}: got {got!r}, want {want!r}"]


def check(base, path):
    dialect, stream = path.parent.name, path.suffix == ".sse"
    drive, where = DRIVE[dialect], f"{base}/{dialect}/{path.name}"
    if path.name.startswith("error_"):
        try:
            drive(where, stream)
        except (openai.APIError, anthropic.APIError) as error:
            assert error.body, f"no body in {error!r}"
            return f"raised {type(error).__name__}: {error.message[:60]}"
        raise AssertionError("the SDK raised nothing")
    refused = RAISES.get(path.name) if dialect == "openai_chat" else None
    if refused:
        try:
            drive(where, stream)
        except refused:
            got = without_parser_marks(chat_deltas(where))
        else:
            raise AssertionError(f"the accumulator no longer raises {refused.__name__}: shorten the table RAISES")
    else:
        got = without_parser_marks(drive(where, stream))
    twin = path.with_suffix(".json")
    want = json.loads((twin if twin.exists() else path.with_name("text.json")).read_text("utf-8"))
    if path.stem == "text_without_usage":
        want.pop("usage")
    wrong = differences(got, want)
    assert not wrong, "; ".join(wrong)
    if refused:
        return f"the same as its .json by deltas; .stream() raises {refused.__name__}"
    return "the same as its .json" if stream else "read unchanged"


def main(root):
    base = serve(root)
    folders = [root / dialect for dialect in DRIVE if (root / dialect).is_dir()]
    paths = sorted(path for folder in folders for path in folder.iterdir() if path.suffix in (".json", ".sse"))
    failed = 0
    for path in paths:
        name = f"{path.parent.name}/{path.name}"
        try:
            print(f"ok    {name}: {check(base, path)}")
        except Exception as error:  # Whatever an SDK throws at a reply is a finding to print.
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {error}")
    print(f"{len(paths) - failed} of {len(paths)} accepted by openai {openai.__version__}, "
          f"anthropic {anthropic.__version__}")
    return 1 if failed or not paths else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve()))
