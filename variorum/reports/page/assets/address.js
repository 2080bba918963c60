/* The view as the part of the address after #, so that it can be shared as a link.
 *
 * The address is untrusted text. Only names of columns, values and pictures that the page has are taken from it, and
 * numbers that are finite; everything else is ignored. */
{
  const LONGEST = 20000;
  const CORNERS = 100;
  const TABS = ["map", "plots", "models"];

  function number(text) {
    const value = text.trim() === "" ? NaN : Number(text);
    return Number.isFinite(value) ? value : null;
  }

  function short(value) {
    return String(Number(value.toPrecision(6)));
  }

  /** The text after # of a view and of what the page shows: `{ tab, originals, size, blur, open }`. */
  function write(view, page) {
    const { data } = view;
    const parts = new URLSearchParams();
    if (view.words.trim()) parts.set("q", view.words.trim());
    for (const [name, codes] of view.chosen) {
      const { values } = data.columns.get(name);
      for (const code of codes) parts.append(`is.${name}`, code < 0 ? "" : values[code]);
    }
    for (const [name, [low, high]] of view.ranges) {
      parts.set(`in.${name}`, `${low === null ? "" : short(low)}..${high === null ? "" : short(high)}`);
    }
    if (view.area) parts.set("area", view.area.map((corner) => corner.map(short).join(",")).join(";"));
    if (view.sort || view.descending) parts.set("sort", (view.descending ? "-" : "") + view.sort);
    if (page.tab !== "grid") parts.set("view", page.tab);
    if (page.originals) parts.set("originals", "1");
    if (page.size !== 2) parts.set("size", String(page.size));
    if (page.open >= 0) parts.set("open", data.raw("id", page.open) ?? String(page.open));
    return parts.toString();
  }

  /** What a text after # says, as far as the page knows it: filters put into the view, the rest returned. */
  function read(text, view) {
    const { data } = view;
    const page = { tab: "grid", originals: false, size: 2, open: -1 };
    view.clear();
    view.sort = "";
    view.descending = false;
    for (const [key, value] of new URLSearchParams(text.slice(0, LONGEST).replace(/^#/, ""))) {
      const column = data.columns.get(key.slice(3));
      if (key === "q") view.words = value.slice(0, 300);
      else if (key === "view") page.tab = TABS.includes(value) ? value : "grid";
      else if (key === "originals") page.originals = value === "1";
      else if (key === "size") page.size = ["1", "2", "3"].includes(value) ? Number(value) : 2;
      else if (key === "open") page.open = find(data, value);
      else if (key === "area") view.area = area(data, value);
      else if (key === "sort") {
        view.descending = value.startsWith("-");
        const name = view.descending ? value.slice(1) : value;
        view.sort = data.columns.has(name) ? name : "";
      } else if (key.startsWith("is.") && column && !column.numeric) {
        const code = column.values.indexOf(value);
        if (code < 0 && value !== "") continue;
        if (!view.chosen.has(column.name)) view.chosen.set(column.name, new Set());
        view.chosen.get(column.name).add(code);
      } else if (key.startsWith("in.") && column?.numeric) {
        const ends = value.split("..").map(number);
        if (ends.length === 2) view.ranges.set(column.name, ends);
      }
    }
    return page;
  }

  function find(data, id) {
    const column = data.columns.get("id");
    const code = column ? column.values.indexOf(id) : -1;
    return code < 0 ? -1 : column.codes.indexOf(code);
  }

  function area(data, text) {
    const { map } = data.facts;
    if (!map || !data.columns.get(map.x)?.numeric || !data.columns.get(map.y)?.numeric) return null;
    const corners = text
      .split(";")
      .slice(0, CORNERS)
      .map((corner) => corner.split(",").map(number));
    const sound = corners.every((corner) => corner.length === 2 && !corner.includes(null));
    return sound && corners.length >= 3 ? corners : null;
  }

  Variorum.address = { write, read };
}
