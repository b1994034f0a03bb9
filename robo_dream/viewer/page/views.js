// The views of one decision. Each gives the content of the main part from `state`.
"use strict";

const viewWidth = () => document.getElementById("view").clientWidth - 26;
const seconds = (steps) => (state.run.dt ? `${steps >= 0 ? "+" : ""}${show(steps * state.run.dt, 3)} s` : `+${steps}`);

function picturesOf(decision, sample) {
  const home = `/picture/decision/${decision.index}`;
  const isPlan = sample === null || sample === decision.chosen;
  return {
    real: pictureUrl(`${home}/real`, decision.num_real),
    dream: state.run.dreamer.state === "none" ? null : pictureUrl(isPlan ? `${home}/plan` : `${home}/candidate/${sample}`),
  };
}

function shapeOf(decision, row) {
  return { columns: decision.horizon + 1, rows: state.run.cameras.length, row };
}

// --- dream: what happened above what was imagined ---

// Short futures stand side by side, long ones below each other.
function dreamCell(decision) {
  const { cameras } = state.run, columns = decision.horizon + 1, high = document.getElementById("view").clientHeight;
  const isBeside = columns * cameras.length <= 12;
  const wide = isBeside ? (viewWidth() - 104 * cameras.length) / cameras.length / columns : (viewWidth() - 90) / columns;
  const tall = isBeside ? (high - 90) / 3 : (high - 100) / (3 * cameras.length) - 7;
  return Math.floor(Math.min(150, wide, Math.max(48, tall)));
}

function dreamView(decision) {
  const cell = dreamCell(decision);
  const urls = picturesOf(decision, state.sample);
  const who = state.sample === null || state.sample === decision.chosen ? "the plan" : `candidate ${rankOf(decision) + 1}`;
  const parts = [el("div", { class: "toolbar" },
    el("span", {}, "What was seen, above how ", el("b", {}, who), " imagined it, ", el("span", { class: "faint" }, `${decision.block} control steps apart`)),
    decision.num_real <= decision.horizon ? el("span", { class: "faint" }, `· ${decision.num_real - 1} of ${decision.horizon} moments have come`) : null)];
  parts.push(el("div", { class: "cameras" }, state.run.cameras.map((camera, row) => cameraRows(decision, camera, shapeOf(decision, row), urls, cell))));
  if (!urls.dream) parts.push(missingDreams());
  else if (who === "the plan" && decision.futures) parts.push(...futuresFan(decision));
  return parts;
}

// The fan: where the plan may lead as chance will have it, best first.
function futuresFan(decision) {
  const { count, shown } = decision.futures, views = viewsInRow(decision), columns = decision.horizon + 1;
  const cell = Math.max(32, Math.min(76, Math.floor((viewWidth() - 120) / (columns * views.length))));
  const rows = shown.map(({ future, total }) => {
    const url = pictureUrl(`/picture/decision/${decision.index}/future/${future}`);
    return el("div", { class: "future", "data-future": future }, el("span", { class: "cost" }, show(total)), el("div", { class: "views" }, views.map((row) => strip(url, { ...shapeOf(decision, row), cell }))));
  });
  const some = shown.length < count ? `${shown.length} of the ${count}` : `all ${count}`;
  return [el("div", { class: "toolbar" }, el("span", {}, "Where ", el("b", {}, "the plan"), " may lead as chance will have it, by cost ", el("span", { class: "faint" }, `${some} futures, the best first`))), el("div", { class: "grid futures" }, rows)];
}

function momentRow(decision, cell) {
  const spans = Array.from({ length: decision.horizon + 1 }, (_, h) => {
    return el("span", { class: h === state.moment ? "now" : "", "data-moment": h, onclick: () => showMoment(h) }, h ? seconds(h * decision.block) : "now");
  });
  const row = el("div", { class: "moments" }, spans);
  row.style.gridTemplateColumns = `repeat(${decision.horizon + 1}, ${cell}px)`;
  return row;
}

