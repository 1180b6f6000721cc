// Checks the Messages door with the official `@anthropic-ai/sdk` JavaScript SDK.

import Anthropic from '@anthropic-ai/sdk';

import {
  ANTHROPIC_REQUEST_ID, LONG_TEXT, PIXEL, PIXEL_SEEN, WAIT, countingFetch, drain, equal, matches, nonce, ok, options,
  rejects, run,
} from './checks.mjs';

const VERSIONS = ['2023-06-01', '2026-10-21'];
const config = { baseURL: options['base-url'], apiKey: options.token, timeout: WAIT };
const client = new Anthropic(config);
const once = client.withOptions({ maxRetries: 0 });

const user = (content) => [{ role: 'user', content }];
const request = (messages, more = {}) => ({ model: 'auto', max_tokens: 1000, messages, ...more });
const create = (messages, more, how) => once.messages.create(request(messages, more), how);
const ask = (content, more, how) => create(user(content), more, how);
const textOf = (message) => {
  equal(message.content.map((block) => block.type), ['text'], 'content blocks');
  return message.content[0].text;
};

async function nonStreaming() {
  const said = nonce();
  const got = await ask(`echo:${said}`);
  equal(textOf(got), said, 'text');
  const shape = [got.type, got.role, got.stop_reason, got.stop_sequence];
  equal(shape, ['message', 'assistant', 'end_turn', null], 'shape');
  equal(got.model, 'scripted-1', 'the served model answers for `auto`');
  ok(got.usage.input_tokens > 0 && got.usage.output_tokens > 0, 'usage is zero', got.usage);
  equal(textOf(await ask('long')), LONG_TEXT, 'long answer');
}

async function requestIdAndHeaders() {
  const { data, response } = await ask('echo:x').withResponse();
  matches(ANTHROPIC_REQUEST_ID, data._request_id, '_request_id');
  equal(response.headers.get('request-id'), data._request_id, 'request-id header');
  matches(/^mcptb\/\d/, response.headers.get('x-mcp-bridge'), 'X-MCP-Bridge');
  equal(response.headers.get('x-mcp-model'), 'scripted-1', 'X-MCP-Model');
  matches(/usage-estimated/, response.headers.get('x-mcptb-loss'), 'x-mcptb-loss');
}

async function streaming() {
  const said = nonce();
  const events = await drain(await ask(`echo:${said}`, { stream: true }));
  const kinds = events.map((event) => event.type);
  const deltas = events.filter((event) => event.type === 'content_block_delta');
  equal(deltas.map((event) => event.delta.text).join(''), said, 'streamed text');
  equal(kinds.filter((kind) => kind !== 'content_block_delta'), [
    'message_start', 'content_block_start', 'content_block_stop', 'message_delta', 'message_stop',
  ], 'events beside the deltas');
  const { message } = events[0];
  equal([message.content, message.stop_reason], [[], null], 'message_start');
  ok(message.usage.input_tokens > 0, 'message_start carries no input tokens', message.usage);
  const { delta, usage } = events.at(-2);
  equal(delta.stop_reason, 'end_turn', 'stop reason');
  ok(usage.input_tokens > 0 && usage.output_tokens > 0, 'usage of message_delta', usage);
}

async function streamHelper() {
  const stream = client.messages.stream(request(user('long')));
  let pieces = '';
  stream.on('text', (delta) => (pieces += delta));
  const final = await stream.finalMessage();
  equal([pieces, textOf(final)], [LONG_TEXT, LONG_TEXT], 'text events and accumulated text');
  equal([final.stop_reason, final.role], ['end_turn', 'assistant'], 'accumulated end');
  matches(ANTHROPIC_REQUEST_ID, stream.request_id, 'request id of a stream');
}

async function rawStream() {
  const response = await ask('echo:x', { stream: true }).asResponse();
  matches(/^text\/event-stream/, response.headers.get('content-type'), 'content-type');
  const body = await response.text();
  ok(!body.includes('[DONE]'), 'a [DONE] breaks Messages clients', body.slice(-80));
  const frames = body.split('\n\n');
  equal(frames.pop(), '', 'end of the stream');
  for (const frame of frames) {
    const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(frame) ?? [];
    ok(data, 'irregular frame', frame);
    equal(JSON.parse(data).type, event, 'event line and type');
  }
}

async function errorAfterTheHead() {
  const stream = await ask('slow-fail:7000:broken', { stream: true });
  const error = await rejects(Anthropic.APIError, () => drain(stream), 'a failure after the head');
  matches(/fell over/, error.message, 'message');
}

async function versions() {
  for (const version of VERSIONS) {
    const how = { headers: { 'anthropic-version': version } };
    equal(textOf(await ask('echo:x', {}, how)), 'x', version);
    const final = await client.messages.stream(request(user('echo:y')), how).finalMessage();
    equal(textOf(final), 'y', `${version}, streamed`);
  }
}

