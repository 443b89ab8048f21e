// The playground: a conversation, streamed, and beside it what the stages did to the last call.

import { ask, chat, insight, keys } from "./api.js";
import { byId, el, guarded, say } from "./dom.js";
import { STAGES, drawTrace } from "./trace.js";

let turns = [];
let running = null;
let stages = STAGES;

export async function loadModels() {
  const select = byId("model");
  const wanted = select.value;
  if (!keys.get("key")) return;
  const [{ data }, graph] = await Promise.all([ask("/v1/models"), ask("/v1/penstock/graph")]);
  const chats = new Set(["auto", ...graph.tiers.map((tier) => tier.name), ...graph.pools.map((pool) => pool.model)]);
  const names = data.map((model) => model.id).filter((id) => chats.has(id));
  select.replaceChildren(...names.map((id) => el("option", { value: id, selected: id === wanted }, id)));
  stages = graph.stages;
}

function show(role, text) {
  const body = el("p", {}, text);
  const item = el("li", { class: `turn ${role}` }, el("span", { class: "role" }, role), body);
  byId("turns").append(item);
  item.scrollIntoView({ block: "nearest" });
  return body;
}

function request() {
  const system = byId("system").value.trim();
  const number = (id) => (byId(id).value === "" ? undefined : Number(byId(id).value));
  return {
    model: byId("model").value,
    messages: [...(system ? [{ role: "system", content: system }] : []), ...turns],
    temperature: number("temperature"),
    max_completion_tokens: number("max-tokens"),
  };
}

async function explain(callId) {
  if (!callId) return;
  const call = await insight(callId);
  if (call) byId("trace").replaceChildren(...drawTrace(call, stages));
}

function busy(controller) {
  running = controller;
  byId("send").disabled = controller !== null;
  byId("stop").disabled = controller === null;
}

// Streams the answer into the page; `heard` hears of the call's id and each piece.
async function stream(body, heard) {
  const headers = byId("fresh").checked ? { "Cache-Control": "no-cache" } : {};
  let end = null;
  for await (const chunk of chat(body, { headers, signal: running.signal })) {
    const choice = chunk.choices?.[0];
    heard(chunk.callId, choice?.delta?.content ?? "");
    end = choice?.finish_reason ?? end;
  }
  return end;
}

async function submit() {
  const prompt = byId("prompt").value.trim();
  if (!prompt || running) return;
  if (!keys.get("key")) throw new Error("Enter an API key first.");
  turns.push({ role: "user", content: prompt });
  show("user", prompt);
  byId("prompt").value = "";
  const shown = show("assistant", "");
  let [text, callId] = ["", null];
  busy(new AbortController());
  say("The answer streams.");
  try {
    const end = await stream(request(), (id, piece) => {
      callId ??= id;
      text += piece;
      shown.append(piece);
    });
    say(end === "content_filter" ? "The moderator stopped the answer." : `The answer is complete (${end}).`);
  } catch (error) {
    callId ??= error.callId;
    shown.parentElement.classList.add("failed");
    if (!text) shown.append(error.name === "AbortError" ? "(stopped)" : error.message);
    say(error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
  } finally {
    busy(null);
  }
  // What was not answered is not part of the conversation: it would be refused again with every later message.
  if (text) turns.push({ role: "assistant", content: text });
  else turns.pop();
  await explain(callId);
}

export function startPlayground() {
  byId("ask").addEventListener("submit", guarded(submit));
  byId("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
  });
  byId("stop").addEventListener("click", () => running?.abort());
  byId("clear").addEventListener("click", () => {
    turns = [];
    byId("turns").replaceChildren();
    byId("prompt").focus();
  });
}
