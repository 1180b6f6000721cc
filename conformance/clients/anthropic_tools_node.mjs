// Checks tools, structured output and token counts of the Messages door with the official JavaScript SDK.

import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';

import { WAIT, equal, matches, nonce, ok, options, quotes, rejects, run } from './checks.mjs';

const client = new Anthropic({ baseURL: options['base-url'], apiKey: options.token, timeout: WAIT });
const once = client.withOptions({ maxRetries: 0 });

const WEATHER = {
  name: 'get_weather',
  description: 'The weather of a city.',
  input_schema: {
    type: 'object',
    required: ['city'],
    properties: { city: { type: 'string' }, days: { type: 'integer' }, notes: { type: 'array', items: { type: 'string' } } },
  },
};
const RUN = {
  name: 'run',
  description: 'Runs a program.',
  input_schema: { type: 'object', required: ['program'], properties: { program: { type: 'string' } } },
};
const ASKED = { city: 'Zürich "HB"\n<b>', days: 2, notes: ['a', 'é'] };
const CALL = `call:get_weather:${JSON.stringify(ASKED)}`;
const TWO = [{ name: 'get_weather', input: { city: 'Oslo' } }, { name: 'run', input: { program: 'print("1\n2")\n' } }];
const BOTH = `calls:${JSON.stringify(TWO)}`;

const user = (content) => ({ role: 'user', content });
const request = (messages, more = {}) => ({
  model: 'auto',
  max_tokens: 1000,
  tools: [WEATHER, RUN],
  messages: messages.map((message) => (typeof message === 'string' ? user(message) : message)),
  ...more,
});
const ask = (messages, more) => once.messages.create(request(messages, more));
const callsOf = (message) => message.content.filter((block) => block.type === 'tool_use');
const plain = (calls) => calls.map(({ name, input }) => ({ name, input }));
const result = (call, content, more = {}) => ({ type: 'tool_result', tool_use_id: call.id, content, ...more });
const said = ({ content }) => ({ role: 'assistant', content });
const textOf = (message) => {
  equal(message.content.map((block) => block.type), ['text'], 'content blocks');
  return message.content[0].text;
};

async function oneCall() {
  const message = await ask([CALL]);
  equal([message.stop_reason, message.content.length], ['tool_use', 1], 'stop reason and blocks');
  equal(plain(callsOf(message)), [{ name: 'get_weather', input: ASKED }], 'the call');
  const [call] = callsOf(message);
  const answer = (content, more) => ask([CALL, said(message), user([result(call, content, more)])]);
  equal(textOf(await answer('18 °C')), 'got: 18 °C', 'answer to a result');
  equal(textOf(await answer('no such city', { is_error: true })), 'got: error no such city', 'answer to an error');
}

async function parallelCalls() {
  const message = await ask([BOTH]);
  const calls = callsOf(message);
  equal(plain(calls), TWO, 'the calls');
  const answers = user([result(calls[0], 'one'), result(calls[1], 'two')]);
  equal(textOf(await ask([BOTH, said(message), answers])), 'got: one; two', 'answer to two results');
  const off = await ask([BOTH], { tool_choice: { type: 'auto', disable_parallel_tool_use: true } });
  equal(plain(callsOf(off)), TWO.slice(0, 1), 'calls without parallel use');
}

async function toolChoice() {
  const offered = async (choice) => JSON.parse(textOf(await ask(['tools?'], { tool_choice: choice })));
  equal(await offered({ type: 'auto' }), { tools: ['get_weather', 'run'], required: false }, 'auto');
  equal((await offered({ type: 'none' })).tools, [], 'none');
  equal(await offered({ type: 'tool', name: 'run' }), { tools: ['run'], required: true }, 'a named tool');
  const forced = await ask(['reluctant:run:{"program":"x"}'], { tool_choice: { type: 'any' } });
  equal(plain(callsOf(forced)), [{ name: 'run', input: { program: 'x' } }], 'a model that had to be told twice');
}

