// The page: asks what the model is, draws samples as a session of the server streams them.

import { CallError, call, describe } from "./server.js";
import { Picture, curve } from "./pictures.js";
import { studio } from "./studio.js";

const $ = (id) => document.getElementById(id);
const CHUNK = 8; // values of a sequence in a step
let model, choose = null, stopped = false, session = null;

function fail(error) {
  $("error").hidden = false;
  $("error").textContent = error instanceof CallError ? error.message : `This page has a fault: ${error.message}`;
  if (!(error instanceof CallError)) console.error(error);
}

/** Runs a task with the buttons off; shows what goes wrong. */
async function guarded(task) {
  $("error").hidden = true;
  const buttons = [...document.querySelectorAll("form button")].filter((button) => button.id !== "stop");
  for (const button of buttons) button.disabled = true;
  document.body.dataset.state = "busy";
  try {
    await task();
  } catch (error) {
    fail(error);
  } finally {
    for (const button of buttons) button.disabled = false;
    document.body.dataset.state = "idle";
  }
}

/** Condition, seed and temperature of `num` rows, as the form has them. */
function draws(num) {
  const seed = $("seed").value;
  const given = {
    seed: Array.from({ length: num }, (_, row) => (seed === "" ? [-1, -1] : [Number(seed), row])),
    temperature: Array(num).fill(Number($("temperature").value)),
  };
  if (model.tfar.condition.length) {
    const label = Number($("label").value), labels = model.tfar.condition[0].num_labels;
    given.condition = Array.from({ length: num }, (_, row) => (label < 0 ? row % labels : label));
  }
  return given;
}

const frame = () => new Promise((resolve) => { requestAnimationFrame(resolve); setTimeout(resolve, 50); });

/** Steps of a session, until all is drawn, `units` are, or the person stops it. `show(row, units, places)` shows them. */
async function stream(inputs, num, units, size, show) {
  const begun = await call("session_begin", inputs);
  session = begun.session_id;
  try {
    for (let done = false, drawn = 0; !done && !stopped && drawn < units; await frame()) {
      const n = Math.min(size, units - drawn);
      const step = await call("session_step", { session_id: session, n: Array(num).fill(n) });
      for (let row = 0; row < num; row++) {
        const first = step.position[row] - step.count[row];
        const places = step.cells ? step.cells[row] : step.chunk[row].map((_, i) => first + i);
        show(row, step.chunk[row].slice(0, step.count[row]), places);
      }
      done = step.done.every((flag) => flag === 1);
      drawn += n;
      $("progress").textContent = `${step.position[0]}${Number.isFinite(units) ? ` of ${units}` : ""} ${model.tfar.unit}s`;
    }
  } finally {
    await end();
  }
  return begun.seed;
}

async function end() {
  const ended = session;
  session = null;
  if (ended !== null) await call("session_end", { session_id: ended }).catch(() => {}); // It expires by itself.
}

/** A button with a picture; `condition` is the label under which it was drawn, or null. */
function card(picture, name, condition, seed) {
  const button = document.createElement("button"), canvas = document.createElement("canvas"), text = document.createElement("small");
  button.type = "button";
  name = condition === null ? name : labelName(condition);
  text.textContent = name;
  button.setAttribute("aria-label", `${name}: show what it costs`);
  button.append(canvas, text);
  button.picture = picture;
  button.seeded = (used) => { button.title = `seed ${used.join(", ")}`; };
  button.redraw = () => picture.show(canvas);
  if (seed) button.seeded(seed);
  button.redraw();
  button.addEventListener("click", () => { if (picture.complete) choose(picture, condition); });
  return button;
}

const labelName = (label) => String(model.tfar.labels[label] ?? `label ${label}`);

async function drawPictures(num) {
  const { event_shape: shape, levels, units } = model.tfar;
  const labels = draws(num).condition;
  const cards = Array.from({ length: num }, (_, row) => card(new Picture(shape, levels), `sample ${row + 1}`, labels?.[row] ?? null));
  $("samples").replaceChildren(...cards);
  let seeds;
  if ("session_begin" in model.signatures) {
    seeds = await stream(draws(num), num, units, 1, (row, chunk, places) => {
      chunk.forEach((unit, i) => cards[row].picture.put(places[i], unit));
      cards[row].redraw();
    });
  } else {
    const found = await call("sample", draws(num));
    seeds = found.seed;
    found.samples.forEach((sample, row) => {
      cards[row].picture.values = sample.flat(Infinity);
      cards[row].redraw();
    });
  }
  cards.forEach((button, row) => button.seeded(seeds[row]));
}

