// A dream to walk in: the arm is steered in imagination, one block of actions at a time, from the belief of a decision.
"use strict";

const STEER = { // key: number of the action, direction
  w: [0, 1], s: [0, -1], a: [1, 1], d: [1, -1], r: [2, 1], f: [2, -1], q: [3, 1], e: [3, -1], x: [4, 1], z: [4, -1],
};
const MIN_FRAME_MS = 70; // each picture is a whole block later; faster cannot be steered
const TRAIL = 24;
const walk = { of: null, latent: null, memory: null, disagreement: 0, steps: 0, picture: null, trail: [], held: new Set(), busy: false, times: [], stride: 0.3 };

function walkView(decision) {
  if (kept) return el("div", { class: "empty" }, "Walking needs the model: open the run with  robo-dream replay RUN");
  const { dreamer } = state.run;
  if (dreamer.state !== "ready") return el("div", { class: "empty" }, dreamer.state === "loading" ? "The model is being loaded …" : `No walking: ${dreamer.sentence}`);
  if (dreamer.spec.kind !== "tool_move") return el("div", { class: "empty" }, `Walking steers tool moves; this model's actions are of another kind: ${dreamer.spec.kind.replace("_", " ")}.`);
  if (walk.of !== decision.index) restartWalk(decision.index);
  const view = el("div", { class: "walk" }, el("div", {}, screens(decision), el("div", { class: "trail", id: "trail" })), el("div", {}, controls(), sliders(decision)));
  queueMicrotask(showDream);
  return view;
}

function screens(decision) {
  const names = state.run.cameras, urls = picturesOf(decision, state.sample);
  const beside = state.sample === null || state.sample === decision.chosen ? "the plan" : `candidate ${rankOf(decision) + 1}`;
  const label = (text, kind) => el("span", { class: `label ${kind}` }, text);
  const home = el("div", { class: "screens" }, label("your dream", "dream"), label(beside), label("what happened"));
  home.style.gridTemplateColumns = "repeat(3, 168px)";
  names.forEach((name, row) => {
    const shape = { ...shapeOf(decision, row), column: 0 };
    home.append(el("div", { class: "strip", "data-dream": row, title: name }), el("div", { class: "strip", "data-beside": row }), el("div", { class: "strip", "data-real": row }));
    paint(home.querySelector(`[data-beside="${row}"]`), urls.dream, shape);
    paint(home.querySelector(`[data-real="${row}"]`), urls.real, shape);
  });
  return home;
}

function controls() {
  const stride = el("input", { type: "range", min: 0.1, max: 1, step: 0.1, value: walk.stride, "aria-label": "stride", oninput: (event) => { walk.stride = Number(event.target.value); drawPad(); } });
  queueMicrotask(drawPad);
  return el("div", {},
    el("div", { class: "toolbar" }, el("span", { id: "walked", class: "big" }), el("span", { id: "rate", class: "faint" }),),
    el("div", { class: "toolbar" }, el("span", { class: "faint" }, "Hold keys; stride"), stride, el("span", { class: "space" }),
      el("button", { title: "Backspace", onclick: () => restartWalk(state.index) }, "start again"), el("button", { title: "g", onclick: followCandidate }, "as the candidate")),
    el("div", { class: "pad", id: "pad" }));
}

// Which keys move what, and how far.
function drawPad() {
  const { names, units, low, high } = state.run.dreamer.spec;
  const pad = names.map((name, a) => {
    const keys = Object.entries(STEER).filter(([, [number]]) => number === a).sort((p, q) => q[1][1] - p[1][1]).map(([key]) => el("kbd", { "data-key": key }, key));
    const most = `${show(Math.max(-low[a], high[a]) * walk.stride * state.run.dreamer.block, 2)} ${units[a] === "1" ? "" : units[a]} a picture`;
    return [el("span", {}, name), el("span", {}, ...keys.flatMap((key, i) => (i ? [" ", key] : [key]))), el("span", { class: "faint" }, most)];
  });
  const home = document.getElementById("pad");
  if (home) home.replaceChildren(...pad.flat());
}

function sliders(decision) {
  const inputs = decision.channels.map(({ channel, low, high }) => {
    const input = el("input", { type: "range", min: low, max: high, step: (high - low) / 200, "data-channel": channel, oninput: () => moveChannel(channel, Number(input.value)) });
    return el("label", {}, el("span", {}, `#${channel}`), input, el("span", { "data-value": channel }));
  });
  return el("div", {}, el("h2", {}, "Single channels of the latent ", el("small", {}, "in which these futures differ most")), el("div", { class: "sliders" }, inputs));
}

async function restartWalk(index) {
  Object.assign(walk, { of: index, latent: null, memory: null, disagreement: 0, steps: 0, trail: [], times: [] });
  await dreamOn({ decision: index });
}

