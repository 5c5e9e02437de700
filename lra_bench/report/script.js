"use strict";
// The script adds comfort only: without it, everything on the page can be read.

const byId = (id) => document.getElementById(id);

// Sorting: by a cell's data-value if it has one, else by its text; empty cells come last.

function valueOf(row, column) {
  const cell = row.cells[column];
  if (!cell) return null;
  const text = (cell.dataset.value ?? cell.textContent).trim();
  if (text === "") return null;
  const number = Number(text.replaceAll(",", "").replace(/[×%]$/, ""));
  return Number.isNaN(number) ? text : number;
}

function compared(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sort(table, column, header) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
  const before = header.getAttribute("aria-sort");
  // Numbers start with the largest, names with the first in the alphabet.
  const numeric = rows.some(([value]) => typeof value === "number");
  const first = numeric ? "descending" : "ascending";
  const other = numeric ? "ascending" : "descending";
  const order = before === first ? other : first;
  const sign = order === "ascending" ? 1 : -1;
  rows.sort(([a], [b]) => compared(a, b, sign));
  body.append(...rows.map(([, row]) => row));
  for (const cell of table.tHead.rows[0].cells) cell.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", order);
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, column, header));
    header.append(button);
    header.setAttribute("aria-sort", "none");
  });
}

// Choices: a preset, which hides the parts of other presets, and the colours.

function showPreset(chosen) {
  for (const part of document.querySelectorAll("[data-tags]")) {
    part.hidden = chosen !== "" && !part.dataset.tags.split(" ").includes(chosen);
  }
}

function showGround(chosen) {
  if (chosen) document.documentElement.dataset.ground = chosen;
  else delete document.documentElement.dataset.ground;
}

function bindChoice(id, show) {
  const choice = byId(id);
  if (!choice) return;
  choice.addEventListener("change", () => show(choice.value));
  show(choice.value); // a browser that returns to the page keeps the choice
}

// Cards: the browser opens them by click, touch and Enter; the script also by hover and focus.

const WAIT = 200;
let timer = 0;
let pinned = null;

function place(card, button) {
  const at = button.getBoundingClientRect();
  const { width, height } = card.getBoundingClientRect();
  const right = document.documentElement.clientWidth - width - 8;
  const below = at.bottom + 6;
  const fits = below + height < innerHeight - 8;
  const top = fits ? below : at.top - height - 6;
  card.style.margin = "0";
  card.style.left = `${Math.max(8, Math.min(at.left - 12, right))}px`;
  card.style.top = `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`;
}

const isOpen = (card) => card.matches(":popover-open");

function open(card, button) {
  clearTimeout(timer);
  if (isOpen(card)) return;
  pinned = null;
  card.showPopover();
  place(card, button);
}

function close(card) {
  clearTimeout(timer);
  if (isOpen(card) && pinned !== card) card.hidePopover();
}

function later(act, ...args) {
  clearTimeout(timer);
  timer = setTimeout(() => act(...args), WAIT);
}

function bindCard(button) {
  const card = byId(button.getAttribute("popovertarget"));
  button.addEventListener("pointerenter", (event) => {
    if (event.pointerType === "mouse") later(open, card, button);
  });
  for (const part of [button, card]) {
    part.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") later(close, card);
    });
  }
  card.addEventListener("pointerenter", () => clearTimeout(timer));
  button.addEventListener("focus", () => {
    if (button.matches(":focus-visible")) open(card, button);
  });
  const left = (event) => {
    if (!card.contains(event.relatedTarget) && event.relatedTarget !== button) close(card);
  };
  button.addEventListener("blur", left);
  card.addEventListener("focusout", left);
  button.addEventListener("click", (event) => {
    // A click keeps a card open that hover or focus opened, instead of closing it.
    if (isOpen(card) && pinned !== card) {
      event.preventDefault();
      pinned = card;
    }
  });
  card.addEventListener("toggle", (event) => {
    if (event.newState === "open") place(card, button);
    else if (pinned === card) pinned = null;
  });
}

// Rows of a leaderboard: those that match a text are shown, unless they were hidden one by one.

