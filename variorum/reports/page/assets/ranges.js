/* A range of a column of numbers: a small histogram, two handles and two fields. */
{
  const { element, drawn, figure, binned } = Variorum;
  const BINS = 40;
  const STEPS = 400; // positions of the handles

  /** The control of one column. `change(low, high)` is called with null for an open end; `remove` takes it away. */
  class Range {
    constructor(column, { limit = "", change, remove }) {
      Object.assign(this, { column, change });
      const [low, high] = column.extent;
      this.all = binned(column.numbers, column.extent, BINS);
      this.behind = drawn("path", { class: "behind" });
      this.front = drawn("path", { class: "front" });
      const name = Variorum.seen(column.name);
      const field = (label, place) =>
        element("input", {
          type: "number",
          step: "any",
          placeholder: place,
          "aria-label": `${name}: ${label}`,
          change: () => this.#fields(),
        });
      const handle = (label, value) =>
        element("input", {
          type: "range",
          min: 0,
          max: STEPS,
          step: 1,
          value,
          "aria-label": `${name}: ${label}, as a slider`,
          input: () => this.#handles(),
        });
      this.fields = [field("at least", figure(low)), field("at most", figure(high))];
      this.handles = [handle("at least", 0), handle("at most", STEPS)];
      this.element = element(
        "div",
        { class: "range", role: "group", "aria-label": name },
        element(
          "div",
          { class: "line" },
          element("bdi", { class: "name", text: name }),
          limit ? element("span", { class: "muted", text: `limit ${limit}` }) : null,
          element("button", {
            type: "button",
            class: "quiet icon",
            "aria-label": `Remove the range of ${name}`,
            text: "✕",
            click: remove,
          }),
        ),
        drawn(
          "svg",
          { viewBox: `0 0 ${BINS} 20`, preserveAspectRatio: "none", "aria-hidden": "true" },
          this.behind,
          this.front,
        ),
        element("div", { class: "handles" }, ...this.handles),
        element(
          "div",
          { class: "fields" },
          this.fields[0],
          element("span", { "aria-hidden": "true", text: "to" }),
          this.fields[1],
        ),
      );
    }

    /** Show the range, and the histogram of the rows that pass. */
    show([low, high], order) {
      const counts = binned(this.column.numbers, this.column.extent, BINS, order);
      const most = Math.max(1, ...this.all);
      this.behind.setAttribute("d", bars(this.all, most));
      this.front.setAttribute("d", bars(counts, most));
      [low, high].forEach((value, end) => {
        if (document.activeElement !== this.fields[end])
          this.fields[end].value = value === null ? "" : String(Number(value.toPrecision(6)));
        if (document.activeElement !== this.handles[end]) this.handles[end].value = String(this.#position(value, end));
      });
    }

    #position(value, end) {
      const [low, high] = this.column.extent;
      if (value === null || high === low) return end * STEPS;
      return Math.round((STEPS * (value - low)) / (high - low));
    }

    #handles() {
      const [low, high] = this.column.extent;
      const ends = this.handles.map((handle) => Number(handle.value));
      if (ends[0] > ends[1])
        ends[this.handles[0] === document.activeElement ? 1 : 0] =
          ends[this.handles[0] === document.activeElement ? 0 : 1];
      const value = (step) => Number((low + ((high - low) * step) / STEPS).toPrecision(6));
      this.change(ends[0] > 0 ? value(ends[0]) : null, ends[1] < STEPS ? value(ends[1]) : null);
    }

    #fields() {
      const [low, high] = this.fields.map((field) => (field.value === "" ? null : Number(field.value)));
      this.change(low, high);
    }
  }

  /** Bars as one path, a unit wide each and up to 20 high; those that aren't empty can be seen. */
  function bars(counts, most) {
    let path = "";
    counts.forEach((count, at) => {
      const height = count ? Math.max(0.7, (20 * count) / most) : 0;
      if (height) path += `M${at + 0.08} 20v${-height}h.84v${height}z`;
    });
    return path;
  }

  Object.assign(Variorum, { Range });
}