/** How a sequence is shown: text where the symbols are known, else a curve. */
function sheet() {
  const { vocabulary, levels } = model.tfar;
  const characters = typeof vocabulary === "string" ? [...vocabulary] : null;
  const element = document.createElement(characters ? "pre" : "canvas"), values = [];
  element.setAttribute("aria-label", "sample");
  return {
    element,
    add(more) {
      values.push(...more);
      if (characters) element.textContent = values.map((value) => characters[value] ?? "\ufffd").join("");
      else curve(element, values, levels);
    },
  };
}

function prompt() {
  const characters = [...model.tfar.vocabulary];
  return [...$("prompt").value].map((character) => {
    const value = characters.indexOf(character);
    if (value < 0) throw new CallError("INVALID_ARGUMENT", `The model does not know the character “${character}”.`);
    return value;
  });
}

async function drawSequences(num) {
  const sheets = Array.from({ length: num }, sheet), inputs = draws(num);
  $("samples").replaceChildren(...sheets.map((one) => one.element));
  const known = $("prompt-field").hidden ? [] : prompt();
  if (known.length) inputs.prefix = Array(num).fill(known);
  for (const one of sheets) one.add(known);
  const units = model.tfar.units === null ? Number($("length").value) : model.tfar.units - known.length;
  if ("session_begin" in model.signatures) {
    await stream(inputs, num, units, CHUNK, (row, chunk) => sheets[row].add(chunk));
  } else {
    if (model.tfar.units === null) inputs.length = Array(num).fill(known.length + units);
    const found = await call("sample", inputs);
    found.samples.forEach((sample, row) => sheets[row].add(sample.slice(known.length)));
  }
}

async function draw() {
  stopped = false;
  $("stop").disabled = false;
  $("progress").textContent = "";
  const began = performance.now();
  try {
    await (model.tfar.event_shape.length === 3 ? drawPictures : drawSequences)(Number($("num").value));
    const seconds = ((performance.now() - began) / 1000).toFixed(2);
    $("progress").textContent = stopped ? "stopped" : `drawn in ${seconds} s`;
  } finally {
    $("stop").disabled = true;
  }
}

function introduce() {
  const facts = model.tfar;
  document.title = $("name").textContent = model.name;
  $("facts").textContent =
    `${facts.model}, events of ${facts.event_shape.map((size) => size ?? "any length").join(" × ")}` +
    `${facts.levels ? `, ${facts.levels} levels` : ""}; version ${model.version}`;
  const [condition] = facts.condition;
  if (facts.condition.length > 1 || (condition && condition.kind !== "Label")) {
    throw new CallError("UNIMPLEMENTED", `This page cannot give conditions of kind ${facts.condition.map((c) => c.kind).join(", ")}.`);
  }
  if (condition) {
    $("label-field").hidden = false;
    const names = Array.from({ length: condition.num_labels }, (_, i) => facts.labels[i] ?? i);
    $("label").replaceChildren(new Option("each in turn", -1), ...names.map((name, i) => new Option(name, i)));
  }
  if (facts.event_shape.length === 3) choose = studio(model, draws, guarded, card, labelName);
  $("length-field").hidden = facts.event_shape[0] !== null;
  $("prompt-field").hidden = typeof facts.vocabulary !== "string";
  if (facts.event_shape.length !== 3) $("num").value = 2;
  // Exports of earlier versions tell no limits.
  $("num").max = Math.min($("num").max, facts.max_examples ?? Infinity);
  $("num").value = Math.min($("num").value, $("num").max);
}

$("temperature").addEventListener("input", () => { $("temperature-text").textContent = Number($("temperature").value).toFixed(2); });
$("draw").addEventListener("submit", (event) => { event.preventDefault(); guarded(draw); });
$("stop").addEventListener("click", () => { stopped = true; });
addEventListener("pagehide", end);

guarded(async () => {
  model = await describe();
  if (!model.tfar) throw new CallError("NOT_FOUND", `${model.name} was not exported by tfar: it has no assets.extra/tfar.json.`);
  introduce();
  document.querySelector("main").hidden = false;
});
