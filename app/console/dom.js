// Elements made from data. Text goes in as text nodes alone, so nothing that a model or a person wrote becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export const el = (tag, props = {}, ...children) => fill(document.createElement(tag), props, children);
export const svg = (tag, props = {}, ...children) => fill(document.createElementNS(SVG, tag), props, children);
export const byId = (id) => document.getElementById(id);

export function say(text, bad = false) {
  const status = byId("status");
  status.textContent = text;
  status.className = bad ? "bad" : "";
}

// Runs `work`; what it throws is said in the status line.
export const guarded = (work) => async (event) => {
  event?.preventDefault?.();
  try {
    await work(event);
  } catch (error) {
    say(error.message, true);
  }
};

export function table(heads, rows, caption) {
  return el("div", { class: "scroll" }, el("table", {},
    caption ? el("caption", {}, caption) : null,
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell ?? "")))))));
}

export const tile = (name, value) => el("div", { class: "tile" }, el("dt", {}, name), el("dd", {}, value));

// A decimal string or number, without the zeros that say nothing.
export function money(amount, currency = "") {
  const plain = String(amount).includes(".") ? String(amount).replace(/\.?0+$/, "") : String(amount);
  return currency ? `${plain} ${currency}` : plain;
}

export const ms = (value) => (value >= 100 ? `${Math.round(value)} ms` : `${Number(value.toPrecision(3))} ms`);
export const percent = (share) => `${Number((share * 100).toPrecision(3))} %`;
export const moment = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19);
