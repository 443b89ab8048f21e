// The operator's view: tenants, keys, budgets, notices, proof. Data: /admin/v1, with the admin key.

import { admin, keys } from "./api.js";
import { byId, el, guarded, moment, money, say, table } from "./dom.js";

const field = (name, props = {}) => el("label", {}, `${name} `, el("input", { name, autocomplete: "off", ...props }));
const panel = (title, ...children) => el("div", { class: "panel" }, el("h2", {}, title), children);
const path = (...parts) => parts.map((part) => `/${encodeURIComponent(part)}`).join("");

// A form; `work` gets its fields by name, then the view is drawn anew.
function form(label, fields, work) {
  return el("form", { class: "row", onsubmit: guarded(async (event) => {
    const asked = Object.fromEntries(new FormData(event.target));
    await work(asked);
    await showAdmin();
  }) }, fields, el("button", { type: "submit" }, label));
}

function button(label, work, question) {
  return el("button", { type: "button", onclick: guarded(async () => {
    if (question && !window.confirm(question)) return;
    await work();
    await showAdmin();
  }) }, label);
}

// A new key is in one answer only: it stays on the page until it is taken away.
function showKey(made) {
  byId("new-key").replaceChildren(
    el("label", {}, `The key ${made.id}, shown this once `,
      el("input", { readonly: true, size: 60, value: made.key, onfocus: (event) => event.target.select() })),
    el("button", { type: "button", onclick: () => byId("new-key").replaceChildren() }, "I have it"));
}

function tenants(list) {
  return panel("Tenants",
    form("Create tenant", [field("id", { required: true }), field("name")], async ({ id, name }) => {
      await admin("POST", "/tenants", { id, name });
      say(`Tenant ${id} was created.`);
    }),
    table(["Tenant", "Name", "Plan", "State", ""], list.map((one) => [
      one.id, one.name, one.plan, one.erased_at ? "erased" : one.paused ? `paused: ${one.paused_why}` : "live",
      one.paused
        ? button("Resume", () => admin("POST", `${path("tenants", one.id)}/resume`))
        : button("Pause", () => admin("POST", `${path("tenants", one.id)}/pause`, { why: "paused by the operator" }),
          `Let no call of ${one.id} in until it is resumed?`)])));
}

function keyActions(one) {
  const at = path("keys", one.id);
  return el("span", { class: "row" },
    one.state === "disabled" ? null : button("Rotate",
      async () => showKey(await admin("POST", `${at}/rotate`, { overlap_seconds: 0 })),
      `Make a new key in the place of ${one.id}? The old one stops at once.`),
    one.state === "disabled" ? null : button("Disable",
      () => admin("POST", `${at}/disable`), `Stop ${one.id} for good?`),
    ["suspended", "throttled"].includes(one.state) ? button("Reinstate", () => admin("POST", `${at}/reinstate`)) : null);
}

function keyList(list) {
  return panel("Keys",
    form("Create key", [field("tenant", { required: true }), field("name")], async ({ tenant, name }) => {
      showKey(await admin("POST", "/keys", { tenant, name }));
    }),
    table(["Key", "Starts with", "Tenant", "Name", "State", "Made", ""], list.map((one) => [
      one.id, one.prefix, one.tenant, one.name, one.suspended ? `${one.state}: ${one.suspended}` : one.state,
      moment(one.created_at), keyActions(one)])));
}

function budgets(list) {
  const period = el("select", { name: "period", "aria-label": "Period" },
    ["total", "month", "day"].map((name) => el("option", {}, name)));
  return panel("Budgets",
    form("Set budget", [
      field("account", { required: true, placeholder: "tenant:ID" }),
      field("budget", { inputmode: "decimal", placeholder: "empty: none" }), period,
    ], async (asked) => {
      const budget = asked.budget.trim() || null;
      await admin("PUT", path("budgets", asked.account.trim()), { budget, period: asked.period });
      say(`The budget of ${asked.account} was set.`);
    }),
    table(["Account", "Budget", "Period", "Spent in it", "Reserved", "Left"], list.map((one) => [
      one.id, one.budget === null ? "none" : money(one.budget), one.period, money(one.period_spent),
      money(one.reserved), one.left === null ? "" : money(one.left)])));
}

function notices(list) {
  return panel("Notices", table(["When (UTC)", "Kind", "Tenant", "Facts", "Deliveries"], list.map((one) => [
    moment(one.created_at), one.kind, one.tenant, JSON.stringify(one.data),
    one.deliveries.map((sent) => `${sent.webhook}: ${sent.delivered_at ? "delivered" : sent.error ?? "due"}`).join(", "),
  ])));
}

function proof() {
  const result = el("p", { role: "status" });
  return panel("Audit chain", el("button", { type: "button", onclick: guarded(async () => {
    const done = await admin("GET", "/audit/verify");
    result.className = done.ok ? "ok" : "bad";
    result.textContent = done.ok
      ? `Whole and unchanged: ${done.records} records in ${done.chains} chains.`
      : done.faults.map((fault) => `${fault.chain} ${fault.seq ?? ""}: ${fault.what}`).join("; ");
  }) }, "Verify"), result);
}

function signIn() {
  const key = el("input", { id: "admin-key", type: "password", autocomplete: "off", "aria-label": "Admin key" });
  return panel("Admin key", el("form", { class: "row", onsubmit: guarded(async () => {
    keys.set("admin", key.value.trim());
    await showAdmin();
  }) }, key, el("button", { type: "submit" }, "Use admin key")));
}

export async function showAdmin() {
  const view = byId("view-admin");
  if (!keys.get("admin")) return view.replaceChildren(signIn());
  try {
    const lists = await Promise.all(["tenants", "keys", "budgets", "notices"].map((name) => admin("GET", `/${name}`)));
    const [all, known, accounts, told] = lists.map((list) => list.data);
    const kept = byId("new-key") ?? el("div", { id: "new-key", class: "row", role: "status" });
    const leave = el("button", { type: "button", onclick: () => {
      keys.set("admin", "");
      view.replaceChildren(signIn());
    } }, "Forget the admin key");
    view.replaceChildren(kept, tenants(all), keyList(known), budgets(accounts), notices(told), proof(), leave);
  } catch (error) {
    if (error.status === 401) {
      keys.set("admin", "");
      view.replaceChildren(signIn());
    }
    throw error;
  }
  return undefined;
}
