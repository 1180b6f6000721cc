// The commands that make the scripted model call tools; the twin of `calling.py`.

/** Splits at the first colon only, so that what follows may hold colons. */
export function partition(text) {
  const at = text.indexOf(':');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** The text and the calls that the instruction demands; nothing if it is no command of this kind. */
export function obey(conversation) {
  const { tools, results } = conversation;
  let [command, rest] = partition(conversation.instruction);
  let calls = [];
  let rounds = 1;
  let text = '';
  let form = 'ours';
  switch (command) {
    case 'tools?':
      return [JSON.stringify({ tools: [...tools.keys()], required: conversation.mustCall }), []];
    case 'schema?':
      return [JSON.stringify(tools.get(rest) ?? null), []];
    case 'nonce?':
      // Spelled out, because the bridge takes out of an answer whatever looks like a piece of its tags.
      return [[...(conversation.nonce ?? 'none')].join(' '), []];
    case 'calls':
      calls = JSON.parse(rest).map(({ name, input }) => ({ name, arguments: input, form }));
      break;
    case 'call':
    case 'repeat':
    case 'reluctant':
      break;
    case 'rounds': {
      const [number, behind] = partition(rest);
      [rounds, rest] = [Number(number), behind];
      break;
    }
    case 'say':
      [text, rest] = partition(rest);
      break;
    case 'form':
      [form, rest] = partition(rest);
      break;
    default:
      return undefined;
  }
  if (tools.size === 0) return ['no tools', []];
  if (results.length >= rounds) {
    // Word for word: whatever stands in a result must not become a call by being repeated.
    if (command === 'repeat') return [results.map((result) => result.text).join(''), []];
    return [`got: ${results.map((result) => (result.isError ? `error ${result.text}` : result.text)).join('; ')}`, []];
  }
  if (command === 'reluctant' && !conversation.again) return ['I would rather not.', []];
  if (calls.length === 0) {
    const [name, values] = partition(rest);
    // A call that stands in the request is taken for a quoted one, unless it is in the bridge's own markup.
    const plain = command === 'form' ? Buffer.from(values, 'base64').toString() : values;
    calls = [{ name, arguments: JSON.parse(plain || '{}'), form }];
  }
  return [text, calls];
}