async function conversation() {
  const turns = [...user('one'), { role: 'assistant', content: [{ type: 'text', text: 'two' }] }];
  const system = [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }];
  equal(textOf(await create([...turns, ...user('history')], { system })), '3 messages: user assistant user', 'roles');
  equal(textOf(await create([...turns, ...user('system?')], { system })), 'Be brief.', 'system');
}

async function images() {
  const image = (source) => ({ type: 'image', source });
  const text = { type: 'text', text: 'describe-image' };
  const inline = { type: 'base64', media_type: 'image/png', data: PIXEL };
  equal(textOf(await ask([image(inline), text])), PIXEL_SEEN, 'base64');
  const call = () => ask([text, image({ type: 'url', url: 'http://127.0.0.1:9/x.png' })]);
  const error = await rejects(Anthropic.BadRequestError, call, 'image by url');
  matches(/messages\.0\.content\.1/, error.message, 'message');
}

async function stopSequences() {
  const stop = { stop_sequences: ['END'] };
  const got = await ask('echo:before END after', stop);
  equal([textOf(got), got.stop_reason, got.stop_sequence], ['before ', 'stop_sequence', 'END'], 'stop sequence');
  const final = await client.messages.stream(request(user('echo:before END after'), stop)).finalMessage();
  equal([textOf(final), final.stop_reason, final.stop_sequence], ['before ', 'stop_sequence', 'END'], 'streamed');
}

async function parameters() {
  const seen = async (more) => JSON.parse(textOf(await ask('params?', more)));
  equal(await seen({ max_tokens: 77 }), { maxTokens: 77 }, 'max_tokens');
  equal((await seen({ model: 'claude-test' })).modelPreferences.hints, [{ name: 'claude-test' }], 'hint at the host');
  equal((await ask('truncated')).stop_reason, 'max_tokens', 'a reply cut by the host');
}

async function models() {
  for (const version of VERSIONS) {
    const how = { headers: { 'anthropic-version': version } };
    const listed = await client.models.list({ limit: 1000 }, how);
    const [first] = listed.data;
    equal([first?.type, first?.lifecycle, listed.first_id], ['model', 'active', first?.id], `shape under ${version}`);
    equal((await client.models.retrieve(first.id, {}, how)).id, first.id, 'retrieved model');
  }
  await rejects(Anthropic.NotFoundError, () => once.models.retrieve('no-such'), 'unknown model');
}

async function errors() {
  const typeOf = (error) => error.error.error.type;
  const quota = await rejects(Anthropic.RateLimitError, () => ask('fail:quota'), 'quota at the host');
  equal(typeOf(quota), 'rate_limit_error', 'type');
  matches(ANTHROPIC_REQUEST_ID, quota.requestID, 'request id of an error');
  equal(quota.error.request_id, quota.requestID, 'request_id of the body');
  const model = await rejects(Anthropic.NotFoundError, () => ask('fail:model'), 'model at the host');
  equal(typeOf(model), 'not_found_error', 'type');
  const context = await rejects(Anthropic.BadRequestError, () => ask('fail:context'), 'context');
  matches(/prompt is too long/, context.message, 'message');
  const broken = await rejects(Anthropic.InternalServerError, () => ask('fail:broken'), 'failing host');
  equal([broken.status, typeOf(broken)], [502, 'api_error'], 'status and type');
}

/** 64 calls together, every other one streamed, each with a text of its own. */
async function atOnce() {
  const one = async (number) => {
    const said = `${number}-${nonce()}`;
    const call = request(user(`slow:40:${said}`));
    const message = number % 2 ? await once.messages.stream(call).finalMessage() : await once.messages.create(call);
    equal(textOf(message), said, `answer of call ${number}`);
  };
  await Promise.all(Array.from({ length: 64 }, (_, number) => one(number)));
}

async function refused() {
  for (const stream of [false, true]) {
    const counting = countingFetch();
    const caller = new Anthropic({ ...config, fetch: counting });
    const call = () => caller.messages.create(request(user(`reject:${nonce()}`), { stream }));
    const error = await rejects(Anthropic.PermissionDeniedError, call, `a refusal, stream=${stream}`);
    equal([error.error.error.type, counting.calls], ['permission_error', 1], 'type and number of requests');
  }
}

async function token() {
  equal(textOf(await ask('echo:x')), 'x', 'with the token as bearer');
  const asKey = { headers: { authorization: null, 'x-api-key': options.token } };
  equal(textOf(await ask('echo:x', {}, asKey)), 'x', 'with the token as x-api-key');
  const stranger = once.withOptions({ apiKey: 'wrong-token-of-twenty-characters' });
  const call = () => stranger.messages.create(request(user('echo:x')));
  const error = await rejects(Anthropic.AuthenticationError, call, 'a wrong token');
  equal(error.error.error.type, 'authentication_error', 'type');
}

await run({
  main: [nonStreaming, requestIdAndHeaders, streaming, streamHelper, rawStream, versions, conversation, images,
    stopSequences, parameters, models, errors, atOnce],
  refusal: [refused],
  smoke: [nonStreaming],
  token: [token],
}, { main: [errorAfterTheHead] });
