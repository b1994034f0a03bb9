// The page: its state, the player, and following a run that is still going.
"use strict";

const VIEWS = { dream: dreamView, candidates: candidatesView, costs: costsView, errors: errorsView, actions: actionsView, walk: walkView, ask: askView };
const TITLES = { dream: "Dream & reality", candidates: "Candidates", costs: "Costs", errors: "Right or wrong", actions: "Actions", walk: "Walk in it", ask: "Ask" };
const FRAME_MS = 260; // of the player, for each imagined step
const POLL_MS = 1000, SILENT_POLL_MS = 10000;
const state = { run: { decisions: [], steps: [], distances: [], cameras: [], actions: [], result: {}, dreamer: { state: "loading" } }, index: 0, decision: null, sample: null, moment: 0, camera: 0, view: "dream", playing: null };
window.state = state; // for people who look behind it, and tests

function trouble(text) {
  document.getElementById("trouble").textContent = text || "";
}

// --- the run, and what is added to it ---

async function refresh() {
  const { run } = state;
  const news = kept ? kept.run : await ask(`/api/run/${run.decisions.length}/${run.steps.length}`);
  const isNew = news.decisions.length || news.steps.length || news.finished !== run.finished || news.silent !== run.silent || news.dreamer.state !== run.dreamer.state;
  const dreamerCame = news.dreamer.state !== run.dreamer.state;
  state.run = { ...news, decisions: [...run.decisions, ...news.decisions], steps: [...run.steps, ...news.steps] };
  state.run.token = `${hash(news.root)}`;
  const timed = state.run.steps.filter((row) => !row.damage);
  const [first, last] = [timed[0], timed[timed.length - 1]];
  state.run.dt = timed.length > 1 ? (last.time - first.time) / (last.step - first.step) : null;
  if (isNew) await afterNews(news.decisions.length > 0, dreamerCame);
  if (!news.more && state.followed === undefined) await beginFollowing();
  return news.more;
}

// A run that is still going is followed from its newest decision on, until one goes elsewhere.
async function beginFollowing() {
  state.followed = !state.run.finished && !state.asked && state.index === 0;
  if (state.followed) await select(Infinity, true);
}

async function afterNews(hasDecisions, dreamerCame) {
  const count = state.run.decisions.length;
  drawHeader();
  drawTimeline();
  if (!count && (state.run.finished || isOracle())) return showFrames();
  if (!count) return showEmpty("Waiting for the first decision …");
  if (state.decision === null) return select(Math.min(wantedIndex(), count - 1), true);
  if (hasDecisions && state.followed) return select(count - 1, true);
  const { step, block, horizon, num_real } = state.decision; // has more of what it imagined happened?
  const come = Math.min(horizon + 1, Math.ceil((state.run.steps.length - step) / block));
  if (come > num_real || dreamerCame) {
    forget(`/api/decision/${state.index}`);
    await select(state.index, true);
  }
}

function isOracle() {
  return (state.run.about.policy || "").startsWith("oracle");
}

async function follow() {
  for (;;) {
    let wait = POLL_MS;
    try {
      if (await refresh()) wait = 0;
      else if (state.run.silent && state.run.dreamer.state !== "loading") wait = SILENT_POLL_MS;
      trouble("");
    } catch (error) {
      trouble(error.message === "Failed to fetch" ? "robo-dream replay has ended; start it again" : error.message);
    }
    if (kept || (state.run.finished && state.run.dreamer.state !== "loading")) return;
    await new Promise((done) => setTimeout(done, wait));
  }
}

function hash(text) {
  let sum = 7;
  for (const letter of text + (state.run.about ? state.run.about.seed : "")) sum = (sum * 31 + letter.charCodeAt(0)) >>> 0;
  return sum.toString(36);
}

// --- selecting ---

function wantedIndex() {
  return state.asked ? state.asked - 1 : kept ? kept.run.picked[0] : 0;
}

