"use strict";
/* The reader's own notes on the components: a name, a verdict and a remark. The browser keeps them, separately for each
   run. They are exported and imported as the table that plot_components.labels reads. Both readers have the same rules
   and messages (own_names.py). */

const NOTE_FIELDS = ["name", "verdict", "remark"];
const NOTE_COLUMNS = ["component", ...NOTE_FIELDS, "peak"];
const VERDICTS = ["accept", "unsure", "reject"];
const ADVICE = "give a tab-separated table with the columns component and name, and optionally verdict, remark, peak";
const DIRECTIONS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+/g;
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g;
const FORMULA = /^'*[=+\-@]/;
/* Largest distance between the peak in a table and the peak in this run (LARGEST_SHIFT_MM in own_names.py). */
const LARGEST_SHIFT_MM = 20;
const TABLE_FIELD = /(?:^|\t)(?:"((?:[^"]|"")*)"(?=\t|$)|([^\t]*))/g;

/** Decode a file as the configuration does: UTF-8, or UTF-16 with a byte order mark. */
function decodeTable(buffer) {
  const bytes = new Uint8Array(buffer);
  const mark = `${bytes[0]},${bytes[1]}`;
  const encoding = { "255,254": "utf-16le", "254,255": "utf-16be" }[mark] ?? "utf-8";
  if (mark === "80,75") throw new Error("it is a workbook or a zip file, not text; save it as text with tabs");
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch {
    // Bytes that are no text: the message below says what to do.
  }
  throw new Error("it is not a text file in UTF-8; save it as UTF-8");
}

/** Write a cell without line breaks. An apostrophe keeps spreadsheets from running it as a formula. */
function toCell(text) {
  const plain = text.replace(CONTROL_CHARACTERS, " ").trim();
  const guarded = FORMULA.test(plain) ? `'${plain}` : plain;
  return guarded.includes('"') ? `"${guarded.replaceAll('"', '""')}"` : guarded || "n/a";
}

function fromCell(text) {
  const plain = text.replace(DIRECTIONS, "").replace(CONTROL_CHARACTERS, " ").trim();
  if (plain === "n/a") return "";
  return FORMULA.test(plain) && plain.startsWith("'") ? plain.slice(1) : plain;
}

/** Tell whether a text means this label: `ica_1`, `ICA 01` and `1` mean `ICA_01`. */
function meansLabel(label, written) {
  const digits = written.match(/^(?:ica)?[\s_-]*0*(\d+)$/i);
  return digits !== null && Number(digits[1]) === Number(label.split("_").at(-1));
}

/** Read x, y and z; null if the text is not three numbers. */
function readPlace(text) {
  const place = text.replaceAll("\u2212", "-").split(/[\s,;]+/).map((mm) => (mm ? Number(mm) : NaN));
  return place.length === 3 && place.every(Number.isFinite) ? place : null;
}

class Notes {
  /** `ofRun` contains the notes from plot_components.labels and the peak of each component. */
  constructor(run, ofRun, changed) {
    this.key = `cross-study-ica-notes-${run}`;
    this.ofRun = ofRun;
    this.changed = changed;
    this.isKept = true;
    let stored = {};
    try {
      stored = JSON.parse(localStorage.getItem(this.key) ?? "{}");
    } catch {
      this.isKept = false;
    }
    this.rows = new Map(Object.keys(ofRun).map((label) => [label, this.clean(stored[label] ?? ofRun[label])]));
  }

  clean(row) {
    return Object.fromEntries(NOTE_FIELDS.map((field) => [field, typeof row?.[field] === "string" ? row[field] : ""]));
  }

  get(label) {
    return this.rows.get(label);
  }

  isEmpty(label) {
    return NOTE_FIELDS.every((field) => !this.get(label)[field].trim());
  }

  count() {
    return [...this.rows.keys()].filter((label) => !this.isEmpty(label)).length;
  }

  set(label, row) {
    this.rows.set(label, this.clean(row));
    try {
      localStorage.setItem(this.key, JSON.stringify(Object.fromEntries(this.rows)));
      this.isKept = true;
    } catch {
      this.isKept = false;
    }
    this.changed(label);
  }

  toTable() {
    const lines = [...this.rows.keys()].filter((label) => !this.isEmpty(label)).map((label) => [
      label, ...NOTE_FIELDS.map((field) => toCell(this.get(label)[field])), this.ofRun[label].peak,
    ]);
    return `${[NOTE_COLUMNS, ...lines].map((line) => line.join("\t")).join("\n")}\n`;
  }

