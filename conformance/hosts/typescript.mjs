// MCP host made of the official TypeScript SDK client: a refusal is error -32000 with VS Code's words.
//
// The protocol between runner and host is described in `attach.py`.

import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { Client, ProtocolError } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

import { MODEL, Refused, ScriptedModel } from './scripted_model.mjs';

const READY_WITHIN = 60_000;

const { values: options, positionals: command } = parseArgs({
  allowPositionals: true,
  options: {
    'base-url': { type: 'string' },
    negotiation: { type: 'string', default: 'auto' },
    'sampling-tools': { type: 'boolean', default: false },
  },
});
const baseUrl = options['base-url'];
const model = new ScriptedModel();

// With "auto" the SDK starts the bridge twice: a short-lived sibling is asked for the newest protocol first.
const client = new Client(
  { name: 'conformance-typescript', version: '1.0.0' },
  { capabilities: { sampling: options['sampling-tools'] ? { tools: {} } : {} }, versionNegotiation: { mode: options.negotiation } },
);

client.setRequestHandler('sampling/createMessage', async (request) => {
  try {
    // A ModelError needs no translation: the SDK reports whatever a handler throws as -32603.
    const [content, stopReason] = await model.answer(request.params);
    return { role: 'assistant', model: MODEL, stopReason, content };
  } catch (error) {
    if (error instanceof Refused) {
      throw new ProtocolError(-32000, 'The user has denied permission to call this method.');
    }
    throw error;
  }
});

const say = (value) => process.stdout.write(`${typeof value === 'string' ? value : JSON.stringify(value)}\n`);

async function ready() {
  try {
    const reply = await fetch(`${baseUrl}/readyz`, { signal: AbortSignal.timeout(5000) });
    await reply.arrayBuffer();
    return reply.status === 200;
  } catch {
    return false;
  }
}

async function obey(order) {
  try {
    const result = order.list
      ? { tools: (await client.listTools()).tools.map((tool) => tool.name) }
      : await client.callTool({ name: order.call, arguments: order.arguments ?? {} });
    say({ id: order.id, result });
  } catch (error) {
    say({ id: order.id, error: String(error) });
  }
}

const transport = new StdioClientTransport({
  command: command[0],
  args: command.slice(1),
  env: { ...process.env },
  stderr: 'inherit',
});
await client.connect(transport);

const deadline = Date.now() + READY_WITHIN;
while (!(await ready())) {
  if (Date.now() > deadline) throw new Error(`the bridge was not ready within ${READY_WITHIN} ms`);
  await sleep(100);
}
say(`READY ${baseUrl}`);

for await (const line of createInterface({ input: process.stdin })) void obey(JSON.parse(line));
await client.close();
process.exit(0);
