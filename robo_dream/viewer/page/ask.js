// Questions: a decision made again, planned again with a change, or laid beside another run; the server answers, one at a time.
"use strict";

const ASKED_POLL_MS = 250;
const asking = { of: null, choices: null, changes: [["", ""]], other: "", tolerance: "0", shown: null, answers: [], error: "" };

function askView(decision) {
  if (kept) return el("div", { class: "empty" }, "Questions need the model: open the run with  robo-dream replay RUN");
  if (asking.of !== decision.index) loadChoices(decision.index);
  const { choices } = asking;
  if (!choices || choices.state === "loading") return el("div", { class: "empty" }, "The planner is being loaded …");
  if (choices.state !== "ready") return el("div", { class: "empty" }, `No questions: ${choices.sentence}`);
  return el("div", { class: "ask" }, el("div", { class: "forms" }, recomputeForm(decision), whatIfForm(decision), diffForm(), answerList()), el("div", { id: "answer" }, answerView()));
}

async function loadChoices(index) {
  asking.of = index;
  asking.choices = null;
  try {
    const choices = await ask(`/api/decision/${index}/choices`);
    if (asking.of !== index) return;
    asking.choices = choices;
    if (choices.running && !asking.answers.some((one) => one.number === choices.running.number)) waitFor(choices.running); // another page's
    if (choices.state === "loading") setTimeout(() => { if (asking.of === index) loadChoices(index); }, 400);
  } catch (error) {
    asking.choices = { state: "none", sentence: error.message };
  }
  if (state.view === "ask") render();
}

const isAnswering = () => asking.answers.some((one) => one.state === "running");

// --- what can be asked ---

function recomputeForm(decision) {
  const button = (text, asked, title) => el("button", { title, disabled: isAnswering(), "data-ask": asked.kind, onclick: () => put(asked) }, text);
  return el("section", {}, el("h2", {}, "Is it the same again?"),
    el("div", { class: "toolbar" }, button(`recompute decision ${decision.index + 1}`, { kind: "recompute", decision: decision.index }), button("all decisions", { kind: "recompute_all" }, "every decision of the run; may take minutes")));
}

function whatIfForm(decision) {
  const { values, presets, planners } = asking.choices;
  const keys = el("datalist", { id: "change-keys" }, [...Object.keys(values), "goal"].map((key) => el("option", { value: key }, values[key] || "the folder of another run")));
  const chips = presets.map(({ name, changes }) => el("button", { class: "preset", title: changes.join(" "), onclick: () => { asking.changes = changes.map(halves); render(); } }, name));
  const rows = asking.changes.map(([key, value], i) => changeRow(i, key, value, values, planners));
  const go = () => put({ kind: "what_if", decision: decision.index, changes: asking.changes.filter(([key]) => key).map(([key, value]) => `${key}=${value}`) });
  return el("section", {}, el("h2", {}, `What if, at decision ${decision.index + 1} …`), el("div", { class: "presets" }, chips), keys,
    el("form", { onsubmit: (event) => { event.preventDefault(); go(); } }, rows,
      el("div", { class: "toolbar" }, el("button", { type: "button", onclick: () => { asking.changes.push(["", ""]); render(); } }, "+ change"), el("span", { class: "space" }),
        el("button", { class: "go", type: "submit", "data-ask": "what_if", disabled: isAnswering() || !asking.changes.some(([key]) => key) }, "plan again ▸"))));
}

const halves = (change) => [change.slice(0, change.indexOf("=")), change.slice(change.indexOf("=") + 1)];

function changeRow(i, key, value, values, planners) {
  const was = values[key] === undefined ? "" : `was ${values[key]}`;
  const note = el("small", { class: "faint" }, was);
  const button = () => document.querySelector("[data-ask=what_if]");
  const list = key === "planner.kind" ? "change-kinds" : key === "goal" ? "near-runs" : null;
  return el("div", { class: "change" },
    el("input", { value: key, list: "change-keys", placeholder: "key", spellcheck: "false", "aria-label": "key of a change", "data-key": i, oninput: (event) => {
      asking.changes[i][0] = event.target.value.trim();
      note.textContent = values[asking.changes[i][0]] === undefined ? "" : `was ${values[asking.changes[i][0]]}`;
      if (button()) button().disabled = isAnswering() || !asking.changes.some(([name]) => name);
    }, onchange: () => setTimeout(render) }),
    el("input", { value, list, placeholder: "value", spellcheck: "false", "aria-label": "value of a change", "data-value-of": i, oninput: (event) => { asking.changes[i][1] = event.target.value.trim(); } }),
    el("button", { type: "button", title: "without this change", onclick: () => { asking.changes.splice(i, 1); if (!asking.changes.length) asking.changes.push(["", ""]); render(); } }, "×"),
    note, i ? null : el("datalist", { id: "change-kinds" }, planners.map((kind) => el("option", { value: kind }))));
}