  /** Read a table of notes. If a line is wrong, throw an error that explains it, and change nothing. */
  fromTable(text) {
    const lines = text.replace(/^\ufeff/, "").split(/\r\n|\n|\r/).map((line, at) => [at + 1, line]).filter(([, line]) => line.trim());
    for (const [number, line] of lines) {
      if ([...line.matchAll(TABLE_FIELD)].some(([, quoted, plain]) => quoted === undefined && plain.startsWith('"') && plain.split('"').length % 2 === 0)) {
        throw new Error(`line ${number}: a quote is opened and not closed in the same field; remove it, or the line break within the cell`);
      }
    }
    const cellsOf = (line) => [...line.matchAll(TABLE_FIELD)].map(([, quoted, plain]) => fromCell(quoted?.replaceAll('""', '"') ?? plain));
    // Ignore the empty columns that spreadsheets write to the right of a table.
    const rows = lines.map(([number, line]) => [number, cellsOf(line)]);
    const width = Math.max(0, ...rows.map(([, cells]) => cells.findLastIndex((cell) => cell) + 1));
    if (!width) throw new Error(`the file is empty; ${ADVICE}`);
    const heading = rows[0][1].slice(0, width).map((cell) => cell.toLowerCase());
    for (const column of heading) {
      if (!NOTE_COLUMNS.includes(column)) throw new Error(`unknown column '${column.slice(0, 80)}'; ${ADVICE}`);
      if (heading.indexOf(column) !== heading.lastIndexOf(column)) throw new Error(`two columns are called ${column}; keep one`);
    }
    const missing = ["component", "name"].filter((column) => !heading.includes(column));
    if (missing.length) throw new Error(`the column ${missing.join(" and ")} is missing; ${ADVICE}`);
    const found = new Map();
    for (const [number, all] of rows.slice(1)) {
      const cells = all.slice(0, width);
      if (cells.length !== heading.length) {
        throw new Error(`line ${number} has ${cells.length} column${cells.length === 1 ? "" : "s"}, but the first line has ${heading.length}: ${cells.join(" | ").slice(0, 80)}`);
      }
      const row = Object.fromEntries(heading.map((column, at) => [column, cells[at]]));
      const { component } = row;
      if (!this.rows.has(component)) {
        const labels = [...this.rows.keys()];
        const near = labels.find((label) => meansLabel(label, component));
        throw new Error(`line ${number}: there is no component '${component.slice(0, 80)}'; ${near ? `did you mean ${near}?` : `this run has ${labels[0]} to ${labels.at(-1)}`}`);
      }
      if (found.has(component)) throw new Error(`line ${number}: ${component} has two lines; keep one`);
      const verdict = row.verdict?.toLowerCase();
      if (verdict && !VERDICTS.includes(verdict)) throw new Error(`line ${number}: the verdict '${row.verdict.slice(0, 80)}' is not one of ${[...VERDICTS].sort().join(", ")}`);
      if (row.peak) this.checkPeak(number, component, row.peak);
      found.set(component, { ...row, verdict });
    }
    for (const [label, row] of found) this.set(label, row);
    return found.size;
  }

  /** Refuse the peak of a component of another run. */
  checkPeak(number, label, text) {
    const [then, now] = [readPlace(text), readPlace(this.ofRun[label].peak)];
    if (!then) throw new Error(`line ${number}: the peak '${text.slice(0, 80)}' is not three numbers; write x, y and z in mm: 42 -22 54`);
    if (now && Math.hypot(...then.map((mm, axis) => mm - now[axis])) > LARGEST_SHIFT_MM) {
      throw new Error(`line ${number}: ${label} had its peak at ${text.slice(0, 40)} mm, but in this run it is at ${this.ofRun[label].peak} mm; the notes belong to another run`);
    }
  }
}

/** Show the note on a component in its fields, beside its names and on its card. */
function showNote(notes, label) {
  const note = notes.get(label);
  for (const place of document.querySelectorAll(`.mine[data-mine="${label}"]`)) {
    // With plot_components.labels, the component already has this name.
    const isGiven = place.nextElementSibling.textContent.trim() === note.name.trim();
    place.textContent = isGiven ? "" : note.name.trim();
  }
  const card = document.querySelector(`#gallery > li[data-component="${label}"]`);
  card.dataset.verdict = note.verdict ? VERDICTS.indexOf(note.verdict) : "";
  card.querySelector(".verdict").textContent = note.verdict;
  const article = document.getElementById(label);
  for (const field of NOTE_FIELDS) {
    const input = article.querySelector(`[data-note="${field}"]`);
    if (input.value !== note[field]) input.value = note[field];
  }
  // For paper. The page already has the verdict and the remark from plot_components.labels.
  const given = notes.clean(notes.ofRun[label]);
  const written = ["verdict", "remark"].filter((field) => note[field].trim() && note[field].trim() !== given[field].trim());
  article.querySelector(".noted").textContent = written.map((field) => `${field === "verdict" ? "Verdict" : "Remark"}: ${note[field].trim()}`).join(". ");
  const kept = notes.isKept ? "Kept in this browser." : "This browser cannot keep notes: export them before you close the page.";
  article.querySelector(".kept").textContent = notes.isEmpty(label) ? "" : kept;
  const count = notes.count();
  document.getElementById("noted").textContent = count ? `${count} of ${notes.rows.size} components` : "none";
}

function listenToNotes(notes) {
  for (const article of document.querySelectorAll("article.component")) {
    const inputs = [...article.querySelectorAll("[data-note]")];
    for (const input of inputs) {
      input.addEventListener("input", () => {
        notes.set(article.id, Object.fromEntries(inputs.map((one) => [one.dataset.note, one.value])));
      });
    }
  }
  const said = document.getElementById("imported");
  document.getElementById("export-notes").addEventListener("click", () => {
    if (!notes.count()) {
      said.textContent = "There are no notes yet. Open a component to write some.";
      return;
    }
    save(new Blob([notes.toTable()], { type: "text/tab-separated-values" }), "component_notes.tsv");
    said.textContent = "Set plot_components.labels to this file to show your names in the figures.";
  });
  document.getElementById("import-notes").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    try {
      const count = notes.fromTable(decodeTable(await file.arrayBuffer()));
      said.textContent = `Imported notes on ${count} component${count === 1 ? "" : "s"}.`;
    } catch (error) {
      said.textContent = `Nothing imported from ${file.name}: ${error.message}.`;
    }
    event.target.value = "";
  });
}
