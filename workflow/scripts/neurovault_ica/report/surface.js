"use strict";
/* The cortical surface of a component, which the reader can turn. The map is sampled from the volume of the slices
   (viewer.js), so values, thresholds and colours are the same. The azimuth is the direction from which the reader looks:
   0 degrees from the right of the brain, 90 from the front. */

const TURNS = {
  "left-lateral": ["left, lateral", ["left"], 180, 0], "left-medial": ["left, medial", ["left"], 0, 0],
  "right-medial": ["right, medial", ["right"], 180, 0], "right-lateral": ["right, lateral", ["right"], 0, 0],
  top: ["from above", ["left", "right"], -90, 90], front: ["from the front", ["left", "right"], 90, 0],
  back: ["from behind", ["left", "right"], -90, 0], below: ["from below", ["left", "right"], 90, -90],
};
/* Length and height of the picture. An inflated hemisphere is 216 mm long and 147 mm high; two are drawn side by side. */
const PICTURE_MM = [226, 156];
const HALF_WIDTH_MM = 43;
const MARGIN_MM = 4;
/* Both hemispheres from above fill the height of the picture, so each has about half of the area of a single one. */
const AREA_OF_BOTH = 0.5;
const DEGREES_PER_PIXEL = 0.5;
const DEGREES_PER_KEY = 10;
/* Arrow keys with Shift move a magnified surface by this number of pixels for each degree that they turn without it. */
const PIXELS_PER_DEGREE = 3;
const ZOOM_STEP = 1.2;
const MOST_ZOOM = 6;
/* Largest number of pixels of the picture. Up to it, a picture at rest has at least two pixels per pixel of the page along
   each axis, so that edges are smooth. */
const MOST_PIXELS = 1.5e6;
/* The crosshair is marked on the surface if a vertex is at most this far away. */
const NEAR_MM = 6;
/* A pointer that moved by less than this has clicked, not dragged. */
const CLICK_PIXELS = 4;

/** Return unit vectors: to the reader, to the right of the picture, and up. */
function directions(azimuth, elevation) {
  const [a, e] = [azimuth, elevation].map((degrees) => (degrees * Math.PI) / 180);
  const [sa, ca, se, ce] = [Math.sin(a), Math.cos(a), Math.sin(e), Math.cos(e)];
  return { towards: [ce * ca, ce * sa, se], right: [-sa, ca, 0], up: [-se * ca, -se * sa, ce] };
}

