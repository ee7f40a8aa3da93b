"use strict";
/* The viewer of a component: three slices of its map over the template, with a crosshair and thresholds. The data come
   from viewer.py. Coordinates are MNI152 in mm; axis 0 is x (right), 1 is y (front), 2 is z (up). */

const IN_PLANE = [[1, 2], [0, 2], [0, 1]];
const CROSSHAIR_HOLE_MM = 8;
const CROSSHAIR_COLOUR = "#2f9e44";
/* Colour of the values in the colour bar that are not shown. */
const HIDDEN_COLOUR = "#9aa3ad";
const SIGNS = ["positive", "negative"];

/** Undo `pack` of viewer.py: base64, gzip, differences between neighbours. */
async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const codes = new Uint8Array(await new Response(stream).arrayBuffer());
  for (let i = 1; i < codes.length; i += 1) codes[i] += codes[i - 1];
  return codes;
}

/** Format a number with a true minus sign. */
function written(value, digits) {
  return value.toFixed(digits).replace(/^-(0(\.0+)?)$/, "$1").replace("-", "\u2212");
}

/** Convert colours such as #a3000d to red, green and blue. */
function readColours(colours) {
  return colours.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
}

/** For `count` positions on an axis, from `low` in steps of 1 mm, find the grid points on both sides and their weight. */
function neighbours(grid, axis, low, count) {
  const points = grid.shape[axis];
  const [first, second, weight] = [new Int32Array(count), new Int32Array(count), new Float32Array(count)];
  for (let i = 0; i < count; i += 1) {
    const at = (low + i - grid.origin[axis]) / grid.step[axis];
    const below = Math.floor(at);
    first[i] = below >= 0 && below < points ? below : -1;
    second[i] = below + 1 >= 0 && below + 1 < points ? below + 1 : -1;
    weight[i] = at - below;
  }
  return { first, second, weight };
}

/** Draw the colour bar of a viewer: from the lowest to the highest value that is shown, pointed where values go beyond
 * the end of the colours, with numbers at its ends and, if there is room, at the thresholds (brain_bar.py). */
function drawBarOf(viewer, context, { left, top, length, high, step, ink, unit }) {
  const brightest = viewer.brightest();
  const [lowest, highest] = viewer.ends();
  const [start, end] = [Math.max(lowest, -brightest), Math.min(highest, brightest)];
  context.textBaseline = "top";
  context.textAlign = "center";
  if (start === end) {
    context.fillStyle = ink;
    context.fillText("no values shown", left + length / 2, top);
    return;
  }
  const css = (value) => {
    const colour = viewer.colourOf(value);
    return colour ? `rgb(${colour.join(" ")})` : HIDDEN_COLOUR;
  };
  for (let at = 0; at < length; at += step) {
    context.fillStyle = css(start + ((end - start) * (at + step / 2)) / length);
    context.fillRect(left + at, top, Math.min(1.5 * step, length - at), high);
  }
  for (const [isOpen, edge, tip, value] of [[lowest < start, left, -high / 2, start], [highest > end, left + length, high / 2, end]]) {
    if (!isOpen) continue;
    context.fillStyle = css(value);
    context.beginPath();
    context.moveTo(edge, top);
    context.lineTo(edge + tip, top + high / 2);
    context.lineTo(edge, top + high);
    context.fill();
  }
  context.fillStyle = ink;
  const { positive, negative } = viewer.thresholds;
  const taken = [];
  for (const value of [end, start, ...(highest ? [positive] : []), ...(lowest ? [-negative] : [])]) {
    const text = `${written(value, 1)}${unit && value === end ? ` ${unit}` : ""}`;
    const [middle, half] = [left + (length * (value - start)) / (end - start), context.measureText(text).width / 2 + high / 5];
    if (taken.some(([from, to]) => middle + half > from && middle - half < to)) continue;
    taken.push([middle - half, middle + half]);
    context.fillText(text, middle, top + 1.3 * high);
  }
}

