// The keys, and light or dark.
"use strict";

const KEYS = [
  ["← →", "decision before, next"], ["↑ ↓", "candidate better, worse"], ["space", "play, pause"], [", .", "one moment back, on"], ["n p", "next, previous odd moment"],
  ["1 … 7", "view"], ["c", "camera"], ["Home End", "first, last decision"], ["t", "light or dark"],
  ["w s a d r f q e z x", "steer, in “Walk in it”; g: as the candidate; Backspace: back to the start"],
];

function nextDecision(way) {
  const places = kept ? kept.run.picked : null;
  if (!places) return select(state.index + way);
  const next = way > 0 ? places.find((index) => index > state.index) : [...places].reverse().find((index) => index < state.index);
  return next === undefined ? undefined : select(next);
}

const ACTIONS = {
  ArrowLeft: () => nextDecision(-1), ArrowRight: () => nextDecision(1), ArrowUp: () => pickBy(-1), ArrowDown: () => pickBy(1), " ": () => togglePlay(),
  ",": () => { stop(); showMoment(state.moment - 1); }, ".": () => { stop(); showMoment(state.moment + 1); },
  n: () => goOdd(1), p: () => goOdd(-1), Home: () => select(0), End: () => select(Infinity), t: toggleTheme, "?": showKeys,
  c: () => { state.camera = (state.camera + 1) % Math.max(1, state.run.cameras.length); render(); },
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const onSlider = event.target.matches && event.target.matches("input[type=range]");
  if (onSlider && event.key.startsWith("Arrow")) return;
  if (event.target.matches && event.target.matches("input:not([type=range])")) return; // words are being typed
  if (steerKey(event, true)) { event.preventDefault(); return; }
  const view = Object.keys(VIEWS)[Number(event.key) - 1];
  if (view) openView(view);
  else if (ACTIONS[event.key] && (state.decision || event.key === "ArrowLeft" || event.key === "ArrowRight")) { event.preventDefault(); ACTIONS[event.key](); }
}

function showKeys() {
  const dialog = document.getElementById("keys");
  dialog.replaceChildren(el("table", {}, KEYS.map(([keys, words]) => el("tr", {}, el("td", {}, ...keys.split(" ").flatMap((key) => [el("kbd", {}, key), " "])), el("td", {}, words)))));
  dialog.showModal();
  dialog.onclick = () => dialog.close();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

function toggleTheme() {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  try { localStorage.setItem("robo-dream-theme", document.documentElement.dataset.theme); } catch { /* a file may not store */ }
}

function startTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("robo-dream-theme"); } catch { /* a file may not store */ }
  setTheme(chosen || (system.matches ? "dark" : "light"));
  system.addEventListener("change", () => { if (!chosen) setTheme(system.matches ? "dark" : "light"); });
}