class Surface {
  constructor(element, packed, viewer) {
    Object.assign(this, { element, packed, viewer, isVisible: false, view: null });
    this.parts = Object.fromEntries([...element.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
    this.canvas = this.parts.surface;
    this.buttons = [...element.querySelectorAll("button[data-turn]")];
    this.listen();
  }

  prepare() {
    this.prepared ??= Meshes.unpack(this.packed).then((meshes) => {
      this.meshes = meshes;
      this.share = meshes.shareInMask(this.viewer.packed.grid, this.viewer.mask);
    });
    return this.prepared;
  }

  /** Draw in the next animation frame, if the surface is visible. */
  redraw() {
    if (!this.isVisible || this.asked || !this.viewer.map) return;
    this.asked = requestAnimationFrame(async () => {
      try {
        await this.prepare();
        this.asked = 0;
        this.draw();
      } catch (error) {
        console.error(error);
        document.documentElement.classList.add("no-surface");
      }
    });
  }

  /** Sample the map, and hide vertices that belong to small clusters (`show_on_cortex` in surfaces.py). */
  update() {
    const { map, strong, thresholds, values } = this.viewer;
    const { grid } = this.viewer.packed;
    if (this.sampled !== values) {
      this.values = this.meshes.sample(grid, values, this.share);
      this.sampled = values;
      this.state = null;
    }
    const { positive, negative } = thresholds;
    const state = [map.label, positive, negative].join(" ");
    if (this.state === state) return;
    [this.state, this.map] = [state, map];
    this.shown = new Uint8Array(this.meshes.count);
    this.drawn = new Float32Array(this.meshes.count);
    for (let v = 0; v < this.meshes.count; v += 1) {
      const value = this.values[v];
      if (value >= positive || value <= -negative) {
        this.meshes.forSamples(grid, v, (voxel) => {
          const one = strong[voxel];
          if (one !== 0 && (one >= positive || one <= -negative)) this.shown[v] = 1;
        });
      }
      const { below } = this.packed;
      this.drawn[v] = this.shown[v] ? value : Math.min(Math.max(value || 0, -below * negative), below * positive);
    }
    this.writeNote();
    if (!this.isTurned) this.setView(this.bestView());
  }

  /** Write what the surface cannot show (`OnCortex.note` in surfaces.py). */
  writeNote() {
    const { cortex, count } = this.meshes;
    let [shown, outside, all] = [0, 0, 0];
    for (let v = 0; v < count; v += 1) {
      shown += this.shown[v];
      all += cortex[v];
      outside += cortex[v] && Number.isNaN(this.values[v]) ? 1 : 0;
    }
    const notes = [];
    if (shown / count < this.packed.least_on_cortex) notes.push(`${shown ? "Hardly any" : "No"} part of the cortex reaches the threshold; see the glass brain.`);
    if (outside / all >= this.packed.least_noted) notes.push(`${((100 * outside) / all).toFixed(0)} % of the cortex is outside the mask (pale).`);
    this.parts.note.textContent = notes.join(" ");
  }

  /** Return the view that shows most of the map: the largest sum of absolute values, weighted by visible area. */
  bestView() {
    const { count, half, normals } = this.meshes;
    let [best, most] = ["left-lateral", 0];
    for (const [name, [, sides, azimuth, elevation]] of Object.entries(TURNS)) {
      const { towards } = directions(azimuth, elevation);
      let seen = 0;
      for (let v = sides[0] === "left" ? 0 : half; v < (sides.at(-1) === "left" ? half : count); v += 1) {
        if (!this.shown[v]) continue;
        const facing = [0, 1, 2].reduce((sum, axis) => sum + towards[axis] * normals[axis * count + v], 0);
        seen += Math.max(0, facing) * Math.abs(this.values[v]);
      }
      if (sides.length === 2) seen *= AREA_OF_BOTH;
      if (seen > most) [best, most] = [name, seen];
    }
    return best;
  }

  setView(name) {
    const [said, sides, azimuth, elevation] = TURNS[name];
    Object.assign(this, { view: name, said, sides, azimuth, elevation, zoom: 1, slid: [0, 0] });
    this.redraw();
  }

  /** Return to the view that shows most of the map. */
  reset() {
    this.isTurned = false;
    this.setView(this.bestView());
  }

  /** Turn by degrees, in the direction in which the pointer moves. */
  turn(right, down) {
    this.isTurned = true;
    this.view = null;
    this.azimuth -= right;
    this.elevation = Math.min(Math.max(this.elevation + down, -90), 90);
    this.said = `${this.sides.length === 2 ? "both hemispheres" : `${this.sides[0]} hemisphere`}, turned`;
    this.redraw();
  }

  /** Zoom by a factor. The place under the pointer (pixels of the page from the middle of the picture) stays there. */
  magnify(factor, pointer = [0, 0]) {
    const before = this.zoom;
    this.zoom = Math.min(Math.max(before * factor, 1), MOST_ZOOM);
    this.slide(pointer, 1 / this.zoom - 1 / before);
  }

  /** Move a magnified surface with the pointer, by pixels of the page. */
  move(right, down) {
    this.slide([right, down], 1 / this.zoom);
  }

  /** Move the surface by a share of pixels. Its ends stay within the picture. */
  slide([right, down], share) {
    if (!this.size) return;
    const perMm = (this.fit * this.canvas.clientWidth) / this.size[0];
    [right, -down].forEach((pixels, axis) => {
      const most = (PICTURE_MM[axis] / 2) * (1 - 1 / this.zoom);
      this.slid[axis] = Math.min(Math.max(this.slid[axis] + (pixels * share) / perMm, -most), most);
    });
    this.isTurned = true;
    this.redraw();
  }

  /** Project a point of the inflated surface (mm) to pixels across and down, and to mm towards the reader. */
  project(place) {
    const { towards, right, up } = this.seen;
    const dot = (one) => one[0] * place[0] + one[1] * place[1] + one[2] * place[2];
    const [x, y] = [dot(right) + this.slid[0], dot(up) + this.slid[1]];
    return [this.size[0] / 2 + this.scale * x, this.size[1] / 2 - this.scale * y, dot(towards)];
  }

  /** Return by how many mm a hemisphere is moved to the right. */
  shift(side) {
    if (this.sides.length === 1) return 0;
    return side === "left" ? -HALF_WIDTH_MM : HALF_WIDTH_MM;
  }

  /** Find the triangle of each pixel, unless the surface has not moved. */
  rasterize(width, height) {
    const key = [width, height, this.azimuth, this.elevation, this.zoom, ...this.slid, ...this.sides].join(" ");
    if (this.key === key) return;
    this.key = key;
    const { count, half, inflated } = this.meshes;
    const { unit } = this.packed;
    this.seen = directions(this.azimuth, this.elevation);
    this.size = [width, height];
    const [x, y, z] = [0, 1, 2].map(() => new Float32Array(count));
    const { towards, right, up } = this.seen;
    let highest = PICTURE_MM[1] / 2;
    for (const side of this.sides) {
      const first = side === "left" ? 0 : half;
      const shift = this.shift(side);
      for (let v = first; v < first + half; v += 1) {
        const px = inflated[v] * unit + shift;
        const py = inflated[count + v] * unit;
        const pz = inflated[2 * count + v] * unit;
        x[v] = right[0] * px + right[1] * py + right[2] * pz;
        y[v] = up[0] * px + up[1] * py + up[2] * pz;
        z[v] = towards[0] * px + towards[1] * py + towards[2] * pz;
        highest = Math.max(highest, Math.abs(y[v]) + MARGIN_MM);
      }
    }
    this.fit = Math.min(width / PICTURE_MM[0], height / 2 / highest);
    this.scale = this.zoom * this.fit;
    for (let v = 0; v < count; v += 1) {
      x[v] = width / 2 + this.scale * (x[v] + this.slid[0]);
      y[v] = height / 2 - this.scale * (y[v] + this.slid[1]);
    }
    this.picture = new Picture(width, height);
    for (const side of this.sides) this.picture.draw(this.meshes.faces, side === "left" ? 0 : half, [x, y, z]);
  }

  /** Return the vertices of a triangle. Triangles of the right hemisphere are numbered after those of the left one. */
  corners(triangle) {
    const { faces, half } = this.meshes;
    const [first, f] = triangle < faces.length ? [0, triangle] : [half, triangle - faces.length];
    return [faces[f] + first, faces[f + 1] + first, faces[f + 2] + first];
  }

  /** Colour the pixels, transparent around the brain. Values are interpolated before they are coloured. */
  paint() {
    const { width, height, triangles, second, third } = this.picture;
    const { count, depth, faces, half, normals } = this.meshes;
    const { drawn, share, seen, viewer } = this;
    const { greys, least_share: least } = this.packed;
    const { positive, negative } = viewer.thresholds;
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const light = new Float32Array(count);
    for (let v = 0; v < count; v += 1) {
      const facing = normals[v] * seen.towards[0] + normals[count + v] * seen.towards[1] + normals[2 * count + v] * seen.towards[2];
      light[v] = 0.7 + 0.3 * Math.max(facing, 0);
    }
    for (let at = 0; at < pixels.length; at += 1) {
      const triangle = triangles[at];
      if (triangle < 0) continue;
      const first = triangle < faces.length ? 0 : half;
      const f = triangle < faces.length ? triangle : triangle - faces.length;
      const a = faces[f] + first;
      const b = faces[f + 1] + first;
      const c = faces[f + 2] + first;
      const w = third[at];
      const v = second[at];
      const u = 1 - v - w;
      const value = u * drawn[a] + v * drawn[b] + w * drawn[c];
      const colour = value >= positive || value <= -negative ? viewer.colourOf(value) : null;
      if (colour) {
        pixels[at] = 0xff000000 | (colour[2] << 16) | (colour[1] << 8) | colour[0];
        continue;
      }
      let grey = u * depth[a] + v * depth[b] + w * depth[c] > 0 ? greys.sulcus : greys.gyrus;
      if (u * share[a] + v * share[b] + w * share[c] < least) grey = greys.no_data;
      grey = Math.round(grey * (u * light[a] + v * light[b] + w * light[c]));
      pixels[at] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    return image;
  }

  draw() {
    // The slices have not been drawn yet. They call `redraw` afterwards.
    if (!this.viewer.strong) return;
    this.update();
    const sharpness = window.devicePixelRatio || 1;
    const [columns, rows] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!columns || !rows) return;
    const ratio = Math.min(this.isDragged ? 1 : Math.max(sharpness, 2), Math.sqrt(MOST_PIXELS / (columns * rows)));
    this.rasterize(Math.round(columns * ratio), Math.round(rows * ratio));
    [this.canvas.width, this.canvas.height] = this.size;
    const context = this.canvas.getContext("2d");
    // If only the crosshair has moved, keep the colours.
    const look = [this.key, this.state, ...SIGNS.map((sign) => this.viewer.shown[sign])].join(" ");
    if (this.look !== look) this.image = this.paint();
    this.look = look;
    context.putImageData(this.image, 0, 0);
    this.drawLetters(context, ratio);
    this.drawMark(context, ratio);
    // Write only real changes, because screen readers read each one aloud.
    if (this.parts.said.textContent !== this.said) this.parts.said.textContent = this.said;
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.turn === this.view));
    this.element.dataset.component = this.map.label;
  }

