"""The scripted model as a coding agent's model: writes a file, reads it, changes it, runs it, and reports.

The task is a line somewhere in what the user said: `TASK write-and-run: PATH WORD`. The model knows no agent; it
picks among the tools that it is shown by their names, and fills in what their schemas ask for.
Its JavaScript twin is `coding.mjs`.
"""

from __future__ import annotations

import re

from conversation import Conversation
from instances import smallest
from markup import Call

TASK = re.compile(r"TASK write-and-run: (\S+) (\w+)")

# What agents call their tools; the first that is offered is taken.
NAMES = {
    "write": ("write", "writefile", "createfile"),
    "read": ("read", "readfile"),
    "edit": ("edit", "editfile", "strreplace"),
    "patch": ("applypatch",),
    "shell": ("bash", "execcommand", "shell", "shellcommand", "runcommand"),
}

# What they call the arguments.
ARGUMENTS = {
    "path": ("file_path", "filePath", "path"),
    "content": ("content", "contents"),
    "old": ("old_string", "oldString", "old_str"),
    "new": ("new_string", "newString", "new_str"),
    "command": ("command", "cmd"),
    "patch": ("input",),
}

# Everything that markup and JSON could trip over, as it stands in real programs.
PROGRAM = r'''#!/bin/sh
# "double", 'single', `ticks`, \back\slashes\n, <div class="a">&amp;</div>, {"json": [1, 2]}, naïve ✓ 文
page='<html>
	<body>two  spaces, and a tab before</body>
</html>'
test "${#page}" -gt 0 && echo "WORD: $((19 + 23))"
'''
OLD, NEW = "19 + 23", "19 + 23 * 100"
OUTPUT = "WORD: 2319"


def program(word: str) -> str:
    """The file as it must be in the end."""
    return PROGRAM.replace("WORD", word).replace(OLD, NEW)


def next_step(conversation: Conversation) -> tuple[str, list[Call]] | None:
    """What to say and to call next; nothing if no task was given, or no shell is there to do it with."""
    task = next((found for text in conversation.texts if (found := TASK.search(text))), None)
    shell = _tool(conversation, "shell")
    if task is None or shell is None:
        return None
    path, word = task.groups()
    done = conversation.all_results
    failed = next((result for result in done if result.is_error), None)
    if failed:
        return f"FAILED: {failed.name} returned {failed.text[:500]}", []
    steps = [_write, _read, _edit, _run]
    if len(done) < len(steps):
        text, call = steps[len(done)](conversation, shell, path, word)
        return text, [call]
    expected = OUTPUT.replace("WORD", word)
    if expected in done[-1].text:
        return f"REPORT: the program printed {expected}", []
    return f"FAILED: the last result was {done[-1].text[:500]}", []


def _write(conversation: Conversation, shell: str, path: str, word: str) -> tuple[str, Call]:
    content = PROGRAM.replace("WORD", word)
    if tool := _tool(conversation, "write"):
        return "I write the file.", _call(conversation, tool, path=path, content=content)
    if tool := _tool(conversation, "patch"):
        added = "".join(f"+{line}\n" for line in content.splitlines())
        return "I add the file.", _call(conversation, tool, patch=f"*** Begin Patch\n*** Add File: {path}\n{added}*** End Patch\n")
    return "", _call(conversation, shell, command=f"cat > {path} <<'END_OF_FILE'\n{content}END_OF_FILE")


def _read(conversation: Conversation, shell: str, path: str, _word: str) -> tuple[str, Call]:
    if tool := _tool(conversation, "read"):
        return "Now I read it.", _call(conversation, tool, path=path)
    return "Now I read it.", _call(conversation, shell, command=f"cat {path}")


def _edit(conversation: Conversation, shell: str, path: str, word: str) -> tuple[str, Call]:
    if tool := _tool(conversation, "edit"):
        return "", _call(conversation, tool, path=path, old=OLD, new=NEW)
    if tool := _tool(conversation, "patch"):
        old = next(line for line in PROGRAM.replace("WORD", word).splitlines() if OLD in line)
        hunk = f"@@\n-{old}\n+{old.replace(OLD, NEW)}\n"
        return "", _call(conversation, tool, patch=f"*** Begin Patch\n*** Update File: {path}\n{hunk}*** End Patch\n")
    return "", _call(conversation, shell, command=f"sed -i 's/{OLD}/{NEW}/' {path}")


def _run(conversation: Conversation, shell: str, path: str, _word: str) -> tuple[str, Call]:
    return "Now I run it.", _call(conversation, shell, command=f"sh {path}")


def _tool(conversation: Conversation, purpose: str) -> str | None:
    # The bridge puts a namespace before a name.
    offered = {re.sub(r"^.*__|[_-]", "", name).lower(): name for name in reversed(conversation.tools)}
    return next((offered[name] for name in NAMES[purpose] if name in offered), None)


def _call(conversation: Conversation, tool: str, **values: str) -> Call:
    """Fills in the values under the tool's own names, and the smallest instance for what else is required."""
    known = {name: value for what, value in values.items() for name in ARGUMENTS[what]}
    whole, arguments = conversation.tools[tool], {}
    for name, schema in whole.get("properties", {}).items():
        if name in known:
            listed = isinstance(schema, dict) and schema.get("type") == "array"
            arguments[name] = ["sh", "-c", known[name]] if listed else known[name]
        elif name in whole.get("required", []):
            arguments[name] = smallest(schema, whole)
    return Call(tool, arguments)