function diffForm() {
  const go = () => put({ kind: "diff", run: asking.other, tolerance: Number(asking.tolerance) });
  return el("section", {}, el("h2", {}, "Where does another run part from this one?"),
    el("datalist", { id: "near-runs" }, asking.choices.runs.map((path) => el("option", { value: path }))),
    el("form", { onsubmit: (event) => { event.preventDefault(); go(); } },
      el("input", { class: "wide", value: asking.other, list: "near-runs", placeholder: "folder of the other run", spellcheck: "false", "aria-label": "other run", oninput: (event) => { asking.other = event.target.value; } }),
      el("div", { class: "toolbar" }, el("label", { class: "faint" }, "tolerance ", el("input", { class: "short", value: asking.tolerance, inputmode: "decimal", "aria-label": "tolerance", title: "how far numbers may be apart, as a share of the largest", oninput: (event) => { asking.tolerance = event.target.value; } })),
        el("span", { class: "space" }), el("button", { class: "go", type: "submit", "data-ask": "diff", disabled: isAnswering() }, "compare ▸"))));
}

function answerList() {
  if (asking.answers.length < 2) return null;
  const rows = asking.answers.map((one) => el("button", { class: `answered ${one === asking.shown ? "selected" : ""}`, title: one.words, onclick: () => { asking.shown = one; render(); } }, one.words));
  return el("section", {}, el("h2", {}, "Asked before"), rows.reverse());
}

// --- asking ---

async function put(asked) {
  asking.error = "";
  try {
    await waitFor(await postJson("/api/ask", asked));
  } catch (error) {
    asking.error = error.message;
    asking.of = null; // what is being answered instead, and can be stopped, is asked for again
  }
  if (state.view === "ask") render();
}

// Shows how far an answer is until it is there.
async function waitFor(answer) {
  asking.answers.push(answer);
  asking.shown = answer;
  try {
    while (answer.state === "running") {
      if (state.view === "ask") render();
      await new Promise((done) => setTimeout(done, ASKED_POLL_MS));
      const news = await ask(`/api/asked/${answer.number}`);
      const place = asking.answers.indexOf(answer);
      asking.answers[place] = news;
      if (asking.shown === answer) asking.shown = news;
      answer = news;
      if (news.state === "running" && state.view === "ask" && document.getElementById("answer")) {
        document.getElementById("answer").replaceChildren(...[answerView()].flat());
      }
    }
  } catch (error) {
    asking.answers = asking.answers.filter((one) => one.state !== "running");
    if (asking.shown && asking.shown.state === "running") asking.shown = null;
    asking.error = error.message;
  }
  if (state.view === "ask") render();
}

// --- the answer ---

function answerView() {
  const answer = asking.shown;
  if (asking.error) {
    const told = el("p", { class: "told bad", role: "alert" }, asking.error);
    return answer && answer.state === "running" ? el("div", {}, told, el("h2", {}, answer.words), stageBar(answer)) : told;
  }
  if (!answer) return el("div", { class: "empty" }, "Ask on the left. The recorded run is only read; every answer is computed anew, from the record and its checkpoint.");
  const title = el("h2", {}, answer.words, " ", el("small", {}, `${show(answer.seconds, 3)} s`));
  if (answer.state === "running") return el("div", {}, title, stageBar(answer));
  if (answer.state === "failed") return el("div", {}, title, el("p", { class: "told bad", role: "alert" }, answer.error));
  const there = answer.step === null || state.run.decisions[decisionAt(answer.step)].step !== answer.step ? null
    : decisionAt(answer.step) === state.index ? null : el("button", { onclick: () => select(decisionAt(answer.step)) }, `go to decision ${decisionAt(answer.step) + 1}`);
  return el("div", {}, title, el("pre", { class: "told" }, answer.text), there, ...plansBesideEachOther(answer));
}

function stageBar({ number, stage, done, all }) {
  const bar = all ? el("progress", { max: all, value: done }) : el("progress", {});
  return el("div", { class: "toolbar" }, bar, el("span", {}, all ? `${stage}: ${done} of ${all}` : `${stage} …`), el("button", { onclick: () => postJson("/api/stop", { number }).catch((error) => trouble(error.message)) }, "stop"));
}

const room = () => (viewWidth() - 330 - 26) * 0.6; // a chart wider than this has a row of its own
const planColour = (place) => (place ? "var(--c1)" : "var(--dream)");