  /** Write L and R beside the hemispheres if both are visible side by side, otherwise in a corner. */
  drawLetters(context, ratio) {
    context.fillStyle = getComputedStyle(this.element).color;
    context.font = `${13 * ratio}px sans-serif`;
    context.textBaseline = "top";
    const apart = this.sides.length === 2 ? Math.sign(Math.round(10 * this.seen.right[0])) : 0;
    const [left, right] = apart > 0 ? ["L", "R"] : apart < 0 ? ["R", "L"] : [this.sides.map((side) => side[0].toUpperCase()).join(" "), ""];
    context.fillText(left, 3 * ratio, 3 * ratio);
    context.fillText(right, this.size[0] - 14 * ratio, 3 * ratio);
  }

  /** Mark the vertex nearest to the crosshair, if it is near and not hidden. */
  drawMark(context, ratio) {
    const { count, half, inflated } = this.meshes;
    let [best, least] = [-1, NEAR_MM ** 2];
    for (let v = 0; v < count; v += 1) {
      let distance = 0;
      for (let axis = 0; axis < 3 && distance < least; axis += 1) {
        const middle = (this.mm(this.meshes.pial, axis, v) + this.mm(this.meshes.white, axis, v)) / 2;
        distance += (middle - this.viewer.place[axis]) ** 2;
      }
      if (distance < least) [best, least] = [v, distance];
    }
    const side = best < half ? "left" : "right";
    if (best < 0 || !this.sides.includes(side)) return;
    const place = [0, 1, 2].map((axis) => this.mm(inflated, axis, best));
    place[0] += this.shift(side);
    const [x, y, z] = this.project(place);
    const at = Math.floor(y) * this.size[0] + Math.floor(x);
    if (!(z > this.picture.depths[at] - 3)) return;
    context.beginPath();
    context.arc(x, y, 5 * ratio, 0, 2 * Math.PI);
    context.lineWidth = 4 * ratio;
    context.strokeStyle = "#fff";
    context.stroke();
    context.lineWidth = 2 * ratio;
    context.strokeStyle = CROSSHAIR_COLOUR;
    context.stroke();
  }

