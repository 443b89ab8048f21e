import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { check, feature, key, model, url } from "./report.mjs";

const client = new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 });
const hi = [{ role: "user", content: "Say hello." }];
const weather = {
  type: "function",
  function: {
    name: "weather",
    parameters: {
      type: "object",
      properties: { city: { type: "string", enum: ["Rome", "Oslo"] } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};
const run = (name, body) => feature("openai (node)", name, body);

await run("chat", async () => {
  const answer = await client.chat.completions.create({ model, messages: hi, max_tokens: 16 });
  check(answer.choices[0].message.content && answer.usage.prompt_tokens > 0, "no answer");
});
await run("stream", async () => {
  const stream = await client.chat.completions.create({
    model, messages: hi, max_tokens: 16, stream: true, stream_options: { include_usage: true },
  });
  let text = "", usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  check(text && usage.completion_tokens > 0, "no text or no usage");
});
await run("tools", async () => {
  const asked = { model, messages: hi, tools: [weather], tool_choice: "required", max_tokens: 64, temperature: 0 };
  const answer = await client.chat.completions.create(asked);
  const said = answer.choices[0].message;
  check(["Rome", "Oslo"].includes(JSON.parse(said.tool_calls[0].function.arguments).city), "no city");
  const turns = [...hi, said, { role: "tool", tool_call_id: said.tool_calls[0].id, content: "It rains." }];
  const next = await client.chat.completions.create({ model, messages: turns, tools: [weather], tool_choice: "none", max_tokens: 16 });
  check(next.choices[0].message.content, "no second answer");
});
await run("structured", async () => {
  const form = z.object({ kind: z.enum(["a", "b"]) });
  const answer = await client.chat.completions.parse({ model, messages: hi, max_tokens: 120, response_format: zodResponseFormat(form, "kind") });
  check(["a", "b"].includes(answer.choices[0].message.parsed.kind), "not parsed");
});
await run("responses", async () => {
  const first = await client.responses.create({ model, input: "Say hello.", max_output_tokens: 16 });
  const second = await client.responses.create({ model, input: "Again.", previous_response_id: first.id, max_output_tokens: 16 });
  check(first.output_text && second.output_text, "no text");
});
await run("errors", async () => {
  const wrong = await client.chat.completions.create({ model: "no-such-model", messages: hi }).catch((error) => error);
  check(wrong instanceof OpenAI.NotFoundError, `not a NotFoundError: ${wrong}`);
});
await run("cancel", async () => {
  const stream = await client.chat.completions.create({ model, messages: hi, stream: true, max_tokens: 400 });
  for await (const _ of stream) stream.controller.abort();
  const after = await client.chat.completions.create({ model, messages: hi, max_tokens: 4 });
  check(after.choices.length === 1, "no answer afterwards");
});
