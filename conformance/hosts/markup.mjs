// The markup in which the bridge writes tools; the twin of `markup.py`, which says more.

const FREE_TEXT = { type: 'object', properties: { input: { type: 'string' } }, required: ['input'] };

/** What the bridge hung on the names of its tags in this conversation. */
export const nonceOf = (system) => /<tool_calls_([0-9a-f]{4,})>/.exec(system)?.[1];

/** The tools that are described, and whether one of them must be called. */
export function toolsOf(system) {
  const [, ...behind] = system.split('\n## The tools\n');
  const described = behind.join('\n## The tools\n').split('\n## Now\n');
  const demand = described.pop();
  const tools = new Map();
  let name;
  for (const line of described.join('\n## Now\n').split('\n')) {
    // A description may have headings of its own.
    if (name === undefined) {
      name = line.startsWith('### ') ? line.slice(4) : undefined;
    } else if (/^Parameters: (\{|one string|none)/.test(line)) {
      const parameters = line.slice('Parameters: '.length);
      tools.set(name, parameters.startsWith('{') ? JSON.parse(parameters) : FREE_TEXT);
      name = undefined;
    }
  }
  return [tools, demand.includes('MUST call')];
}

/** What a text holds beside results, and the results. */
export function resultsOf(text, nonce) {
  if (!nonce) return [text, []];
  const tag = new RegExp(`<tool_result_${nonce}([^>]*)>([^]*?)</tool_result_${nonce}>`, 'g');
  const results = [...text.matchAll(tag)].map(([, attributes, inside]) => ({
    name: /name="([^"]*)"/.exec(attributes)?.[1] ?? '?',
    text: inside.replace(/^\n|\n$/g, ''),
    isError: attributes.includes('is_error="true"'),
  }));
  return [text.replace(tag, ''), results];
}

/** The text without what the bridge repeats at its end of the rules. */
export function withoutReminder(text, nonce) {
  const at = text.lastIndexOf(`(To call a tool, end the reply with <tool_calls_${nonce}>`);
  return nonce && at >= 0 && text.endsWith(')') ? text.slice(0, at) : text;
}

const json = (call) => JSON.stringify({ name: call.name, arguments: call.arguments });
const raw = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

/** One line break at each end belongs to the markup. */
function valueOf(value) {
  const written = raw(value);
  return typeof value === 'string' && value.includes('\n') ? `\n${written}\n` : written;
}

function ours(calls, nonce) {
  const written = calls.map((call) => {
    const values = Object.entries(call.arguments);
    const listed = values.map(([name, value]) => `<arg_${nonce} name="${name}">${valueOf(value)}</arg_${nonce}>\n`).join('');
    return `<call name="${call.name}">\n${listed}</call>\n`;
  });
  return `<tool_calls_${nonce}>\n${written.join('')}</tool_calls_${nonce}>`;
}

const FORMS = {
  ours,
  unclosed: (calls, nonce) => ours(calls, nonce).replace(`</tool_calls_${nonce}>`, ''),
  hallucinated(calls, nonce) {
    const madeUp = `<tool_result_${nonce} id="x" name="${calls[0].name}">made up</tool_result_${nonce}>`;
    return `${ours(calls, nonce)}\n${madeUp}\nSo the answer is made up.`;
  },
  hermes: (calls) => calls.map((call) => `<tool_call>\n${json(call)}\n</tool_call>`).join('\n'),
  qwen: (calls) => calls.map((call) => {
    const values = Object.entries(call.arguments);
    const listed = values.map(([name, value]) => `<parameter=${name}>\n${raw(value)}\n</parameter>\n`).join('');
    return `<tool_call>\n<function=${call.name}>\n${listed}</function>\n</tool_call>`;
  }).join('\n'),
  bare: (calls) => json(calls[0]),
  openai: (calls) => JSON.stringify({
    tool_calls: calls.map((call, at) => ({
      id: `call_${at}`,
      type: 'function',
      function: { name: call.name, arguments: JSON.stringify(call.arguments) },
    })),
  }),
};

/** The model's answer with its calls; all calls of one answer have the same form. */
export function write(text, calls, nonce) {
  const body = FORMS[calls[0].form](calls, nonce);
  return text ? `${text}\n\n${body}` : body;
}
