"use strict";
/* Search the components: find the texts of a component that match, rank them by evidence, and mark the words. The texts
   come from search.py. They are only compared and shown as text, and never become markup. */

/* A rank is the sum of the tier in search.py, of how well the words fit, and of the weakness of the evidence. */
const FIT = { word: 0, start: 0.25, inside: 0.5 };
const SHARE_OF_STRENGTH = 0.2;
const TIER_OF_OWN_NAME = 0;
/* Tiers up to this one are names and significant candidates. */
const LAST_SIGNIFICANT_TIER = 1;

/** Split a query into words in lower case. */
function wordsOf(query) {
  return query.toLowerCase().split(/\s+/).filter(Boolean);
}

/** Tell whether the text contains every word of the query. */
function matches(text, query) {
  return wordsOf(query).every((word) => text.includes(word));
}

/** Tell how well a word fits a text: as a whole word, as the start of one, or inside one; null if it does not occur. */
function fitOf(word, text) {
  let best = null;
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    const starts = at === 0 || !/[\p{L}\p{N}]/u.test(text[at - 1]);
    const ends = at + word.length === text.length || !/[\p{L}\p{N}]/u.test(text[at + word.length]);
    const fit = starts && ends ? FIT.word : starts ? FIT.start : FIT.inside;
    best = best === null ? fit : Math.min(best, fit);
  }
  return best;
}

class Search {
  /** `findings` are the rows of each component: tier, strength, kind, text and evidence. */
  constructor(findings) {
    this.rows = new Map(Object.entries(findings).map(([label, rows]) => [
      label, rows.map(([tier, strength, kind, text, evidence]) => ({ tier, strength, kind, text, evidence, lower: text.toLowerCase() })),
    ]));
  }

  /** Add the name that the reader gave to a component. */
  setOwnName(label, name) {
    const rows = this.rows.get(label).filter((row) => row.kind !== "my name");
    if (name) rows.unshift({ tier: TIER_OF_OWN_NAME, strength: 1, kind: "my name", text: name, evidence: "", lower: name.toLowerCase() });
    this.rows.set(label, rows);
  }

  /** Return the best row that contains all words, with its rank (lower is better); null if there is none. */
  best(label, words) {
    let best = null;
    for (const row of this.rows.get(label)) {
      const fits = words.map((word) => fitOf(word, row.lower));
      if (fits.includes(null)) continue;
      const rank = row.tier + Math.max(...fits) - SHARE_OF_STRENGTH * row.strength;
      if (best === null || rank < best.rank) best = { rank, row };
    }
    return best;
  }

  /** Return the best match of a component. If no text contains all words, they may be in different texts. */
  match(label, query) {
    const words = wordsOf(query);
    const together = this.best(label, words);
    if (together || words.length < 2) return together;
    const apart = words.map((word) => this.best(label, [word]));
    if (apart.includes(null)) return null;
    const weakest = apart.reduce((one, other) => (other.rank > one.rank ? other : one));
    return { ...weakest, rank: weakest.rank + FIT.inside };
  }
}

/** Fill an element with a text, and mark the words of the query in it. */
function highlight(element, text, query) {
  const lower = text.toLowerCase();
  const marked = new Array(text.length).fill(false);
  for (const word of wordsOf(query)) {
    for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + 1)) marked.fill(true, at, at + word.length);
  }
  element.replaceChildren();
  for (let from = 0; from < text.length;) {
    let to = from;
    while (to < text.length && marked[to] === marked[from]) to += 1;
    const part = document.createElement(marked[from] ? "mark" : "span");
    part.textContent = text.slice(from, to);
    element.append(part);
    from = to;
  }
}