async function select(index, keepMoment = false) {
  const count = state.run.decisions.length;
  if (!count) return;
  const start = performance.now(), isFirst = state.decision === null;
  state.index = Math.min(count - 1, Math.max(0, index));
  if (!keepMoment) { stop(); state.moment = 0; if (!isFirst) state.followed = state.index === count - 1 && !state.run.finished; }
  moveCursor();
  const asked = state.index;
  if (state.run.dreamer.state === "ready") loaded(pictureUrl(`/picture/decision/${asked}/plan`)); // drawn while the numbers are read
  let decision;
  try {
    decision = await getJson(`/api/decision/${asked}`);
  } catch (error) {
    if (asked === state.index) { state.decision = null; drawSide(); showEmpty(kept ? "This decision is not kept in this file." : error.message); }
    return;
  }
  if (asked !== state.index) return; // has moved on meanwhile
  const isOther = !state.decision || state.decision.index !== asked;
  state.decision = decision;
  if (isOther) state.sample = decision.chosen;
  const urls = picturesOf(decision, state.sample);
  await Promise.all([loaded(urls.real), Promise.race([loaded(urls.dream), new Promise((done) => setTimeout(done, 1500))])]);
  if (asked !== state.index) return;
  render();
  settle(asked, performance.now() - start);
}

function settle(index, milliseconds) {
  document.body.dataset.settled = index;
  state.moved = milliseconds;
  history.replaceState(null, "", `#decision=${index + 1}&view=${state.view}`);
  if (!kept) prefetchAround(index);
}

// The next one on the way at once, the one behind when there is time: a key held down must not wait for what it has passed.
async function prefetchAround(index) {
  const way = index < state.came ? -1 : 1;
  state.came = index;
  await prefetch(index + way);
  if (state.index === index) await prefetch(index - way);
}

async function prefetch(index) {
  if (index < 0 || index >= state.run.decisions.length - 1) return; // the last may still grow
  try {
    const decision = await getJson(`/api/decision/${index}`);
    const urls = picturesOf(decision, null);
    await Promise.all([loaded(urls.real), state.run.dreamer.state === "ready" ? loaded(urls.dream) : null]);
  } catch { /* said when it is selected */ }
}

function pick(sample) {
  state.sample = sample;
  if (state.view === "candidates") {
    document.querySelectorAll(".candidate").forEach((row) => row.classList.toggle("selected", state.decision.candidates[row.dataset.rank].sample === sample));
    drawSide();
  } else render();
}

function pickBy(way) {
  const { decision } = state;
  if (!decision || !decision.candidates.length) return;
  const rank = Math.min(decision.candidates.length - 1, Math.max(0, state.sample === null ? 0 : rankOf(decision) + way));
  pick(decision.candidates[rank].sample);
  const row = document.querySelector(`.candidate[data-rank="${rank}"]`);
  if (row) row.scrollIntoView({ block: "nearest" });
}

// --- what is shown ---

function render() {
  drawTabs();
  drawSide();
  if (!state.decision) return;
  const view = document.getElementById("view"), content = VIEWS[state.view](state.decision);
  const top = view.dataset.view === state.view ? view.scrollTop : 0;
  view.replaceChildren(...[content].flat().filter(Boolean));
  view.dataset.view = state.view;
  view.scrollTop = top;
}

function openView(view) {
  state.view = view;
  walk.held.clear();
  render();
  if (state.decision) history.replaceState(null, "", `#decision=${state.index + 1}&view=${view}`);
}

function showEmpty(text) {
  drawTabs();
  document.getElementById("view").replaceChildren(el("div", { class: "empty" }, text));
}

