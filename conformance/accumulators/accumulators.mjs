// Feeds streams of the bridge's own writers to the accumulators of the official JavaScript SDKs; see `accumulators.py`.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

let answer;

/** Answers every request of the SDKs with the sample. */
async function fetch(_url, { body }) {
  const [type, text] = JSON.parse(body).stream
    ? ['text/event-stream', answer.sse]
    : ['application/json', JSON.stringify(answer.whole)];
  return new Response(text, { headers: { 'content-type': type } });
}

const config = { baseURL: 'http://127.0.0.1:9', apiKey: 'x', fetch, maxRetries: 0 };
const openai = new OpenAI(config);
const anthropic = new Anthropic(config);

const joined = (texts) => texts.join('');

function chat(completion) {
  const [{ message, finish_reason: stop }] = completion.choices;
  const { usage } = completion;
  return {
    model: completion.model,
    text: message.content ?? '',
    stop,
    calls: (message.tool_calls ?? []).map((call) => (call.type === 'custom'
      ? { id: call.id, kind: 'custom', name: call.custom.name, input: call.custom.input }
      : { id: call.id, kind: 'function', name: call.function.name, input: JSON.parse(call.function.arguments) })),
    usage: [usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details.cached_tokens],
  };
}

function message(got) {
  const kinds = { text: 'text', tool_use: 'call', thinking: 'thinking', redacted_thinking: 'thinking' };
  const cached = got.usage.cache_read_input_tokens;
  return {
    model: got.model,
    stop: got.stop_reason,
    stop_sequence: got.stop_sequence,
    blocks: got.content.map((block) => kinds[block.type]),
    text: joined(got.content.filter((block) => block.type === 'text').map((block) => block.text)),
    calls: got.content.filter((block) => block.type === 'tool_use')
      .map((block) => ({ id: block.id, kind: 'function', name: block.name, input: block.input })),
    thinking: got.content.filter((block) => block.type.endsWith('thinking'))
      .map((block) => [block.thinking ?? '', block.signature ?? null, block.data ?? null]),
    usage: [got.usage.input_tokens + cached, got.usage.output_tokens, cached],
  };
}

function response(got) {
  const kinds = { message: 'text', reasoning: 'thinking' };
  const parts = (item) => item.content.map((part) => part.text);
  return {
    model: got.model,
    text: joined(got.output.filter((item) => item.type === 'message').flatMap(parts)),
    stop: got.status,
    kinds: got.output.map((item) => kinds[item.type] ?? 'call'),
    calls: got.output.filter((item) => item.type.endsWith('_call')).map((item) => ({
      id: item.call_id,
      kind: item.type === 'custom_tool_call' ? 'custom' : 'function',
      name: item.name,
      input: item.type === 'custom_tool_call' ? item.input : JSON.parse(item.arguments),
      item_id: item.id,
      namespace: item.namespace ?? null,
    })),
    thinking: got.output.filter((item) => item.type === 'reasoning').map((item) => [
      item.id, item.summary.map((part) => part.text), joined((item.content ?? []).map((part) => part.text)),
      item.encrypted_content ?? null,
    ]),
    usage: [got.usage.input_tokens, got.usage.output_tokens, got.usage.input_tokens_details.cached_tokens],
  };
}

/** What the sample says, in the words of the functions above. */
function expected({ dialect, expect }) {
  const { input, output, cached } = expect.usage;
  const calls = expect.calls.map(({ id, kind, name, input: given }) => ({ id, kind, name, input: given }));
  const common = { model: expect.model, text: expect.text, stop: expect.stop, usage: [input + cached, output, cached] };
  switch (dialect) {
    case 'openai-chat':
      return { ...common, calls };
    case 'anthropic-messages':
      return {
        ...common,
        calls,
        blocks: expect.blocks,
        stop_sequence: expect.stop_sequence,
        thinking: expect.thinking.map((one) => [one.text, one.signature, one.encrypted]),
      };
    default: {
      // Texts that follow each other are one message item, and an answer of nothing is an empty one.
      const kinds = expect.blocks.filter((kind, at) => kind !== 'text' || expect.blocks[at - 1] !== 'text');
      return {
        ...common,
        calls: calls.map((call, at) => ({
          ...call, item_id: expect.calls[at].item_id, namespace: expect.calls[at].namespace,
        })),
        kinds: kinds.length > 0 ? kinds : ['text'],
        thinking: expect.thinking.map((one) => [one.id, one.summary, one.text, one.encrypted]),
      };
    }
  }
}

const READERS = {
  'openai-chat': {
    streamed: async () => chat(await openai.chat.completions.stream({
      model: 'm', messages: [], stream_options: { include_usage: true },
    }).finalChatCompletion()),
    whole: async () => chat(await openai.chat.completions.create({ model: 'm', messages: [] })),
  },
  'anthropic-messages': {
    streamed: async () => message(await anthropic.messages.stream({
      model: 'm', max_tokens: 1, messages: [],
    }).finalMessage()),
    whole: async () => message(await anthropic.messages.create({ model: 'm', max_tokens: 1, messages: [] })),
  },
  'openai-responses': {
    streamed: async () => response(await openai.responses.stream({ model: 'm', input: 'x' }).finalResponse()),
    whole: async () => response(await openai.responses.create({ model: 'm', input: 'x' })),
  },
};

async function wrongWith(how) {
  let got;
  try {
    got = await READERS[answer.dialect][how]();
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
  const wanted = expected(answer);
  return Object.keys(wanted)
    .filter((name) => !isDeepStrictEqual(got[name], wanted[name]))
    .map((name) => `${name}: expected ${JSON.stringify(wanted[name])}, got ${JSON.stringify(got[name])}`)
    .join('; ');
}

const tallies = new Map();
for await (const line of createInterface({ input: createReadStream(process.argv[2]) })) {
  answer = JSON.parse(line);
  for (const how of Object.keys(READERS[answer.dialect])) {
    const key = `${answer.dialect}, ${how}, JavaScript`;
    const tally = tallies.get(key) ?? { count: 0, failures: [] };
    tallies.set(key, tally);
    tally.count += 1;
    const wrong = await wrongWith(how);
    if (wrong) tally.failures.push(`sample ${answer.at}: ${wrong.replace(/\s+/g, ' ').slice(0, 700)}`);
  }
}
for (const [key, { count, failures }] of tallies) {
  const name = `${count} replies of ${key}`;
  console.log(failures.length > 0 ? `FAIL ${name}: ${failures.length} wrong, first ${failures[0]}` : `PASS ${name}`);
}