  mm(points, axis, vertex) {
    return this.meshes.mm(points, axis, vertex);
  }

  /** Return the vertex under a pointer, or -1. */
  vertexAt(event) {
    const [x, y] = [event.offsetX / this.canvas.clientWidth, event.offsetY / this.canvas.clientHeight];
    const at = Math.floor(y * this.size[1]) * this.size[0] + Math.floor(x * this.size[0]);
    const triangle = this.picture.triangles[at] ?? -1;
    if (triangle < 0) return -1;
    const weights = [1 - this.picture.second[at] - this.picture.third[at], this.picture.second[at], this.picture.third[at]];
    return this.corners(triangle)[weights.indexOf(Math.max(...weights))];
  }

  /** Draw the surface on white, with its view and colour scale, for a file. */
  drawView() {
    this.draw();
    const [width, foot] = [PICTURE_MM[0] * PIXELS_PER_MM, FOOT_MM * PIXELS_PER_MM];
    const height = Math.round((width * this.size[1]) / this.size[0]);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height + foot];
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height + foot);
    const small = document.createElement("canvas");
    [small.width, small.height] = this.size;
    small.getContext("2d").putImageData(this.image, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, width, height);
    context.scale(PIXELS_PER_MM, PIXELS_PER_MM);
    context.fillStyle = "#000";
    context.font = "7px sans-serif";
    context.textBaseline = "top";
    const top = height / PIXELS_PER_MM;
    const said = [`${this.map.label} ${nameOf(this.map.label)}`, this.said, [shownLimits(this.viewer), shownClusters(this.viewer)].filter(Boolean).join(", ")];
    said.forEach((line, order) => context.fillText(line, 2, top + 2 + 8 * order, width / PIXELS_PER_MM - BAR_MM - 30));
    drawScale(context, this.viewer, width / PIXELS_PER_MM - BAR_MM - 18, top + 8);
    return canvas;
  }

  turnByKey(event) {
    const turns = {
      ArrowLeft: [-DEGREES_PER_KEY, 0], ArrowRight: [DEGREES_PER_KEY, 0],
      ArrowUp: [0, -DEGREES_PER_KEY], ArrowDown: [0, DEGREES_PER_KEY],
    };
    if (event.altKey || event.ctrlKey || event.metaKey || !this.meshes) return;
    if (event.key in turns && event.shiftKey) this.move(...turns[event.key].map((degrees) => degrees * PIXELS_PER_DEGREE));
    else if (event.key in turns) this.turn(...turns[event.key]);
    else if (event.key === "+" || event.key === "=") this.magnify(ZOOM_STEP);
    else if (event.key === "-") this.magnify(1 / ZOOM_STEP);
    else if (event.key === "Home") this.reset();
    else return;
    event.preventDefault();
  }

  listen() {
    const { canvas } = this;
    canvas.style.aspectRatio = PICTURE_MM.join(" / ");
    // The pointers that are down, and how the surface was before the first of them.
    const pointers = new Map();
    let from = null;
    const gauge = () => {
      const [[x, y], [otherX, otherY] = [x, y]] = pointers.values();
      return { middle: [(x + otherX) / 2, (y + otherY) / 2], distance: Math.hypot(x - otherX, y - otherY) || 1 };
    };
    const drop = () => {
      pointers.clear();
      from = null;
      this.isDragged = false;
      this.redraw();
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.meshes || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      const { view, said, azimuth, elevation, zoom, isTurned, slid } = this;
      from ??= { moved: 0, before: { view, said, azimuth, elevation, zoom, isTurned, slid: [...slid] } };
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      if (pointers.size > 1) from.moved = CLICK_PIXELS;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      const before = gauge();
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      const after = gauge();
      const [right, down] = after.middle.map((pixels, axis) => pixels - before.middle[axis]);
      from.moved += Math.hypot(right, down);
      this.isDragged = from.moved >= CLICK_PIXELS;
      if (pointers.size > 1) {
        const box = canvas.getBoundingClientRect();
        this.magnify(after.distance / before.distance, [before.middle[0] - box.x - box.width / 2, before.middle[1] - box.y - box.height / 2]);
        this.move(right, down);
      } else if (this.isDragged && event.shiftKey) this.move(right, down);
      else if (this.isDragged) this.turn((right * DEGREES_PER_PIXEL) / this.zoom, (down * DEGREES_PER_PIXEL) / this.zoom);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!pointers.delete(event.pointerId) || pointers.size) return;
      const vertex = from.moved < CLICK_PIXELS ? this.vertexAt(event) : -1;
      drop();
      if (vertex >= 0) this.viewer.moveTo(this.meshes.middle(vertex).map(Math.round));
    });
    // Two fingers move and zoom the surface, so they must not scroll or zoom the page.
    for (const kind of ["touchstart", "touchmove"]) {
      canvas.addEventListener(kind, (event) => {
        if (event.touches.length > 1 && event.cancelable) event.preventDefault();
      }, { passive: false });
    }
    // If a finger scrolls the page, the browser cancels the pointer. Undo the turn.
    canvas.addEventListener("pointercancel", () => {
      if (from) Object.assign(this, from.before);
      drop();
    });
    canvas.addEventListener("keydown", (event) => this.turnByKey(event));
    // Without the focus on the surface, the wheel scrolls the page.
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas || event.ctrlKey || !this.meshes) return;
      const middle = [canvas.clientWidth / 2, canvas.clientHeight / 2];
      this.magnify(event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP, [event.offsetX - middle[0], event.offsetY - middle[1]]);
      event.preventDefault();
    }, { passive: false });
    for (const button of this.buttons) {
      button.addEventListener("click", () => {
        this.isTurned = true;
        this.setView(button.dataset.turn);
      });
    }
    const ways = {
      "zoom-in": () => this.magnify(ZOOM_STEP ** 2), "zoom-out": () => this.magnify(1 / ZOOM_STEP ** 2), "reset-view": () => this.reset(),
    };
    for (const [part, way] of Object.entries(ways)) this.parts[part].addEventListener("click", () => this.meshes && way());
    this.parts["save-surface"].addEventListener("click", () => {
      if (this.map) this.drawView().toBlob((blob) => save(blob, `${this.map.label}_surface_view.png`));
    });
    new IntersectionObserver((entries) => {
      this.isVisible = entries.at(-1).isIntersecting;
      this.redraw();
    }).observe(canvas);
    new ResizeObserver(() => this.redraw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.viewer.followers.push(() => this.redraw());
  }
}