class Viewer {
  constructor(element, packed) {
    this.element = element;
    this.packed = packed;
    this.colours = { positive: readColours(packed.positive), negative: readColours(packed.negative) };
    this.low = packed.template.origin;
    this.shape = packed.template.shape;
    this.place = [0, 0, 0];
    this.thresholds = { positive: 0, negative: 0 };
    this.shown = { positive: true, negative: true };
    this.followers = []; // functions to call after each drawing
    this.canvases = [0, 1, 2].map((axis) => element.querySelector(`canvas[data-axis="${axis}"]`));
    this.sliders = [0, 1, 2].map((axis) => element.querySelector(`input[data-axis="${axis}"]`));
    this.parts = Object.fromEntries([...element.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
    this.listen();
  }

  /** Unpack template and mask once, because all maps share them. */
  prepare() {
    this.prepared ??= Promise.all([unpack(this.packed.template.codes), unpack(this.packed.mask)]).then(([grey, mask]) => {
      this.grey = grey;
      this.mask = mask;
    });
    return this.prepared;
  }

  /** Show a map with the crosshair at `map.place` (mm). If another map was requested meanwhile, do nothing. */
  async show(map) {
    this.wanted = map.label;
    const [codes] = await Promise.all([unpack(map.codes), this.prepare()]);
    if (this.wanted !== map.label) return;
    this.values = new Float32Array(this.mask.length);
    let next = 0;
    let largest = 0;
    for (let i = 0; i < this.mask.length; i += 1) {
      if (this.mask[i]) {
        this.values[i] = ((codes[next] << 24) >> 24) * map.unit;
        largest = Math.max(largest, Math.abs(this.values[i]));
        next += 1;
      }
    }
    this.map = map;
    this.strong = null;
    for (const sign of SIGNS) this.parts[`${sign}-threshold`].max = (Math.ceil(largest * 20) / 20).toFixed(2);
    this.element.dataset.component = map.label;
    this.resetThresholds();
    this.moveTo(map.place);
  }

  moveTo(place) {
    this.place = place.map((mm, axis) => Math.min(Math.max(mm, this.low[axis]), this.low[axis] + this.shape[axis] - 1));
    this.redraw();
  }

  /** Set the thresholds of both signs, as absolute values. */
  setThresholds(thresholds) {
    for (const sign of SIGNS) {
      this.thresholds[sign] = Math.max(thresholds[sign], 0);
      this.parts[`${sign}-threshold`].value = this.thresholds[sign];
    }
    this.strong = null;
    this.redraw();
  }

  /** Return the values, with those of small clusters set just below the threshold (images/clusters.py). */
  withoutSmallClusters() {
    const { grid, min_cluster_mm3: least } = this.packed;
    const mm3 = Math.abs(grid.step[0] * grid.step[1] * grid.step[2]);
    const steps = [grid.shape[1] * grid.shape[2], grid.shape[2], 1];
    const result = Float32Array.from(this.values);
    let hasPeak = false;
    for (const [sign, threshold] of [[1, this.thresholds.positive], [-1, this.thresholds.negative]]) {
      const seen = new Uint8Array(this.values.length);
      const small = [];
      let highest = 0;
      let top = null;
      for (let start = 0; start < seen.length; start += 1) {
        if (seen[start] || sign * this.values[start] < threshold || sign * this.values[start] <= 0) continue;
        seen[start] = 1;
        const cluster = [start];
        let peak = 0;
        for (let next = 0; next < cluster.length; next += 1) {
          const at = cluster[next];
          peak = Math.max(peak, sign * this.values[at]);
          // Voxels outside the mask are 0, so no cluster reaches the border of the grid.
          for (const step of steps) {
            for (const other of [at - step, at + step]) {
              if (seen[other] || !(sign * this.values[other] >= threshold && sign * this.values[other] > 0)) continue;
              seen[other] = 1;
              cluster.push(other);
            }
          }
        }
        const isSmall = cluster.length * mm3 < least - 1e-3;
        if (isSmall) small.push(cluster);
        if (peak > highest) [highest, top] = [peak, cluster];
      }
      for (const cluster of small) {
        if (cluster === top && !hasPeak) continue;
        for (const at of cluster) result[at] = sign * 0.9999 * threshold;
      }
      hasPeak ||= top !== null;
    }
    return result;
  }

  resetThresholds() {
    this.setThresholds({ positive: this.map.threshold, negative: this.map.negative_threshold });
  }

  /** Change both thresholds by the same amount. */
  moveThresholds(by) {
    this.setThresholds({ positive: this.thresholds.positive + by, negative: this.thresholds.negative + by });
  }

  /** Respond to a threshold slider. If the thresholds are linked, the other one changes by the same amount. */
  slideThreshold(sign) {
    const value = Number(this.parts[`${sign}-threshold`].value);
    if (this.parts.together.checked) this.moveThresholds(value - this.thresholds[sign]);
    else this.setThresholds({ ...this.thresholds, [sign]: value });
  }

  /** Return the end of the colour scale: that of the figures, or more if a threshold is near it (scale_of in slices.py). */
  brightest() {
    const lower = Math.min(this.thresholds.positive, this.thresholds.negative);
    return Math.max(this.map.brightest, lower * 1.25, lower + 0.1);
  }

  /** Draw in the next animation frame. Several requests before that frame are drawn once. */
  redraw() {
    if (!this.map || this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.draw();
    });
  }

  draw() {
    this.strong ??= this.packed.min_cluster_mm3 > 0 ? this.withoutSmallClusters() : this.values;
    const ink = getComputedStyle(this.element).color;
    for (let axis = 0; axis < 3; axis += 1) this.drawCut(axis, ink);
    this.drawBar(ink);
    const value = this.valueHere();
    const place = this.place.map((mm) => written(mm, 0));
    this.parts.place.textContent = `x ${place[0]}, y ${place[1]}, z ${place[2]} mm`;
    this.parts.value.textContent = value === null ? "outside the mask" : `${written(value, 1)} SD`;
    this.parts["positive-limit"].textContent = `≥ ${written(this.thresholds.positive, 2)} SD`;
    this.parts["negative-limit"].textContent = `≤ ${written(-this.thresholds.negative, 2)} SD`;
    this.sliders.forEach((slider, axis) => {
      slider.value = this.place[axis];
      slider.setAttribute("aria-valuetext", `${"xyz"[axis]} = ${place[axis]} mm`);
    });
    for (const follow of this.followers) follow();
  }

  /** Interpolate the map at the crosshair; null outside the mask. */
  valueHere() {
    const { grid } = this.packed;
    const nearest = [0, 1, 2].map((axis) => Math.round((this.place[axis] - grid.origin[axis]) / grid.step[axis]));
    if (nearest.some((at, axis) => at < 0 || at >= grid.shape[axis])) return null;
    if (!this.mask[(nearest[0] * grid.shape[1] + nearest[1]) * grid.shape[2] + nearest[2]]) return null;
    return this.sample(this.values, 2, [this.place[0], this.place[1]], [1, 1])[0];
  }

  /** Interpolate a slice perpendicular to `axis` at every mm, starting at `low`. Values outside the grid are 0. */
  sample(values, axis, low, count) {
    const { grid } = this.packed;
    const stride = [grid.shape[1] * grid.shape[2], grid.shape[2], 1];
    const [across, up] = IN_PLANE[axis];
    const [fixed, x, y] = [
      neighbours(grid, axis, this.place[axis], 1), neighbours(grid, across, low[0], count[0]), neighbours(grid, up, low[1], count[1]),
    ];
    const plane = new Float32Array(count[0] * count[1]);
    for (const [index, share] of [[fixed.first[0], 1 - fixed.weight[0]], [fixed.second[0], fixed.weight[0]]]) {
      if (index < 0 || share === 0) continue;
      const at = (i, j) => (i < 0 || j < 0 ? 0 : values[index * stride[axis] + i * stride[across] + j * stride[up]]);
      for (let j = 0; j < count[1]; j += 1) {
        const [below, above, upper] = [y.first[j], y.second[j], y.weight[j]];
        for (let i = 0; i < count[0]; i += 1) {
          const [left, right, further] = [x.first[i], x.second[i], x.weight[i]];
          const lower = at(left, below) * (1 - further) + at(right, below) * further;
          const higher = at(left, above) * (1 - further) + at(right, above) * further;
          plane[j * count[0] + i] += share * (lower * (1 - upper) + higher * upper);
        }
      }
    }
    return plane;
  }

  /** Return the colour of a value, or null if it is not shown. */
  colourOf(value) {
    const size = Math.abs(value);
    const sign = value > 0 ? "positive" : "negative";
    const threshold = this.thresholds[sign];
    if (value === 0 || size < threshold || !this.shown[sign]) return null;
    const colours = this.colours[sign];
    const strength = (size - threshold) / Math.max(this.brightest() - threshold, 1e-6);
    return colours[Math.min(Math.floor(strength * colours.length), colours.length - 1)];
  }

  /** Paint a slice with one pixel per mm, transparent around the brain. */
  paint(axis) {
    const [across, up] = IN_PLANE[axis];
    const [columns, rows] = [this.shape[across], this.shape[up]];
    const plane = this.sample(this.strong, axis, [this.low[across], this.low[up]], [columns, rows]);
    const stride = [this.shape[1] * this.shape[2], this.shape[2], 1];
    const start = Math.round(this.place[axis] - this.low[axis]) * stride[axis];
    const picture = new ImageData(columns, rows);
    const pixels = picture.data;
    for (let j = 0; j < rows; j += 1) {
      for (let i = 0; i < columns; i += 1) {
        const grey = this.grey[start + i * stride[across] + j * stride[up]];
        const colour = this.colourOf(plane[j * columns + i]);
        if (!colour && !grey) continue;
        const light = 255 * (0.12 + (0.8 * grey) / this.packed.template.levels);
        const at = 4 * ((rows - 1 - j) * columns + i);
        pixels[at] = colour ? colour[0] : light;
        pixels[at + 1] = colour ? colour[1] : light;
        pixels[at + 2] = colour ? colour[2] : light;
        pixels[at + 3] = 255;
      }
    }
    return picture;
  }

  drawCut(axis, ink) {
    const canvas = this.canvases[axis];
    const [across, up] = IN_PLANE[axis];
    const [columns, rows] = [this.shape[across], this.shape[up]];
    const zoom = (canvas.clientWidth || columns) / columns;
    const sharpness = window.devicePixelRatio || 1;
    canvas.width = Math.round(columns * zoom * sharpness);
    canvas.height = Math.round(rows * zoom * sharpness);
    const small = document.createElement("canvas");
    [small.width, small.height] = [columns, rows];
    small.getContext("2d").putImageData(this.paint(axis), 0, 0);
    const context = canvas.getContext("2d");
    context.scale(sharpness * zoom, sharpness * zoom);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0);
    const [x, y] = [this.place[across] - this.low[across] + 0.5, rows - (this.place[up] - this.low[up] + 0.5)];
    this.drawCrosshair(context, [x, y], [columns, rows], zoom);
    if (axis === 0) return;
    context.fillStyle = ink;
    context.font = `${13 / zoom}px sans-serif`;
    context.textBaseline = "top";
    context.fillText("L", 3 / zoom, 3 / zoom);
    context.fillText("R", columns - 13 / zoom, 3 / zoom);
  }

