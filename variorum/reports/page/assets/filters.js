/* The panel of filters, and the chips of those that are active. */
{
  const { element, seen, figure, limitOf, Range } = Variorum;
  const FIRST = [
    "change",
    "why",
    "split",
    "config",
    "variant",
    "class",
    "before",
    "after",
    "status",
    "reason",
    "action",
    "verdict_reason",
    "by",
  ];
  const NOT = new Set(["id", "origin", "labels"]); // these are searched for
  const MANY = 8; // values that are listed without a search
  const MORE = 200; // values that are listed at a time
  const CODES = ["status", "reason", "action", "verdict_reason"]; // of which the page says what they mean
  const TITLES = { action: "verdict", verdict_reason: "verdict's reason", by: "judged by" };

  /** The heading of a column. */
  function title(name) {
    return TITLES[name] ?? seen(name);
  }

  /** The values of a column of texts, with counts. */
  class Facet {
    constructor(column, view) {
      Object.assign(this, { column, view, most: MANY, wanted: "" });
      this.list = element("ul", {});
      this.more = element("button", {
        type: "button",
        class: "quiet",
        click: () => ((this.most = this.most < MORE ? MORE : this.most + MORE), this.update()),
      });
      const many = column.values.length > MANY;
      const search = element("input", {
        type: "search",
        placeholder: `Find among ${figure(column.values.length)}`,
        "aria-label": `Find in ${title(column.name)}`,
        autocomplete: "off",
        input: () => ((this.wanted = search.value.toLowerCase()), this.update()),
      });
      this.tally = element("span", { class: "muted" });
      this.element = element(
        "details",
        { class: "facet", open: true, toggle: () => this.update() },
        element("summary", {}, element("bdi", { text: title(column.name) }), this.tally),
        many ? search : null,
        this.list,
        this.more,
      );
    }

    /** What a value means, where the page says so in words. */
    meaning(code) {
      return CODES.includes(this.column.name) ? this.view.data.word(this.column.values[code]) : "";
    }

    /** Show values, those that are chosen first and then the most frequent, with the counts of the view. */
    update() {
      const { column, view } = this;
      const chosen = view.chosen.get(column.name) ?? new Set();
      this.tally.textContent = chosen.size ? `${chosen.size} chosen` : "";
      if (!this.element.open) return;
      const counts = view.counts(column.name);
      const none = column.values.length;
      let codes = Array.from(counts.keys());
      if (!column.codes.includes(-1)) codes.pop();
      if (this.wanted)
        codes = codes.filter((code) => code < none && column.values[code].toLowerCase().includes(this.wanted));
      const on = (code) => chosen.has(code === none ? -1 : code);
      // A short list keeps its order, so that nothing moves under the pointer; a long one shows what matters first.
      if (none > MANY) codes.sort((a, b) => on(b) - on(a) || counts[b] - counts[a] || a - b);
      const shown = codes.slice(0, this.most);
      const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.code : null;
      this.list.replaceChildren(...shown.map((code) => this.#value(code, none, counts[code], on(code))));
      if (focused !== null) this.list.querySelector(`[data-code="${Number(focused)}"]`)?.focus();
      const rest = codes.length - shown.length;
      this.more.hidden = rest <= 0;
      this.more.textContent = `Show ${figure(Math.min(rest, this.most < MORE ? MORE - this.most : MORE))} more of ${figure(codes.length)}`;
      if (!codes.length) this.list.append(element("li", { class: "muted", text: "Nothing of that name." }));
    }

    #value(code, none, count, on) {
      const box = element("input", {
        type: "checkbox",
        "data-code": String(code),
        change: () => this.view.toggle(this.column.name, code === none ? -1 : code, box.checked),
      });
      box.checked = on;
      const text = code === none ? "none" : seen(this.column.values[code]) || "empty";
      const name = element("bdi", {
        class: code === none ? "name muted" : "name",
        text,
        title: [text.length > 24 ? text : "", this.meaning(code)].filter(Boolean).join(": ") || null,
      });
      return element(
        "li",
        { class: count || on ? null : "idle" },
        element("label", {}, box, name, element("span", { class: "number", text: figure(count) })),
      );
    }
  }

  /** The panel of filters in an element. */
  class Filters {
    constructor(place, data, view) {
      Object.assign(this, { place, data, view, ranges: new Map() });
      const texts = [...data.columns.values()].filter((one) => !one.numeric && !NOT.has(one.name));
      const models = (data.facts.models ?? []).map((model) => model.right);
      const order = FIRST.flatMap((name) => (name === "status" ? [...models, name] : [name]));
      const first = (column) => (order.includes(column.name) ? order.indexOf(column.name) : order.length);
      this.facets = texts
        .filter(
          (one) =>
            one.values.length + one.codes.includes(-1) > 1 &&
            (first(one) < order.length || one.values.length < data.rows / 2),
        )
        .sort((a, b) => first(a) - first(b))
        .map((column) => new Facet(column, view));
      this.facets.slice(8).forEach((facet) => (facet.element.open = false));
      this.clear = element("button", {
        type: "button",
        class: "quiet",
        text: "Clear all",
        click: () => view.change(() => view.clear()),
      });
      this.close = element("button", {
        type: "button",
        class: "quiet icon close",
        "aria-label": "Close the filters",
        text: "✕",
      });
      this.pick = element("select", {
        "aria-label": "Filter by a range of numbers",
        change: () => this.#open(this.pick.value),
      });
      this.holder = element("div", { class: "ranges" });
      place.append(
        element("div", { class: "line" }, element("h2", { text: "Filters" }), this.clear, this.close),
        ...this.facets.map((facet) => facet.element),
        data.numbers.length
          ? element("div", { class: "facet" }, element("h3", { text: "Numbers" }), this.holder, this.pick)
          : "",
      );
      this.#options();
      const some = (kind) => data.numbers.filter((one) => one.name.startsWith(kind)).slice(0, 4);
      for (const column of [...some("search."), ...some("gate.")]) this.#add(column.name);
      this.update();
    }

    #options() {
      const left = this.data.numbers.filter((one) => !this.ranges.has(one.name));
      this.pick.hidden = !left.length;
      this.pick.replaceChildren(
        element("option", { value: "", text: "Add a range of…" }),
        ...left.map((one) => element("option", { value: one.name, text: seen(one.name, 60) })),
      );
    }

    #open(name) {
      if (!this.data.columns.has(name)) return;
      const range = this.#add(name);
      this.update();
      range.fields[0].focus();
    }

    #add(name) {
      const remove = () => {
        this.ranges.get(name).element.remove();
        this.ranges.delete(name);
        this.#options();
        this.pick.focus();
        this.view.change(() => this.view.ranges.delete(name));
      };
      const change = (low, high) => this.view.change(() => this.view.ranges.set(name, [low, high]));
      const range = new Range(this.data.columns.get(name), { limit: limitOf(this.data, name), change, remove });
      this.ranges.set(name, range);
      this.holder.append(range.element);
      this.#options();
      return range;
    }

    /** Show the filters of the view. */
    update() {
      for (const name of this.view.ranges.keys())
        if (!this.ranges.has(name) && this.data.columns.get(name).extent) this.#add(name);
      for (const facet of this.facets) facet.update();
      for (const [name, range] of this.ranges) range.show(this.view.ranges.get(name) ?? [null, null], this.view.order);
      this.clear.hidden = !this.view.filtered;
    }
  }

  /** The active filters as chips in a list; each takes its filter away. */
  function showChips(list, data, view) {
    const chip = (text, drop) => {
      const click = () => {
        const at = [...list.children].indexOf(button.parentElement);
        view.change(drop);
        (
          list.children[Math.min(at, list.children.length - 1)]?.firstChild ?? document.getElementById("search")
        ).focus();
      };
      const button = element(
        "button",
        { type: "button", class: "chip", "aria-label": `Remove filter ${text}`, click },
        element("bdi", { text }),
        element("span", { "aria-hidden": "true", text: "✕" }),
      );
      return element("li", {}, button);
    };
    const chips = [];
    if (view.words.trim()) chips.push(chip(`“${seen(view.words.trim(), 40)}”`, () => (view.words = "")));
    for (const [name, codes] of view.chosen) {
      const { values } = data.columns.get(name);
      for (const code of codes) {
        const value = code < 0 ? "none" : seen(values[code], 40);
        chips.push(chip(`${title(name)}: ${value}`, () => codes.delete(code)));
      }
    }
    for (const [name, [low, high]] of view.ranges) {
      const text =
        low === null ? `≤ ${figure(high)}` : high === null ? `≥ ${figure(low)}` : `${figure(low)} to ${figure(high)}`;
      chips.push(chip(`${seen(name, 40)} ${text}`, () => view.ranges.delete(name)));
    }
    if (view.marked) chips.push(chip("marked", () => (view.marked = false)));
    if (view.area) chips.push(chip("part of the map", () => (view.area = null)));
    if (chips.length > 1)
      chips.push(
        element(
          "li",
          {},
          element("button", {
            type: "button",
            class: "quiet",
            text: "Clear all",
            click: () => view.change(() => view.clear()),
          }),
        ),
      );
    list.replaceChildren(...chips);
    list.hidden = !chips.length;
  }

  Object.assign(Variorum, { Filters, showChips, columnTitle: title });
}
