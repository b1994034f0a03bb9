// Elements, strips of pictures and charts.
"use strict";

function el(tag, properties, ...children) {
  const element = document.createElement(tag);
  return filled(element, properties, children);
}

function svg(tag, properties, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  return filled(element, properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const colour = (number) => `var(--c${number % 6})`;

function show(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1e4 ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
}

// One camera's row of a sprite of `columns` moments and `rows` cameras, or a single `column` of it.
function strip(url, { columns, rows, row, cell, column }) {
  const element = el("div", { class: "strip" });
  if (cell) Object.assign(element.style, { width: `${cell * (column === undefined ? columns : 1)}px`, height: `${cell}px` });
  paint(element, url, { columns, rows, row, column });
  return element;
}

function paint(element, url, { columns, rows, row, column }) {
  const style = element.style;
  style.backgroundImage = url ? `url("${url}")` : "none";
  style.backgroundSize = column === undefined ? `100% ${rows * 100}%` : `${columns * 100}% ${rows * 100}%`;
  const x = column === undefined || columns < 2 ? 0 : (100 * column) / (columns - 1);
  style.backgroundPosition = `${x}% ${rows < 2 ? 0 : (100 * row) / (rows - 1)}%`;
}

// Two sprites over each other, as the brightness by which they differ. Both cover `columns` moments.
function differenceStrip(first, second, shape) {
  const element = strip(first, shape);
  if (!first || !second) return element;
  element.style.backgroundImage = `url("${first}"), url("${second}")`;
  element.style.backgroundBlendMode = "difference, normal";
  element.style.filter = "brightness(2.2)";
  return element;
}

function legend(items) {
  return el("div", { class: "legend" }, items.map(([name, fill, line]) => {
    return el("span", {}, el("i", { class: line ? "line" : "", style: { background: fill } }), name);
  }));
}

const dashed = (fill) => `repeating-linear-gradient(90deg, ${fill} 0 3px, transparent 3px 5px)`;

function stackBar(parts, total) {
  return el("div", { class: "stack" }, parts.map(({ name, value, fill }) => {
    return el("i", { title: `${name} ${show(value, 3)}`, style: { width: `${(100 * Math.max(0, value)) / (total || 1)}%`, background: fill } });
  }));
}

function niceTicks(low, high, count = 4) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) ticks.push(Math.abs(tick) < step * 1e-6 ? 0 : tick);
  return ticks;
}

// A frame with axes, and the scales to draw in it. `x` and `y` are [low, high].
function frame({ width, height, x, y, xLabel, yFormat, xTicks }) {
  const left = 44, right = 10, top = 8, bottom = xLabel === undefined ? 8 : 28;
  const at = (value, [low, high], from, to) => from + ((value - low) / (high - low || 1)) * (to - from);
  const sx = (value) => at(value, x, left, width - right);
  const sy = (value) => at(value, y, height - bottom, top);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height });
  for (const tick of niceTicks(y[0], y[1])) {
    root.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: sy(tick), y2: sy(tick) }));
    root.append(svg("text", { x: left - 6, y: sy(tick) + 3.5, "text-anchor": "end" }, (yFormat || ((v) => show(v, 3)))(tick)));
  }
  for (const tick of xTicks || []) root.append(svg("text", { x: sx(tick), y: height - bottom + 13, "text-anchor": "middle" }, show(tick, 4)));
  if (xLabel) root.append(svg("text", { x: width - right, y: height - 3, "text-anchor": "end" }, xLabel));
  return { root, sx, sy, left, right, top, bottom, width, height };
}

function extent(values, atLeast = [0, 0]) {
  const finite = values.filter((v) => v !== null && v !== undefined && Number.isFinite(v));
  const low = Math.min(atLeast[0], ...finite), high = Math.max(atLeast[1], ...finite);
  return high > low ? [low, high + 0.04 * (high - low)] : [low, low + 1];
}

// A path through points, broken where a value is missing.
function linePath(xs, ys, sx, sy, stepped = false) {
  let path = "", open = false, before = null;
  ys.forEach((value, i) => {
    if (value === null || value === undefined) { open = false; return; }
    const [px, py] = [sx(xs[i]).toFixed(1), sy(value).toFixed(1)];
    path += open ? (stepped ? `H${px}V${py}` : `L${px} ${py}`) : `M${px} ${py}`;
    open = true; before = py;
  });
  return before === null ? "" : path;
}

// Lines over shared x: series of { name, values, fill, dash, dots }.
function lineChart({ title, note, xs, series, width, height, xLabel, xTicks, low = 0 }) {
  const all = series.flatMap((one) => one.values);
  const area = frame({ width, height, x: extent(xs, [xs[0], xs[xs.length - 1]]), y: extent(all, [low, low]), xLabel, xTicks: xTicks || xs });
  for (const one of series) {
    area.root.append(svg("path", { d: linePath(xs, one.values, area.sx, area.sy), fill: "none", "stroke-width": 2, style: { stroke: one.fill }, "stroke-dasharray": one.dash }));
    one.values.forEach((value, i) => {
      if (value === null || value === undefined) return;
      const dot = svg("circle", { cx: area.sx(xs[i]), cy: area.sy(value), r: 2.6, style: { fill: one.fill } }, svg("title", {}, `${one.name} ${show(value)}`));
      area.root.append(dot);
    });
  }
  if (!all.some((value) => value !== null && value !== undefined)) area.root.append(svg("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing measured yet"));
  const items = series.length > 1 ? legend(series.map((one) => [one.name, one.dash ? dashed(one.fill) : one.fill, true])) : null;
  return el("div", { class: "chart" }, el("h2", {}, title, " ", el("small", {}, note || "")), area.root, items);
}