function cameraRows(decision, camera, shape, urls, cell) {
  const sized = { ...shape, cell };
  const line = (element) => el("div", { class: "over" }, element, momentBox(cell));
  return el("div", { class: "camera rows" },
    el("span", { class: "label name" }, camera), momentRow(decision, cell),
    el("span", { class: "label real" }, "seen"), line(asFarAsSeen(strip(urls.real, sized), sized)),
    el("span", { class: "label dream" }, "imagined"), line(strip(urls.dream, sized)),
    el("span", { class: "label", title: "brightness by which the two differ, where both are known" }, "difference"), line(asFarAsSeen(differenceStrip(urls.real, urls.dream, sized), sized)));
}

function asFarAsSeen(element, shape) {
  const share = (100 * state.decision.num_real) / shape.columns;
  element.style.clipPath = `inset(0 ${100 - share}% 0 0)`
  return element;
}

function momentBox(cell) {
  return el("div", { class: "box", style: { left: `${state.moment * cell}px`, width: `${cell}px` }, "data-cell": cell });
}

function missingDreams() {
  const { state: how, sentence } = state.run.dreamer;
  return el("p", { class: "faint" }, how === "none" ? `Imagination is not drawn: ${sentence}` : kept ? "The pictures of this decision are not kept in this file." : "");
}

// --- candidates: best first, drawn when they come into sight ---

function candidatesView(decision) {
  const views = viewsInRow(decision);
  const cell = Math.max(40, Math.min(76, Math.floor((viewWidth() - 336) / ((decision.horizon + 1) * views.length))));
  const sums = decision.candidates.map((one) => one.terms.map((term) => term.reduce((a, b) => a + (b || 0), 0)));
  const most = Math.max(1e-9, ...sums.map((terms) => terms.reduce((a, b) => a + b, 0)));
  const fewer = decision.of > decision.candidates.length ? ` of ${decision.of}` : "";
  const grid = el("div", { class: "grid" }, decision.candidates.map((one, rank) => candidateRow(decision, one, rank, cell, views, sums[rank], most)));
  const toolbar = el("div", { class: "toolbar" },
    el("span", {}, `${decision.candidates.length}${fewer} candidates of the last iteration, best first`), el("span", { class: "faint" }, "✓ became the plan", decision.candidates.some((one) => one.elite) ? " · ◆ elites" : ""),
    el("span", { class: "space" }), views.length < state.run.cameras.length ? cameraChoice() : null);
  return [toolbar, legend(decision.term_names.map((name, i) => [name, colour(i)])), grid];
}

// Which cameras fit beside each other: all, or the chosen one.
function viewsInRow(decision) {
  const { cameras } = state.run;
  return (decision.horizon + 1) * cameras.length <= 13 ? cameras.map((_, row) => row) : [state.camera];
}

function cameraChoice() {
  return el("span", { class: "choice" }, state.run.cameras.map((name, row) => {
    return el("button", { "aria-pressed": String(row === state.camera), title: "c", onclick: () => { state.camera = row; render(); } }, name);
  }));
}

function candidateRow(decision, one, rank, cell, views, terms, most) {
  const isChosen = one.sample === decision.chosen;
  const size = { width: `${cell * (decision.horizon + 1)}px`, height: `${cell}px` };
  const pictures = views.map((row) => el("div", { class: "strip", "data-sample": one.sample, "data-row": row, style: size }));
  pictures.forEach((element) => sights.observe(element));
  const parts = terms.map((value, i) => ({ name: decision.term_names[i], value, fill: colour(i) }));
  const strategy = one.strategy === null ? "" : ` · way ${one.strategy + 1}`;
  return el("div", { class: `candidate ${one.sample === state.sample ? "selected" : ""} ${isChosen ? "chosen" : ""}`, "data-rank": rank, onclick: () => pick(one.sample) },
    el("span", { class: "rank" }, isChosen ? "✓" : rank + 1), el("span", { class: "cost" }, show(one.total)),
    el("span", { class: "origin" }, one.origin + strategy, one.elite ? el("i", { class: "elite", title: "an elite: the search went on from here" }, " ◆") : null), stackBar(parts, most), el("div", { class: "views" }, pictures));
}

