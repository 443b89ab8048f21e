// What each stage did to one call: its decision in words and its time as a bar. Data: GET /v1/penstock/calls/{id}.

import { el, money, ms, svg, tile } from "./dom.js";

export const STAGES = ["admit", "scrub", "guard", "recall", "route", "generate", "moderate", "remember", "restore",
  "settle"].map((name) => ({ name, built_in: false }));

const listed = (counts) => Object.entries(counts ?? {}).map(([name, n]) => `${name} ${n}`).join(", ");
const highest = (scores) => Object.entries(scores).filter(([, score]) => typeof score === "number")
  .sort((a, b) => b[1] - a[1]).slice(0, 3).map(([label, score]) => `${label} ${score}`).join(", ");

const FOUND = { flag: "flagged", throttle: "a strike" };
const SAID = {
  admit: (did) => (did.denied ? `denied: ${did.denied}` : "worst case reserved"),
  scrub: (did) => listed(did.types) || "nothing found",
  guard: (did) => `${did.label} ${did.score}${did.refused ? ", refused" : did.action ? `, ${FOUND[did.action]}` : ""}`,
  recall: (did) => [did.result, did.why, did.judged === undefined ? null
    : `cosine ${did.score}, judged ${did.judged}, error at most ${did.risk}`].filter(Boolean).join(", "),
  route: (did) => (did.score === undefined
    ? `tier ${did.tier}, asked for by name`
    : `complexity ${did.score} ≥ ${did.threshold}: tier ${did.tier}`),
  generate: (did) => `pool ${did.pool}, failovers ${did.attempts - 1}`,
  moderate: (did) => `${did.stopped ? `stopped by ${did.stopped}; ` : ""}highest ${highest(did)}`,
  screen: (did) => `highest ${highest(did)}`,
  leak: (did) => `instructions repeated, ${did.action === "block" ? "refused" : FOUND[did.action]}`,
  remember: (did) => (did.stored ? "stored" : "not stored"),
};

function decision(stage, call) {
  const did = call.trail[stage];
  if (stage === "settle") return `${call.outcome}, ${money(call.cost)} billed`;
  if (stage === "admit") return SAID.admit(did ?? {});
  if (stage === "restore") {
    const hidden = Object.values(call.trail.scrub?.types ?? {}).reduce((sum, n) => sum + n, 0);
    return hidden ? `${hidden} placeholders known` : "nothing to put back";
  }
  if (did && Object.keys(did).length) return SAID[stage](did);
  if (stage === "moderate") return call.trail.timing?.moderate === undefined ? "no text to score" : "scored";
  if (stage === "remember" && call.outcome === "ok") return "nothing to keep";
  return call.outcome === "hit" ? "not needed: cache hit" : "not reached";
}

function bar(stage, call, total) {
  const { timing = {}, started = {} } = call.trail;
  if (timing[stage] === undefined) return null;
  const x = Math.min(99, ((started[stage] ?? 0) / total) * 100);
  const width = Math.max(0.6, Math.min(100 - x, (timing[stage] / total) * 100));
  return svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", x: 0, y: 4, width: 100, height: 2 }),
    svg("rect", { class: "span", x, y: 1, width, height: 8 }));
}

export function drawTrace(call, stages = STAGES) {
  const total = Math.max(call.latency * 1000, 0.001);
  const seen = { ...call, trail: call.trail ?? {} };
  // Built-in stages have a row where they decided something.
  const rows = stages.filter((stage) => !stage.built_in || seen.trail[stage.name]).map(({ name: stage }) => {
    const time = seen.trail.timing?.[stage];
    return el("tr", { "data-stage": stage, class: call.refused_by === stage ? "refused" : null },
      el("th", { scope: "row" }, stage),
      el("td", { class: "decision" }, decision(stage, seen)),
      el("td", { class: "wait" }, bar(stage, seen, total)),
      el("td", { class: "number" }, time === undefined ? "" : ms(time)));
  });
  return [
    el("h2", {}, "What the stages did"),
    el("dl", { class: "tiles" },
      tile("Outcome", call.refused_by ? `${call.outcome} by ${call.refused_by}` : call.outcome),
      tile("Tier, pool", `${call.tier ?? "none"}, ${call.pool ?? "none"}`),
      tile("Cost", money(call.cost)),
      tile("Tokens in / cached / out", `${call.prompt_tokens} / ${call.cached_tokens} / ${call.completion_tokens}`),
      tile("First token", call.ttft === null ? "none" : ms(call.ttft * 1000)),
      tile("Total", ms(call.latency * 1000))),
    call.trail ? el("div", { class: "scroll" }, el("table", { class: "stages" },
      el("thead", {}, el("tr", {},
        ["Stage", "Decision", "When the call waited for it", "Wait"].map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, rows))) : el("p", { class: "muted" }, "The record of what the stages did was pruned."),
    el("p", { class: "muted small" },
      `Call ${call.id}. Stages overlap. One that waited several times is drawn from its first start, as long as all.`),
  ];
}