const make = (name, properties, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

function makeFilter(table) {
  const rows = [...table.tBodies[0].rows];
  const gone = new Set();
  const names = new Map(rows.map((row) => [row, row.cells[0].textContent.trim()]));
  const input = make("input", { type: "search", placeholder: "name or family", size: 16 });
  const count = make("output", {});
  const all = make("button", { type: "button", textContent: "show all" });
  const update = () => {
    const words = input.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    for (const row of rows) {
      const text = `${names.get(row)} ${row.dataset.family}`.toLowerCase();
      const matches = words.length === 0 || words.some((word) => text.includes(word));
      row.hidden = gone.has(row) || !matches;
    }
    const shown = rows.filter((row) => !row.hidden).length;
    count.value = shown < rows.length ? `${shown} of ${rows.length} rows` : `${shown} rows`;
    all.hidden = shown === rows.length;
  };
  input.addEventListener("input", update);
  all.addEventListener("click", () => {
    gone.clear();
    input.value = "";
    update();
    input.focus();
  });
  for (const row of rows) {
    const hide = make("button", { type: "button", className: "hide", textContent: "\u00d7" });
    hide.setAttribute("aria-label", `hide ${names.get(row)}`);
    hide.title = "hide this row";
    hide.addEventListener("click", () => {
      gone.add(row);
      update();
      all.focus();
    });
    row.cells[0].dataset.value = names.get(row); // sorted without the sign of the button
    row.cells[0].append(hide);
  }
  const form = make("form", { className: "choices" }, make("label", {}, "rows ", input), count, all);
  form.addEventListener("submit", (event) => event.preventDefault());
  table.parentElement.before(form);
  update();
}

// Curves: pointing at one, or at its name, shows it alone in all figures; a click keeps it so.

let kept = null;

function isolate(series) {
  document.documentElement.classList.toggle("isolating", series !== null);
  for (const part of document.querySelectorAll("[data-series]")) {
    part.classList.toggle("on", part.dataset.series === series);
  }
}

function seriesAt(event) {
  const part = event.target.closest("[data-series]");
  return part && part.dataset.series;
}

function bindSeries(box) {
  box.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse" && kept === null) isolate(seriesAt(event));
  });
  box.addEventListener("pointerleave", () => {
    if (kept === null) isolate(null);
  });
  box.addEventListener("click", (event) => {
    const series = seriesAt(event);
    kept = series === kept ? null : series;
    isolate(kept);
  });
}

function bindName(name) {
  name.tabIndex = 0;
  name.setAttribute("role", "button");
  name.addEventListener("focus", () => {
    if (name.matches(":focus-visible") && kept === null) isolate(name.dataset.series);
  });
  name.addEventListener("blur", () => {
    if (kept === null) isolate(null);
  });
  name.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    name.click();
  });
}

function widen(path) {
  // A thin line is hard to point at: an unseen wide one lies over it.
  if (getComputedStyle(path).fill !== "none") return;
  const wide = path.cloneNode(false);
  wide.removeAttribute("style");
  wide.classList.add("wide-line");
  path.after(wide);
}

// Comparison: the cards of two results beside each other, what differs marked.

function facts(card) {
  const found = new Map();
  for (const row of card.querySelectorAll(".seeds tbody tr")) {
    const [seed, ...cells] = [...row.cells].map((cell) => cell.textContent.trim());
    const titles = ["test %", "validation %", "at step"];
    cells.forEach((text, i) => found.set(`seed ${seed}, ${titles[i]}`, text));
  }
  for (const term of card.querySelectorAll("dt")) {
    found.set(term.textContent, term.nextElementSibling.textContent);
  }
  found.set("command", card.querySelector(".command").textContent);
  return found;
}

function bindComparison() {
  const form = byId("compare-choice");
  if (!form) return;
  const lists = ["first", "second"].map((which) => byId(`compare-${which}`));
  const show = () => {
    const sides = lists.map((list) => facts(byId(list.value)));
    const head = make("tr", {}, make("th", {}));
    for (const list of lists) {
      head.append(make("th", { scope: "col", textContent: list.selectedOptions[0].textContent }));
    }
    const body = make("tbody", {});
    for (const name of new Set([...sides[0].keys(), ...sides[1].keys()])) {
      const texts = sides.map((side) => side.get(name) ?? "");
      const row = make("tr", { className: texts[0] === texts[1] ? "" : "differs" });
      row.append(make("th", { scope: "row", textContent: name }));
      row.append(...texts.map((text) => make("td", { textContent: text })));
      body.append(row);
    }
    const table = make("table", { className: "pair" }, make("thead", {}, head), body);
    const box = make("div", { className: "table", tabIndex: 0 }, table);
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "The two results");
    byId("compare-shown").replaceChildren(box);
  };
  if (lists[1].selectedIndex === lists[0].selectedIndex) {
    // At first, the second is another result on the same task, if there is one.
    const [first, ...others] = lists[1].options;
    const other = others.find((option) => option.dataset.task === first.dataset.task);
    lists[1].selectedIndex = (other ?? others[0]).index;
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const list of lists) list.addEventListener("change", show);
  form.hidden = false;
  show();
}

// Files: a button saves the text below it.

function makeDownload(text) {
  const button = make("button", { type: "button", textContent: `save ${text.dataset.file}` });
  button.addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([text.textContent], { type: "text/plain" }));
    make("a", { href: address, download: text.dataset.file }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
  text.closest("details").before(button);
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("table.board").forEach(makeFilter);
document.querySelectorAll(".wide, .keys").forEach(bindSeries);
document.querySelectorAll(".keys [data-series]").forEach(bindName);
document.querySelectorAll(".wide [data-series] path").forEach(widen);
document.querySelectorAll("pre[data-file]").forEach(makeDownload);
bindComparison();
if (HTMLElement.prototype.showPopover) {
  document.querySelectorAll("button[popovertarget]").forEach(bindCard);
}
bindChoice("preset", showPreset);
bindChoice("ground", showGround);
const choices = byId("choices");
choices.hidden = false;
choices.addEventListener("submit", (event) => event.preventDefault());
