// The time line: every decision and step of the run at once, with what was odd marked.
"use strict";

const LINE = { height: 104, left: 14, right: 14, marks: 20, low: 78 };
const ODD = {
  UNSURE: ["▲", "bad"], NO_FINITE_ROLLOUT: ["✕", "bad"], OUT_OF_TIME: ["◆", "warn"], damaged: ["?", "bad"],
  stopped: ["■", "bad"], clipped: ["clipped", "warn"], surprise: ["★", "dream"],
};

function lastStep() {
  const { decisions, steps } = state.run;
  return Math.max(1, steps.length, decisions.length ? decisions[decisions.length - 1].step + 1 : 1);
}

// Index of the newest decision made at or before `step`; 0 before the first.
function decisionAt(step) {
  const { decisions } = state.run;
  let low = 0, high = decisions.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (decisions[middle].step <= step) low = middle; else high = middle - 1;
  }
  return Math.max(0, low);
}

const isCut = (event) => event.kind === "clip" || event.kind === "blocked"; // of the guard's events

// What is worth looking at: { kind, step, index (of a decision), title }, in the order of time.
function oddMoments() {
  const { decisions, steps, result } = state.run;
  const odd = [];
  decisions.forEach((row, index) => {
    if (row.damage) odd.push({ kind: "damaged", step: row.step, index, title: row.damage });
    else if (row.status !== "OK") odd.push({ kind: row.status, step: row.step, index, title: [row.status, ...(row.unsure_reasons || [])].join(": ") });
  });
  const surprising = mostSurprising();
  if (surprising !== null) {
    odd.push({ kind: "surprise", step: decisions[surprising].step, index: surprising, title: `most surprising: ${show(decisions[surprising].surprise, 3)}` });
  }
  for (const row of steps) {
    for (const event of row.events || []) {
      if (event.kind === "hold") continue; // between two plans the arm waits: nothing odd
      const kind = isCut(event) ? "clipped" : "stopped";
      odd.push({ kind, step: row.step, index: decisionAt(row.step), title: `${event.kind}: ${event.reason}` });
    }
    if (row.clipped) odd.push({ kind: "clipped", step: row.step, index: decisionAt(row.step), title: `clipped: ${row.clipped}` });
  }
  for (const reason of result.reasons || []) {
    odd.push({ kind: "stopped", step: lastStep() - 1, index: decisionAt(lastStep() - 1), title: reason });
  }
  return odd.sort((a, b) => a.step - b.step);
}

function mostSurprising() {
  let most = null;
  state.run.decisions.forEach((row, index) => {
    if (row.surprise != null && (most === null || row.surprise > state.run.decisions[most].surprise)) most = index;
  });
  return most;
}

function lineX(step) {
  const width = document.getElementById("timeline").clientWidth || 1000;
  return LINE.left + (step / lastStep()) * (width - LINE.left - LINE.right);
}

function drawTimeline() {
  const home = document.getElementById("timeline");
  const width = home.clientWidth || 1000;
  const root = svg("svg", { viewBox: `0 0 ${width} ${LINE.height}`, height: LINE.height, onclick: (event) => {
    const step = ((event.offsetX - LINE.left) / (width - LINE.left - LINE.right)) * lastStep();
    select(decisionAt(Math.floor(step)));
  } });
  root.append(...surpriseBars(), distanceLine(), perceptionLine(), ...stepMarks(width), ...oddMarks(), ...timeTicks());
  root.append(svg("rect", { class: "cursor", id: "cursor", y: 2, height: LINE.low + 9, rx: 4 }));
  home.replaceChildren(root);
  moveCursor();
  drawChips();
}

function surpriseBars() {
  const { decisions } = state.run;
  const most = Math.max(1e-9, ...decisions.map((row) => row.surprise || 0));
  return decisions.map((row, index) => {
    const from = lineX(row.step), until = lineX(index + 1 < decisions.length ? decisions[index + 1].step : lastStep());
    const tall = row.damage ? 40 : 3 + 50 * ((row.surprise || 0) / most);
    const gap = until - from > 5 ? 1.5 : 0;
    const bar = svg("rect", { class: `bar ${row.damage ? "damaged" : row.status}`, x: from, width: Math.max(1, until - from - gap), y: LINE.low - tall, height: tall, rx: gap });
    bar.append(svg("title", {}, barTitle(row, index)));
    return bar;
  });
}

function barTitle(row, index) {
  if (row.damage) return row.damage;
  const surprise = row.surprise == null ? "" : `, surprise ${show(row.surprise, 3)}`;
  const status = [row.status, ...(row.unsure_reasons || [])].join(": ");
  const odd = row.perception == null ? "" : `, ${oddnessOf(row)}`;
  return `decision ${index + 1}, step ${row.step}: ${status}, cost ${show(row.cost)}, ${show(row.ms, 3)} ms${surprise}${odd}`;
}

function distanceLine() {
  const { distances } = state.run;
  if (!distances.length) return svg("g");
  const most = Math.max(...distances);
  const ys = (value) => LINE.low - 54 * (value / (most || 1));
  return svg("path", { class: "distance", d: linePath(distances.map((_, i) => i), distances, lineX, ys) }, svg("title", {}, `distance to the goal, at most ${show(100 * most, 3)} cm`));
}

