// The scripted model as a coding agent's model; the twin of `coding.py`, which says more.

import { smallest } from './instances.mjs';

const TASK = /TASK write-and-run: (\S+) (\w+)/;

const NAMES = {
  write: ['write', 'writefile', 'createfile'],
  read: ['read', 'readfile'],
  edit: ['edit', 'editfile', 'strreplace'],
  patch: ['applypatch'],
  shell: ['bash', 'execcommand', 'shell', 'shellcommand', 'runcommand'],
};

const ARGUMENTS = {
  path: ['file_path', 'filePath', 'path'],
  content: ['content', 'contents'],
  old: ['old_string', 'oldString', 'old_str'],
  new: ['new_string', 'newString', 'new_str'],
  command: ['command', 'cmd'],
  patch: ['input'],
};

const PROGRAM = String.raw`#!/bin/sh
# "double", 'single', ~ticks~, \back\slashes\n, <div class="a">&amp;</div>, {"json": [1, 2]}, naïve ✓ 文
page='<html>
	<body>two  spaces, and a tab before</body>
</html>'
test "@{#page}" -gt 0 && echo "WORD: $((19 + 23))"
`.replace(/~/g, '`').replace('@', '$');
const OLD = '19 + 23';
const NEW = '19 + 23 * 100';
const OUTPUT = 'WORD: 2319';

/** What to say and to call next; nothing if no task was given, or no shell is there to do it with. */
export function nextStep(conversation) {
  const task = conversation.texts.map((text) => TASK.exec(text)).find(Boolean);
  const shell = toolFor(conversation, 'shell');
  if (!task || !shell) return undefined;
  const [, path, word] = task;
  const done = conversation.allResults;
  const failed = done.find((result) => result.isError);
  if (failed) return [`FAILED: ${failed.name} returned ${failed.text.slice(0, 500)}`, []];
  const steps = [write, read, edit, run];
  if (done.length < steps.length) {
    const [text, call] = steps[done.length](conversation, shell, path, word);
    return [text, [call]];
  }
  const expected = OUTPUT.replace('WORD', word);
  if (done.at(-1).text.includes(expected)) return [`REPORT: the program printed ${expected}`, []];
  return [`FAILED: the last result was ${done.at(-1).text.slice(0, 500)}`, []];
}

function write(conversation, shell, path, word) {
  const content = PROGRAM.replace('WORD', word);
  const writer = toolFor(conversation, 'write');
  if (writer) return ['I write the file.', fill(conversation, writer, { path, content })];
  const patcher = toolFor(conversation, 'patch');
  if (patcher) {
    const added = content.split('\n').slice(0, -1).map((line) => `+${line}\n`).join('');
    const patch = `*** Begin Patch\n*** Add File: ${path}\n${added}*** End Patch\n`;
    return ['I add the file.', fill(conversation, patcher, { patch })];
  }
  return ['', fill(conversation, shell, { command: `cat > ${path} <<'END_OF_FILE'\n${content}END_OF_FILE` })];
}

function read(conversation, shell, path) {
  const reader = toolFor(conversation, 'read');
  if (reader) return ['Now I read it.', fill(conversation, reader, { path })];
  return ['Now I read it.', fill(conversation, shell, { command: `cat ${path}` })];
}

function edit(conversation, shell, path, word) {
  const editor = toolFor(conversation, 'edit');
  if (editor) return ['', fill(conversation, editor, { path, old: OLD, new: NEW })];
  const patcher = toolFor(conversation, 'patch');
  if (patcher) {
    const old = PROGRAM.replace('WORD', word).split('\n').find((line) => line.includes(OLD));
    const hunk = `@@\n-${old}\n+${old.replace(OLD, NEW)}\n`;
    const patch = `*** Begin Patch\n*** Update File: ${path}\n${hunk}*** End Patch\n`;
    return ['', fill(conversation, patcher, { patch })];
  }
  return ['', fill(conversation, shell, { command: `sed -i 's/${OLD}/${NEW}/' ${path}` })];
}

function run(conversation, shell, path) {
  return ['Now I run it.', fill(conversation, shell, { command: `sh ${path}` })];
}

function toolFor(conversation, purpose) {
  const plain = (name) => name.replace(/^.*__|[_-]/g, '').toLowerCase();
  const offered = [...conversation.tools.keys()];
  for (const wanted of NAMES[purpose]) {
    const found = offered.find((name) => plain(name) === wanted);
    if (found) return found;
  }
  return undefined;
}

/** Fills in the values under the tool's own names, and the smallest instance for what else is required. */
function fill(conversation, tool, values) {
  const known = new Map();
  for (const [what, value] of Object.entries(values)) for (const name of ARGUMENTS[what]) known.set(name, value);
  const whole = conversation.tools.get(tool);
  const input = {};
  for (const [name, schema] of Object.entries(whole.properties ?? {})) {
    if (known.has(name)) {
      input[name] = schema?.type === 'array' ? ['sh', '-c', known.get(name)] : known.get(name);
    } else if ((whole.required ?? []).includes(name)) {
      input[name] = smallest(schema, whole);
    }
  }
  return { name: tool, arguments: input, form: 'ours' };
}