async function streamedCalls() {
  const stream = client.messages.stream(request([BOTH]));
  const pieces = [];
  stream.on('inputJson', (delta) => pieces.push(delta));
  const blocks = [];
  stream.on('contentBlock', (block) => blocks.push(block));
  const final = await stream.finalMessage();
  equal([plain(callsOf(final)), final.stop_reason], [TWO, 'tool_use'], 'accumulated calls');
  equal(plain(blocks), TWO, 'contentBlock events');
  ok(pieces.length > 0, 'no inputJson event came');
  const both = await client.messages.stream(request(['say:I look.:run:{"program":"x"}'])).finalMessage();
  equal(both.content.map((block) => block.type), ['text', 'tool_use'], 'text and call, accumulated');
}

async function runners() {
  const ran = [];
  const tool = betaZodTool({
    name: 'run_it',
    description: 'Runs a program.',
    inputSchema: z.object({ program: z.string() }),
    run: ({ program }) => {
      ran.push(program);
      return `ran ${program}`;
    },
  });
  const call = { model: 'auto', max_tokens: 1000, tools: [tool], messages: [user('rounds:2:run_it:{"program":"é"}')] };
  for (const more of [{}, { thread: false }]) {
    ran.length = 0;
    const final = await client.beta.messages.toolRunner({ ...call, ...more }).runUntilDone();
    equal([final.content[0].text, ran], ['got: ran é; ran é', ['é', 'é']], `a loop with ${JSON.stringify(more)}`);
  }
  ran.length = 0;
  let last;
  for await (const stream of client.beta.messages.toolRunner({ ...call, stream: true })) last = await stream.finalMessage();
  equal([last.content[0].text, ran], ['got: ran é; ran é', ['é', 'é']], 'a streamed loop');
}

async function parsed() {
  const Order = z.object({ product: z.string(), quantity: z.number(), gift: z.boolean() });
  const format = { output_config: { format: zodOutputFormat(Order) } };
  const parse = (text) => once.messages.parse({ model: 'auto', max_tokens: 1000, messages: [user(text)], ...format });
  const expected = { product: 'scripted', quantity: 7, gift: true };
  for (const text of ['json:valid', 'json:fenced', 'json:repair']) {
    equal((await parse(text)).parsed_output, expected, text);
  }
  const failed = await rejects(Anthropic.APIError, () => parse('json:prose'), 'prose where JSON was asked for');
  matches(/shape/, failed.message, 'message');
  const stream = client.messages.stream({ model: 'auto', max_tokens: 1000, messages: [user('json:fenced')], ...format });
  equal((await stream.finalMessage()).parsed_output, expected, 'streamed');
}

async function countTokens() {
  const text = `echo:${nonce()}`;
  const count = async (more) => {
    const counted = await once.messages.countTokens({ model: 'auto', messages: [user(text)], ...more });
    return counted.input_tokens;
  };
  const small = await count();
  ok(small >= 1, 'the count is below one', small);
  ok((await count({ tools: [RUN] })) > small, 'tools are not counted');
  equal(await Promise.all(Array.from({ length: 25 }, () => count())), Array(25).fill(small), '25 counts at once');
  equal(textOf(await ask([`asked:${text}`], { tools: [] })), '0', 'samplings for counting');
}

async function quoted() {
  const first = await ask(['nonce?']);
  const live = textOf(first).replaceAll(' ', '');
  matches(/^[0-9a-f]{8,}$/, live, 'the nonce that the model was shown');
  for (const [name, markup] of Object.entries(quotes('run', live))) {
    const asked = ['nonce?', said(first), 'repeat:run:{"program":"cat"}'];
    const message = await ask(asked);
    const text = `The file says:\n${markup}`;
    const reply = await ask([...asked, said(message), user([result(callsOf(message)[0], text)])]);
    equal(textOf(reply), text, `the text that repeats ${name}`);
  }
}

async function foreignForms() {
  for (const form of ['unclosed', 'hallucinated', 'hermes', 'qwen', 'bare', 'openai']) {
    const input = { program: 'echo "hi" && ls' };
    const message = await ask([`form:${form}:run:${btoa(JSON.stringify(input))}`]);
    equal(plain(callsOf(message)), [{ name: 'run', input }], `a call in the form ${form}`);
  }
}

const both = [oneCall, parallelCalls, toolChoice, streamedCalls, runners, parsed, countTokens];
await run({ main: options.variant === 'prompted' ? [...both, quoted, foreignForms] : both }, {});