  drawCrosshair(context, [x, y], [columns, rows], zoom) {
    context.strokeStyle = CROSSHAIR_COLOUR;
    context.lineWidth = 1.25 / zoom;
    context.beginPath();
    for (const [fromX, fromY, toX, toY] of [
      [0, y, x - CROSSHAIR_HOLE_MM, y], [x + CROSSHAIR_HOLE_MM, y, columns, y],
      [x, 0, x, y - CROSSHAIR_HOLE_MM], [x, y + CROSSHAIR_HOLE_MM, x, rows],
    ]) {
      if (fromX > toX || fromY > toY) continue;
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
    }
    context.stroke();
  }

  /** Return the lowest and the highest value that is shown; 0 if no value of this sign is (`ends_of` in brain_bar.py). */
  ends() {
    if (this.measured !== this.strong) {
      this.measured = this.strong;
      this.extremes = [0, 0];
      for (const value of this.strong) {
        if (value < this.extremes[0]) this.extremes[0] = value;
        else if (value > this.extremes[1]) this.extremes[1] = value;
      }
    }
    const [low, high] = this.extremes;
    const { positive, negative } = this.thresholds;
    return [this.shown.negative && low <= -negative ? low : 0, this.shown.positive && high >= positive ? high : 0];
  }

  drawBar(ink) {
    const canvas = this.parts.bar;
    const sharpness = window.devicePixelRatio || 1;
    const [width, height, margin] = [canvas.clientWidth || 240, 34, 18];
    [canvas.width, canvas.height] = [width * sharpness, height * sharpness];
    const context = canvas.getContext("2d");
    context.scale(sharpness, sharpness);
    context.font = "12px sans-serif";
    drawBarOf(this, context, { left: margin, top: 0, length: width - 2 * margin, high: 14, step: 1 / sharpness, ink, unit: "" });
  }

