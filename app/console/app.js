// The shell: which view is shown, the key, the theme.

import { showAdmin } from "./admin.js";
import { keys } from "./api.js";
import { byId, guarded, say } from "./dom.js";
import { leaveGraph, showGraph } from "./graph.js";
import { loadModels, startPlayground } from "./play.js";
import { showUsage } from "./usage.js";

const VIEWS = { play: loadModels, graph: showGraph, usage: showUsage, admin: showAdmin };
const THEMES = ["auto", "light", "dark"];

const show = guarded(async () => {
  const wanted = location.hash.slice(1);
  if (wanted === "main") return; // the skip link
  const view = wanted in VIEWS ? wanted : "play";
  leaveGraph();
  for (const name of Object.keys(VIEWS)) byId(`view-${name}`).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  await VIEWS[view]();
});

function theme(name) {
  const chosen = THEMES.includes(name) ? name : "auto";
  document.documentElement.dataset.theme = chosen;
  byId("theme").textContent = `Theme: ${chosen}`;
  localStorage.setItem("penstock.theme", chosen);
}

theme(localStorage.getItem("penstock.theme"));
byId("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme;
  theme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
});
byId("key").value = keys.get("key");
byId("key-form").addEventListener("submit", guarded(async () => {
  keys.set("key", byId("key").value.trim());
  say(keys.get("key") ? "The key is kept in this tab until it closes." : "No key.");
  await show();
}));
byId("key-forget").addEventListener("click", () => {
  keys.set("key", "");
  byId("key").value = "";
  say("The key is forgotten.");
  show();
});
window.addEventListener("hashchange", () => {
  say("");
  return show();
});
startPlayground();
show();
