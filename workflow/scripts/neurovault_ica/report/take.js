"use strict";
/* What a reader takes from the page: copy lines, save the view as PNG and the map as NIfTI. Also find out whether the
   files to which the page links exist. */

const PIXELS_PER_MM = 4;
const GAP_MM = 6;
const FOOT_MM = 26;
const BAR_MM = 90;
const NIFTI_HEADER = 352;
const INT8 = 256;
const MNI152 = 4;
const MM = 2;

/** Offer data as a file to save. */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Copy text. Pages from a server without https must not use the clipboard directly. */
async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Some browsers refuse, so use the older way below.
    }
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

/** Return the text of an element as a person would copy it, even if it is hidden. */
function plainText(element) {
  if (element.tagName === "PRE") return element.textContent;
  const blocks = [...element.querySelectorAll("h3, p, li")];
  return blocks.map((block) => block.textContent.replace(/\s+/g, " ").trim()).join("\n\n");
}

/** Draw the three slices of the viewer on white, with positions, sides and the scale. */
function drawView(viewer) {
  viewer.draw();
  const sizes = [0, 1, 2].map((axis) => IN_PLANE[axis].map((other) => viewer.shape[other]));
  const width = sizes.reduce((sum, [columns]) => sum + columns, 0) + 2 * GAP_MM;
  const height = Math.max(...sizes.map(([, rows]) => rows));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width * PIXELS_PER_MM, (height + FOOT_MM) * PIXELS_PER_MM];
  const context = canvas.getContext("2d");
  context.scale(PIXELS_PER_MM, PIXELS_PER_MM);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height + FOOT_MM);
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#000";
  context.font = "7px sans-serif";
  context.textBaseline = "top";
  let left = 0;
  sizes.forEach(([columns, rows], axis) => {
    const small = document.createElement("canvas");
    [small.width, small.height] = [columns, rows];
    small.getContext("2d").putImageData(viewer.paint(axis), 0, 0);
    context.save();
    context.translate(left, height - rows);
    context.drawImage(small, 0, 0);
    const [across, up] = IN_PLANE[axis];
    const place = [viewer.place[across] - viewer.low[across] + 0.5, rows - (viewer.place[up] - viewer.low[up] + 0.5)];
    viewer.drawCrosshair(context, place, [columns, rows], PIXELS_PER_MM);
    if (axis > 0) {
      context.fillText("L", 1, 1);
      context.fillText("R", columns - 6, 1);
    }
    context.restore();
    context.fillText(`${"xyz"[axis]} = ${written(viewer.place[axis], 0)} mm`, left + 2, height + 3);
    left += columns + GAP_MM;
  });
  const limits = [shownLimits(viewer), shownClusters(viewer)].filter(Boolean).join(", ");
  context.fillText(`${viewer.map.label} ${nameOf(viewer.map.label)}: ${limits}`, 2, height + 15, width - BAR_MM - 30);
  drawScale(context, viewer, width - BAR_MM - 18, height + 12);
  return canvas;
}

/** Describe which clusters the viewer shows; empty if it shows all. */
function shownClusters(viewer) {
  const { min_cluster_mm3: least } = viewer.packed;
  return least > 0 ? `clusters ≥ ${least} mm³` : "";
}

/** Describe which values the viewer shows. */
function shownLimits(viewer) {
  const { positive, negative } = viewer.thresholds;
  const shown = SIGNS.filter((sign) => viewer.shown[sign]);
  const limits = shown.map((sign) => (sign === "positive" ? `≥ ${written(positive, 2)}` : `≤ ${written(-negative, 2)}`));
  return limits.length ? `${limits.join(", ")} SD` : "no values shown";
}

/** Draw the colour bar of the viewer with its ends in standard deviations, for a file. */
function drawScale(context, viewer, left, top) {
  drawBarOf(viewer, context, { left, top, length: BAR_MM, high: 5, step: 1 / PIXELS_PER_MM, ink: "#000", unit: "SD" });
}

/** Write the map that the viewer shows as a NIfTI-1 file with signed bytes and a scale factor. */
function makeNifti(viewer) {
  const { grid } = viewer.packed;
  const [nx, ny, nz] = grid.shape;
  const view = new DataView(new ArrayBuffer(NIFTI_HEADER + nx * ny * nz));
  const put16 = (at, ...values) => values.forEach((value, k) => view.setInt16(at + 2 * k, value, true));
  const put32 = (at, ...values) => values.forEach((value, k) => view.setFloat32(at + 4 * k, value, true));
  view.setInt32(0, 348, true);
  put16(40, 3, nx, ny, nz, 1, 1, 1, 1);
  put16(70, INT8, 8);
  put32(76, 1, ...grid.step, 0, 0, 0, 0);
  put32(108, NIFTI_HEADER, viewer.map.unit, 0);
  view.setUint8(123, MM);
  put32(124, viewer.map.brightest, 0);
  const about = new TextEncoder().encode(`${viewer.map.label}, 8 bits, unit variance over the mask`);
  new Uint8Array(view.buffer, 148, 79).set(about.slice(0, 79));
  put16(252, MNI152, MNI152);
  put32(268, ...grid.origin);
  put32(280, grid.step[0], 0, 0, grid.origin[0], 0, grid.step[1], 0, grid.origin[1], 0, 0, grid.step[2], grid.origin[2]);
  new Uint8Array(view.buffer, 344, 4).set([0x6e, 0x2b, 0x31, 0]);
  for (let i = 0, at = NIFTI_HEADER; i < nz; i += 1) {
    for (let j = 0; j < ny; j += 1) {
      for (let k = 0; k < nx; k += 1, at += 1) {
        view.setInt8(at, Math.round(viewer.values[(k * ny + j) * nz + i] / viewer.map.unit));
      }
    }
  }
  return view.buffer;
}

async function saveNifti(viewer) {
  const stream = new Blob([makeNifti(viewer)]).stream().pipeThrough(new CompressionStream("gzip"));
  save(await new Response(stream).blob(), `${viewer.map.label}.nii.gz`);
}

function listenToTools(viewerOf) {
  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const done = await copyText(plainText(document.getElementById(button.dataset.copies)));
      button.parentElement.querySelector("output").textContent = done ? "Copied." : "Not copied, because this browser does not allow it. Select the text and copy it.";
    });
  }
  const ways = [
    ["save-view", (viewer) => drawView(viewer).toBlob((blob) => save(blob, `${viewer.map.label}_view.png`))], ["save-map", saveNifti],
  ];
  for (const [name, way] of ways) {
    for (const button of document.querySelectorAll(`button.${name}`)) {
      button.addEventListener("click", () => viewerOf()?.map && way(viewerOf()));
    }
  }
}

/** Try to load a picture of the run. If it is missing, disable the links to files and show a message. */
function probeFiles() {
  const image = new Image();
  image.addEventListener("error", () => {
    document.querySelector("p.alone").hidden = false;
    for (const link of document.querySelectorAll("a.table, a.file")) {
      link.removeAttribute("href");
      link.setAttribute("aria-disabled", "true");
      link.title = "This file is not beside the page.";
    }
  });
  image.src = document.documentElement.dataset.probe;
}