const sights = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting || !state.decision) continue;
    sights.unobserve(target);
    const url = picturesOf(state.decision, Number(target.dataset.sample)).dream;
    if (url) paint(target, url, shapeOf(state.decision, Number(target.dataset.row)));
  }
}, { rootMargin: "150px" });

// --- costs: what the search weighed, and how it converged ---

function costsView(decision) {
  const half = Math.floor((viewWidth() - 22) / 2);
  return el("div", { class: "charts" }, convergenceChart(decision, half), originChart(decision, half), termsByCandidate(decision, 2 * half + 22), termsByMoment(decision, 2 * half + 22));
}

function convergenceChart(decision, width) {
  const best = decision.best_by_iteration, last = best.length;
  const elites = decision.candidates.filter((one) => one.elite && one.total !== null).map((one) => one.total);
  const note = last > 1 ? "best cost, iteration by iteration" : "one iteration: the suggestions were judged once";
  const area = frame({ width, height: 150, x: [0.5, Math.max(2, last + 0.5)], y: extent([...best, ...elites], [Math.min(...best), Math.min(...best)].map((v) => v || 0)), xLabel: "iteration", xTicks: best.map((_, i) => i + 1) });
  area.root.append(svg("path", { d: linePath(best.map((_, i) => i + 1), best, area.sx, area.sy), fill: "none", "stroke-width": 2, style: { stroke: "var(--dream)" } }));
  elites.forEach((total) => area.root.append(svg("line", { x1: area.sx(last) + 7, x2: area.sx(last) + 21, y1: area.sy(total), y2: area.sy(total), "stroke-width": 1.6, opacity: 0.7, style: { stroke: "var(--c1)" } }, svg("title", {}, `elite ${show(total)}`))));
  best.forEach((value, i) => { if (value !== null) area.root.append(svg("circle", { cx: area.sx(i + 1), cy: area.sy(value), r: 3.2, style: { fill: "var(--dream)" } }, svg("title", {}, `best after iteration ${i + 1}: ${show(value)}`))); });
  const items = elites.length ? legend([["best so far", "var(--dream)", true], [`the ${elites.length} elites of the last iteration`, "var(--c1)", true]]) : null;
  return el("div", { class: "chart" }, el("h2", {}, "The search converging ", el("small", {}, note)), area.root, items);
}

function originChart(decision, width) {
  const names = [...new Set(decision.candidates.map((one) => one.origin))].sort();
  const totals = decision.candidates.map((one) => one.total).filter((value) => value !== null);
  const area = frame({ width, height: 150, x: [-0.6, names.length - 0.4], y: extent(totals, [0, 0]), xLabel: "" });
  names.forEach((name, i) => area.root.append(svg("text", { x: area.sx(i), y: 146, "text-anchor": "middle" }, name)));
  decision.candidates.forEach((one, rank) => {
    if (one.total === null) return;
    const spread = (((rank * 7) % 11) - 5) / 18;
    const dot = svg("circle", { cx: area.sx(names.indexOf(one.origin) + spread), cy: area.sy(one.total), r: one.sample === state.sample ? 6 : 3.5, "data-go": 1, opacity: 0.75, onclick: () => pick(one.sample) });
    dot.style.fill = one.sample === state.sample ? "var(--dream)" : one.sample === decision.chosen ? "var(--ok)" : "var(--c5)";
    dot.append(svg("title", {}, `candidate ${rank + 1}: ${show(one.total)}`));
    area.root.append(dot);
  });
  return el("div", { class: "chart" }, el("h2", {}, "Where candidates came from ", el("small", {}, "a dot each, by its cost")), area.root);
}

function termsByCandidate(decision, width) {
  const sums = decision.candidates.map((one) => one.terms.map((term) => term.reduce((a, b) => a + (b || 0), 0)));
  const count = decision.candidates.length;
  const area = frame({ width, height: 140, x: [0, count], y: extent(sums.map((terms) => terms.reduce((a, b) => a + b, 0))), xLabel: "candidates, best first" });
  sums.forEach((terms, rank) => stackColumn(area, terms, rank, decision, decision.candidates[rank].sample === state.sample, () => pick(decision.candidates[rank].sample)));
  return el("div", { class: "chart wide" }, el("h2", {}, "Costs by term ", el("small", {}, "of every candidate, summed over the imagined steps")), area.root, legend(decision.term_names.map((name, i) => [name, colour(i)])));
}