function drawHeader() {
  const { run } = state, verdict = document.getElementById("verdict");
  document.title = `${run.name} · robo-dream replay`;
  document.getElementById("name").textContent = run.name;
  const [words, kind] = verdictOf(run);
  verdict.textContent = words;
  verdict.className = `pill ${kind}`;
  const widened = document.getElementById("widened"), beyond = run.widened || [];
  widened.hidden = !beyond.length;
  widened.textContent = `limits widened: ${beyond.map((one) => one.name).join(", ")}`;
  widened.title = beyond.map((one) => one.sentence).join("\n");
  const planner = run.decisions.find((row) => row.planner);
  const made = [[run.about.task, run.about.world].filter(Boolean).join(" in "), checkpointName(run.about), planner && planner.planner, `${run.decisions.length} decisions`, `${run.steps.length} steps`];
  document.getElementById("about").textContent = made.filter(Boolean).join(" · ");
  document.getElementById("about").title = [run.about.goal, run.root, run.about.checkpoint].filter(Boolean).join("\n");
  document.getElementById("note").textContent = run.note || "bars: surprise, how far the world was from what had been imagined of it · green line: distance to the goal · ticks below: actions that a limit cut";
}

function checkpointName({ checkpoint, policy }) {
  return checkpoint ? checkpoint.split("/").pop().replace(/\.safetensors$/, "") : policy;
}

function verdictOf({ finished, silent, result }) {
  if (!finished) return silent || kept ? ["ended without a result", "warn"] : ["running", "live"];
  if (result.end === "INTERRUPTED") return ["interrupted", "bad"];
  if (result.end === "DRILLED") return (result.reasons || []).length ? ["drill: not as stated", "bad"] : ["drill: as stated", "ok"];
  if ((result.reasons || []).length) return ["stopped", "bad"];
  if (result.strict) return ["success, held", "ok"];
  if (result.moderate) return ["success", "ok"];
  return result.moderate === false ? ["not reached", "warn"] : ["finished", ""];
}

function drawTabs() {
  const tabs = Object.keys(VIEWS).map((view, i) => {
    return el("button", { role: "tab", "aria-selected": String(view === state.view), "data-view": view, onclick: () => openView(view) }, TITLES[view], el("kbd", {}, String(i + 1)));
  });
  document.getElementById("tabs").replaceChildren(...tabs);
}

function drawSide() {
  const side = document.getElementById("side"), { decision } = state;
  if (!decision) return side.replaceChildren();
  const kind = { OK: "ok", OUT_OF_TIME: "warn" }[decision.status] || "bad";
  side.replaceChildren(
    el("div", { class: "toolbar", style: { margin: 0 } }, el("b", {}, `Decision ${decision.index + 1}`), el("span", { class: "faint" }, `step ${decision.step}${state.run.dt ? ` · ${show(decision.step * state.run.dt, 3)} s` : ""}`), el("span", { class: "space" }), el("span", { class: `pill ${kind}` }, decision.status)),
    decision.status === "OK" ? "" : el("p", { class: "sentence" }, decision.sentence),
    ...decision.unsure_reasons.map((doubt) => el("p", { class: "sentence doubt" }, doubt)),
    decision.was_cut ? el("p", { class: "sentence" }, `The deadline cut the search after ${decision.num_iterations} iterations.`) : "",
    ...reasonsHere(), player(decision), playBar(decision), facts(decision), timings(decision), ...widenedLimits());
}

function reasonsHere() {
  if (state.index < state.run.decisions.length - 1) return [];
  const what = state.run.result.end === "INTERRUPTED" ? "The run was interrupted" : "The arm was stopped";
  return (state.run.result.reasons || []).map((reason) => el("p", { class: "sentence", style: { color: "var(--bad)" } }, `${what}: ${reason}`));
}

function widenedLimits() {
  return (state.run.widened || []).map((one) => el("p", { class: "sentence widened", style: { color: "var(--bad)" } }, `Limit widened by limits.beyond: ${one.sentence}`));
}

function player(decision) {
  const urls = picturesOf(decision, state.sample), goal = pictureUrl("/picture/goal");
  const home = el("div", { class: "player" }, el("span", { class: "label" }, "goal"), el("span", { class: "label real" }, "seen"), el("span", { class: "label dream" }, "imagined"));
  home.style.gridTemplateColumns = "1fr 1fr 1fr";
  state.run.cameras.forEach((name, row) => {
    const shape = { ...shapeOf(decision, row), column: state.moment };
    home.append(strip(goal, { columns: 1, rows: state.run.cameras.length, row, column: 0 }), strip(state.moment < decision.num_real ? urls.real : null, shape), strip(urls.dream, shape));
  });
  return home;
}

