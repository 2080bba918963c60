const all = document.getElementById("all");
const rows = [...document.querySelectorAll("details")];
const say = () => { all.textContent = rows.every((row) => row.open) ? "Close all rows" : "Open all rows"; };
all.addEventListener("click", () => {
  const open = rows.some((row) => !row.open);
  for (const row of rows) row.open = open;
});
for (const row of rows) row.addEventListener("toggle", say);
all.hidden = !rows.length;
say();
