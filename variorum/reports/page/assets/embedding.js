/* The map: every picture as a point, near those that look alike. A rectangle or lasso on it filters the page. */
{
  const { element, figure, seen, look, drawn, once, reading } = Variorum;
  const GROUPS = 6; // values with a colour and a shape of their own; the others are grey
  const NEAR = 14; // pixels within which a point is found
  const MARGIN = 16;
  const CORNERS = 60; // of a lasso
  const COLUMNS = ["class", "variant", "status", "action", "split", "config", "change"];
  const GREY = "#8b9098";

  /** The map in a figure. `open(row)` opens a picture, `showAll()` goes to the grid. */
  class EmbeddingMap {
    constructor({ data, view, thumbnails, open, showAll }) {
      Object.assign(this, { data, view, thumbnails, open, lasso: false, focused: -1, path: [] });
      const { x, y, about } = data.facts.map;
      this.xs = data.columns.get(x).numbers;
      this.ys = data.columns.get(y).numbers;
      this.rows = Int32Array.from({ length: data.rows }, (_, row) => row).filter(
        (row) => Number.isFinite(this.xs[row]) && Number.isFinite(this.ys[row]),
      );
      this.columns = COLUMNS.filter((name) => data.columns.get(name)?.values?.length > 1);
      this.pick = element(
        "select",
        { change: () => this.#group() },
        ...this.columns.map((name) => element("option", { value: name, text: Variorum.columnTitle(name) })),
      );
      this.canvas = element("canvas", {
        tabindex: "0",
        role: "application",
        "aria-label": "Map of pictures. Arrow keys go from point to point, Enter opens a picture.",
      });
      this.image = element("img", { alt: "" });
      this.name = element("bdi", {});
      this.tip = element(
        "div",
        { class: "tip", hidden: true },
        element("div", { class: "picture" }, this.image),
        this.name,
      );
      this.said = element("p", { class: "away", "aria-live": "polite" });
      this.holder = element("div", { class: "drawing map" }, this.canvas, this.tip);
      this.names = element("div", {});
      this.tools = [
        this.#tool("Rectangle", false),
        this.#tool("Lasso", true),
        element("button", {
          type: "button",
          text: "Clear the area",
          click: () => this.view.change(() => (this.view.area = null)),
        }),
        element("button", { type: "button", click: showAll }),
      ];
      this.reading = reading(["group", "in view", "all"], () => this.#counts());
      this.element = element(
        "figure",
        { class: "plot map-plot" },
        element(
          "figcaption",
          {},
          element("h3", { text: "Map" }),
          element(
            "p",
            { class: "muted" },
            element("bdi", {
              text: seen(about || "Pictures that look alike are near each other", 300).replace(/[.\s]*$/, "."),
            }),
            " Draw on it to keep the pictures inside.",
          ),
        ),
        element(
          "div",
          { class: "line tools" },
          this.columns.length ? element("label", {}, "Colour by ", this.pick) : null,
          ...this.tools,
        ),
        this.names,
        this.holder,
        this.said,
        this.reading.element,
      );
      this.update = once(() => this.#paint());
      this.#listen();
      this.#group();
      new ResizeObserver(this.update).observe(this.holder);
    }

    #tool(name, lasso) {
      const button = element("button", { type: "button", "aria-pressed": String(lasso === this.lasso), text: name });
      button.addEventListener("click", () => {
        this.lasso = lasso;
        this.tools
          .slice(0, 2)
          .forEach((tool, number) => tool.setAttribute("aria-pressed", String(Boolean(number) === lasso)));
      });
      return button;
    }

    /** Deal the rows to groups: the most frequent values of the chosen column, and the rest. */
    #group() {
      const column = this.data.columns.get(this.pick.value || this.columns[0]);
      this.groups = [];
      this.of = new Int8Array(this.data.rows).fill(-1);
      if (column) {
        const counts = new Int32Array(column.values.length);
        for (const row of this.rows) if (column.codes[row] >= 0) counts[column.codes[row]]++;
        const codes = [...counts.keys()].sort((a, b) => counts[b] - counts[a] || a - b).slice(0, GROUPS);
        const number = new Map(codes.map((code, at) => [code, at]));
        for (const row of this.rows) this.of[row] = number.get(column.codes[row]) ?? -1;
        this.groups = codes.map((code) => seen(column.values[code], 40) || "empty");
        const rest = column.values.length > codes.length || column.codes.includes(-1);
        const legend = Variorum.legend(this.groups);
        if (rest)
          legend.append(
            element(
              "li",
              {},
              drawn(
                "svg",
                { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" },
                drawn("circle", { r: 3, fill: GREY }),
              ),
              element("span", { text: "others" }),
            ),
          );
        this.names.replaceChildren(legend);
      }
      this.update();
    }

    #scales(width, height) {
      let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
      for (const row of this.rows) {
        left = Math.min(left, this.xs[row]);
        right = Math.max(right, this.xs[row]);
        bottom = Math.min(bottom, this.ys[row]);
        top = Math.max(top, this.ys[row]);
      }
      const unit = Math.min((width - 2 * MARGIN) / (right - left || 1), (height - 2 * MARGIN) / (top - bottom || 1)); // the same scale on both axes, so that distances compare
      const [midX, midY] = [(left + right) / 2, (bottom + top) / 2];
      this.toX = (value) => width / 2 + (value - midX) * unit;
      this.toY = (value) => height / 2 - (value - midY) * unit;
      this.fromX = (place) => midX + (place - width / 2) / unit;
      this.fromY = (place) => midY - (place - height / 2) / unit;
    }

    #paint() {
      const { canvas, view } = this;
      const width = this.holder.clientWidth;
      if (!width) return;
      const height = Math.min(Math.max(320, innerHeight - 340), Math.max(320, Math.round(width * 0.7)));
      const ratio = window.devicePixelRatio || 1;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
        canvas.style.height = `${height}px`;
        this.#scales(width, height);
        this.#cells();
      }
      const pen = canvas.getContext("2d");
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, width, height);
      const size = this.rows.length > 4000 ? 2.4 : this.rows.length > 600 ? 3.2 : 4.5;
      pen.globalAlpha = 0.25;
      this.#points(pen, (row) => view.fails[row] > 0, GREY, null, size * 0.6);
      pen.globalAlpha = 0.6;
      this.#points(pen, (row) => !view.fails[row] && this.of[row] < 0, GREY, null, size * 0.7);
      pen.globalAlpha = 0.85;
      this.groups.forEach((_, number) => {
        const { colour, shape } = look(number);
        this.#points(pen, (row) => !view.fails[row] && this.of[row] === number, colour, shape, size);
      });
      pen.globalAlpha = 1;
      const ink = getComputedStyle(canvas).color;
      const outline = this.path.length ? this.path : (view.area ?? []).map(([x, y]) => [this.toX(x), this.toY(y)]);
      if (outline.length > 1) {
        pen.beginPath();
        for (const [x, y] of outline) pen.lineTo(x, y);
        pen.closePath();
        Object.assign(pen, { strokeStyle: ink, lineWidth: 1.5 });
        pen.setLineDash([5, 4]);
        pen.stroke();
        pen.setLineDash([]);
      }
      if (this.focused >= 0) {
        pen.beginPath();
        pen.arc(this.toX(this.xs[this.focused]), this.toY(this.ys[this.focused]), 9, 0, 7);
        Object.assign(pen, { strokeStyle: ink, lineWidth: 2 });
        pen.stroke();
      }
      this.tools[2].hidden = !view.area;
      this.tools[3].textContent = `Show ${figure(view.order.length)} in the grid`;
      this.reading.update();
    }

    #points(pen, wanted, colour, shape, size) {
      pen.fillStyle = colour;
      const stamp = new Path2D();
      const one = shape ? new Path2D(shape) : null;
      for (const row of this.rows) {
        if (!wanted(row)) continue;
        const [x, y] = [this.toX(this.xs[row]), this.toY(this.ys[row])];
        if (one) stamp.addPath(one, { a: size, d: size, e: x, f: y });
        else {
          stamp.moveTo(x + size, y);
          stamp.arc(x, y, size, 0, 7);
        }
      }
      pen.fill(stamp);
    }

    /** Numbers of pictures by group, for those who read the map. */
    #counts() {
      const [shown, all] = [new Int32Array(this.groups.length + 1), new Int32Array(this.groups.length + 1)];
      for (const row of this.rows) {
        const group = this.of[row] < 0 ? this.groups.length : this.of[row];
        all[group]++;
        if (!this.view.fails[row]) shown[group]++;
      }
      return [...this.groups, "others"].map((name, at) => [name, shown[at], all[at]]).filter(([, , count]) => count);
    }

    /** Rows by square of the drawing, so that the nearest is found without looking at all. */
    #cells() {
      this.squares = new Map();
      for (const row of this.rows) {
        const key = this.#square(this.toX(this.xs[row]), this.toY(this.ys[row]));
        if (!this.squares.has(key)) this.squares.set(key, []);
        this.squares.get(key).push(row);
      }
    }

    #square(x, y) {
      return Math.floor(x / NEAR) * 4096 + Math.floor(y / NEAR);
    }

    /** The row in view nearest to a place of the drawing; -1 if none is near. */
    #nearest(x, y) {
      let [found, best] = [-1, NEAR ** 2];
      for (const dx of [-NEAR, 0, NEAR]) {
        for (const dy of [-NEAR, 0, NEAR]) {
          for (const row of this.squares?.get(this.#square(x + dx, y + dy)) ?? []) {
            const far = (this.toX(this.xs[row]) - x) ** 2 + (this.toY(this.ys[row]) - y) ** 2;
            if (far < best && !this.view.fails[row]) [found, best] = [row, far];
          }
        }
      }
      return found;
    }

    /** The nearest row in view in a direction; far to the side counts twice. */
    #towards(dx, dy) {
      const rows = this.rows.filter((row) => !this.view.fails[row]);
      if (this.focused < 0 || this.view.fails[this.focused]) return rows[0] ?? -1;
      const [x, y] = [this.toX(this.xs[this.focused]), this.toY(this.ys[this.focused])];
      let [found, best] = [this.focused, Infinity];
      for (const row of rows) {
        const [ax, ay] = [this.toX(this.xs[row]) - x, this.toY(this.ys[row]) - y];
        const along = ax * dx + ay * dy;
        const far = along + 2 * Math.abs(ax * dy - ay * dx);
        if (along > 0.5 && far < best) [found, best] = [row, far];
      }
      return found;
    }

    #point(row) {
      this.focused = row;
      this.tip.hidden = row < 0;
      if (row >= 0) {
        const [x, y] = [this.toX(this.xs[row]), this.toY(this.ys[row])];
        this.thumbnails.put(this.image, this.data.diff ? 2 * row + 1 : row);
        this.name.textContent = [this.data.text("class", row), this.data.text("variant", row)]
          .filter(Boolean)
          .join(" · ");
        const right = x > this.holder.clientWidth / 2;
        this.tip.style.transform = `translate(${right ? x - 172 : x + 16}px, ${Math.max(0, y - 70)}px)`;
      }
      this.update();
    }

    #listen() {
      const { canvas } = this;
      canvas.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        canvas.setPointerCapture(event.pointerId);
        this.start = [event.offsetX, event.offsetY];
      });
      canvas.addEventListener("pointermove", ({ offsetX: x, offsetY: y }) => {
        if (!this.start) {
          const row = this.#nearest(x, y);
          if (row !== this.focused) this.#point(row);
          return;
        }
        const [left, top] = this.start;
        if (!this.path.length && Math.hypot(x - left, y - top) < 5) return;
        if (this.lasso) this.path.push([x, y]);
        else
          this.path = [
            [left, top],
            [x, top],
            [x, y],
            [left, y],
          ];
        this.tip.hidden = true;
        this.update();
      });
      canvas.addEventListener("pointerup", () => {
        const { path, start } = this;
        Object.assign(this, { path: [], start: null });
        if (path.length >= 3) this.#choose(path);
        else if (start && this.#nearest(...start) >= 0) this.open(this.#nearest(...start));
      });
      canvas.addEventListener("pointercancel", () => (Object.assign(this, { path: [], start: null }), this.update()));
      canvas.addEventListener("pointerleave", () => this.#point(-1));
      canvas.addEventListener("blur", () => this.#point(-1));
      canvas.addEventListener("keydown", (event) => {
        const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (way) {
          this.#point(this.#towards(...way));
          if (this.focused >= 0) this.said.textContent = this.data.about(this.focused);
        } else if ((event.key === "Enter" || event.key === " ") && this.focused >= 0) this.open(this.focused);
        else return;
        event.preventDefault();
      });
    }

    #choose(path) {
      const step = Math.ceil(path.length / CORNERS);
      const corners = path.filter((_, at) => at % step === 0).map(([x, y]) => [this.fromX(x), this.fromY(y)]);
      this.view.change(
        () => (this.view.area = corners.map((corner) => corner.map((value) => Number(value.toPrecision(6))))),
      );
    }
  }

  Object.assign(Variorum, { EmbeddingMap });
}
