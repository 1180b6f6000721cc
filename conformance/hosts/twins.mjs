// Answers params from stdin, one per line, with the JavaScript model; see `twins.py`.

import { createInterface } from 'node:readline';

import { ScriptedModel } from './scripted_model.mjs';

const model = new ScriptedModel();
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await model.answer(JSON.parse(line))));
}
