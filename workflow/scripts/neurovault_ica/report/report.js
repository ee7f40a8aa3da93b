"use strict";
/* Show one component at a time; sort and filter the gallery and the tables. Text from the archive is only compared and
   never becomes markup. */

document.documentElement.classList.add("js");

const page = { viewer: null, scrolled: 0, title: document.title };

function readJson(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** Compare two values: as numbers if both are, otherwise as texts, with sub-9 before sub-10. Missing values come last. */
function compare(first, second, direction) {
  if (first === second) return 0;
  if (first === "") return 1;
  if (second === "") return -1;
  const [one, other] = [Number(first), Number(second)];
  const order = Number.isNaN(one) || Number.isNaN(other) ? first.localeCompare(second, undefined, {numeric: true}) : one - other;
  return direction * order;
}

function cards() {
  return [...document.querySelectorAll("#gallery > li")];
}

function sortGallery() {
  const { value, selectedOptions: [option] } = document.getElementById("sort");
  const direction = option.dataset.direction === "up" ? 1 : -1;
  const ordered = cards().sort((one, other) => (
    compare(one.dataset[value], other.dataset[value], direction) || compare(one.dataset.component, other.dataset.component, 1)
  ));
  document.getElementById("gallery").append(...ordered);
}

/** Show the components that match the search, strongest evidence first, each with its best match. */
function filterGallery() {
  const query = document.getElementById("search").value.trim();
  const all = cards();
  if (!query) sortGallery();
  const found = new Map(all.map((card) => [card, query ? page.search.match(card.dataset.component, query) : null]));
  for (const [card, match] of found) {
    card.hidden = Boolean(query) && match === null;
    const place = card.querySelector(".found");
    place.hidden = match === null;
    if (match === null) continue;
    const [kind, text, evidence] = ["span", "bdi", "span"].map((tag) => document.createElement(tag));
    kind.textContent = `${match.row.kind}: `;
    highlight(text, match.row.text, query);
    evidence.textContent = match.row.evidence ? ` (${match.row.evidence})` : "";
    place.replaceChildren(kind, text, evidence);
  }
  const shown = all.filter((card) => !card.hidden);
  if (query) {
    shown.sort((one, other) => found.get(one).rank - found.get(other).rank);
    document.getElementById("gallery").append(...shown);
  }
  const strong = shown.filter((card) => found.get(card)?.row.tier <= LAST_SIGNIFICANT_TIER).length;
  const said = shown.length ? `${shown.length} of ${all.length} shown, strongest evidence first; ${strong} by name or significant evidence` : "No component matches.";
  document.getElementById("shown").textContent = query ? said : "";
}

function openFirst(event) {
  const first = cards().find((card) => !card.hidden);
  if (event.key === "Enter" && first) location.hash = `#${first.dataset.component}`;
}

/** Sort a table by the column of this header. A second call reverses the order. */
function sortTable(header) {
  const table = header.closest("table");
  const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const valueOf = (row) => row.cells[header.cellIndex].dataset.value ?? row.cells[header.cellIndex].textContent.trim();
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row), row]);
  rows.sort(([one], [other]) => compare(one, other, direction));
  table.tBodies[0].append(...rows.map(([, row]) => row));
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
}

function filterTable(field) {
  const rows = [...document.getElementById(field.dataset.filters).tBodies[0].rows];
  const query = field.value.trim();
  rows.forEach((row) => { row.hidden = !matches(row.textContent.toLowerCase(), query); });
  const shown = rows.filter((row) => !row.hidden).length;
  field.nextElementSibling.textContent = query ? `${shown} of ${rows.length} rows` : "";
}

