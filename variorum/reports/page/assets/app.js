/* The page: connects its parts, and keeps the state of the view, the keys and the address. */
{
  const {
    element,
    seen,
    figure,
    once,
    address,
    Data,
    Blocks,
    Thumbnails,
    Records,
    recordWords,
    View,
    Grid,
    Filters,
    RecordPanel,
    Marks,
    MarkPanel,
    MarkDialog,
    Plots,
    EmbeddingMap,
    Models,
    showChips,
    showHead,
    showHelp,
    themeButton,
  } = Variorum;
  const at = (id) => document.getElementById(id);
  const facts = JSON.parse(at("facts").textContent);
  const data = new Data(facts, JSON.parse(at("table").textContent));
  const blocks = new Blocks();
  const size = data.diff ? 200 : 100; // two pictures a row
  const thumbnails = new Thumbnails(blocks, size);
  const records = new Records(blocks);
  const marks = data.diff ? null : new Marks(data); // a change isn't one picture
  const view = new View(data, marks);
  const phone = matchMedia("(max-width: 760px)");
  const things = data.diff ? ["change", "changes"] : ["picture", "pictures"];
  const made = data.rows - data.unmade - data.withheld;
  const others = [[data.unmade, "not made"], [data.withheld, "withheld"]].filter(([number]) => number);
  const everything = [`${figure(made)} ${things[made === 1 ? 0 : 1]}`, ...others.map(([n, what]) => `${figure(n)} ${what}`)].join(", ");
  const page = { tab: "grid", originals: false, size: 2, open: -1, blur: Boolean(facts.blur) };

  const grid = new Grid(at("view-grid"), { data, thumbnails, marks, open: (row) => record.open(row) });
  const record = new RecordPanel(at("record"), {
    data,
    thumbnails,
    larger: new Thumbnails(blocks, size, { name: "larger", kept: 3 }),
    masks: new Thumbnails(blocks, size, { name: "masks", type: "image/png" }),
    records,
    blurred: () => page.blur,
    sequence: () => grid.sequence,
    marking: marks && new MarkPanel(marks),
    moved,
  });
  const filters = new Filters(at("filters"), data, view);
  const mapped = facts.map && data.columns.get(facts.map.x)?.numeric && data.columns.get(facts.map.y)?.numeric;
  const showGrid = () => (set({ tab: "grid" }), grid.focus());
  const embedding = mapped
    ? new EmbeddingMap({ data, view, thumbnails, open: (row) => record.open(row), showAll: showGrid })
    : null;
  const plots = new Plots(at("view-plots"), { data, view });
  if (embedding) at("view-map").append(embedding.element);
  const models = new Models(at("view-models"), { data, view, showAll: showGrid });
  const tabs = ["grid", "map", "plots", "models"];
  const empty = element("div", { class: "empty", hidden: true });
  at("view-grid").append(empty);

  const marking = marks
    ? new MarkDialog(at("marks"), at("marks-button"), {
        marks,
        shown: () => view.order,
        only: (on) => view.change(() => (view.marked = on)),
        isOnly: () => view.marked,
      })
    : null;
  at("marks-button").hidden = !marks;
  marks?.listeners.add(() => (view.marked || view.words.trim() ? view.change(() => {}) : grid.flag()));

  /** The panel shows another row, or was closed on `last`: the focus goes back to where it came from. */
  function moved(row, last) {
    page.open = row;
    remember();
    if (row >= 0 || last === undefined) return;
    if (page.tab === "grid") grid.focus(last);
    else embedding?.canvas.focus();
  }

  let timer = 0;
  /** Put the view into the address; browsers limit how often that may be done. */
  function remember() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const hash = address.write(view, page);
      if (hash !== location.hash.slice(1))
        history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
    }, 150);
  }

  /** Change what the page shows of the view. */
  function set(change) {
    Object.assign(page, change);
    show();
    remember();
  }

  function show() {
    if (at(`tab-${page.tab}`).hidden) page.tab = "grid";
    for (const tab of tabs) {
      const on = page.tab === tab;
      at(`tab-${tab}`).setAttribute("aria-selected", String(on));
      at(`tab-${tab}`).tabIndex = on ? 0 : -1;
      at(`view-${tab}`).hidden = !on;
    }
    document.body.classList.toggle("plotting", page.tab !== "grid");
    document.body.classList.toggle("blurred", page.blur);
    document.body.classList.toggle("bare", !data.rows && page.tab === "grid");
    at("blur").setAttribute("aria-pressed", String(page.blur));
    at("originals").setAttribute("aria-pressed", String(page.originals));
    at("size").value = String(page.size);
    at("size").setAttribute("aria-valuetext", ["small", "medium", "large"][page.size - 1]);
    at("sort").value = view.sort;
    at("direction").textContent = view.descending ? "↓" : "↑";
    at("direction").setAttribute("aria-label", view.descending ? "Sorted down; sort up" : "Sorted up; sort down");
    at("direction").title = at("direction").getAttribute("aria-label");
    if (document.activeElement !== at("search")) at("search").value = view.words;
    const [shown, all] = [view.order.length, data.rows];
    at("count").textContent = shown === all ? everything : `${figure(shown)} of ${figure(all)}`;
    const active = view.chosen.size + view.ranges.size + (view.area ? 1 : 0) + (view.marked ? 1 : 0);
    at("filters-button").textContent = active ? `Filters (${active})` : "Filters";
    showChips(at("chips"), data, view);
    grid.size = page.size;
    grid.show(view.order, { originals: page.originals && !data.diff, sort: view.sort });
    grid.scroller.hidden = !shown;
    empty.hidden = Boolean(shown);
    if (!shown) showEmpty();
    plots.update();
    if (page.tab === "map") embedding.update();
    models.update();
  }

  function showEmpty() {
    if (!data.rows) {
      const [title, hint] = data.diff
        ? ["No changes", "Both editions hold the same pictures with the same labels."]
        : ["No pictures yet", "This edition has no pictures to look at. Once some are made, they appear here."];
      empty.replaceChildren(element("h2", { text: title }), element("p", { class: "muted", text: hint }));
    } else {
      const clear = element("button", {
        type: "button",
        text: "Clear all filters",
        click: () => (view.change(() => view.clear()), at("search").focus()),
      });
      empty.replaceChildren(element("h2", { text: `No ${things[0]} passes these filters` }), clear);
    }
  }

  const refresh = once(() => (show(), filters.update()));
  view.listeners.add(() => {
    grid.active = -1; // another order or selection starts at its first picture
    grid.scroller.scrollTop = 0;
    refresh();
    remember();
  });

  /** The filters are a drawer on a phone. */
  function drawer(open) {
    at("filters").classList.toggle("open", open);
    at("filters-button").setAttribute("aria-expanded", String(open));
    if (open || !phone.matches) at("filters").querySelector("summary, input, select")?.focus();
    else at("filters-button").focus();
  }

  /** Show a tab, or from it the pictures. */
  function goTo(tab) {
    if (!at(`tab-${tab}`).hidden) set({ tab: page.tab === tab ? "grid" : tab });
  }

  function keys(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && at("filters").classList.contains("open")) return drawer(false);
    if (event.target.matches("input:not([type=checkbox], [type=range]), textarea, select")) {
      if (event.key === "Escape") grid.focus();
      return;
    }
    const work = {
      "/": () => at("search").focus(),
      "?": () => at("help").showModal(),
      m: () => marking?.open(),
      a: () => marks && grid.active >= 0 && page.tab === "grid" && marks.ask([grid.active], !marks.of(grid.active).ask),
      t: () => marks && grid.active >= 0 && page.tab === "grid" && record.open(grid.active, { tag: true }),
      o: () => at("originals").hidden || set({ originals: !page.originals }),
      b: () => at("blur").hidden || set({ blur: !page.blur }),
      f: () => drawer(true),
      p: () => goTo("plots"),
      g: () => goTo("map"),
      c: () => goTo("models"),
      1: () => set({ size: 1 }),
      2: () => set({ size: 2 }),
      3: () => set({ size: 3 }),
    }[event.key];
    if (!work) return;
    event.preventDefault();
    work();
  }

  function listen() {
    document.addEventListener("keydown", keys);
    const type = once(() => view.change(() => (view.words = at("search").value)));
    at("search").addEventListener("input", type);
    at("search").addEventListener("focus", readAll);
    at("search").addEventListener("keydown", (event) => event.key === "Enter" && grid.focus());
    at("sort").addEventListener("change", () => view.change(() => (view.sort = at("sort").value)));
    at("direction").addEventListener("click", () => view.change(() => (view.descending = !view.descending)));
    at("originals").addEventListener("click", () => set({ originals: !page.originals }));
    at("blur").addEventListener("click", () => set({ blur: !page.blur }));
    at("size").addEventListener("input", () => set({ size: Number(at("size").value) }));
    at("filters-button").addEventListener("click", () => drawer(!at("filters").classList.contains("open")));
    filters.close.addEventListener("click", () => drawer(false));
    for (const tab of tabs) {
      at(`tab-${tab}`).addEventListener("click", () => set({ tab }));
      at(`tab-${tab}`).addEventListener("keydown", (event) => {
        if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
        const there = tabs.filter((one) => !at(`tab-${one}`).hidden);
        const step = event.key === "ArrowRight" ? 1 : -1;
        const other = there.at((there.indexOf(tab) + step) % there.length);
        set({ tab: other });
        at(`tab-${other}`).focus();
      });
    }
    document.querySelector(".skip").addEventListener("click", (event) => (event.preventDefault(), showGrid()));
    addEventListener("hashchange", follow);
  }

  /** Read all records once, so that a search finds what they say. */
  function readAll() {
    page.words ??= recordWords(data.rows, records).then((texts) => view.searchIn(texts));
  }

  /** Show the view that the address describes. */
  function follow() {
    const blur = page.blur;
    Object.assign(page, address.read(location.hash || `#sort=${encodeURIComponent(facts.sort ?? "")}`, view), { blur });
    const wanted = page.open;
    if (view.words.trim()) readAll();
    view.change(() => {});
    show();
    if (wanted >= 0) record.open(wanted);
    else if (at("record").open) at("record").close();
  }

  showHead(data);
  showHelp();
  themeButton(() => embedding?.update());
  const option = (name) => element("option", { value: name, text: name ? seen(name, 60) : "page order" });
  at("sort").append(option(""), ...[...data.columns.keys()].filter((name) => name !== "source").map(option));
  at("originals").hidden = data.diff || !data.columns.has("source");
  at("tab-map").hidden = !embedding;
  at("tab-plots").hidden = plots.empty;
  at("tab-models").hidden = models.empty;
  at("blur").hidden = Boolean(facts.warning); // they are blurred already
  listen();
  follow();
  Object.assign(Variorum, { page: { data, view, grid, record } });
}
