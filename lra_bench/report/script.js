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

document.querySelectorAll("table.sortable").forEach(makeSortable);
if (HTMLElement.prototype.showPopover) {
  document.querySelectorAll("button[popovertarget]").forEach(bindCard);
}
bindChoice("preset", showPreset);
bindChoice("ground", showGround);
const choices = byId("choices");
choices.hidden = false;
choices.addEventListener("submit", (event) => event.preventDefault());
