// A run in which nothing was imagined: what the cameras saw, what was sent and what the guard did, step by step.
"use strict";

function showFrames() {
  const { steps } = state.run, last = Math.max(0, steps.length - 1);
  const before = document.querySelector("#view .frames input"), place = before ? Math.min(Number(before.value), last) : 0;
  const picture = el("img", { alt: "what the cameras saw", style: { height: "56vh", imageRendering: "pixelated", borderRadius: "6px" } });
  const words = el("div", {}), label = el("span", { class: "faint" });
  const slider = el("input", { type: "range", min: 0, max: last, value: place, "aria-label": "control step", oninput: () => showStep(Number(slider.value)) });
  function showStep(number) {
    const row = steps[number];
    if (!row) return;
    const url = pictureUrl(`/picture/step/${number}`);
    if (url) picture.src = url;
    label.textContent = `step ${number}${state.run.dt ? ` · ${show(number * state.run.dt, 3)} s` : ""}`;
    const sent = (row.sent || []).map((value, i) => `${state.run.actions[i].name} ${show(value, 3)} ${state.run.actions[i].unit}`).join(", ");
    const events = (row.events || []).map((event) => `${event.kind}: ${event.reason}`);
    words.replaceChildren(...[row.damage, sent && `sent: ${sent}`, ...events].filter(Boolean).map((text) => el("p", { class: "sentence" }, text)));
  }
  const bar = el("div", { class: "playing" }, slider, label);
  document.getElementById("side").replaceChildren(...reasonsHere());
  document.getElementById("view").replaceChildren(el("div", { class: "frames" }, el("p", { class: "faint" }, state.run.about.policy || "Nothing was imagined."), picture, bar, words));
  showStep(place);
  slider.focus({ preventScroll: true }); // so that arrow keys step
}