// How odd what was seen looks: at the bottom as usual, at the top one usual moment in ten thousand.
function perceptionLine() {
  const rows = state.run.decisions.filter((row) => row.perception != null);
  if (!rows.length) return svg("g");
  const ys = (share) => LINE.low - 54 * (Math.min(4, -Math.log10(share)) / 4);
  const line = svg("path", { class: "perception", d: linePath(rows.map((row) => row.step), rows.map((row) => row.perception), lineX, ys) });
  const dots = rows.map((row) => svg("circle", { class: "perception", cx: lineX(row.step), cy: ys(row.perception), r: 1.8 }, svg("title", {}, oddnessOf(row))));
  return svg("g", {}, line, ...dots);
}

function oddnessOf(row) {
  return `as odd to look at as ${show(100 * row.perception, 2)} % of usual moments`;
}

function stepMarks(width) {
  const { steps, result } = state.run;
  const cuts = (row) => [row.clipped, ...(row.events || []).filter(isCut).map((event) => event.reason)].filter(Boolean);
  const marks = steps.filter((row) => cuts(row).length).map((row) => {
    const x = lineX(row.step + 0.5);
    return svg("line", { class: "clipped", x1: x, x2: x, y1: LINE.low + 2, y2: LINE.low + 8 }, svg("title", {}, `step ${row.step}, clipped: ${cuts(row).join("; ")}`));
  });
  for (const [step, text] of [[result.moderate_step, "reached"], [result.strict_step, "held"]]) {
    if (step === null || step === undefined) continue;
    const isLate = lineX(step) > width - 70;
    marks.push(svg("line", { class: "axis", x1: lineX(step), x2: lineX(step), y1: 12, y2: LINE.low, "stroke-dasharray": "2 3" }));
    marks.push(svg("text", { class: "ok", x: lineX(step) + (isLate ? -3 : 3), y: text === "held" ? 38 : 26, "text-anchor": isLate ? "end" : "start" }, `✓ ${text}`));
  }
  return marks;
}

function oddMarks() {
  return oddMoments().filter((odd) => odd.kind !== "clipped").map((odd) => {
    const [sign, kind] = ODD[odd.kind];
    const text = svg("text", { class: kind, x: lineX(odd.step) + 2, y: LINE.marks - 6, "font-size": 11 }, sign, svg("title", {}, odd.title));
    if (kind === "dream") text.style.fill = "var(--dream)";
    return text;
  });
}

function timeTicks() {
  const { dt } = state.run;
  return niceTicks(0, lastStep(), 10).filter((tick) => tick === Math.round(tick)).map((tick) => {
    const label = dt && tick > 0 ? `${tick} · ${show(tick * dt, 3)} s` : tick === 0 ? "step 0" : String(tick);
    return svg("text", { x: Math.min(lineX(tick), lineX(lastStep()) - 12), y: LINE.height - 4, "text-anchor": tick ? "middle" : "start" }, label);
  });
}

function moveCursor() {
  const { decisions } = state.run;
  const cursor = document.getElementById("cursor");
  if (!cursor || !decisions.length) return;
  const from = lineX(decisions[state.index].step);
  const next = state.index + 1 < decisions.length ? decisions[state.index + 1].step : lastStep();
  cursor.setAttribute("x", from - 1.5);
  cursor.setAttribute("width", Math.max(5, lineX(next) - from + 1.5));
}

// Counts of what was odd; each goes to the next such moment.
function drawChips() {
  const odd = oddMoments(), kinds = [...new Set(odd.map((one) => one.kind))];
  const order = ["stopped", "damaged", "NO_FINITE_ROLLOUT", "UNSURE", "OUT_OF_TIME", "clipped", "surprise"];
  kinds.sort((a, b) => order.indexOf(a) - order.indexOf(b));
  const buttons = kinds.map((kind) => {
    const those = odd.filter((one) => one.kind === kind), [sign, fill] = ODD[kind];
    const words = kind === "surprise" ? "★ most surprising" : kind === "clipped" ? `┃ ${those.length} clipped` : `${sign} ${those.length} ${kind}`;
    return el("button", { class: fill, title: "go to the next (n); before: p", onclick: () => goOdd(1, kind) }, words);
  });
  document.getElementById("chips").replaceChildren(...(buttons.length ? buttons : [el("span", { class: "faint" }, "nothing odd")]));
}

// The next (`way` 1) or previous (-1) odd moment of `kind`, or of any but clipping; round and round.
function goOdd(way, kind) {
  const those = oddMoments().filter((one) => (kind ? one.kind === kind : one.kind !== "clipped")).map((one) => one.index);
  const places = [...new Set(those)];
  if (!places.length) return;
  const next = way > 0 ? places.find((index) => index > state.index) : [...places].reverse().find((index) => index < state.index);
  select(next === undefined ? (way > 0 ? places[0] : places[places.length - 1]) : next);
}
