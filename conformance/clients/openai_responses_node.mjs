// Checks the Responses door with the official `openai` JavaScript SDK.

import OpenAI from 'openai';
import { ResponsesToolRunner } from 'openai/helpers/responses-tool-runner';
import { zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { LONG_TEXT, WAIT, drain, equal, matches, nonce, ok, options, rejects, run } from './checks.mjs';

const client = new OpenAI({ baseURL: `${options['base-url']}/v1`, apiKey: options.token, timeout: WAIT });
const once = client.withOptions({ maxRetries: 0 });

const RUN = {
  type: 'function',
  name: 'run',
  description: 'Runs a program.',
  strict: false,
  parameters: { type: 'object', required: ['program'], properties: { program: { type: 'string' } } },
};
const PATCH = { type: 'custom', name: 'patch', description: 'Changes files.' };
const AGENTS = { type: 'namespace', name: 'agents', description: 'Other agents.', tools: [RUN] };
const PROGRAM = 'print("1\n2")  # é <b>\n';
const CALL = `call:run:${JSON.stringify({ program: PROGRAM })}`;

const ask = (input, more = {}) => once.responses.create({ model: 'auto', input, ...more });
const user = (content) => ({ role: 'user', content });
const callsOf = (response) => response.output.filter((item) => item.type.endsWith('_call'));
const output = (call, text) => ({ type: `${call.type}_output`, call_id: call.call_id, output: text });

async function nonStreaming() {
  const said = nonce();
  const got = await ask(`echo:${said}`);
  equal([got.output_text, got.status, got.error], [said, 'completed', null], 'answer');
  ok(got.usage.input_tokens > 0 && got.usage.output_tokens > 0, 'usage is zero', got.usage);
  const system = await ask([{ role: 'developer', content: 'Be kind.' }, user('system?')]);
  equal(system.output_text, 'Be kind.', 'developer message');
}

async function streaming() {
  const events = await drain(await ask('echo:a b c', { stream: true }));
  equal(events.map((event) => event.sequence_number), events.map((_, at) => at), 'sequence numbers');
  const deltas = events.filter((event) => event.type === 'response.output_text.delta');
  equal(deltas.map((event) => event.delta).join(''), 'a b c', 'deltas');
  equal(events.at(-1).type, 'response.completed', 'last event');
  const final = await client.responses.stream({ model: 'auto', input: 'long' }).finalResponse();
  equal(final.output_text, LONG_TEXT, 'accumulated text');
}

async function errorAfterTheHead() {
  const stream = await ask('slow-fail:7000:broken', { stream: true });
  const error = await rejects(OpenAI.APIError, () => drain(stream), 'a failure after the head');
  matches(/fell over/, error.message, 'message');
}

async function stored() {
  const first = await ask('echo:one');
  const second = await ask('history', { previous_response_id: first.id });
  equal(second.output_text, '3 messages: user assistant user', 'a chain');
  equal((await once.responses.retrieve(second.id)).output_text, second.output_text, 'retrieved');
  await once.responses.delete(second.id);
  await rejects(OpenAI.NotFoundError, () => once.responses.retrieve(second.id), 'retrieve what was deleted');
  const gone = await rejects(OpenAI.BadRequestError, () => ask('x', { previous_response_id: second.id }), 'go on');
  equal(gone.code, 'previous_response_not_found', 'code');
}

async function calls() {
  const got = await ask(CALL, { tools: [RUN] });
  const [call] = callsOf(got);
  equal([call.type, call.name, JSON.parse(call.arguments)], ['function_call', 'run', { program: PROGRAM }], 'the call');
  const replayed = await ask([user(CALL), ...got.output, output(call, 'ran it')], { tools: [RUN] });
  equal(replayed.output_text, 'got: ran it', 'answer to a result');
  const chained = await ask([output(call, 'ran it')], { previous_response_id: got.id, tools: [RUN] });
  equal(chained.output_text, 'got: ran it', 'answer to a result in a chain');
}

async function otherKindsOfTools() {
  const input = '*** Begin Patch\n+ "a" <b>\n*** End Patch\n';
  const said = `call:patch:${JSON.stringify({ input })}`;
  const got = await ask(said, { tools: [PATCH] });
  const [patch] = callsOf(got);
  equal([patch.type, patch.name, patch.input], ['custom_tool_call', 'patch', input], 'a custom call');
  const answered = await ask([user(said), ...got.output, output(patch, 'done')], { tools: [PATCH] });
  equal(answered.output_text, 'got: done', 'answer to its result');
  const [inside] = callsOf(await ask('call:agents__run:{"program":"x"}', { tools: [AGENTS] }));
  equal([inside.name, inside.namespace], ['run', 'agents'], 'a call of a tool in a namespace');
}

async function streamedCalls() {
  const stream = client.responses.stream({ model: 'auto', input: CALL, tools: [RUN] });
  const done = [];
  stream.on('response.function_call_arguments.done', (event) => done.push(JSON.parse(event.arguments)));
  const final = await stream.finalResponse();
  equal([callsOf(final)[0].name, done], ['run', [{ program: PROGRAM }]], 'accumulated call and done event');
}

async function runner() {
  for (const stream of [false, true]) {
    const ran = [];
    const execute = ({ program }) => {
      ran.push(program);
      return `ran ${program}`;
    };
    const tools = new ResponsesToolRunner({ functions: [{ tool: RUN, execute }] });
    const call = { model: 'auto', input: 'rounds:2:run:{"program":"é"}' };
    const final = await tools.run(client, call, { stream });
    equal([final.output_text, ran], ['got: ran é; ran é', ['é', 'é']], `a loop of two rounds, stream=${stream}`);
  }
}

async function structured() {
  const format = zodTextFormat(z.object({ product: z.string(), quantity: z.number(), gift: z.boolean() }), 'order');
  const parse = (input) => once.responses.parse({ model: 'auto', input, text: { format } });
  const expected = { product: 'scripted', quantity: 7, gift: true };
  for (const text of ['json:valid', 'json:fenced', 'json:repair']) {
    equal((await parse(text)).output_parsed, expected, text);
  }
  await rejects(OpenAI.APIError, () => parse('json:prose'), 'prose where JSON was asked for');
}

async function inputTokens() {
  const small = await once.responses.inputTokens.count({ model: 'auto', input: 'one' });
  const more = await once.responses.inputTokens.count({ model: 'auto', input: 'one', tools: [RUN] });
  ok(more.input_tokens > small.input_tokens && small.input_tokens > 0, 'counts', [small, more]);
}

await run({
  main: [nonStreaming, streaming, stored, calls, otherKindsOfTools, streamedCalls, runner, structured, inputTokens],
}, { main: [errorAfterTheHead] });
