// Checks the Chat Completions door with the official `openai` JavaScript SDK.

import OpenAI from 'openai';

import {
  LONG_TEXT, PIXEL, PIXEL_SEEN, UUID7, WAIT, countingFetch, drain, equal, matches, nonce, ok, options, rejects, run,
} from './checks.mjs';

const config = { baseURL: `${options['base-url']}/v1`, apiKey: options.token, timeout: WAIT };
const client = new OpenAI(config);
const once = client.withOptions({ maxRetries: 0 });

const user = (content) => [{ role: 'user', content }];
const request = (messages, more = {}) => ({ model: 'auto', messages, ...more });
const create = (messages, more) => once.chat.completions.create(request(messages, more));
const ask = (content, more) => create(user(content), more);
const textOf = (completion) => completion.choices[0].message.content;

async function nonStreaming() {
  const said = nonce();
  const got = await ask(`echo:${said}`);
  equal(textOf(got), said, 'content');
  equal([got.object, got.choices[0].index, got.choices[0].finish_reason], ['chat.completion', 0, 'stop'], 'shape');
  equal(got.model, 'scripted-1', 'the served model answers for `auto`');
  ok(got.usage.prompt_tokens > 0 && got.usage.completion_tokens > 0, 'usage is zero', got.usage);
  equal(got.usage.total_tokens, got.usage.prompt_tokens + got.usage.completion_tokens, 'total tokens');
  equal(textOf(await ask('long')), LONG_TEXT, 'long answer');
}

async function requestIdAndHeaders() {
  const { data, response, request_id: requestId } = await ask('echo:x').withResponse();
  matches(UUID7, data._request_id, '_request_id');
  equal([requestId, response.headers.get('x-request-id')], [data._request_id, data._request_id], 'request id');
  matches(/^mcptb\/\d/, response.headers.get('x-mcp-bridge'), 'X-MCP-Bridge');
  equal(response.headers.get('x-mcp-model'), 'scripted-1', 'X-MCP-Model');
  matches(/usage-estimated/, response.headers.get('x-mcptb-loss'), 'x-mcptb-loss');
  equal([data.text, data.request_id], ['x', data._request_id], "the prototype's extra fields text and request_id");
}

async function streaming() {
  const said = nonce();
  const chunks = await drain(await ask(`echo:${said}`, { stream: true, stream_options: { include_usage: true } }));
  const last = chunks.pop();
  equal(last.choices, [], 'choices of the usage chunk');
  ok(last.usage.prompt_tokens > 0 && last.usage.completion_tokens > 0, 'usage is zero', last.usage);
  const deltas = chunks.map((chunk) => chunk.choices[0].delta);
  equal(deltas.map((delta) => delta.content ?? '').join(''), said, 'streamed text');
  equal(deltas.filter((delta) => delta.role).length, 1, 'chunks with a role');
  equal(deltas[0].role, 'assistant', 'role of the first chunk');
  const ends = chunks.map((chunk) => chunk.choices[0].finish_reason);
  equal(ends, [...Array(chunks.length - 1).fill(null), 'stop'], 'finish reasons');
  equal(new Set(chunks.map((chunk) => `${chunk.id} ${chunk.created} ${chunk.model}`)).size, 1, 'ids of one stream');
  ok(chunks.every((chunk) => chunk.usage === null), 'usage before the last chunk');
}

async function streamHelper() {
  const stream = client.chat.completions.stream(request(user('long')));
  let pieces = '';
  stream.on('content', (delta) => (pieces += delta));
  const final = await stream.finalChatCompletion();
  equal([pieces, textOf(final)], [LONG_TEXT, LONG_TEXT], 'content events and accumulated text');
  equal([final.choices[0].message.role, final.choices[0].finish_reason], ['assistant', 'stop'], 'accumulated end');
}

async function rawStream() {
  const response = await ask('long', { stream: true }).asResponse();
  matches(/^text\/event-stream/, response.headers.get('content-type'), 'content-type');
  matches(UUID7, response.headers.get('x-request-id'), 'x-request-id');
  const frames = (await response.text()).split('\n\n').filter((frame) => !frame.startsWith(':'));
  equal(frames.slice(-2), ['data: [DONE]', ''], 'end of the stream');
  ok(frames.slice(0, -1).every((frame) => frame.startsWith('data: ') && !frame.includes('\n')), 'irregular frame');
  const chunks = frames.slice(0, -2).map((frame) => JSON.parse(frame.slice(6)));
  ok(chunks.every((chunk) => !chunk.usage), 'usage was not asked for');
  equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join(''), LONG_TEXT, 'text');
}

async function errorAfterTheHead() {
  const stream = await ask('slow-fail:7000:broken', { stream: true });
  const error = await rejects(OpenAI.APIError, () => drain(stream), 'a failure after the head');
  matches(/fell over/, error.message, 'message');
}

