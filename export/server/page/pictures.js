// Values of a model as pixels, and back.

const STOPS = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [255, 253, 191]];

/** A colour [r, g, b] for a share from 0 (dark) to 1 (bright). */
export function heat(share) {
  const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[low].map((from, i) => Math.round(from + (STOPS[low + 1][i] - from) * (place - low)));
}

export const HEAT_CSS = `linear-gradient(90deg, ${STOPS.map((c) => `rgb(${c})`).join(", ")})`;

/** An image that fills up: values [height * width * channels], null where nothing is drawn yet. */
export class Picture {
  constructor([height, width, channels], levels) {
    Object.assign(this, { height, width, channels, levels });
    this.values = new Array(height * width * channels).fill(null);
  }

  static of(shape, levels, values) {
    const picture = new Picture(shape, levels);
    picture.values = values.flat(Infinity);
    return picture;
  }

  /** Puts a unit (a row, or a cell) at its place. */
  put(place, unit) {
    const values = unit.flat(Infinity);
    values.forEach((value, i) => { this.values[place * values.length + i] = value; });
  }

  get complete() { return !this.values.includes(null); }

  /** Nested lists [height, width, channels]; what is not drawn is 0. */
  nested() {
    const { height, width, channels, values } = this;
    const at = (y, x) => values.slice((y * width + x) * channels, (y * width + x + 1) * channels).map((v) => v ?? 0);
    return Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => at(y, x)));
  }

  /** Values of one pixel that look like [r, g, b]. */
  like(rgb) {
    const chosen = this.channels === 3 ? rgb : Array(this.channels).fill((rgb[0] + rgb[1] + rgb[2]) / 3);
    const [low, high] = this.range();
    return chosen.map((v) => (this.levels ? Math.round((v / 255) * (this.levels - 1)) : low + (v / 255) * (high - low)));
  }

  range() {
    if (this.levels) return [0, this.levels - 1];
    const drawn = this.values.filter((v) => v !== null);
    return drawn.length ? [Math.min(...drawn), Math.max(...drawn, Math.min(...drawn) + 1e-6)] : [0, 1];
  }

  show(canvas) {
    const { height, width, channels, values } = this, [low, high] = this.range();
    paint(canvas, height, width, (i) => {
      const pixel = values.slice(i * channels, (i + 1) * channels);
      if (pixel.includes(null)) return [0, 0, 0, 0];
      const shown = pixel.map((v) => Math.round(((v - low) / (high - low || 1)) * 255));
      const grey = shown.reduce((a, b) => a + b, 0) / channels;
      return [...(channels === 3 ? shown : [grey, grey, grey]), 255];
    });
  }
}

/** Fills a canvas of one dot for each pixel; `colour` takes the index of a pixel. */
export function paint(canvas, height, width, colour) {
  canvas.height = height;
  canvas.width = width;
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let i = 0; i < height * width; i++) image.data.set(colour(i), 4 * i);
  context.putImageData(image, 0, 0);
}

/** Numbers as a curve. */
export function curve(canvas, values, levels) {
  canvas.className = "curve";
  canvas.width = Math.max(values.length, 480);
  canvas.height = 96;
  const low = levels ? 0 : Math.min(...values), high = levels ? levels - 1 : Math.max(...values);
  const context = canvas.getContext("2d");
  context.strokeStyle = getComputedStyle(document.body).getPropertyValue("--accent");
  context.beginPath();
  values.forEach((v, i) => context.lineTo((i / values.length) * canvas.width, 92 - ((v - low) / (high - low || 1)) * 88));
  context.stroke();
}
