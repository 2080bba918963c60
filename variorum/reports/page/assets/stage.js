/* The picture, large: zoom, pan, and other pictures beside it that move along. */
{
  const { element, drawn, once, layer } = Variorum;
  const STEP = 1.25; // of one press of + or notch of a wheel
  const PAN = 0.15; // of the pane's width, for one press of an arrow
  const DEEPEST = 8; // pixels of the screen for one of the picture, or of the size at which it fits

  const between = (low, value, high) => Math.min(high, Math.max(low, value));

  /** One picture in a frame. Its sheet has the picture's own size and is moved and scaled as a whole. */
  class Pane {
    constructor(stage) {
      this.stage = stage;
      this.image = element("img", { alt: "", draggable: "false", decoding: "sync" });
      this.mask = element("div", { class: "mask", hidden: true });
      this.boxes = drawn("svg", { class: "boxes", "aria-hidden": "true" });
      this.sheet = element("div", { class: "sheet" }, this.image, this.mask, this.boxes);
      this.again = element("button", { type: "button", text: "Load it again", click: () => this.#load() });
      this.failed = element(
        "div",
        { class: "failed-picture", hidden: true },
        element("p", { text: "The picture can't be loaded." }),
        this.again,
      );
      this.caption = element("figcaption", {});
      this.frame = element("div", { class: "frame" }, this.sheet, this.failed);
      this.element = element("figure", { class: "pane" }, this.frame, this.caption);
      this.image.addEventListener("load", () => ((this.failed.hidden = true), stage.arrange()));
      this.image.addEventListener("error", () => (this.failed.hidden = false));
    }

    show(picture, caption, alt, veiled) {
      Object.assign(this, { picture, veiled });
      this.caption.textContent = caption;
      this.caption.hidden = !caption;
      this.image.alt = alt;
      this.failed.hidden = true;
      const { width, height } = picture;
      for (const node of [this.image, this.mask])
        ((node.style.width = `${width}px`), (node.style.height = `${height}px`));
      this.boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.boxes.setAttribute("width", width);
      this.boxes.setAttribute("height", height);
      if (this.image.getAttribute("src") !== this.url) this.image.src = this.url;
    }

    /** Where the picture is; under a veil, that of its blurred version. */
    get url() {
      return this.veiled ? this.picture.blurred : this.picture.url;
    }

    /** Show the picture that was blurred. */
    reveal() {
      this.veiled = false;
      this.image.src = this.url;
    }

    #load() {
      this.image.removeAttribute("src");
      this.image.src = this.url;
    }

    /** Place the sheet: `zoom` 1 is where the picture fits, `u` and `v` are what lies in the middle, from 0 to 1. */
    place({ zoom, u, v }) {
      const { width, height } = this.picture;
      const [wide, high] = [this.frame.clientWidth, this.frame.clientHeight];
      if (!wide || !high) return;
      const room = wide < 500 ? 8 : 24; // beside a picture that fits
      this.fit = Math.max(0.01, Math.min((wide - room) / width, (high - room) / height));
      this.scale = this.fit * zoom;
      const at = (room, size, middle) =>
        size <= room ? (room - size) / 2 : between(room - size, room / 2 - middle * size, 0);
      this.left = at(wide, width * this.scale, u);
      this.top = at(high, height * this.scale, v);
      this.sheet.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.scale})`;
      this.sheet.style.setProperty("--scale", String(this.scale));
      this.image.classList.toggle("coarse", this.scale * devicePixelRatio > 3);
    }

    /** Where a point of the screen lies on the picture, in its pixels. */
    at(x, y) {
      const { left, top } = this.frame.getBoundingClientRect();
      return [(x - left - this.left) / this.scale, (y - top - this.top) / this.scale];
    }

    /** The middle of what is seen, from 0 to 1, if the sheet lay at left and top with a scale. */
    middle(left, top, scale) {
      const { width, height } = this.picture;
      const [wide, high] = [this.frame.clientWidth, this.frame.clientHeight];
      return [between(0, (wide / 2 - left) / (width * scale), 1), between(0, (high / 2 - top) / (height * scale), 1)];
    }
  }

  /** The picture of a task and what stands beside it, with tools. `say` tells what happened. */
  class Stage {
    constructor({ say, layers = layer.Layers }) {
      this.say = say;
      this.view = { zoom: 1, u: 0.5, v: 0.5 };
      this.panes = [];
      this.pointers = new Map();
      this.row = element("div", { class: "panes" });
      const tool = (text, label, work, more = {}) =>
        element("button", { type: "button", "aria-label": label, title: label, text, click: work, ...more });
      this.level = element("span", { class: "level", "aria-hidden": "true" });
      this.tools = element(
        "div",
        { class: "stage-tools", role: "toolbar", "aria-label": "Picture" },
        tool("−", "Smaller (−)", () => this.zoom(1 / STEP), { class: "icon" }),
        this.level,
        tool("+", "Larger (+)", () => this.zoom(STEP), { class: "icon" }),
        (this.fitting = tool("Fit", "Fit or 100 % (f)", () => this.toggleFit())),
        (this.switches = element("span", { class: "switches" })),
      );
      this.veil = layer.veil(() => this.reveal());
      this.element = element("section", { class: "stage", "aria-label": "Picture" }, this.row, this.veil, this.tools);
      this.layers = new layers(this);
      this.arrange = once(() => this.#arrange());
      this.watch = new ResizeObserver(() => this.#arrange());
      this.watch.observe(this.row);
      this.#listen();
    }

    /** Show pictures: [[picture, caption, alt]…], the one to judge first. `keep` keeps the zoom. */
    show(pictures, { blurred = false, task, keep = false }) {
      if (!keep) this.view = { zoom: 1, u: 0.5, v: 0.5 };
      this.hidden = blurred;
      while (this.panes.length < pictures.length) this.panes.push(new Pane(this));
      pictures.forEach(([picture, caption, alt], at) => this.panes[at].show(picture, caption, alt, blurred));
      this.panes.length = pictures.length;
      const nodes = this.panes.map((pane) => pane.element);
      if (nodes.length !== this.row.childElementCount || nodes.some((node, at) => node !== this.row.children[at]))
        this.row.replaceChildren(...nodes);
      this.element.dataset.panes = String(nodes.length);
      this.layers.show(task);
      this.#arrange();
    }

    /** Show a blurred picture, which is loaded only now. */
    reveal() {
      if (!this.hidden) return false;
      this.hidden = false;
      for (const pane of this.panes) pane.reveal();
      this.layers.draw();
      this.#arrange();
      this.say("The picture is shown.");
      return true;
    }

    get zoomed() {
      return this.view.zoom > 1.001;
    }

    #arrange() {
      for (const pane of this.panes) pane.place(this.view);
      const [pane] = this.panes;
      this.element.classList.toggle("zoomed", this.zoomed);
      this.element.classList.toggle("veiled", Boolean(this.hidden));
      this.veil.hidden = !this.hidden;
      if (!pane?.scale) return;
      this.level.textContent = `${Math.round(pane.scale * 100)} %`;
      this.fitting.textContent = Math.abs(this.view.zoom - 1) < 0.001 ? "100 %" : "Fit";
      this.layers.placed?.(pane);
    }

    /** Zoom by a factor around a point of the screen, or around the middle. */
    zoom(factor, x, y, pane = this.panes[0]) {
      if (!pane?.scale) return;
      const { left, top, width, height } = pane.frame.getBoundingClientRect();
      const [px, py] = [(x ?? left + width / 2) - left, (y ?? top + height / 2) - top];
      const least = Math.min(1, 1 / pane.fit);
      let zoom = between(least, this.view.zoom * factor, Math.max(DEEPEST, DEEPEST / pane.fit));
      if (Math.abs(zoom - 1) < 0.02) zoom = 1;
      const scale = pane.fit * zoom;
      const [ix, iy] = [(px - pane.left) / pane.scale, (py - pane.top) / pane.scale];
      const [u, v] = pane.middle(px - ix * scale, py - iy * scale, scale);
      this.view = { zoom, u, v };
      this.#arrange();
    }

    /** Between the size at which the picture fits and its own; twice as large where these are about the same. */
    toggleFit(x, y, pane = this.panes[0]) {
      if (!pane?.scale) return;
      if (Math.abs(this.view.zoom - 1) > 0.001) {
        this.view = { zoom: 1, u: 0.5, v: 0.5 };
        this.#arrange();
      } else this.zoom(Math.abs(pane.fit - 1) < 0.3 ? 2 : 1 / pane.fit, x, y, pane);
      this.say(this.zoomed ? `${this.level.textContent}. Arrow keys move the picture.` : "The picture fits.");
    }

    /** Move by pixels of the screen. */
    pan(dx, dy, pane = this.panes[0]) {
      const [u, v] = pane.middle(pane.left + dx, pane.top + dy, pane.scale);
      Object.assign(this.view, { u, v });
      this.#arrange();
    }

    #listen() {
      const paneOf = (event) => this.panes.find((pane) => pane.frame.contains(event.target));
      const { row, pointers } = this;
      row.addEventListener(
        "wheel",
        (event) => {
          const pane = paneOf(event);
          if (!pane) return;
          event.preventDefault();
          const notches = between(-3, event.deltaY / (event.deltaMode ? 3 : 100), 3);
          this.zoom(STEP ** -notches, event.clientX, event.clientY, pane);
        },
        { passive: false },
      );
      row.addEventListener("dblclick", (event) => {
        if (paneOf(event) && !event.target.closest("button"))
          this.toggleFit(event.clientX, event.clientY, paneOf(event));
      });
      row.addEventListener("pointerdown", (event) => {
        if (!paneOf(event) || event.button > 0 || event.target.closest("button, .handle")) return;
        pointers.set(event.pointerId, [event.clientX, event.clientY]);
        this.dragged = paneOf(event);
        this.dragged.frame.setPointerCapture(event.pointerId);
      });
      row.addEventListener("pointermove", (event) => {
        const before = pointers.get(event.pointerId);
        if (!before) return;
        const now = [event.clientX, event.clientY];
        if (pointers.size === 1) this.pan(now[0] - before[0], now[1] - before[1], this.dragged);
        else if (pointers.size === 2) this.#pinch(event.pointerId, before, now);
        pointers.set(event.pointerId, now);
      });
      for (const end of ["pointerup", "pointercancel", "lostpointercapture"])
        row.addEventListener(end, (event) => pointers.delete(event.pointerId));
    }

    #pinch(id, before, now) {
      const [, other] = [...this.pointers].find(([key]) => key !== id);
      const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      this.zoom(apart(now) / apart(before), ...middle, this.dragged);
      this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2, this.dragged);
    }

    /** Keys of the picture; true if one was used. Arrows move the picture while it is larger than its frame. */
    key({ key, shiftKey }) {
      const far = (this.panes[0]?.frame.clientWidth ?? 0) * PAN;
      const arrows = { ArrowLeft: [far, 0], ArrowRight: [-far, 0], ArrowUp: [0, far], ArrowDown: [0, -far] };
      if (this.zoomed && arrows[key] && !shiftKey) return (this.pan(...arrows[key]), true);
      if (key === "Escape" && this.zoomed) return (this.toggleFit(), true);
      if (key === "+" || key === "=") return (this.zoom(STEP), this.say(this.level.textContent), true);
      if (key === "-" || key === "−") return (this.zoom(1 / STEP), this.say(this.level.textContent), true);
      if (key === "f") return (this.toggleFit(), true);
      if (key === "v") return (this.reveal(), true);
      return this.layers.key(key);
    }

    stop() {
      this.watch.disconnect();
    }
  }

  Object.assign(Variorum, { Stage, Pane });
}
