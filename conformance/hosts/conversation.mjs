// What the scripted model makes of `sampling/createMessage`; the twin of `conversation.py`, which says more.

import * as markup from './markup.mjs';

const REMINDER = /\s*\(Answer with the JSON value only[^\n]*\)$/;
const FOLLOW_UPS = ['That answer cannot be used', 'You must call one of the tools now'];

export const blocksOf = (message) => [message.content].flat();

class Conversation {
  instruction = '';
  texts = [];
  again = false;
  tools = new Map();
  mustCall = false;
  results = [];
  allResults = [];
  nonce = undefined;

  told(said) {
    const text = markup.withoutReminder(said.replace(REMINDER, ''), this.nonce).trim();
    if (FOLLOW_UPS.some((start) => text.startsWith(start))) {
      this.again = true;
      return;
    }
    this.texts.push(text);
    // Agents remind their model of this and that in messages of their own.
    if (text && !text.startsWith('<system-reminder>')) {
      [this.instruction, this.again, this.results] = [text, false, []];
    }
  }

  returned(result) {
    this.results.push(result);
    this.allResults.push(result);
  }
}

export function read(params) {
  const system = params.systemPrompt ?? '';
  const conversation = new Conversation();
  if (params.tools) {
    const mode = params.toolChoice?.mode;
    const offered = mode === 'none' ? [] : params.tools;
    conversation.tools = new Map(offered.map((tool) => [tool.name, tool.inputSchema]));
    conversation.mustCall = mode === 'required';
  } else {
    conversation.nonce = markup.nonceOf(system);
    if (conversation.nonce) {
      [conversation.tools, conversation.mustCall] = markup.toolsOf(system);
    }
  }
  const names = new Map();
  for (const message of params.messages) {
    for (const block of blocksOf(message)) {
      if (block.type === 'tool_use') {
        names.set(block.id, block.name);
      } else if (block.type === 'tool_result') {
        const text = (block.content ?? []).map((part) => part.text ?? '').join('');
        conversation.returned({ name: names.get(block.toolUseId) ?? '?', text, isError: Boolean(block.isError) });
      } else if (block.type === 'text' && message.role === 'user') {
        const [rest, results] = markup.resultsOf(block.text, conversation.nonce);
        results.forEach((result) => conversation.returned(result));
        if (rest.trim()) conversation.told(rest);
      }
    }
  }
  return conversation;
}
