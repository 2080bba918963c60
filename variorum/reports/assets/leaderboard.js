"use strict";
// Column heads become buttons that sort their table. Without this script the table is in the order of the ranks.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const rows = [...body.rows];
      const value = (row) => row.cells[column].dataset.value;
      const numbers = rows.every((row) => value(row) === "" || !Number.isNaN(Number(value(row))));
      rows.sort((a, b) => {
        const [first, second] = [value(a), value(b)];
        if (first === "" || second === "") return (first === "") - (second === "");
        const order = numbers ? Number(first) - Number(second) : first.localeCompare(second);
        return rising ? order : -order;
      });
      body.append(...rows);
      const said = document.getElementById("said");
      said.textContent = `Sorted by ${button.textContent}, ${rising ? "ascending" : "descending"}`;
    });
  });
}
