// The scripted model where the bridge asks for JSON; the twin of `structured.py`.

import { partition } from './calling.mjs';
import { smallest } from './instances.mjs';

const SCHEMA = /<json_schema>\n([^]*)\n<\/json_schema>/;
const HEAD = '# Format of your answer';

/** The answer to `json:…` and to whatever is no command, if JSON is asked for. */
export function answer(conversation, params) {
  const system = params.systemPrompt ?? '';
  const found = SCHEMA.exec(system);
  if (!found && !system.includes(HEAD)) return undefined;
  const text = JSON.stringify(found ? smallest(JSON.parse(found[1])) : { scripted: true });
  const [command, rest] = partition(conversation.instruction);
  switch (command === 'json' ? partition(rest)[0] : '') {
    case 'fenced':
      return `Here is what you asked for:\n\n\`\`\`json\n${text}\n\`\`\`\n\nTell me if anything is missing.`;
    case 'repair':
      return conversation.again ? text : `Let me think: ${text.slice(0, -1)}, and so on`;
    case 'wrong':
      return JSON.stringify({ wrong: 'on purpose' });
    case 'prose':
      return 'I would rather write prose.';
    default:
      return text;
  }
}
