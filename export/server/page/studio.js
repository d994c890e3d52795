// The lower half of the page: an image that is drawn on, completed and scored.

import { call } from "./server.js";
import { HEAT_CSS, Picture, heat, paint } from "./pictures.js";

const $ = (id) => document.getElementById(id);
const COMPLETIONS = 4;

/**
 * @param model what the server says of its model
 * @param draws returns condition, seed and temperature of `num` rows, as the form above has them
 * @param guarded runs a task with the buttons off, and shows what goes wrong
 * @param card makes a button for a picture
 * @param labelName the name of a label
 * @return shows a picture that was drawn under a label, or null
 */
export function studio(model, draws, guarded, card, labelName) {
  const { event_shape: shape, levels, unit } = model.tfar;
  const [height, width, channels] = shape, cells = height * width;
  const byRow = unit === "row" || unit === null;
  let picture = blank(), label = null, scores = null, pen = null, cursor = [0, 0];

  function blank() {
    return Picture.of(shape, levels, new Array(cells * channels).fill(0));
  }

  function show() {
    picture.show($("paper"));
    $("line").style.top = `${($("keep").value / $("keep").max) * 100}%`;
    $("line").hidden = !byRow;
    $("keep-value").textContent = `${$("keep").value} of ${$("keep").max}`;
  }

  function forget() {
    scores = null;
    paint($("heat"), height, width, () => [0, 0, 0, 0]);
    for (const id of ["heat-low", "heat-high", "scored"]) $(id).textContent = "";
    $("heat-at").textContent = "Score shows the nats of each pixel";
  }

  function brush([x, y]) {
    const size = Number($("width").value), reach = Math.floor(size / 2);
    const rgb = channels === 3
      ? [1, 3, 5].map((i) => parseInt($("colour").value.slice(i, i + 2), 16))
      : Array(3).fill(Number($("brush").value) * 255);
    const pixel = picture.like(rgb);
    for (let row = y - reach; row < y - reach + size; row++) {
      for (let column = x - reach; column < x - reach + size; column++) {
        if (row >= 0 && row < height && column >= 0 && column < width) picture.put(row * width + column, pixel);
      }
    }
    forget();
    show();
  }

  function at(event, canvas) {
    const box = canvas.getBoundingClientRect();
    return [Math.floor(((event.clientX - box.left) / box.width) * width), Math.floor(((event.clientY - box.top) / box.height) * height)];
  }

  /** A stroke: all pixels between two places. */
  function stroke(from, to) {
    const steps = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]), 1);
    for (let i = 0; i <= steps; i++) brush(from.map((v, axis) => Math.round(v + ((to[axis] - v) * i) / steps)));
  }

  async function score() {
    const inputs = { x: [picture.nested()] }, form = draws(1).condition;
    if (form) inputs.condition = [label ?? form[0]];
    const found = await call("log_prob", inputs);
    $("scored").textContent = `${found.bits_per_dim[0].toFixed(3)} bits/dim, ${found.log_prob[0].toFixed(2)} nats${form ? `, as ${labelName(inputs.condition[0])}` : ""}`;
    if (!found.score) return;
    const flat = found.score[0].flat(Infinity), factors = flat.length / cells;
    scores = Array.from({ length: cells }, (_, i) => flat.slice(i * factors, (i + 1) * factors).reduce((a, b) => a + Number(b), 0));
    const finite = scores.filter(Number.isFinite), low = Math.min(...finite), high = Math.max(...finite);
    paint($("heat"), height, width, (i) => [...heat((scores[i] - low) / (high - low || 1)), 255]);
    $("heat-low").textContent = low.toFixed(2);
    $("heat-high").textContent = high.toFixed(2).replace("-0.00", "0.00");
    $("heat-at").textContent = "nats of each pixel: dark ones surprise the model";
  }

  async function complete() {
    const kept = Number($("keep").value) * (byRow ? width * channels : 1);
    const repeat = (value) => Array(COMPLETIONS).fill(value);
    const found = await call("complete", { x: repeat(picture.nested()), observed_length: repeat(kept), ...draws(COMPLETIONS) });
    $("completions").replaceChildren(...found.samples.map((sample, i) => {
      return card(Picture.of(shape, levels, sample), `completion ${i + 1}`, i, found.seed[i]);
    }));
    await choose(Picture.of(shape, levels, found.samples[0]), draws(1).condition?.[0] ?? null);
  }

  function choose(other, drawnAs) {
    label = drawnAs;
    picture = Picture.of(shape, levels, other.values);
    forget();
    show();
    return guarded(score);
  }

  $("studio").hidden = false;
  $("brush-field").hidden = channels === 3;
  $("colour-field").hidden = channels !== 3;
  $("scale").style.background = HEAT_CSS;
  $("keep-text").textContent = byRow ? "Rows kept" : "Values kept, in the model's order";
  $("keep").max = byRow ? height : cells * channels;
  $("keep").value = Math.floor($("keep").max / 2);
  $("complete").hidden = !("complete" in model.signatures);
  forget();
  show();

  const paper = $("paper");
  paper.addEventListener("pointerdown", (event) => {
    paper.setPointerCapture(event.pointerId);
    pen = at(event, paper);
    brush(pen);
  });
  paper.addEventListener("pointermove", (event) => {
    if (pen === null) return;
    const next = at(event, paper);
    stroke(pen, next);
    pen = next;
  });
  for (const kind of ["pointerup", "pointercancel"]) paper.addEventListener(kind, () => { pen = null; });
  paper.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] };
    if (!(event.key in moves)) return;
    event.preventDefault();
    cursor = cursor.map((v, axis) => Math.min(Math.max(v + moves[event.key][axis], 0), [width, height][axis] - 1));
    if (event.key === " ") brush(cursor);
    $("heat-at").textContent = `row ${cursor[1] + 1}, column ${cursor[0] + 1}`;
  });
  $("heat").addEventListener("pointermove", (event) => {
    const [x, y] = at(event, $("heat")), value = scores?.[y * width + x];
    if (value !== undefined) $("heat-at").textContent = `row ${y + 1}, column ${x + 1}: ${value.toFixed(3)} nats`;
  });
  $("keep").addEventListener("input", show);
  $("tools").addEventListener("submit", (event) => { event.preventDefault(); guarded(complete); });
  $("score").addEventListener("click", () => guarded(score));
  $("clear").addEventListener("click", () => { picture = blank(); label = null; forget(); show(); });
  $("label").addEventListener("change", () => { label = null; });
  return choose;
}
