// Drives the official Node accumulators over the constructed replies: the twin of accept.py.
//
// Needs the npm packages `openai` and `@anthropic-ai/sdk` in the current folder, and Node 22 or later.
//
//     node accept.mjs FOLDER         FOLDER holds openai_chat/, openai_responses/, anthropic_messages/,
//                                    or some of them

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";

if (process.argv.length !== 3) {
  console.error("usage: node accept.mjs FOLDER");
  process.exit(2);
}
const root = resolve(process.argv[2]);
const installed = createRequire(join(process.cwd(), "package.json"));
const { OpenAI } = installed("openai");
const { Anthropic } = installed("@anthropic-ai/sdk");

const server = createServer((request, response) => {
  const [, dialect, name] = request.url.split("/");
  request.resume().on("end", () => {
    response.writeHead(name.includes("http_400") ? 400 : 200, {
      "content-type": name.endsWith(".sse") ? "text/event-stream" : "application/json",
    });
    response.end(readFileSync(join(root, dialect, name)));
  });
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const origin = `http://127.0.0.1:${server.address().port}`;

async function chat(base, stream) {
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "none", maxRetries: 0 });
  const ask = { model: "m", messages: [{ role: "user", content: "hi" }] };
  if (!stream) return client.chat.completions.create(ask);
  return client.chat.completions.stream({ ...ask, stream_options: { include_usage: true } }).finalChatCompletion();
}

async function responses(base, stream) {
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "none", maxRetries: 0 });
  const ask = { model: "m", input: "hi" };
  return stream ? client.responses.stream(ask).finalResponse() : client.responses.create(ask);
}

async function messages(base, stream) {
  const client = new Anthropic({ baseURL: base, apiKey: "none", maxRetries: 0 });
  const ask = { model: "m", max_tokens: 100, messages: [{ role: "user", content: "hi" }] };
  return stream ? client.messages.stream(ask).finalMessage() : client.messages.create(ask);
}

const drive = { openai_chat: chat, openai_responses: responses, anthropic_messages: messages };

// Keeps what came over the wire: accumulators add `parsed*`, `output_text` and private members of their own,
// and a null is the same as an absent key to every client.
function wire(value) {
  if (Array.isArray(value)) return value.map(wire);
  if (value === null || typeof value !== "object") return value;
  const own = ([key, entry]) =>
    entry !== null && entry !== undefined && !key.startsWith("parsed") && !key.startsWith("_") && key !== "output_text" &&
    !(key === "index" && ("function" in value || "custom" in value)) && !(Array.isArray(entry) && entry.length === 0);
  return Object.fromEntries(Object.entries(JSON.parse(JSON.stringify(value))).filter(own).map(([k, v]) => [k, wire(v)]));
}

// The chat accumulator of openai-js joins only the fields it knows; of a foreign one it keeps the last piece.
const foreign = "reasoning_content";

async function check(dialect, name) {
  const stream = name.endsWith(".sse");
  const where = `${origin}/${dialect}/${name}`;
  if (name.startsWith("error_")) {
    let final;
    try {
      final = await drive[dialect](where, stream);
    } catch (error) {
      if (!(error instanceof OpenAI.APIError || error instanceof Anthropic.APIError)) throw error;
      return `raised ${error.constructor.name}: ${error.message.slice(0, 60)}`;
    }
    throw new Error(`the SDK raised nothing and gave ${JSON.stringify(final)}`);
  }
  const got = wire(await drive[dialect](where, stream));
  const twin = join(root, dialect, name.replace(/\.sse$/, ".json"));
  const want = wire(JSON.parse(readFileSync(existsSync(twin) ? twin : join(root, dialect, "text.json"), "utf8")));
  if (name.startsWith("text_without_usage")) delete want.usage;
  const lossy = dialect === "openai_chat" && stream && want.choices[0].message[foreign] !== undefined;
  if (lossy) {
    const [kept, whole] = [got, want].map((reply) => reply.choices[0].message[foreign]);
    if (!whole.endsWith(kept) || kept === whole) throw new Error(`the accumulator now joins ${foreign}: drop this exception`);
    for (const reply of [got, want]) delete reply.choices[0].message[foreign];
  }
  if (!isDeepStrictEqual(got, want)) throw new Error(`\n got  ${JSON.stringify(got)}\n want ${JSON.stringify(want)}`);
  if (lossy) return `the same as its .json but ${foreign}, of which the accumulator keeps the last piece`;
  return stream ? "the same as its .json" : "read unchanged";
}

let total = 0;
let failed = 0;
for (const dialect of Object.keys(drive)) {
  if (!existsSync(join(root, dialect))) continue;
  for (const name of readdirSync(join(root, dialect)).filter((entry) => /\.(json|sse)$/.test(entry)).sort()) {
    total += 1;
    try {
      console.log(`ok    ${dialect}/${name}: ${await check(dialect, name)}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${dialect}/${name}: ${error.constructor.name}: ${error.message}`);
    }
  }
}
const version = (name) => JSON.parse(readFileSync(join(process.cwd(), "node_modules", name, "package.json"), "utf8")).version;
console.log(`${total - failed} of ${total} accepted by openai ${version("openai")}, @anthropic-ai/sdk ${version("@anthropic-ai/sdk")}`);
server.closeAllConnections();
server.close();
process.exitCode = failed > 0 || total === 0 ? 1 : 0;
