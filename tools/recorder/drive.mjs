// Sends what the official Node SDKs send, case by case, to a recorder: the twin of drive.py, but only
// where the Node helpers do something of their own (tool runners, accumulators, schema helpers).
//
//     node drive.mjs http://127.0.0.1:PORT
//
// Needs the npm packages `openai`, `@anthropic-ai/sdk` and `zod` in the current folder, and Node 22 or later.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

if (process.argv.length !== 3) {
  console.error("usage: node drive.mjs http://127.0.0.1:PORT");
  process.exit(2);
}
const origin = process.argv[2].replace(/\/$/, "");
const installed = createRequire(join(process.cwd(), "package.json"));
const { OpenAI } = installed("openai");
const { zodResponseFormat, zodTextFormat } = installed("openai/helpers/zod");
const { Anthropic } = installed("@anthropic-ai/sdk");
const { betaZodTool } = installed("@anthropic-ai/sdk/helpers/beta/zod");
const { zodOutputFormat } = installed("@anthropic-ai/sdk/helpers/zod");
const { z } = installed("zod");

const version = (name) => JSON.parse(readFileSync(join(process.cwd(), "node_modules", name, "package.json"), "utf8")).version;
const openai = (name) =>
  new OpenAI({ baseURL: `${origin}/_/openai-node/${version("openai")}/${name}/v1`, apiKey: "recorder-key" });
const anthropic = (name) =>
  new Anthropic({ baseURL: `${origin}/_/anthropic-node/${version("@anthropic-ai/sdk")}/${name}`, apiKey: "recorder-key" });

const Weather = z.object({ city: z.string(), celsius: z.number(), tags: z.array(z.string()) });
const City = z.object({ city: z.string().describe("Zürich, \"Oslo\" …"), days: z.number().int().optional() });
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const zone = { properties: { zone: { enum: ["Europe/Zurich", "Europe/Oslo"] } }, type: "object", required: ["zone"] };
const user = { role: "user", content: "What is the weather in Zürich?" };

async function chat() {
  const tools = [
    { type: "function", function: { name: "get_weather", description: "Weather.", parameters: city, parse: JSON.parse, function: () => ({ celsius: -2 }) } },
    { type: "function", function: { name: "get_time", description: "Time.", parameters: zone, parse: JSON.parse, function: () => "12:00" } },
  ];
  await openai("chat-parallel-run-tools").chat.completions.runTools({ model: "gpt-5.5", messages: [user], tools }).finalContent();
  await openai("chat-parallel-run-tools-stream").chat.completions
    .runTools({ model: "gpt-5.5", messages: [user], tools, stream: true, stream_options: { include_usage: true } }).finalContent();
  await openai("chat-structured").chat.completions.parse({
    model: "gpt-5.5", messages: [user], response_format: zodResponseFormat(Weather, "weather"),
  });
}

async function responses() {
  const asking = {
    model: "gpt-5.5", store: false, include: ["reasoning.encrypted_content"], reasoning: { effort: "medium", summary: "auto" },
    tools: [{ type: "function", name: "get_weather", description: "Weather.", parameters: city, strict: true },
      { type: "function", name: "get_time", parameters: zone, strict: false }],
  };
  const client = openai("responses-parallel-tools");
  const input = [{ role: "developer", content: "Use the tools." }, user];
  const reply = await client.responses.stream({ ...asking, input }).finalResponse();
  input.push(...reply.output);
  for (const item of reply.output.filter((entry) => entry.type === "function_call")) {
    input.push({ type: "function_call_output", call_id: item.call_id, output: JSON.stringify({ for: item.name }) });
  }
  await client.responses.stream({ ...asking, input }).finalResponse();
  await openai("responses-structured").responses.parse({
    model: "gpt-5.5", input: "Weather?", text: { format: zodTextFormat(Weather, "weather") },
  });
}

async function messages() {
  const usual = { model: "claude-sonnet-5-5", max_tokens: 4000 };
  const tools = [{ name: "get_weather", description: "Weather.", input_schema: city, cache_control: { type: "ephemeral" } },
    { name: "get_time", input_schema: zone }];
  const client = anthropic("messages-parallel-tools-thinking");
  const asking = { ...usual, tools, thinking: { type: "enabled", budget_tokens: 1024 }, system: [{ type: "text", text: "Use the tools.", cache_control: { type: "ephemeral", ttl: "1h" } }] };
  const history = [user];
  const reply = await client.messages.stream({ ...asking, messages: history }).finalMessage();
  history.push({ role: "assistant", content: reply.content });
  history.push({
    role: "user",
    content: reply.content.filter((block) => block.type === "tool_use")
      .map((block) => ({ type: "tool_result", tool_use_id: block.id, content: "snow", cache_control: { type: "ephemeral" } })),
  });
  await client.messages.stream({ ...asking, messages: history }).finalMessage();
  await anthropic("messages-structured").messages.parse({ ...usual, messages: [user], output_config: { format: zodOutputFormat(Weather) } });
  const weather = betaZodTool({ name: "get_weather", description: "Weather.", inputSchema: City, run: () => [{ type: "text", text: "snow" }] });
  await anthropic("messages-tool-runner").beta.messages.toolRunner({ ...usual, tools: [weather], messages: [user] });
}

for (const [name, cases] of Object.entries({ chat, responses, messages })) {
  await cases();
  console.log(`${name}: sent`);
}