function plansBesideEachOther(answer) {
  if (!answer.plans.length) return [];
  const cameras = state.run.cameras, most = Math.max(...answer.plans.map((plan) => plan.moments), 1);
  const whole = viewWidth() - 330 - 26, cell = Math.max(34, Math.min(96, Math.floor((whole - 96) / most)));
  const index = answer.step === null ? null : decisionAt(answer.step), costs = Object.keys(answer.plans[0].costs);
  const half = Math.floor((whole - 22) / 2);
  const pictures = cameras.flatMap((camera, row) => pictureRows(answer, camera, row, cell, index));
  const notDrawn = answer.plans.filter((plan) => !plan.moments).map((plan) => `${plan.name} was imagined by another checkpoint, so it is not drawn.`);
  return [el("div", { class: "rows compared" }, pictures), ...notDrawn.map((text) => el("p", { class: "faint" }, text)),
    el("div", { class: "charts" }, ...costs.map((cost) => costsCompared(answer, cost, costs.length > 1 ? half : whole))),
    el("div", { class: "toolbar" }, el("b", {}, "Actions"), legend(answer.plans.map((plan, place) => [shortName(plan.name), place ? dashed(planColour(place)) : planColour(place), true]))),
    el("div", { class: "charts" }, ...actionsCompared(answer, half))];
}

function pictureRows(answer, camera, row, cell, index) {
  const rows = state.run.cameras.length;
  const label = (text, kind) => el("span", { class: `label ${kind || ""}`, title: text }, text);
  const real = index === null || state.run.decisions[index].step !== answer.step ? [] : [label(`${camera}: seen`, "real"), realStrip(index, row, rows, cell)];
  return [...real, ...answer.plans.flatMap((plan, place) => {
    if (!plan.moments) return [];
    const url = `/picture/asked/${answer.number}/${place}?${state.run.token}`;
    const name = el("span", { class: "label", title: plan.name, style: { color: planColour(place) } }, place ? shortName(plan.name) : plan.name);
    return [name, strip(url, { columns: plan.moments, rows, row, cell })];
  })];
}

const shortName = (name) => (name.startsWith("what if") ? "what if" : name);

// What the cameras saw; how many moments of it have come is known once the decision is.
function realStrip(index, row, rows, cell) {
  const home = el("div", {});
  getJson(`/api/decision/${index}`).then((decision) => {
    const shape = { columns: decision.horizon + 1, rows, row, cell };
    const element = strip(pictureUrl(`/picture/decision/${index}/real`, decision.num_real), shape);
    element.style.clipPath = `inset(0 ${100 - (100 * decision.num_real) / shape.columns}% 0 0)`;
    home.replaceWith(element);
  }, () => {});
  return home;
}

// Two columns for each imagined step: the first plan's terms, then the other's.
function costsCompared(answer, cost, width) {
  const names = [...new Set(answer.plans.flatMap((plan) => Object.keys(plan.costs[cost] || {})))];
  const steps = Math.max(...answer.plans.map((plan) => Math.max(0, ...Object.values(plan.costs[cost] || {}).map((term) => term.length))));
  const stacks = answer.plans.map((plan) => Array.from({ length: steps }, (_, h) => names.map((name) => ((plan.costs[cost] || {})[name] || [])[h] || 0)));
  const tall = stacks.flat().map((terms) => terms.reduce((a, b) => a + b, 0));
  const area = frame({ width, height: 150, x: [0, steps], y: extent(tall), xLabel: "imagined step" });
  stacks.forEach((stack, place) => stack.forEach((terms, h) => {
    const x = area.sx(h + 0.08 + 0.42 * place), wide = Math.max(1.5, area.sx(0.4) - area.sx(0));
    let base = 0;
    terms.forEach((value, i) => {
      const bar = svg("rect", { x, width: wide, y: area.sy(base + value), height: Math.max(0, area.sy(base) - area.sy(base + value)), opacity: place ? 1 : 0.55 });
      bar.style.fill = colour(i);
      bar.append(svg("title", {}, `${answer.plans[place].name}, step ${h + 1}: ${names[i]} ${show(value, 3)}`));
      area.root.append(bar);
      base += value;
    });
  }));
  const sums = answer.plans.map((plan) => show(plan.sums[cost]));
  return el("div", { class: `chart ${width > room() ? "wide" : ""}` }, el("h2", {}, `By the ${cost} `, el("small", {}, `pale: ${answer.plans[0].name}, ${sums[0]} · full: ${shortName(answer.plans[1].name)}, ${sums[1]}`)), area.root, legend(names.map((name, i) => [name, colour(i)])));
}

function actionsCompared(answer, width) {
  const [first, second] = answer.plans, most = Math.max(first.actions.length, second.actions.length);
  return state.run.actions.map(({ name, unit }, a) => {
    const series = answer.plans.map((plan) => plan.actions.map((action) => action[a]));
    const area = frame({ width, height: 110, x: [0, most], y: extent(series.flat()), xLabel: "control steps ahead", xTicks: niceTicks(0, most, 6) });
    series.forEach((values, place) => {
      area.root.append(svg("path", { d: linePath([...values.keys(), values.length], [...values, values[values.length - 1]], area.sx, area.sy, true), fill: "none", "stroke-width": 1.8, "stroke-dasharray": place ? "5 3" : null, style: { stroke: planColour(place) } }));
    });
    return el("div", { class: "chart" }, el("h2", {}, unit ? `${name} (${unit})` : name), area.root);
  });
}
