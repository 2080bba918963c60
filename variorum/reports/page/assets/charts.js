/* What all plots have in common: a frame that redraws itself for its width, axes, markers, a table to read. */
{
  const { element, drawn, figure, seen, once } = Variorum;
  // Okabe and Ito's colours, without black and yellow, which vanish on dark or light paper (Color Universal Design, 2008).
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
  // Each colour has a shape of its own, in a square of side 2 around 0.
  const SHAPES = [
    "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0z",
    "M-.9-.9h1.8v1.8h-1.8z",
    "M0-1.1L1.1.9H-1.1z",
    "M0-1.25L1.25 0L0 1.25L-1.25 0z",
    "M0 1.1L1.1-.9H-1.1z",
    "M-.35-1.1h.7v.75h.75v.7h-.75v.75h-.7v-.75h-.75v-.7h.75z",
  ];

  /** Colour and shape of a group by its number. */
  function look(number) {
    return {
      colour: COLOURS[number % COLOURS.length],
      shape: SHAPES[(number + Math.floor(number / COLOURS.length)) % SHAPES.length],
    };
  }

  /** Round numbers that divide a range into about `many` parts. */
  function ticks(low, high, many = 5) {
    if (!(high > low)) return [low];
    const rough = (high - low) / many;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 2.5, 5, 10].find((factor) => power * factor >= rough);
    const first = Math.ceil(low / step - 1e-9);
    const last = Math.floor(high / step + 1e-9);
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) =>
      Number(((first + at) * step).toPrecision(12)),
    );
  }

  /** A straight scale from values to places. */
  function scale([low, high], [start, end]) {
    return (value) => (high === low ? (start + end) / 2 : start + ((value - low) / (high - low)) * (end - start));
  }

  function text(x, y, words, properties = {}) {
    return drawn("text", { x, y, ...properties, text: words });
  }

  const pen = document.createElement("canvas").getContext("2d");

  /** Width of a text in a plot, in pixels. */
  function wide(words) {
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    return pen.measureText(words).width;
  }

  /** Grid lines and numbers below a plot, with the name of what they count. */
  function axisBelow(x, domain, { top, bottom, left, right }, name, many = 5) {
    const group = drawn("g", { class: "axis" });
    for (const value of ticks(...domain, many)) {
      group.append(
        drawn("path", { d: `M${x(value)} ${top}V${bottom}` }),
        text(x(value), bottom + 16, figure(value), { "text-anchor": "middle" }),
      );
    }
    const middle = Math.max(wide(name) / 2, Math.min((left + right) / 2, right + 8 - wide(name) / 2)); // inside, if there is room
    group.append(text(middle, bottom + 34, name, { "text-anchor": "middle" }));
    return group;
  }

  /** The same at the left of a plot. */
  function axisLeft(y, domain, { top, bottom, left, right }, name, many = 4) {
    const group = drawn("g", { class: "axis" });
    for (const value of ticks(...domain, many)) {
      group.append(
        drawn("path", { d: `M${left} ${y(value)}H${right}` }),
        text(left - 6, y(value) + 4, figure(value), { "text-anchor": "end" }),
      );
    }
    group.append(text(-(top + bottom) / 2, 14, name, { "text-anchor": "middle", transform: "rotate(-90)" }));
    return group;
  }

  /** Names of groups with their markers. */
  function legend(names) {
    const entry = (name, number) => {
      const { colour, shape } = look(number);
      const marker = drawn("path", { d: shape, transform: "scale(5)", fill: colour });
      return element(
        "li",
        {},
        drawn("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, marker),
        element("bdi", { text: seen(name, 80) }),
      );
    };
    return element("ul", { class: "legend" }, ...names.map(entry));
  }

  /** A table, made when it is opened: what a plot shows, for reading. `rows()` gives texts and numbers. */
  function reading(head, rows) {
    const body = element("tbody", {});
    const table = element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col", text: name })))),
      body,
    );
    const details = element(
      "details",
      { class: "reading" },
      element("summary", { text: "As a table" }),
      element("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" }, table),
    );
    const cell = (value, at) => {
      const number = typeof value === "number";
      return element(
        at ? "td" : "th",
        { scope: at ? null : "row", class: number ? "number" : null },
        element("bdi", { text: number ? figure(value) : seen(String(value), 200) }),
      );
    };
    const update = () =>
      details.open && body.replaceChildren(...rows().map((row) => element("tr", {}, ...row.map(cell))));
    details.addEventListener("toggle", update);
    return { element: details, update };
  }

  /** A plot: title, drawing, table. `draw(width)` gives an SVG's height and children; `update` draws again. A plot with
   * a `picture` stays as it is. */
  class Plot {
    constructor({ title, draw, picture = null, head, rows, wide = false }) {
      this.draw = draw;
      this.holder = element("div", { class: "drawing" }, picture);
      this.reading = reading(head, rows);
      this.title = title;
      this.element = element(
        "figure",
        { class: wide ? "plot wide-plot" : "plot" },
        element("figcaption", {}, element("h3", {}, element("bdi", { text: seen(title, 200) }))),
        this.holder,
        this.reading.element,
      );
      this.update = once(() => this.#paint());
      if (draw) new ResizeObserver(this.update).observe(this.holder);
    }

    #paint() {
      const width = this.holder.clientWidth;
      if (!width) return;
      const { height, parts } = this.draw(width);
      const said = `${seen(this.title, 200)}; the table below has the numbers`;
      this.holder.replaceChildren(
        drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said }, ...parts),
      );
      this.reading.update();
    }
  }

  Object.assign(Variorum, {
    Plot,
    look,
    ticks,
    scale,
    axisBelow,
    axisLeft,
    legend,
    reading,
    wide,
    svgText: text,
  });
}