function stackColumn(area, values, place, decision, isMarked, go) {
  const x = area.sx(place), wide = Math.max(1, area.sx(place + 1) - x - 2);
  let base = 0;
  values.forEach((value, i) => {
    const bar = svg("rect", { x: x + 1, width: wide, y: area.sy(base + value), height: Math.max(0, area.sy(base) - area.sy(base + value)), opacity: isMarked || !go ? 1 : 0.55, "data-go": go ? 1 : null, onclick: go });
    bar.style.fill = colour(i);
    bar.append(svg("title", {}, `${decision.term_names[i]} ${show(value, 3)}`));
    area.root.append(bar);
    base += value;
  });
  if (isMarked) area.root.append(svg("text", { x: x + wide / 2 + 1, y: area.sy(base) - 2, "text-anchor": "middle" }, "▾"));
}

function termsByMoment(decision, width) {
  const one = decision.candidates[rankOf(decision)];
  const steps = decision.disagreement || one.disagreement;
  const perStep = steps.map((_, h) => one.terms.map((term) => term[h] || 0));
  const area = frame({ width, height: 130, x: [0, decision.horizon], y: extent(perStep.map((terms) => terms.reduce((a, b) => a + b, 0))), xLabel: "imagined step" });
  perStep.forEach((terms, h) => stackColumn(area, terms, h, decision, false));
  perStep.forEach((_, h) => area.root.append(svg("text", { x: area.sx(h + 0.5), y: 115, "text-anchor": "middle" }, seconds((h + 1) * decision.block))));
  return el("div", { class: "chart wide" }, el("h2", {}, `Costs by imagined step `, el("small", {}, `of candidate ${rankOf(decision) + 1}`)), area.root);
}

// --- errors: what was imagined against what was measured later ---

function errorsView(decision) {
  const third = Math.floor((viewWidth() - 22) / 2);
  const xs = decision.latent_error.map((_, h) => h + 1);
  const latent = lineChart({
    title: "Latent error", note: "RMS over channels, against the belief there", xs, width: third, height: 175, xLabel: "imagined step",
    series: [{ name: "imagined", values: decision.latent_error, fill: "var(--dream)" }, { name: "standing still", values: decision.latent_moved, fill: "var(--c5)", dash: "4 4" }],
  });
  const doubt = decision.disagreement && lineChart({
    title: "Disagreement", note: "of the ensemble, on the plan", xs, width: third, height: 175, xLabel: "imagined step",
    series: [{ name: "disagreement", values: decision.disagreement, fill: "var(--c1)" }],
  });
  const pixels = el("div", { class: "chart" }, el("h2", {}, "Pixel error ", el("small", {}, kept || state.run.dreamer.state !== "none" ? "…" : "needs the checkpoint")));
  if (kept || state.run.dreamer.state !== "none") fillPixels(decision, pixels, xs, third);
  return el("div", { class: "charts" }, latent, doubt, pixels, trustChart(third));
}

async function fillPixels(decision, home, xs, width) {
  try {
    const path = `/api/decision/${decision.index}/pixels`;
    if (decision.num_real <= decision.horizon) forget(path); // more may have come
    const cameras = Object.entries(await getJson(path));
    const series = cameras.flatMap(([name, errors], i) => [
      { name: `${name}, imagined`, values: xs.map((_, h) => errors.imagined[h]), fill: colour(i ? 3 : 0) },
      { name: `${name}, last picture copied`, values: xs.map((_, h) => errors.copied[h]), fill: colour(i ? 3 : 0), dash: "3 5" },
    ]);
    home.replaceWith(lineChart({ title: "Pixel error", note: "RMS of 255, decoded against seen", xs, width, height: 175, xLabel: "imagined step", series }));
  } catch (error) {
    home.append(el("p", { class: "faint" }, error.message));
  }
}

