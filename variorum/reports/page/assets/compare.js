/* What lies over the large picture of a record: its mask, its boxes, and its original under a wipe. */
{
  const { element, layer } = Variorum;
  const STEP = 0.02; // of the frame's width, for one press of an arrow
  const WAYS = ["wipe", "beside", "alone"];
  const SAID = { wipe: "Wipe", beside: "Side by side", alone: "One picture" };

  /** Switches of the stage for mask, boxes and the way to compare. What is on stays on from picture to picture. */
  class Compare extends layer.Layers {
    constructor(stage) {
      super(stage);
      Object.assign(this, { way: "wipe", at: 0.5, onWay: () => {} });
      this.over = element("img", { class: "over", alt: "", draggable: "false", decoding: "sync" });
      this.names = [element("bdi", {}), element("bdi", {})];
      this.handle = element(
        "div",
        {
          class: "handle wipe",
          role: "slider",
          tabindex: "0",
          "aria-label": "Wipe",
          "aria-valuemin": "0",
          "aria-valuemax": "100",
          keydown: (event) => this.#arrow(event),
          pointerdown: (event) => this.#drag(event),
          dblclick: (event) => (event.stopPropagation(), this.#move(0.5)),
        },
        ...this.names,
        element("span", { class: "grip", "aria-hidden": "true", text: "◂ ▸" }),
      );
      this.button = element("button", { type: "button", click: () => this.turn() });
      stage.switches.prepend(this.button);
    }

    /** What the picture on top has: `{ picture, other, fits, names }`; `other` is what it is compared with, or null. */
    show(task) {
      super.show({ picture: { ...task.picture, original: null }, kind: "" });
      this.task = task;
      const way = this.shown;
      this.button.hidden = !task.other;
      this.button.textContent = `Compare: ${SAID[way].toLowerCase()}`;
      this.button.title = `${this.button.textContent}; another way (o)`;
      this.button.setAttribute("aria-label", this.button.title);
      const [pane] = this.stage.panes;
      const wiped = way === "wipe" && Boolean(task.other) && Boolean(pane);
      this.handle.hidden = this.over.hidden = !wiped;
      if (wiped) {
        if (this.over.getAttribute("src") !== task.other.url) this.over.src = task.other.url;
        pane.image.after(this.over);
        pane.frame.append(this.handle);
        const { width, height } = pane.picture;
        Object.assign(this.over.style, { width: `${width}px`, height: `${height}px` });
        this.names.forEach((name, side) => (name.textContent = task.names[side]));
        pane.caption.hidden = true;
        this.#move(this.at);
      } else if (pane) this.#clip(pane, 0);
    }

    /** How the picture is compared: a wipe needs two pictures of the same shape. */
    get shown() {
      if (!this.task?.other) return "alone";
      return this.way === "wipe" && !this.task.fits ? "beside" : this.way;
    }

    /** The next way to compare. */
    turn() {
      if (!this.task?.other) return;
      const ways = WAYS.filter((way) => way !== "wipe" || this.task.fits);
      this.way = ways[(ways.indexOf(this.shown) + 1) % ways.length];
      this.onWay();
      this.stage.say(`${SAID[this.way]}.`);
    }

    key(key) {
      if (key === "o") {
        if (this.task?.other) this.turn();
        else this.stage.say("This picture has no original.");
        return true;
      }
      if ((key === "," || key === ".") && !this.handle.hidden)
        return (this.#move(this.at + (key === "," ? -STEP : STEP)), true);
      return super.key(key);
    }

    #arrow(event) {
      const to = {
        ArrowLeft: this.at - STEP,
        ArrowDown: this.at - STEP,
        ArrowRight: this.at + STEP,
        ArrowUp: this.at + STEP,
        Home: 0,
        End: 1,
      }[event.key];
      if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation(); // it would go to another picture
      this.#move(to);
    }

    #drag(event) {
      if (event.button > 0) return;
      event.preventDefault();
      event.stopPropagation(); // it would move the picture
      this.handle.focus({ preventScroll: true });
      this.handle.setPointerCapture(event.pointerId);
      const { left, width } = this.stage.panes[0].frame.getBoundingClientRect();
      const off = event.clientX - left - this.at * width; // from the line
      const move = (moved) => moved.pointerId === event.pointerId && this.#move((moved.clientX - left - off) / width);
      this.handle.addEventListener("pointermove", move);
      const end = () => this.handle.removeEventListener("pointermove", move);
      for (const name of ["pointerup", "pointercancel", "lostpointercapture"])
        this.handle.addEventListener(name, end, { once: true });
    }

    #move(at) {
      this.at = Math.min(1, Math.max(0, at));
      this.handle.style.left = `${this.at * 100}%`;
      this.handle.setAttribute("aria-valuenow", String(Math.round(this.at * 100)));
      this.handle.setAttribute("aria-valuetext", `${Math.round(this.at * 100)} % ${this.task.names[0]}`);
      const [pane] = this.stage.panes;
      if (pane) this.placed(pane);
    }

    /** The stage has placed its picture: the line stays where it is on the screen. */
    placed(pane) {
      if (this.handle.hidden || !pane.scale) return;
      const x = (this.at * pane.frame.clientWidth - pane.left) / pane.scale;
      this.#clip(pane, Math.min(pane.picture.width, Math.max(0, x)));
    }

    /** The original is left of x, in pixels of the picture; mask and boxes, which are the edit's, are right of it. */
    #clip(pane, x) {
      this.over.style.clipPath = `inset(0 ${pane.picture.width - x}px 0 0)`;
      for (const node of [pane.mask, pane.boxes]) node.style.clipPath = x ? `inset(0 0 0 ${x}px)` : "";
    }

    /** Boxes say what they are about. */
    draw() {
      super.draw();
      const [pane] = this.stage.panes;
      if (!pane || !this.on.boxes || !this.has?.boxes) return;
      for (const { box, name } of this.picture.objects)
        if (name) pane.boxes.append(layer.caption(box, name, pane.picture.width));
    }
  }

  Object.assign(Variorum, { Compare });
}