  /** Move the crosshair along an axis by a number of voxels of the map. */
  step(axis, steps) {
    this.moveTo(this.place.with(axis, this.place[axis] + steps * this.packed.grid.step[axis]));
  }

  moveToPointer(axis, event) {
    const [across, up] = IN_PLANE[axis];
    const zoom = this.canvases[axis].clientWidth / this.shape[across];
    const place = [...this.place];
    place[across] = this.low[across] + Math.floor(event.offsetX / zoom);
    place[up] = this.low[up] + this.shape[up] - 1 - Math.floor(event.offsetY / zoom);
    this.moveTo(place);
  }

  moveByKey(axis, event) {
    const [across, up] = IN_PLANE[axis];
    const moves = {
      ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowDown: [up, -1], ArrowUp: [up, 1],
      PageDown: [axis, -1], PageUp: [axis, 1],
    };
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in moves) this.step(...moves[event.key]);
    else if (event.key === "Home") this.moveTo(this.map.place);
    else if (event.key === "+" || event.key === "=") this.moveThresholds(0.1);
    else if (event.key === "-") this.moveThresholds(-0.1);
    else return;
    event.preventDefault();
  }

  listen() {
    this.canvases.forEach((canvas, axis) => {
      canvas.style.aspectRatio = `${this.shape[IN_PLANE[axis][0]]} / ${this.shape[IN_PLANE[axis][1]]}`;
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        this.moveToPointer(axis, event);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (canvas.hasPointerCapture(event.pointerId)) this.moveToPointer(axis, event);
      });
      canvas.addEventListener("keydown", (event) => this.moveByKey(axis, event));
      // Without the focus on the slice, the wheel scrolls the page.
      canvas.addEventListener("wheel", (event) => {
        if (document.activeElement !== canvas || event.ctrlKey) return;
        this.step(axis, -Math.sign(event.deltaY));
        event.preventDefault();
      }, { passive: false });
      const slider = this.sliders[axis];
      [slider.min, slider.max] = [this.low[axis], this.low[axis] + this.shape[axis] - 1];
      slider.addEventListener("input", () => this.moveTo(this.place.with(axis, Number(slider.value))));
    });
    this.parts.reset.addEventListener("click", () => this.resetThresholds());
    for (const sign of SIGNS) {
      this.parts[`${sign}-threshold`].addEventListener("input", () => this.slideThreshold(sign));
      this.parts[sign].addEventListener("change", () => {
        this.shown[sign] = this.parts[sign].checked;
        this.redraw();
      });
    }
    new ResizeObserver(() => this.redraw()).observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }
}
