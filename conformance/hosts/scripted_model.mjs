// The scripted model of the TypeScript host: answers depend on nothing but the question.
//
// Its Python twin is `scripted_model.py`; both must answer alike, because the clients do not know
// which host is behind the bridge. The commands are listed in the README of this folder.
// It ignores stop sequences and `maxTokens` on purpose, as VS Code does: what a caller was promised
// must be kept by the bridge.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { obey, partition } from './calling.mjs';
import { nextStep } from './coding.mjs';
import { blocksOf, read } from './conversation.mjs';
import * as markup from './markup.mjs';
import * as structured from './structured.mjs';

const LONG_TEXT = readFileSync(new URL('../long.txt', import.meta.url), 'utf8');
export const MODEL = 'scripted-1';

const FAILURES = {
  quota: 'You have exceeded your premium request quota. Try again later.',
  model: 'model_not_supported: the requested model is not available to this plan',
  context: 'prompt is too long: 210000 tokens > 200000 maximum',
  broken: "the model's server fell over",
};

/** The person at the host said no; each host has its own way to put this on the wire. */
export class Refused extends Error {}

/** The model could not answer; the text is what a host would report. */
export class ModelError extends Error {}

function lastImage(messages) {
  for (const message of messages.toReversed()) {
    // An image stands for itself or in a tool's result.
    const parts = blocksOf(message).flatMap((block) => [block, ...(block.content ?? [])]);
    const image = parts.findLast((part) => part.type === 'image');
    if (image) return `${image.mimeType} ${Buffer.from(image.data, 'base64').length} bytes`;
  }
  return 'no image';
}

/** Answers `sampling/createMessage` params; counts how often each text was asked. */
export class ScriptedModel {
  #asked = new Map();
  #running = 0;
  #mostRunning = 0;
  #calls = 0;

  /** Returns the content (one block, or a list where tools are called) and the MCP stop reason. */
  async answer(params) {
    const conversation = read(params);
    const { instruction } = conversation;
    this.#asked.set(instruction, (this.#asked.get(instruction) ?? 0) + 1);
    this.#running += 1;
    this.#mostRunning = Math.max(this.#mostRunning, this.#running);
    try {
      const found = nextStep(conversation) ?? obey(conversation);
      if (found?.[1].length) return this.#call(...found, conversation.nonce);
      const [text, stopReason] = found ? [found[0], 'endTurn'] : await this.#answer(conversation, params);
      return [{ type: 'text', text }, stopReason];
    } finally {
      this.#running -= 1;
    }
  }

  #call(text, calls, nonce) {
    if (nonce) return [{ type: 'text', text: markup.write(text, calls, nonce) }, 'endTurn'];
    const blocks = calls.map((call) => {
      this.#calls += 1;
      return { type: 'tool_use', id: `call-${this.#calls}`, name: call.name, input: call.arguments };
    });
    return [text ? [{ type: 'text', text }, ...blocks] : blocks, 'toolUse'];
  }

  async #answer(conversation, params) {
    const text = conversation.instruction;
    const [command, rest] = partition(text);
    switch (command) {
      case 'echo':
        return [rest, 'endTurn'];
      case 'slow': {
        const [milliseconds, reply] = partition(rest);
        await sleep(Number(milliseconds));
        return [reply, 'endTurn'];
      }
      case 'reject':
        throw new Refused();
      case 'fail':
        throw new ModelError(FAILURES[partition(rest)[0]]);
      case 'slow-fail': {
        const [milliseconds, kind] = partition(rest);
        await sleep(Number(milliseconds));
        throw new ModelError(FAILURES[kind]);
      }
      case 'truncated':
        return ['cut off he', 'maxTokens'];
      case 'asked':
        return [String(this.#asked.get(rest) ?? 0), 'endTurn'];
      case 'most-at-once':
        return [String(this.#mostRunning), 'endTurn'];
      case 'long':
        return [LONG_TEXT, 'endTurn'];
      case 'describe-image':
        return [lastImage(params.messages), 'endTurn'];
      case 'system?':
        return [params.systemPrompt || 'no system prompt', 'endTurn'];
      case 'history': {
        const roles = params.messages.map((message) => message.role);
        return [`${roles.length} messages: ${roles.join(' ')}`, 'endTurn'];
      }
      case 'params?': {
        const names = ['maxTokens', 'temperature', 'stopSequences', 'modelPreferences'];
        const given = names.filter((name) => name in params).map((name) => [name, params[name]]);
        return [JSON.stringify(Object.fromEntries(given)), 'endTurn'];
      }
      default:
        return [structured.answer(conversation, params) ?? `You said: ${[...text].slice(0, 200).join('')}`, 'endTurn'];
    }
  }
}
