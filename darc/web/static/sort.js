// Makes the columns of <table class="sortable"> sortable by buttons in their heads. Values are those of
// `data-value`, else the text; numbers by size, all else by text; cells without a value, or with ?, stay last.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    if (head.hasAttribute("data-unsorted")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, head));
  }
}

function sort(table, head) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [value(row.cells[head.cellIndex]), row]);
  const known = rows.filter(([text]) => text !== "" && text !== "?");
  const numeric = known.every(([text]) => Number.isFinite(number(text)));
  // numbers are looked at for the largest, text from A on
  const [first, second] = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
  const order = head.getAttribute("aria-sort") === first ? second : first;
  const sign = order === "ascending" ? 1 : -1;
  const compare = numeric ? (a, b) => number(a) - number(b) : new Intl.Collator("en", { numeric: true }).compare;
  known.sort(([a], [b]) => sign * compare(a, b));
  const unknown = rows.filter(([text]) => text === "" || text === "?");
  body.append(...[...known, ...unknown].map(([, row]) => row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
}

function value(cell) {
  return cell.dataset.value ?? cell.textContent.trim();
}

// Digits may stand in groups.
function number(text) {
  return Number(text.replace(/\s/g, ""));
}
