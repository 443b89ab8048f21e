import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { check, feature, key, model, url } from "./report.mjs";

const baseURL = `${url}/v1`;
const providers = {
  "ai + @ai-sdk/openai (Responses)": createOpenAI({ apiKey: key, baseURL })(model),
  "ai + @ai-sdk/openai (.chat)": createOpenAI({ apiKey: key, baseURL }).chat(model),
  "ai + @ai-sdk/openai-compatible": createOpenAICompatible({ name: "penstock", apiKey: key, baseURL, includeUsage: true, supportsStructuredOutputs: true })(model),
  "ai + @ai-sdk/anthropic": createAnthropic({ apiKey: key, baseURL })(model),
};
const common = { maxRetries: 0, maxOutputTokens: 32, temperature: 0 };

for (const [name, provider] of Object.entries(providers)) {
  const run = (what, body) => feature(name, what, body);
  await run("chat", async () => {
    const first = await generateText({ ...common, model: provider, prompt: "Say hello." });
    check(first.text, "no text");
    const messages = [{ role: "user", content: "Say hello." }, ...first.response.messages, { role: "user", content: "Again." }];
    const second = await generateText({ ...common, model: provider, messages });
    check(second.text, "no text in the second turn");
  });
  await run("stream", async () => {
    const { textStream, usage } = streamText({ ...common, model: provider, prompt: "Say hello." });
    let text = "";
    for await (const piece of textStream) text += piece;
    check(text && (await usage).outputTokens > 0, "no text or no usage");
  });
  await run("tools", async () => {
    const weather = tool({
      description: "The weather of a city",
      inputSchema: z.object({ city: z.enum(["Rome", "Oslo"]) }),
      execute: async ({ city }) => `It rains in ${city}.`,
    });
    const called = [];
    await generateText({
      ...common, maxOutputTokens: 64, model: provider, prompt: "What is the weather in Rome?", tools: { weather },
      stopWhen: stepCountIs(2),
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
      onStepFinish: (step) => called.push(...step.toolCalls.map((call) => call.toolName)),
    });
    check(called.includes("weather"), `called: ${called}`);
  });
  await run("structured", async () => {
    const schema = z.object({ kind: z.enum(["a", "b"]) });
    const { object } = await generateObject({ ...common, maxOutputTokens: 120, model: provider, schema, prompt: "Choose a or b." });
    check(["a", "b"].includes(object.kind), "not by the schema");
  });
  await run("cancel", async () => {
    const stop = new AbortController();
    const { textStream } = streamText({ ...common, maxOutputTokens: 400, model: provider, prompt: "Count.", abortSignal: stop.signal });
    for await (const _ of textStream) { stop.abort(); break; }
    const { text } = await generateText({ ...common, model: provider, prompt: "Say hello." });
    check(text, "no answer afterwards");
  });
}