function playBar(decision) {
  const input = el("input", { type: "range", min: 0, max: decision.horizon, value: state.moment, "aria-label": "moment", oninput: () => { stop(); showMoment(Number(input.value)); } });
  return el("div", { class: "playing" }, el("button", { id: "play", title: "space", onclick: togglePlay }, state.playing ? "❚❚" : "▶"), input, el("span", { class: "faint" }, state.moment ? seconds(state.moment * decision.block) : "now"));
}

function facts(decision) {
  const rank = rankOf(decision), one = state.sample === null ? null : decision.candidates[rank];
  const total = decision.of || decision.candidates.length;
  const isPlan = state.sample === null || state.sample === decision.chosen;
  const rows = [
    ["candidate", isPlan ? "the plan" : `${rank + 1} of ${total}`], ["its cost", show(one ? one.total : decision.cost)],
    ["from", one ? one.origin : "no single candidate"], ["disagreement, at its end", show(one ? one.disagreement[one.disagreement.length - 1] : null, 3)],
    decision.strategies.length > 1 ? ["strategies, by elites", decision.strategies.join(" : ")] : null,
    ["planner", decision.planner], ["seed", decision.seed],
  ];
  return el("dl", {}, rows.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", { title: value }, value)]));
}

function timings(decision) {
  const total = decision.ms.total || Object.values(decision.ms).reduce((a, b) => a + b, 0);
  const stages = Object.entries(decision.ms).filter(([name]) => name !== "total");
  const rest = total - stages.reduce((sum, [, ms]) => sum + ms, 0);
  if (rest > 0.01 * total) stages.push(["rest", rest]);
  const parts = stages.map(([name, value], i) => ({ name, value, fill: colour(i) }));
  return el("div", {}, el("h2", {}, `Took ${show(total, 3)} ms`), stackBar(parts, total), legend(parts.map((p) => [`${p.name} ${show(p.value, 3)}`, p.fill])));
}

// --- playing ---

function showMoment(moment) {
  const { decision } = state;
  if (!decision) return;
  state.moment = Math.min(decision.horizon, Math.max(0, moment));
  document.querySelectorAll(".over .box").forEach((box) => { box.style.left = `${state.moment * box.dataset.cell}px`; });
  document.querySelectorAll("[data-moment]").forEach((span) => span.classList.toggle("now", Number(span.dataset.moment) === state.moment));
  const side = document.getElementById("side");
  side.querySelector(".player").replaceWith(player(decision));
  const bar = side.querySelector(".playing");
  bar.querySelector("input").value = state.moment;
  bar.querySelector("span").textContent = state.moment ? seconds(state.moment * decision.block) : "now";
  bar.querySelector("button").textContent = state.playing ? "❚❚" : "▶";
}

function togglePlay() {
  if (state.playing) { stop(); return; }
  state.playing = setInterval(() => showMoment(state.moment >= state.decision.horizon ? 0 : state.moment + 1), FRAME_MS);
  showMoment(state.moment);
}

function stop() {
  clearInterval(state.playing);
  state.playing = null;
  const button = document.getElementById("play");
  if (button) button.textContent = "▶";
}

function startPage() {
  startTheme();
  const asked = new URLSearchParams(location.hash.slice(1));
  state.asked = Number(asked.get("decision"));
  if (asked.get("view") in VIEWS) state.view = asked.get("view");
  document.getElementById("theme").onclick = toggleTheme;
  document.getElementById("help").onclick = showKeys;
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", (event) => steerKey(event, false));
  window.addEventListener("blur", () => walk.held.clear());
  window.addEventListener("resize", () => { drawTimeline(); render(); });
  follow();
}

startPage();
