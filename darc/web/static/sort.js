// Makes the columns of <table class="sortable"> sortable by buttons in their heads. Values are those of
// `data-value`, else the text; numbers by size, all else by text; cells without a value stay last.
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
  const value = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent.trim();
  const rows = Array.from(body.rows, (row) => [value(row), row]);
  const given = rows.filter(([text]) => text !== "");
  const numeric = given.every(([text]) => Number.isFinite(Number(text)));
  // numbers are looked at for the largest, text from A on
  const first = numeric ? "descending" : "ascending";
  const second = numeric ? "ascending" : "descending";
  const order = head.ariaSort === first ? second : first;
  const sign = order === "ascending" ? 1 : -1;
  const compare = numeric ? (a, b) => a - b : new Intl.Collator("en", { numeric: true }).compare;
  given.sort(([a], [b]) => sign * compare(a, b));
  const empty = rows.filter(([text]) => text === "");
  body.append(...[...given, ...empty].map(([, row]) => row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
}
