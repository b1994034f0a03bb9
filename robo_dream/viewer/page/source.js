// Where the page's data come from: a server, or what an exported file keeps inside.
"use strict";

const kept = (() => {
  const element = document.getElementById("kept");
  return element ? JSON.parse(element.textContent) : null;
})();

const answers = new Map(); // path: promise of JSON that will not change
const MAX_ANSWERS = 400;

async function ask(path, options) {
  const reply = await fetch(path, options);
  const answer = await reply.json();
  if (!reply.ok) throw new Error(answer.error || `${path}: ${reply.status}`);
  return answer;
}

function getJson(path) {
  if (kept) return kept.answers[path] ? Promise.resolve(kept.answers[path]) : Promise.reject(new Error("not kept in this file"));
  if (!answers.has(path)) {
    const promise = ask(path);
    promise.catch(() => answers.delete(path));
    answers.set(path, promise);
    if (answers.size > MAX_ANSWERS) answers.delete(answers.keys().next().value);
  }
  return answers.get(path);
}

function forget(path) {
  answers.delete(path);
}

function postJson(path, body) {
  return ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

// The address of a picture; `version` changes when its content may have. Null where an exported file has not kept it.
function pictureUrl(path, version) {
  return kept ? kept.pictures[path] || null : `${path}?${state.run.token}.${version || 0}`;
}

const images = new Map(); // address: promise that it can be drawn without delay

function loaded(url) {
  if (!url) return Promise.resolve();
  if (!images.has(url)) {
    const image = new Image();
    image.src = url;
    images.set(url, image.decode().then(() => image, () => null));
    if (images.size > 60) images.delete(images.keys().next().value);
  }
  return images.get(url);
}
