// The lower half of the page: an image that is drawn on, completed and scored.

import { call } from "./server.js";
import { HEAT_CSS, Picture, heat, paint } from "./pictures.js";

const $ = (id) => document.getElementById(id);
const MOST_COMPLETIONS = 4;

/**
 * @param model what the server says of its model
 * @param draws returns condition, seed and temperature of `num` rows, as the form above has them
 *   (the condition is that of the samples, not of the image here)
 * @param guarded runs a task with the buttons off, and shows what goes wrong
 * @param card makes a button for a picture
 * @param labelName the name of a label
 * @return shows a picture that was drawn under a label, or null
 */
export function studio(model, draws, guarded, card, labelName) {
  const { event_shape: shape, levels, unit } = model.tfar;
  const [height, width, channels] = shape, cells = height * width;
  const byRow = unit === "row" || unit === null;
  const completions = Math.min(MOST_COMPLETIONS, model.tfar.max_examples ?? MOST_COMPLETIONS);
  const labelled = model.tfar.condition.length > 0;
  let picture = blank(), costs = null, pen = null, cursor = [0, 0];

  /** The label under which the image is scored and completed: the one beside it, not that of the samples above. */
  const label = () => Number($("as").value);

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
    costs = null;
    paint($("heat"), height, width, () => [0, 0, 0, 0]);
    for (const id of ["heat-low", "heat-high", "scored"]) $(id).textContent = "";
    $("heat-at").textContent = "Score shows the bits that each pixel costs";
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
    const inputs = { x: [picture.nested()] };
    if (labelled) inputs.condition = [label()];
    const found = await call("log_prob", inputs);
    $("scored").textContent = `${found.bits_per_dim[0].toFixed(3)} bits/dim, ${found.log_prob[0].toFixed(2)} nats${labelled ? `, as ${labelName(inputs.condition[0])}` : ""}`;
    if (!found.score) return;
    const flat = found.score[0].flat(Infinity), factors = flat.length / cells;
    const nats = Array.from({ length: cells }, (_, i) => flat.slice(i * factors, (i + 1) * factors).reduce((a, b) => a + Number(b), 0));
    costs = nats.map((value) => -value / Math.LN2);
    // As in the report of a run: from 0 bits, or less where values are continuous; bright costs most.
    const finite = costs.filter(Number.isFinite), low = Math.min(0, ...finite), high = Math.max(0, ...finite);
    paint($("heat"), height, width, (i) => [...heat((costs[i] - low) / (high - low || 1)), 255]);
    $("heat-low").textContent = low.toFixed(2);
    $("heat-high").textContent = high.toFixed(2);
    $("heat-at").textContent = "bits that each pixel costs: bright ones surprise the model";
  }

  async function complete() {
    const kept = Number($("keep").value) * (byRow ? width * channels : 1);
    const repeat = (value) => Array(completions).fill(value), condition = labelled ? label() : null;
    const inputs = { ...draws(completions), x: repeat(picture.nested()), observed_length: repeat(kept) };
    if (labelled) inputs.condition = repeat(condition);
    const found = await call("complete", inputs);
    $("completions").replaceChildren(...found.samples.map((sample, i) => {
      return card(Picture.of(shape, levels, sample), `completion ${i + 1}`, condition, found.seed[i]);
    }));
    await choose(Picture.of(shape, levels, found.samples[0]), condition);
  }

  function choose(other, drawnAs) {
    if (drawnAs !== null) $("as").value = drawnAs;
    picture = Picture.of(shape, levels, other.values);
    forget();
    show();
    return guarded(score);
  }

  $("studio").hidden = false;
  $("as-field").hidden = !labelled;
  if (labelled) {
    const num = model.tfar.condition[0].num_labels;
    $("as").replaceChildren(...Array.from({ length: num }, (_, i) => new Option(model.tfar.labels[i] ?? i, i)));
  }
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
    const [x, y] = at(event, $("heat")), value = costs?.[y * width + x];
    if (value !== undefined) $("heat-at").textContent = `row ${y + 1}, column ${x + 1}: ${value.toFixed(3)} bits`;
  });
  $("keep").addEventListener("input", show);
  $("tools").addEventListener("submit", (event) => { event.preventDefault(); guarded(complete); });
  $("score").addEventListener("click", () => guarded(score));
  $("clear").addEventListener("click", () => { picture = blank(); forget(); show(); });
  $("as").addEventListener("change", forget);
  return choose;
}