async function conversation() {
  const turns = [{ role: 'system', content: 'Be brief.' }, ...user('one'), { role: 'assistant', content: 'two' }];
  equal(textOf(await create([...turns, ...user('history')])), '3 messages: user assistant user', 'roles at the host');
  equal(textOf(await create([...turns, ...user('system?')])), 'Be brief.', 'system prompt');
  const developer = { role: 'developer', content: 'Be kind.' };
  equal(textOf(await create([developer, ...user('system?')])), 'Be kind.', 'developer message');
}

async function images() {
  const image = (url) => ({ type: 'image_url', image_url: { url } });
  const text = { type: 'text', text: 'describe-image' };
  equal(textOf(await ask([text, image(`data:image/png;base64,${PIXEL}`)])), PIXEL_SEEN, 'data URL');
  const call = () => ask([text, image('http://127.0.0.1:9/x.png')]);
  const error = await rejects(OpenAI.BadRequestError, call, 'http image url');
  matches(/^messages\[0\]\.content\[1\]/, error.param, 'param');
}

async function stopsAndChoices() {
  const got = await ask('echo:before END after', { stop: ['END'] });
  equal([textOf(got), got.choices[0].finish_reason], ['before ', 'stop'], 'stop');
  const two = await ask('echo:twice', { n: 2 });
  equal(two.choices.map((choice) => [choice.index, choice.message.content]), [[0, 'twice'], [1, 'twice']], 'n=2');
  const final = await client.chat.completions.stream(request(user('echo:twice'), { n: 2 })).finalChatCompletion();
  equal(final.choices.map((choice) => choice.message.content), ['twice', 'twice'], 'n=2, accumulated');
}

async function parameters() {
  const seen = async (more) => JSON.parse(textOf(await ask('params?', more)));
  equal(await seen({ max_tokens: 77 }), { maxTokens: 77 }, 'max_tokens');
  equal((await seen({ max_completion_tokens: 55 })).maxTokens, 55, 'max_completion_tokens');
  equal((await seen({ model: 'gpt-test' })).modelPreferences.hints, [{ name: 'gpt-test' }], 'hint at the host');
  equal((await ask('truncated')).choices[0].finish_reason, 'length', 'a reply cut by the host');
}

async function models() {
  const { data } = await client.models.list();
  ok(data.length > 0 && data.every((model) => model.object === 'model' && model.owned_by), 'model list', data);
  equal((await client.models.retrieve(data[0].id)).id, data[0].id, 'retrieved model');
  const error = await rejects(OpenAI.NotFoundError, () => once.models.retrieve('no/such'), 'unknown model');
  equal(error.code, 'model_not_found', 'code');
}

async function errors() {
  const quota = await rejects(OpenAI.RateLimitError, () => ask('fail:quota'), 'quota at the host');
  matches(UUID7, quota.requestID, 'request id of an error');
  const model = await rejects(OpenAI.NotFoundError, () => ask('fail:model'), 'model at the host');
  equal(model.code, 'model_not_found', 'code');
  const context = await rejects(OpenAI.BadRequestError, () => ask('fail:context'), 'context');
  equal(context.code, 'context_length_exceeded', 'code');
  const broken = await rejects(OpenAI.InternalServerError, () => ask('fail:broken'), 'failing host');
  equal(broken.status, 502, 'status');
}

/** 64 calls together, every other one streamed, each with a text of its own. */
async function atOnce() {
  const one = async (number) => {
    const said = `${number}-${nonce()}`;
    const call = request(user(`slow:40:${said}`));
    const completion = number % 2
      ? await once.chat.completions.stream(call).finalChatCompletion()
      : await once.chat.completions.create(call);
    equal(textOf(completion), said, `answer of call ${number}`);
  };
  await Promise.all(Array.from({ length: 64 }, (_, number) => one(number)));
}

async function refused() {
  for (const stream of [false, true]) {
    const counting = countingFetch();
    const caller = new OpenAI({ ...config, fetch: counting });
    const call = () => caller.chat.completions.create(request(user(`reject:${nonce()}`), { stream }));
    const error = await rejects(OpenAI.PermissionDeniedError, call, `a refusal, stream=${stream}`);
    equal([error.code, counting.calls], ['sampling_rejected', 1], 'code and number of requests');
  }
}

async function token() {
  equal(textOf(await ask('echo:x')), 'x', 'with the token');
  const stranger = once.withOptions({ apiKey: 'wrong-token-of-twenty-characters' });
  const call = () => stranger.chat.completions.create(request(user('echo:x')));
  const error = await rejects(OpenAI.AuthenticationError, call, 'a wrong token');
  equal(error.code, 'invalid_api_key', 'code');
}

await run({
  main: [nonStreaming, requestIdAndHeaders, streaming, streamHelper, rawStream, conversation, images, stopsAndChoices,
    parameters, models, errors, atOnce],
  refusal: [refused],
  smoke: [nonStreaming],
  token: [token],
}, { main: [errorAfterTheHead] });
