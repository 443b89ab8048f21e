import Anthropic from "@anthropic-ai/sdk";
import { check, feature, key, model, url } from "./report.mjs";

const client = new Anthropic({ apiKey: key, baseURL: url, maxRetries: 0 });
const hi = [{ role: "user", content: "Say hello." }];
const weather = {
  name: "weather",
  input_schema: {
    type: "object",
    properties: { city: { type: "string", enum: ["Rome", "Oslo"] } },
    required: ["city"],
    additionalProperties: false,
  },
};
const run = (name, body) => feature("@anthropic-ai/sdk", name, body);

await run("chat", async () => {
  const answer = await client.messages.create({ model, messages: hi, max_tokens: 16 });
  check(answer.content[0].text && answer.usage.input_tokens > 0, "no answer");
});
await run("stream", async () => {
  const stream = client.messages.stream({ model, messages: hi, max_tokens: 16 });
  const final = await stream.finalMessage();
  check(final.content[0].text && final.usage.output_tokens > 0, "no text");
});
await run("tools", async () => {
  const tools = [weather];
  const answer = await client.messages.create({ model, messages: hi, tools, tool_choice: { type: "any" }, max_tokens: 64 });
  const used = answer.content.find((block) => block.type === "tool_use");
  check(["Rome", "Oslo"].includes(used.input.city), "no city");
  const turns = [...hi, { role: "assistant", content: answer.content },
    { role: "user", content: [{ type: "tool_result", tool_use_id: used.id, content: "It rains." }] }];
  const next = await client.messages.create({ model, messages: turns, tools, tool_choice: { type: "none" }, max_tokens: 16 });
  check(next.content.some((block) => block.type === "text"), "no second answer");
});
await run("errors", async () => {
  const wrong = await client.messages.create({ model: "no-such-model", messages: hi, max_tokens: 4 }).catch((error) => error);
  check(wrong instanceof Anthropic.NotFoundError, `not a NotFoundError: ${wrong}`);
  check(wrong.error?.error?.type === "not_found_error", "not Anthropic's shape");
});
await run("cancel", async () => {
  const stream = client.messages.stream({ model, messages: hi, max_tokens: 400 });
  for await (const _ of stream) { stream.abort(); break; }
  const after = await client.messages.create({ model, messages: hi, max_tokens: 4 });
  check(after.content.length >= 1, "no answer afterwards");
});
