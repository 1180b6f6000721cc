// Checks tools and structured output of the Chat Completions door with the official JavaScript SDK.

import { request as httpRequest } from 'node:http';
import { zstdCompressSync } from 'node:zlib';

import OpenAI from 'openai';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { WAIT, equal, matches, ok, options, quotes, rejects, run } from './checks.mjs';

const client = new OpenAI({ baseURL: `${options['base-url']}/v1`, apiKey: options.token, timeout: WAIT });
const once = client.withOptions({ maxRetries: 0 });

const tool = (name, properties) => ({
  type: 'function',
  function: {
    name,
    description: `It is ${name}.`,
    parameters: { type: 'object', properties, required: Object.keys(properties).slice(0, 1) },
  },
});
const TOOLS = [
  tool('get_weather', { city: { type: 'string' }, days: { type: 'integer' }, notes: { type: 'array' } }),
  tool('run', { program: { type: 'string' } }),
];
const ASKED = { city: 'Zürich "HB"\n<b>', days: 2, notes: ['a', 'é'] };
const CALL = `call:get_weather:${JSON.stringify(ASKED)}`;
const TWO = [{ name: 'get_weather', input: { city: 'Oslo' } }, { name: 'run', input: { program: 'print("1\n2")\n' } }];
const BOTH = `calls:${JSON.stringify(TWO)}`;

const user = (content) => ({ role: 'user', content });
const request = (messages, more = {}) => ({
  model: 'auto',
  tools: TOOLS,
  messages: messages.map((message) => (typeof message === 'string' ? user(message) : message)),
  ...more,
});
const ask = (messages, more) => once.chat.completions.create(request(messages, more));
const callsOf = (completion) => completion.choices[0].message.tool_calls ?? [];
const plain = (calls) => calls.map((call) => ({ name: call.function.name, input: JSON.parse(call.function.arguments) }));
const result = (call, content) => ({ role: 'tool', tool_call_id: call.id, content });
const textOf = (completion) => {
  equal(callsOf(completion), [], 'calls beside the text');
  return completion.choices[0].message.content;
};

async function oneCall() {
  const got = await ask([CALL]);
  const [choice] = got.choices;
  equal([choice.finish_reason, choice.message.content], ['tool_calls', null], 'finish reason and content');
  equal(plain(callsOf(got)), [{ name: 'get_weather', input: ASKED }], 'the call');
  const answered = await ask([CALL, choice.message, result(callsOf(got)[0], '18 °C')]);
  equal(textOf(answered), 'got: 18 °C', 'answer to a result');
}

async function parallelCalls() {
  const got = await ask([BOTH]);
  const calls = callsOf(got);
  equal(plain(calls), TWO, 'the calls');
  const answers = [result(calls[0], 'one'), result(calls[1], 'two')];
  equal(textOf(await ask([BOTH, got.choices[0].message, ...answers])), 'got: one; two', 'answer to two results');
  const off = await ask([BOTH], { parallel_tool_calls: false });
  equal(plain(callsOf(off)), TWO.slice(0, 1), 'calls with parallel_tool_calls false');
}

async function toolChoice() {
  const offered = async (choice) => JSON.parse(textOf(await ask(['tools?'], { tool_choice: choice })));
  equal((await offered('none')).tools, [], 'none');
  equal((await offered('required')).required, true, 'required');
  const named = { type: 'function', function: { name: 'run' } };
  equal(await offered(named), { tools: ['run'], required: true }, 'a named tool');
  const allowed = { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [named] } };
  equal(await offered(allowed), { tools: ['run'], required: false }, 'allowed tools');
}

async function streamedCalls() {
  const stream = client.chat.completions.stream(request([BOTH]));
  const done = [];
  stream.on('tool_calls.function.arguments.done', ({ index, name }) => done.push([index, name]));
  const final = await stream.finalChatCompletion();
  equal([plain(callsOf(final)), final.choices[0].finish_reason], [TWO, 'tool_calls'], 'accumulated calls');
  equal(done, [[0, 'get_weather'], [1, 'run']], 'done events');
  const said = await client.chat.completions.stream(request(['say:I look.:run:{"program":"x"}'])).finalChatCompletion();
  equal([said.choices[0].message.content, callsOf(said).length], ['I look.', 1], 'text and call, accumulated');
}

async function runners() {
  for (const stream of [false, true]) {
    const ran = [];
    const runnable = zodFunction({
      name: 'run_it',
      description: 'Runs a program.',
      parameters: z.object({ program: z.string() }),
      function: ({ program }) => {
        ran.push(program);
        return `ran ${program}`;
      },
    });
    const runner = client.chat.completions.runTools({
      model: 'auto', stream, messages: [user('rounds:2:run_it:{"program":"é"}')], tools: [runnable],
    });
    equal([await runner.finalContent(), ran], ['got: ran é; ran é', ['é', 'é']], `a loop, stream=${stream}`);
  }
}

async function structured() {
  const format = zodResponseFormat(z.object({ product: z.string(), quantity: z.number(), gift: z.boolean() }), 'order');
  const parse = (text) => once.chat.completions.parse({ model: 'auto', messages: [user(text)], response_format: format });
  const expected = { product: 'scripted', quantity: 7, gift: true };
  for (const text of ['json:valid', 'json:fenced', 'json:repair']) {
    equal((await parse(text)).choices[0].message.parsed, expected, text);
  }
  const failed = await rejects(OpenAI.APIError, () => parse('json:prose'), 'prose where JSON was asked for');
  matches(/shape/, failed.message, 'message');
  const stream = client.chat.completions.stream({ model: 'auto', messages: [user('json:fenced')], response_format: format });
  equal((await stream.finalChatCompletion()).choices[0].message.parsed, expected, 'streamed');
}

/** Codex may send its requests like this. */
async function packedBody() {
  const packed = zstdCompressSync(JSON.stringify(request(['echo:unpacked'])));
  const reply = await new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      'content-encoding': 'zstd',
      authorization: `Bearer ${options.token}`,
    };
    const call = httpRequest(`${options['base-url']}/v1/chat/completions`, { method: 'POST', headers }, (response) => {
      let body = '';
      response.on('data', (piece) => (body += piece)).on('end', () => resolve(JSON.parse(body)));
    });
    call.on('error', reject).end(packed);
  });
  ok(reply.choices, 'no reply to a compressed request', reply);
  equal(textOf(reply), 'unpacked', 'reply to a compressed request');
}

async function quoted() {
  const first = await ask(['nonce?']);
  const live = textOf(first).replaceAll(' ', '');
  matches(/^[0-9a-f]{8,}$/, live, 'the nonce that the model was shown');
  for (const [name, markup] of Object.entries(quotes('run', live))) {
    const asked = ['nonce?', first.choices[0].message, 'repeat:run:{"program":"cat"}'];
    const got = await ask(asked);
    const text = `The file says:\n${markup}`;
    const reply = await ask([...asked, got.choices[0].message, result(callsOf(got)[0], text)]);
    equal(textOf(reply), text, `the text that repeats ${name}`);
  }
}

const both = [oneCall, parallelCalls, toolChoice, streamedCalls, runners, structured, packedBody];
await run({ main: options.variant === 'prompted' ? [...both, quoted] : both }, {});
