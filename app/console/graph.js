// The graph as it stands now: stages in order, tiers, pools. Data: GET /v1/penstock/graph, every 2 s while it is shown.

import { ask, keys } from "./api.js";
import { byId, el, percent, say, svg, table } from "./dom.js";

const EVERY = 2000;
const [WIDE, GAP, TIER_Y, POOL_Y, HIGH] = [1200, 12, 150, 250, 372];
let timer = 0;

const word = (thing) => (thing.answers ? (thing.rests ? "rests after a failure" : "answers") : "does not answer");
const mood = (thing) => (thing.answers ? (thing.rests ? "warn" : "ok") : "bad");
const spread = (count, at) => (WIDE / count) * (at + 0.5);
const line = (x1, y1, x2, y2) => svg("path", {
  class: "edge", d: `M${x1} ${y1} C${x1} ${(y1 + y2) / 2} ${x2} ${(y1 + y2) / 2} ${x2} ${y2}`,
});

function box(x, y, width, height, state, lines) {
  return svg("g", { class: `box ${state}` },
    svg("rect", { x: x - width / 2, y, width, height, rx: 6 }),
    state ? svg("circle", { class: "dot", cx: x - width / 2 + 12, cy: y + 13, r: 4 }) : null,
    lines.map((text, at) => svg("text", { class: at ? "minor" : "name", x, y: y + 18 + at * 17 }, text)));
}

function draw(graph) {
  const { stages, tiers, pools } = graph;
  const tierX = new Map(tiers.map((tier, at) => [tier.name, spread(tiers.length, at)]));
  const poolX = new Map(pools.map((pool, at) => [pool.name, spread(pools.length, at)]));
  const stageX = (name) => spread(stages.length, Math.max(0, stages.findIndex((stage) => stage.name === name)));
  const width = Math.min(260, WIDE / pools.length - 16);
  const stageWidth = Math.min(96, WIDE / stages.length - GAP);
  return svg("svg", { class: "graph", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img",
    "aria-label": `${stages.length} stages, ${tiers.length} tiers, ${pools.length} pools; the tables below say the same` },
    stages.slice(1).map((_, at) => svg("path", { class: "edge",
      d: `M${spread(stages.length, at) + stageWidth / 2} 46 H${spread(stages.length, at + 1) - stageWidth / 2}` })),
    tiers.map((tier) => line(stageX("generate"), 70, tierX.get(tier.name), TIER_Y)),
    tiers.flatMap((tier) => Object.keys(tier.pools).map((pool) => line(
      tierX.get(tier.name), TIER_Y + 44, poolX.get(pool), POOL_Y))),
    stages.map((stage, at) => box(spread(stages.length, at), 22, stageWidth, 48, stage.answers ? "ok" : "bad",
      [stage.name, stage.needs.join(", ")])),
    tiers.map((tier) => box(tierX.get(tier.name), TIER_Y, 150, 44, "", [tier.name, `complexity ≥ ${tier.min_complexity}`])),
    pools.map((pool) => box(poolX.get(pool.name), POOL_Y, width, 104, mood(pool), [
      pool.name, pool.model, `${pool.region}, ${pool.kind}`, `${pool.calls_per_minute} calls/min`,
      `${percent(pool.failed_share)} failed`])));
}

function show(graph) {
  const { calls, minutes } = graph;
  byId("view-graph").replaceChildren(
    el("div", { class: "panel" },
      el("h2", {}, "The graph now"),
      el("p", { class: "muted" },
        `Your calls of the last ${minutes} minutes: ${calls.calls_per_minute} a minute, ${percent(calls.hit_share)} `
        + `from the cache, ${percent(calls.refused_share)} refused, ${percent(calls.failed_share)} failed.`),
      el("div", { class: "scroll" }, draw(graph))),
    el("div", { class: "panel" }, table(
      ["Pool", "Model", "Kind", "Region", "Tiers", "State", "Calls/min", "Failed"],
      graph.pools.map((pool) => [pool.name, pool.model, pool.kind, pool.region, pool.tiers.join(", "),
        el("span", { class: mood(pool) }, word(pool)), String(pool.calls_per_minute), percent(pool.failed_share)]),
      "Pools")),
    el("div", { class: "panel" }, table(
      ["Stage", "Needs", "State"],
      graph.stages.map((stage) => [stage.name, stage.needs.join(", "), el("span", { class: mood(stage) }, word(stage))]),
      "Stages, in order")));
}

async function refresh(mine) {
  try {
    if (keys.get("key") && !document.hidden) {
      const graph = await ask("/v1/penstock/graph");
      if (mine === timer) show(graph);
    }
  } catch (error) {
    say(error.message, true);
  }
  if (mine === timer) setTimeout(() => mine === timer && refresh(mine), EVERY);
}

export function showGraph() {
  if (!keys.get("key")) byId("view-graph").replaceChildren(el("p", { class: "muted" }, "Enter an API key first."));
  timer += 1;
  return refresh(timer);
}

export function leaveGraph() {
  timer += 1;
}
