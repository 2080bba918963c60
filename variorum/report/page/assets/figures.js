/* The kinds of plots: funnel, histogram, dots with intervals, reliability, curves, radar. Each gives a `Plot`. */
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
    marker,
    legend,
    svgText,
    look,
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

  /** A dot with its interval for each row and each series. */
  function intervals({ title, unit, rows, series }) {
    const names = Object.keys(series);
    const points = Object.values(series).flat().filter(Boolean).flat().filter(Number.isFinite);
    const ends = [Math.min(0, ...points), Math.max(0, ...points)];
    if (ends[0] === ends[1]) ends[1] = 1;
    const tall = Math.max(24, 13 * names.length + 10);
    const draw = (width) => {
      const frame = { left: room(rows, width), right: width - 16, top: 6, bottom: 6 + rows.length * tall };
      const x = scale(ends, [frame.left + 8, frame.right]);
      const parts = [axisBelow(x, ends, frame, seen(unit, 100), width < 420 ? 4 : 6)];
      parts.push(drawn("path", { d: `M${x(0)} ${frame.top}V${frame.bottom}`, class: "zero" }));
      rows.forEach((row, at) => {
        const middle = frame.top + (at + 0.5) * tall;
        if (at % 2) parts.push(drawn("rect", { x: 0, y: middle - tall / 2, width, height: tall, class: "band" }));
        parts.push(svgText(frame.left - 8, middle + 4, label(row, frame.left), { "text-anchor": "end" }));
        names.forEach((name, number) => {
          const point = series[name][at];
          if (!point) return;
          const y = middle + (number - (names.length - 1) / 2) * 13;
          const [value, low, high] = point;
          const line = drawn("path", {
            d: `M${x(low)} ${y}H${x(high)}M${x(low)} ${y - 4}v8M${x(high)} ${y - 4}v8`,
            stroke: look(number).colour,
            class: "interval",
          });
          const group = drawn("g", {}, line, marker(number, x(value), y));
          group.append(
            drawn("title", {
              text: `${seen(String(row))}, ${seen(name)}: ${figure(value)} (${figure(low)} to ${figure(high)})`,
            }),
          );
          parts.push(group);
        });
      });
      return { height: frame.bottom + 44, parts };
    };
    const table = () =>
      rows.flatMap((row, at) =>
        names.filter((name) => series[name][at]).map((name) => [row, name, ...series[name][at]]),
      );
    return new Plot({
      title,
      draw,
      head: ["row", "series", unit, "from", "to"],
      rows: table,
      before: legend(names),
      wide: rows.length > 8,
    });
  }

  /** Accuracy against confidence; the area of a marker grows with the number of its predictions. */
  function reliability({ title, series }) {
    const names = Object.keys(series);
    const most = Math.max(
      1,
      ...Object.values(series)
        .flat()
        .map(([, , n]) => n),
    );
    const draw = (width) => {
      const side = Math.min(width - 80, 380);
      const frame = { left: 56, right: 56 + side, top: 10, bottom: 10 + side };
      const [x, y] = [scale([0, 1], [frame.left, frame.right]), scale([0, 1], [frame.bottom, frame.top])];
      const parts = [axisBelow(x, [0, 1], frame, "confidence"), axisLeft(y, [0, 1], frame, "accuracy", 5)];
      parts.push(drawn("path", { d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}`, class: "diagonal" }));
      names.forEach((name, number) => {
        const line = series[name].map(([confidence, accuracy]) => `${x(confidence)} ${y(accuracy)}`).join("L");
        if (line)
          parts.push(drawn("path", { d: `M${line}`, stroke: look(number).colour, class: "interval", fill: "none" }));
        for (const [confidence, accuracy, n] of series[name]) {
          const dot = marker(number, x(confidence), y(accuracy), 3 + 6 * Math.sqrt(n / most));
          dot.append(
            drawn("title", {
              text: `${seen(name)}: confidence ${figure(confidence)}, accuracy ${figure(accuracy)}, ${figure(n)} pictures`,
            }),
          );
          parts.push(dot);
        }
      });
      return { height: frame.bottom + 44, parts };
    };
    const rows = () => names.flatMap((name) => series[name].map((bin) => [name, ...bin]));
    const about = "On the dashed line, confidence is as high as accuracy. Larger markers stand for more pictures.";
    return new Plot({
      title,
      about,
      draw,
      head: ["series", "confidence", "accuracy", "pictures"],
      rows,
      before: legend(names),
    });
  }

  /** Values against another quantity, with intervals; a long line has no markers. */
  function curves({ title, across, unit, full = null, series }) {
    const names = Object.keys(series);
    const points = Object.values(series).flat();
    const ends = (numbers) => {
      const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
      const more = high > low ? (high - low) * 0.04 : 0.5;
      return [low - more, high + more];
    };
    const xs = ends(points.map(([x]) => x));
    const ys = full === null ? ends(points.flatMap(([, ...values]) => values)) : [-0.03 * full, 1.03 * full];
    const draw = (width) => {
      const frame = { left: 56, right: width - 16, top: 10, bottom: 290 };
      const [x, y] = [scale(xs, [frame.left, frame.right]), scale(ys, [frame.bottom, frame.top])];
      const parts = [
        axisBelow(x, xs, frame, seen(across, 100), width < 420 ? 4 : 6),
        axisLeft(y, ys, frame, seen(unit, 60), 5),
      ];
      names.forEach((name, number) => {
        const { colour } = look(number);
        const line = series[name].map(([at, value]) => `${x(at)} ${y(value)}`).join("L");
        if (line) parts.push(drawn("path", { d: `M${line}`, stroke: colour, class: "interval", fill: "none" }));
        const every = series[name].length > 12 ? Math.ceil(series[name].length / 8) : 1;
        series[name].forEach(([at, value, low, high], place) => {
          if (place % every) return;
          const d = `M${x(at)} ${y(low)}V${y(high)}M${x(at) - 4} ${y(low)}h8M${x(at) - 4} ${y(high)}h8`;
          const bar = high > low ? drawn("path", { d, stroke: colour, class: "interval" }) : "";
          const group = drawn("g", {}, bar, marker(number, x(at), y(value)));
          const said = `${figure(value)} (${figure(low)} to ${figure(high)})`;
          group.append(drawn("title", { text: `${seen(name)}: ${said} at ${figure(at)}` }));
          parts.push(group);
        });
      });
      return { height: frame.bottom + 44, parts };
    };
    const rows = () => names.flatMap((name) => series[name].map((point) => [name, ...point]));
    return new Plot({
      title,
      draw,
      head: ["series", across, unit, "from", "to"],
      rows,
      before: legend(names),
    });
  }

  /** A polygon for each series over axes around a centre; a missing value is a gap. */
  function radar({ title, unit, full, axes, series }) {
    const names = Object.keys(series);
    const spokes = axes.map((_, at) => {
      const angle = (2 * Math.PI * at) / axes.length;
      return [Math.sin(angle), -Math.cos(angle)];
    });
    const draw = (width) => {
      const side = Math.max(60, Math.min((width - 2 * 96) / 2, 170));
      const [x, y] = [width / 2, side + 36];
      const place = (at, share) => `${x + share * side * spokes[at][0]} ${y + share * side * spokes[at][1]}`;
      const parts = [];
      for (const ring of [0.25, 0.5, 0.75, 1]) {
        const d = `M${axes.map((_, at) => place(at, ring)).join("L")}z`;
        parts.push(drawn("g", { class: "axis" }, drawn("path", { d })));
        parts.push(svgText(x + 4, y - ring * side - 2, figure(ring * full), {}));
      }
      axes.forEach((axis, at) => {
        const [right, down] = spokes[at];
        parts.push(drawn("g", { class: "axis" }, drawn("path", { d: `M${x} ${y}L${place(at, 1)}` })));
        const end = x + 1.06 * side * right;
        const anchor = Math.abs(right) < 0.05 ? "middle" : right > 0 ? "start" : "end";
        const space = anchor === "middle" ? width / 2 : anchor === "start" ? width - end : end;
        parts.push(svgText(end, y + (1.06 * side + (Math.abs(right) < 0.05 ? 12 : 0)) * down + 4, label(axis, space + 8), { "text-anchor": anchor }));
      });
      names.forEach((name, number) => {
        const { colour } = look(number);
        const shares = series[name].map((value) => (value === null ? null : Math.min(1, Math.max(0, value / full))));
        let d = "";
        for (let at = 0; at <= shares.length; at++) {
          const [here, before] = [at % shares.length, at ? at - 1 : -1];
          if (shares[here] === null) continue;
          d += `${before >= 0 && shares[before] !== null ? "L" : "M"}${place(here, shares[here])}`;
        }
        if (d) parts.push(drawn("path", { d, stroke: colour, class: "interval", fill: "none" }));
        shares.forEach((share, at) => {
          if (share === null) return;
          const [left, top] = place(at, share).split(" ").map(Number);
          const dot = marker(number, left, top);
          dot.append(drawn("title", { text: `${seen(axes[at])}, ${seen(name)}: ${figure(series[name][at])}` }));
          parts.push(dot);
        });
      });
      return { height: 2 * side + 72, parts };
    };
    const rows = () => axes.map((axis, at) => [axis, ...names.map((name) => series[name][at] ?? "none")]);
    return new Plot({
      title,
      about: `${unit}; 0 is at the centre.`,
      draw,
      head: ["axis", ...names],
      rows,
      before: legend(names),
    });
  }

  const KINDS = { funnel, intervals, reliability, curves, radar };

  /** The section of plots: those of the facts, a map if there is one, histograms of gates and of columns people pick. */
  class Plots {
    constructor(place, { data, view, embedding }) {
      Object.assign(this, { place, data, view, embedding, moving: [] });
      const fixed = (data.facts.plots ?? [])
        .filter((plot) => Object.hasOwn(KINDS, plot.kind))
        .map((plot) => KINDS[plot.kind](plot));
      this.holder = element("div", { class: "plots" });
      const gates = data.numbers.filter((one) => one.name.startsWith("gate."));
      this.left = new Map(data.numbers.filter((one) => !gates.includes(one)).map((one) => [one.name, one]));
      this.pick = element("select", { "aria-label": "Add a histogram", change: () => this.#more(this.pick.value) });
      const spans = (plot) => plot.element.classList.contains("wide-plot"); // these come first, so that no gaps are left
      fixed.sort((a, b) => spans(b) - spans(a));
      place.append(
        element("h2", { class: "away", text: "Plots" }),
        element("div", { class: "plots" }, ...fixed.map((plot) => plot.element)),
        embedding ? embedding.element : "",
        element("div", { class: "line section" }, element("h2", { text: "Numbers" }), this.pick),
        this.holder,
      );
      for (const column of gates) this.#add(column);
      if (!gates.length) for (const column of [...this.left.values()].slice(0, 2)) this.#more(column.name);
      this.#options();
      if (!data.numbers.length) this.holder.previousSibling.remove();
      this.empty = !fixed.length && !embedding && !data.numbers.length;
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
      this.embedding?.update();
    }
  }

  Object.assign(Variorum, { Plots, funnel, histogram, intervals, reliability, curves, radar });
}
