/* The kinds of plots: funnel, histogram, and those of evaluations, which are drawn already. Each gives a `Plot`. */
{
  const {
    Plot,
    drawn,
    element,
    figure,
    seen,
    binned,
    scale,
    axisBelow,
    axisLeft,
    svgText,
    wide,
    limitOf,
  } = Variorum;
  const BINS = 40;

  /** The name beside a bar or a line of dots, cut to the room it has. */
  function label(name, room) {
    const text = seen(String(name), 200);
    if (wide(text) <= room - 8) return text;
    let most = text.length;
    while (most > 3 && wide(text.slice(0, most) + "…") > room - 8) most--;
    return text.slice(0, most) + "…";
  }

  function room(names, width) {
    return Math.min(width * 0.45, 12 + Math.max(40, ...names.map((name) => wide(seen(String(name), 200)))));
  }

  /** Pictures by stage, and below them the reasons for which some were dropped, relabelled or sent to review. */
  function funnel({ title, stages, reasons }) {
    const bars = stages.map(([name, number]) => [name, number, "stage"]);
    for (const [action, by, reason, number] of reasons) bars.push([`${action}: ${reason} (${by})`, number, "reason"]);
    const draw = (width) => {
      const left = room(
        bars.map(([name]) => name),
        width,
      );
      const x = scale([0, Math.max(1, ...stages.map(([, number]) => number))], [left, width - 64]);
      const parts = [];
      let top = 4;
      bars.forEach(([name, number, kind], at) => {
        if (kind === "reason" && bars[at - 1]?.[2] !== "reason") {
          parts.push(svgText(0, top + 22, "By reason", { class: "strong" }));
          top += 34;
        }
        const [height, length] = [kind === "stage" ? 22 : 16, Math.max(number ? 2 : 0, x(number) - left)];
        parts.push(
          svgText(left - 8, top + height / 2 + 4, label(name, left), { "text-anchor": "end" }),
          drawn("rect", { x: left, y: top, width: length, height, rx: 2, class: kind }),
          svgText(left + length + 6, top + height / 2 + 4, figure(number), { class: "strong" }),
        );
        top += height + 6;
      });
      return { height: top + 4, parts };
    };
    return new Plot({
      title,
      draw,
      head: ["stage or reason", "pictures"],
      rows: () => bars.map(([name, number]) => [name, number]),
      wide: true,
    });
  }

  /** A column of numbers of the rows in view, before those of all rows; `limit` is marked. */
  function histogram(column, view, limit = "") {
    const bounds = (limit.match(/-?\d*\.?\d+(?:e[-+]?\d+)?/gi) ?? []).slice(0, 2).map(Number); // "≥ 0.5", "0.1 to 0.9"
    const ends = [Math.min(column.extent[0], ...bounds), Math.max(column.extent[1], ...bounds)];
    const all = binned(column.numbers, ends, BINS);
    const most = Math.max(1, ...all);
    const draw = (width) => {
      const frame = { left: 56, right: width - 12, top: 22, bottom: 172 };
      const x = scale(ends, [frame.left, frame.right]);
      const y = scale([0, most], [frame.bottom, frame.top]);
      const step = (frame.right - frame.left) / BINS;
      const shown = binned(column.numbers, ends, BINS, view.order);
      const parts = [
        axisBelow(x, ends, frame, seen(column.name, 60), width < 420 ? 4 : 6),
        axisLeft(y, [0, most], frame, "pictures"),
      ];
      const path = (counts) => {
        let bars = "";
        counts.forEach(
          (count, at) =>
            (bars += count
              ? `M${frame.left + at * step + 0.5} ${frame.bottom}V${Math.min(frame.bottom - 1, y(count))}h${step - 1}V${frame.bottom}z`
              : ""),
        );
        return bars;
      };
      parts.push(drawn("path", { d: path(all), class: "behind" }), drawn("path", { d: path(shown), class: "front" }));
      bounds.forEach((bound, number) => {
        parts.push(drawn("path", { d: `M${x(bound)} ${frame.top - 6}V${frame.bottom}`, class: "limit" }));
        if (number) return;
        const right = x(bound) > width / 2;
        parts.push(
          svgText(x(bound) + (right ? -5 : 5), frame.top - 6, `limit ${limit}`, {
            "text-anchor": right ? "end" : "start",
            class: "strong",
          }),
        );
      });
      return { height: 214, parts };
    };
    const rows = () => {
      const shown = binned(column.numbers, ends, BINS, view.order);
      const edge = (at) => figure(ends[0] + ((ends[1] - ends[0]) * at) / BINS);
      return Array.from(all, (count, at) => [`${edge(at)} to ${edge(at + 1)}`, shown[at], count]).filter(
        ([, , count]) => count,
      );
    };
    return new Plot({ title: column.name, draw, head: ["from, to", "in view", "all"], rows });
  }

  /** An evaluation's plot as its card draws it: a picture, in which nothing runs. */
  function evaluation({ title, about, svg, head, rows }) {
    const picture = element("img", { alt: seen(about), src: `data:image/svg+xml,${encodeURIComponent(svg)}` });
    return new Plot({ title, picture, head, rows: () => rows });
  }

  const KINDS = { funnel, evaluation };

  /** The section of plots: those of the facts, histograms of gates and of columns people pick. */
  class Plots {
    constructor(place, { data, view }) {
      Object.assign(this, { place, data, view, moving: [] });
      const fixed = (data.facts.plots ?? [])
        .filter((plot) => Object.hasOwn(KINDS, plot.kind))
        .map((plot) => KINDS[plot.kind](plot));
      this.holder = element("div", { class: "plots" });
      const gates = data.numbers.filter((one) => one.name.startsWith("gate."));
      this.left = new Map(data.numbers.filter((one) => !gates.includes(one)).map((one) => [one.name, one]));
      this.pick = element("select", { "aria-label": "Add a histogram", change: () => this.#more(this.pick.value) });
      place.append(
        element("h2", { class: "away", text: "Plots" }),
        element("div", { class: "plots" }, ...fixed.map((plot) => plot.element)),
        element("div", { class: "line section" }, element("h2", { text: "Numbers" }), this.pick),
        this.holder,
      );
      for (const column of gates) this.#add(column);
      if (!gates.length) for (const column of [...this.left.values()].slice(0, 2)) this.#more(column.name);
      this.#options();
      if (!data.numbers.length) this.holder.previousSibling.remove();
      this.empty = !fixed.length && !data.numbers.length;
    }

    #add(column) {
      const plot = histogram(column, this.view, limitOf(this.data, column.name));
      this.moving.push(plot);
      this.holder.append(plot.element);
    }

    #more(name) {
      const column = this.left.get(name);
      if (!column) return;
      this.left.delete(name);
      this.#add(column);
      this.#options();
    }

    #options() {
      this.pick.hidden = !this.left.size;
      this.pick.replaceChildren(
        element("option", { value: "", text: "Add a histogram of…" }),
        ...[...this.left.keys()].map((name) => element("option", { value: name, text: seen(name, 60) })),
      );
    }

    /** Draw what follows the filters. */
    update() {
      if (this.place.hidden) return;
      for (const plot of this.moving) plot.update();
    }
  }

  Object.assign(Variorum, { Plots, funnel, histogram, evaluation });
}