function makeTablesSortable() {
  for (const header of document.querySelectorAll("table.sortable thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortTable(header));
    header.append(button);
  }
  for (const field of document.querySelectorAll("input[data-filters]")) {
    field.addEventListener("input", () => filterTable(field));
  }
}

/** Show slices, surfaces or glass brains in the gallery. */
function choosePictures() {
  document.getElementById("gallery").dataset.pictures = document.getElementById("pictures").value;
}

/** Move the surface into an article, beside its glass brain. If the surface fails, the static figure stays. */
function showSurface(article) {
  const element = document.getElementById("surface");
  if (!element) return;
  try {
    page.surface ??= new Surface(element, readJson("packed-surface"), page.viewer);
    article.querySelector(".viewer-place").append(element);
    const glass = element.querySelector("[data-part=glass]");
    glass.src = document.querySelector(`#gallery > li[data-component="${article.id}"] img.glass`).src;
    glass.alt = `Glass brain of ${article.id}`;
    element.hidden = false;
  } catch (error) {
    console.error(error);
    document.documentElement.classList.add("no-surface");
  }
}

/** Move the viewer into an article and show its component. If the viewer fails, the static figure stays. */
async function showInViewer(article) {
  try {
    if (!page.viewer) {
      const packed = readJson("packed");
      page.maps = new Map(packed.maps.map((map) => [map.label, map]));
      page.viewer = new Viewer(document.getElementById("viewer"), packed);
    }
    article.querySelector(".viewer-place").append(page.viewer.element);
    page.viewer.element.hidden = false;
    showSurface(article);
    const map = page.maps.get(article.id);
    await page.viewer.show({ ...map, codes: document.getElementById(`codes-${article.id}`).textContent });
  } catch (error) {
    console.error(error);
    document.documentElement.classList.add("no-viewer");
  }
}

/** Link to the previous and next visible component, in the order of the gallery. */
function linkNeighbours(article) {
  const shown = cards().filter((card) => !card.hidden || card.dataset.component === article.id);
  const at = shown.findIndex((card) => card.dataset.component === article.id);
  for (const [name, card] of [["previous", shown[at - 1]], ["next", shown[at + 1]]]) {
    const link = article.querySelector(`a.${name}`);
    link.hidden = !card;
    if (card) link.href = `#${card.dataset.component}`;
  }
}

/** Return the name of a component: the reader's, or else the one of the run. */
function nameOf(label) {
  return page.notes.get(label).name.trim() || document.querySelector(`#${label} h2 .given`).textContent.trim();
}

/** Set the title of the browser's tab to the open component. */
function setTitle(article) {
  document.title = article ? `${article.id} ${nameOf(article.id)} · ${page.title}` : page.title;
}

/** Show what the fragment of the URL names: a single component, or the whole page. */
function route() {
  const target = document.getElementById(location.hash.slice(1));
  const article = target?.matches("article.component") ? target : null;
  const before = document.querySelector("article.open");
  setTitle(article);
  if (article && !before) page.scrolled = page.lastScroll ?? 0;
  before?.classList.remove("open");
  article?.classList.add("open");
  document.documentElement.classList.toggle("reading", article !== null);
  if (article) {
    linkNeighbours(article);
    window.scrollTo(0, 0);
    article.querySelector("h2").focus({ preventScroll: true });
    showInViewer(article);
  } else if (before) {
    if (target && target.id !== "components") target.scrollIntoView();
    else window.scrollTo(0, page.scrolled);
    document.querySelector(`#gallery > li[data-component="${before.id}"] a`)?.focus({ preventScroll: true });
  }
}

/* Keys that open the next or the previous component. In a wide table that has the focus, arrows scroll instead. */
const MOVES = { n: "next", ArrowRight: "next", p: "previous", ArrowLeft: "previous" };

function moveByKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  const article = document.querySelector("article.open");
  if (event.key === "/" && !article) {
    document.getElementById("search").focus();
    event.preventDefault();
  } else if (article && event.key === "Escape") {
    location.hash = "#components";
  } else if (article && event.key in MOVES) {
    const scrolls = event.key.startsWith("Arrow") && event.target.closest(".scroll, pre");
    const turns = event.key.startsWith("Arrow") && event.target.matches("canvas, [role=application]");
    const link = article.querySelector(`a.${MOVES[event.key]}`);
    if (!link.hidden && !turns && !(scrolls && scrolls.scrollWidth > scrolls.clientWidth)) link.click();
  }
}

function start() {
  page.search = new Search(readJson("findings"));
  page.notes = new Notes(document.documentElement.dataset.run, readJson("notes-of-run"), (label) => {
    showNote(page.notes, label);
    page.search.setOwnName(label, page.notes.get(label).name.trim());
    setTitle(document.querySelector("article.open"));
  });
  for (const label of page.notes.rows.keys()) page.notes.changed(label);
  listenToNotes(page.notes);
  listenToTools(() => page.viewer);
  document.getElementById("sort").addEventListener("change", sortGallery);
  document.getElementById("pictures")?.addEventListener("change", choosePictures);
  document.getElementById("search").addEventListener("input", filterGallery);
  document.getElementById("search").addEventListener("keydown", openFirst);
  for (const button of document.querySelectorAll("button.place")) {
    button.addEventListener("click", () => {
      page.viewer?.moveTo(button.dataset.mm.split(" ").map(Number));
      page.viewer?.element.scrollIntoView({ block: "nearest" });
    });
  }
  for (const button of document.querySelectorAll("button.static-figure")) {
    button.addEventListener("click", () => {
      const isShown = button.closest("article").classList.toggle("with-figure");
      button.setAttribute("aria-expanded", String(isShown));
      button.textContent = isShown ? "hide figure" : "show figure";
    });
  }
  makeTablesSortable();
  document.addEventListener("keydown", moveByKey);
  // The browser scrolls before hashchange fires, so remember the position at every click.
  document.addEventListener("click", () => { page.lastScroll = window.scrollY; }, { capture: true });
  window.addEventListener("hashchange", route);
  route();
  probeFiles();
}

document.addEventListener("DOMContentLoaded", start);
