// The tenant's spending: by day, model and tier, and what is left of its budgets. Data: GET /v1/penstock/usage.

import { ask, keys } from "./api.js";
import { byId, el, guarded, money, svg, table, tile } from "./dom.js";

const DAY = 86400;
const [WIDE, HIGH, FOOT] = [720, 180, 22];
let days = 30;

// Every day since `since` (Unix seconds), those without a call too.
function filled(since, sums) {
  const known = new Map(sums.map((sum) => [sum.group, sum]));
  const none = { cost: "0", calls: 0 };
  return Array.from({ length: days }, (_, at) => {
    const day = new Date((since + at * DAY) * 1000).toISOString().slice(0, 10);
    return { day, ...(known.get(day) ?? none) };
  });
}

function columns(rows, currency) {
  const most = Math.max(...rows.map((row) => Number(row.cost)), 1e-12);
  const step = WIDE / rows.length;
  const bars = rows.map((row, at) => {
    const height = (Number(row.cost) / most) * (HIGH - 2 * FOOT);
    return svg("rect", { class: "span", x: at * step + 1, y: HIGH - FOOT - height, width: Math.max(1, step - 2), height },
      svg("title", {}, `${row.day}: ${money(row.cost, currency)}, ${row.calls} calls`));
  });
  const named = rows.filter((_, at) => at % Math.ceil(rows.length / 8) === 0);
  return svg("svg", { class: "chart", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": "Spending by day" },
    svg("path", { class: "edge", d: `M0 ${HIGH - FOOT} H${WIDE}` }),
    svg("text", { class: "minor", x: 2, y: 14 }, `highest day ${money(most > 1e-12 ? most.toFixed(9) : "0", currency)}`),
    bars,
    named.map((row) => svg("text", { class: "minor", x: rows.indexOf(row) * step + 1, y: HIGH - 6 }, row.day.slice(5))));
}

function shares(sums, currency, missing) {
  const most = Math.max(...sums.map((sum) => Number(sum.cost)), 1e-12);
  return sums.map((sum) => [
    sum.group || missing,
    svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "track", x: 0, y: 4, width: 100, height: 2 }),
      svg("rect", { class: "span", x: 0, y: 1, width: (Number(sum.cost) / most) * 100, height: 8 })),
    money(sum.cost, currency),
    String(sum.calls),
    `${sum.prompt_tokens} / ${sum.cached_tokens} / ${sum.completion_tokens}`,
  ]);
}

function budget(account, currency) {
  if (account.budget === null) return tile(account.id, `no budget, ${money(account.period_spent, currency)} spent`);
  return tile(account.id, `${money(account.left, currency)} left of ${money(account.budget)} (${account.period})`);
}

function show(usage) {
  const { by, currency } = usage;
  const heads = ["", "Share", "Spent", "Calls", "Tokens in / cached / out"];
  const sum = (name) => by.tier.reduce((total, row) => total + Number(row[name]), 0);
  const select = el("select", { "aria-label": "Days", onchange: guarded((event) => {
    days = Number(event.target.value);
    return showUsage();
  }) }, [7, 30, 90].map((n) => el("option", { value: n, selected: n === days }, `last ${n} days`)));
  byId("view-usage").replaceChildren(
    el("div", { class: "panel" },
      el("div", { class: "row" }, el("h2", {}, `Usage of ${usage.tenant}`), select),
      el("dl", { class: "tiles" },
        tile("Spent", money(sum("cost").toFixed(9), currency)),
        tile("Calls", String(sum("calls"))),
        tile("From the cache", String(sum("hits"))),
        tile("Refused", String(sum("refused"))),
        usage.budgets.map((account) => budget(account, currency))),
      columns(filled(usage.since, by.day), currency)),
    el("div", { class: "panel" }, table(["Model", ...heads.slice(1)], shares(by.model, currency, "no engine"), "By model")),
    el("div", { class: "panel" }, table(["Tier", ...heads.slice(1)], shares(by.tier, currency, "no tier"), "By tier")));
}

export async function showUsage() {
  if (keys.get("key")) show(await ask(`/v1/penstock/usage?days=${days}`));
  else byId("view-usage").replaceChildren(el("p", { class: "muted" }, "Enter an API key first."));
}
