"use strict";
// Tables sort by a click on a column's title, and show the rows that have a chosen value. Without this script they show
// everything.
for (const box of document.querySelectorAll(".tall")) {
  const table = box.querySelector("table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const titles = [...table.tHead.rows[0].cells];

  titles.forEach((title, column) => {
    const numeric = title.classList.contains("number");
    const value = (row) => (numeric ? row.cells[column].dataset.value : row.cells[column].textContent.trim());
    const missing = (text) => text === "" || text === "-";
    const button = document.createElement("button");
    button.type = "button";
    button.append(...title.childNodes);
    title.append(button);
    button.addEventListener("click", () => {
      // Numbers begin with the largest.
      const ascending = title.ariaSort ? title.ariaSort === "descending" : !numeric;
      titles.forEach((other) => other.removeAttribute("aria-sort"));
      title.ariaSort = ascending ? "ascending" : "descending";
      const order = [...rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        if (missing(a) || missing(b)) return missing(a) - missing(b);  // what has no value comes last either way
        const difference = numeric ? a - b : a.localeCompare(b);
        return ascending ? difference : -difference;
      });
      body.append(...order);
    });
  });

  const choices = box.previousElementSibling;
  const selects = [...choices.querySelectorAll("select")];
  const text = (row, select) => row.cells[select.dataset.column].textContent.trim();
  const show = () => {
    for (const row of rows) {
      row.hidden = selects.some((select) => select.value && text(row, select) !== select.value);
    }
    for (const row of [table.tHead.rows[0], ...rows]) {
      for (const select of selects) row.cells[select.dataset.column].hidden = select.value !== "";  // all are the same
    }
  };
  for (const select of selects) {
    const values = [...new Set(rows.map((row) => text(row, select)))];
    select.append(...values.map((each) => new Option(each, each)));
    if (values.includes(select.dataset.chosen)) select.value = select.dataset.chosen;
    select.parentElement.hidden = values.length < 2;
    select.addEventListener("change", show);
  }
  choices.hidden = !selects.some((select) => !select.parentElement.hidden);
  show();
}