// One request at a time; gives false when another is under way.
async function dreamOn(asked) {
  if (walk.busy) return false;
  walk.busy = true;
  const of = walk.of;
  try {
    const dream = await postJson("/api/dream", asked);
    if (walk.of !== of) return false;
    Object.assign(walk, { latent: dream.latent, memory: dream.memory, disagreement: dream.disagreement, picture: dream.picture });
    if (asked.actions) walk.steps += 1;
    walk.trail = [...walk.trail, dream.picture].slice(-TRAIL);
    showDream();
    return true;
  } catch (error) {
    trouble(error.message);
    return false;
  } finally {
    walk.busy = false;
    if (walk.of !== of) restartWalk(walk.of);
  }
}

function imagine(actions) {
  return dreamOn({ latent: walk.latent, memory: walk.memory, disagreement: walk.disagreement, actions });
}

async function steer() {
  if (walk.steering) return;
  walk.steering = true;
  while (walk.held.size && state.view === "walk" && walk.latent) {
    const start = performance.now();
    if (!(await imagine(heldBlock()))) break;
    await new Promise((done) => setTimeout(done, Math.max(0, MIN_FRAME_MS - (performance.now() - start))));
    walk.times = [...walk.times, performance.now() - start].slice(-12);
    showRate();
  }
  walk.steering = false;
}

function heldBlock() {
  const { spec, block } = state.run.dreamer;
  const action = spec.names.map(() => 0);
  for (const key of walk.held) {
    const [number, way] = STEER[key];
    if (number < action.length) action[number] += walk.stride * (way > 0 ? spec.high[number] : spec.low[number]);
  }
  const within = action.map((value, a) => Math.min(spec.high[a], Math.max(spec.low[a], value)));
  return Array.from({ length: block }, () => within);
}

// The next block of the selected candidate's own actions: the dream then follows its pictures.
async function followCandidate() {
  const { decision } = state, { block } = state.run.dreamer;
  const path = `/api/decision/${decision.index}/candidate/${state.sample}`;
  const actions = state.sample === null || state.sample === decision.chosen ? decision.actions : (await getJson(path)).actions;
  const next = actions.slice(walk.steps * block, (walk.steps + 1) * block);
  if (next.length === block) await imagine(next);
  else trouble("the candidate has no more actions");
}

let wanted = null; // the newest position of a slider while one is being drawn

async function moveChannel(channel, value) {
  if (!walk.latent) return;
  walk.latent[channel] = value;
  document.querySelector(`[data-value="${channel}"]`).textContent = show(value, 2);
  if (wanted) { wanted = [channel, value]; return; }
  wanted = [channel, value];
  while (wanted) {
    const now = wanted;
    await dreamOn({ latent: walk.latent, memory: walk.memory, disagreement: walk.disagreement });
    walk.trail.splice(-2, 1); // a slider redraws, it does not walk
    if (wanted === now) wanted = null;
    else walk.latent[wanted[0]] = wanted[1];
  }
}

function showDream() {
  if (state.view !== "walk" || !walk.latent) return;
  const rows = state.run.cameras.length, column = Math.min(walk.steps, state.decision.horizon);
  const shape = { columns: state.decision.horizon + 1, rows, column };
  document.querySelectorAll("[data-dream]").forEach((element) => paint(element, walk.picture, { columns: 1, rows, row: Number(element.dataset.dream), column: 0 }));
  const urls = picturesOf(state.decision, state.sample);
  document.querySelectorAll("[data-beside]").forEach((element) => paint(element, urls.dream, { ...shape, row: Number(element.dataset.beside) }));
  document.querySelectorAll("[data-real]").forEach((element) => paint(element, column < state.decision.num_real ? urls.real : null, { ...shape, row: Number(element.dataset.real) }));
  document.getElementById("walked").textContent = walk.steps ? seconds(walk.steps * state.run.dreamer.block) : "now";
  document.getElementById("trail").replaceChildren(...walk.trail.slice(-8).map((picture) => el("img", { src: picture, alt: "" })));
  for (const input of document.querySelectorAll("[data-channel]")) {
    input.value = walk.latent[input.dataset.channel];
    document.querySelector(`[data-value="${input.dataset.channel}"]`).textContent = show(walk.latent[input.dataset.channel], 2);
  }
  showRate();
}

function showRate() {
  const mean = walk.times.reduce((a, b) => a + b, 0) / (walk.times.length || 1);
  const rate = walk.times.length > 2 ? `${(1000 / mean).toFixed(0)} pictures a second · ` : "";
  const element = document.getElementById("rate");
  if (element) element.textContent = `${rate}disagreement ${show(walk.disagreement, 3)}`;
}

function steerKey(event, isDown) {
  const key = event.key.toLowerCase();
  if (state.view !== "walk" || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (key in STEER) {
    if (isDown) walk.held.add(key); else walk.held.delete(key);
    document.querySelectorAll(`.pad [data-key="${key}"]`).forEach((element) => element.classList.toggle("down", isDown));
    if (isDown) steer();
    return true;
  }
  if (isDown && key === "g") { followCandidate(); return true; }
  if (isDown && key === "backspace") { restartWalk(state.index); return true; }
  return false;
}