// Every decision of the run: did the model know when it would be wrong?
function trustChart(width) {
  const rows = state.run.decisions.map((row, index) => ({ ...row, index, before: state.run.decisions[index - 1] }));
  const points = rows.filter((row) => row.surprise != null && row.before && row.before.disagreement != null);
  const area = frame({ width, height: 175, x: extent(points.map((p) => p.before.disagreement)), y: extent(points.map((p) => p.surprise)), xLabel: "mean disagreement of the plan before", xTicks: niceTicks(...extent(points.map((p) => p.before.disagreement)), 4) });
  for (const point of points) {
    const here = point.index === state.index;
    const dot = svg("circle", { cx: area.sx(point.before.disagreement), cy: area.sy(point.surprise), r: here ? 6 : 3.5, opacity: here ? 1 : 0.6, "data-go": 1, onclick: () => select(point.index) }, svg("title", {}, barTitle(point, point.index)));
    dot.style.fill = here ? "var(--dream)" : point.status === "OK" ? "var(--c5)" : "var(--bad)";
    area.root.append(dot);
  }
  return el("div", { class: "chart" }, el("h2", {}, "Surprise against disagreement ", el("small", {}, "a dot for each decision of the run; click to go there")), area.root);
}

// --- actions: planned, sent, applied ---

const ACTION_WINDOW = 75; // control steps on each side

function actionsView(decision) {
  const { steps, actions } = state.run;
  const from = Math.max(0, decision.step - ACTION_WINDOW), until = Math.max(Math.min(steps.length, decision.step + ACTION_WINDOW), decision.step + decision.actions.length);
  const height = Math.max(84, Math.floor((document.getElementById("view").clientHeight - 58) / Math.max(1, actions.length)));
  const charts = actions.map((action, a) => actionChart(decision, action, a, from, until, height - 4, a === actions.length - 1));
  return [el("div", { class: "toolbar" }, legend([["planned here", "var(--dream)", true], ["sent", "var(--c5)", true], ["applied", "var(--real)", true], ["clipped", "var(--warn)"]])), ...charts];
}

function actionChart(decision, { name, unit }, a, from, until, height, isLast) {
  const rows = state.run.steps.slice(from, until), value = (row, key) => (row[key] ? row[key][a] : null);
  const planned = decision.actions.map((action) => action[a]), plannedAt = planned.map((_, t) => decision.step + t);
  const all = [...rows.flatMap((row) => [value(row, "sent"), value(row, "applied")]), ...planned];
  const width = viewWidth();
  const area = frame({ width, height, x: [from, until], y: extent(all), xLabel: isLast ? "control step" : undefined, xTicks: isLast ? niceTicks(from, until, 12) : [] });
  const at = rows.map((row) => row.step);
  const apart = rows.filter((row) => row.clipped).map((row) => svg("rect", { x: area.sx(row.step), width: Math.max(1, area.sx(1) - area.sx(0)), y: area.top, height: height - area.bottom - area.top, opacity: 0.16, style: { fill: "var(--warn)" } }));
  area.root.append(...apart);
  const line = (xs, ys, fill, extra) => svg("path", { d: linePath([...xs, xs[xs.length - 1] + 1], [...ys, ys[ys.length - 1]], area.sx, area.sy, true), fill: "none", "stroke-width": 1.8, style: { stroke: fill }, ...extra });
  if (at.length) area.root.append(line(at, rows.map((row) => value(row, "sent")), "var(--c5)"), line(at, rows.map((row) => value(row, "applied")), "var(--real)", { "stroke-dasharray": "5 3" }));
  area.root.append(line(plannedAt, planned, "var(--dream)"), svg("line", { x1: area.sx(decision.step), x2: area.sx(decision.step), y1: area.top, y2: height - area.bottom, "stroke-dasharray": "2 3", style: { stroke: "var(--dream)" } }));
  area.root.append(svg("text", { x: area.left + 6, y: 16, style: { fill: "var(--ink)", fontWeight: 600 } }, unit ? `${name} (${unit})` : name));
  return el("div", { class: "chart" }, area.root);
}

function rankOf(decision) {
  const rank = decision.candidates.findIndex((one) => one.sample === state.sample);
  return Math.max(0, rank);
}
