// A click on a heading sorts by that column: numbers from the largest, text from A; "-" always last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const numeric = head.classList.contains("number");
    const before = head.getAttribute("aria-sort");
    const up = before ? before === "descending" : !numeric;
    const text = row => (row.cells[column].firstChild?.textContent ?? "").trim();
    const value = row => numeric ? parseFloat(text(row).replace(/,/g, "")) : text(row);
    const missing = row => text(row) === "-" || (numeric && Number.isNaN(value(row)));
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      const order = numeric ? value(a) - value(b) : text(a).localeCompare(text(b));
      return up ? order : -order;
    });
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
  }));
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(one => one.open = true));
