/* What can lie over a picture: its mask, boxes, and a veil over pictures that nobody should see unasked. */
{
  const { element, drawn } = Variorum;

  /** A veil over the picture with a button that lifts it. */
  function veil(lift) {
    return element(
      "div",
      { class: "veil", hidden: true },
      element("button", { type: "button", click: lift }, "Show the picture ", element("kbd", { text: "v" })),
    );
  }

  /** A box [left, top, width, height] with a dark and a light line, so that it is seen on any picture. */
  function rectangle([left, top, width, height], more = {}) {
    const place = { x: left, y: top, width, height };
    return drawn("g", more, drawn("rect", { class: "under", ...place }), drawn("rect", { class: "over", ...place }));
  }

  /** The name of a box above its upper left corner, or inside where there is no room. */
  function caption([left, top], name, width) {
    const size = Math.max(10, Math.round(width / 40));
    return drawn("text", {
      x: left,
      y: top > size * 1.4 ? top - size * 0.4 : top + size * 1.2,
      "font-size": size,
      text: name,
    });
  }

  /** Switches of the stage for mask, boxes and original. What is on stays on from picture to picture. */
  class Layers {
    constructor(stage) {
      this.stage = stage;
      this.on = { mask: false, boxes: false, original: true };
      const button = (name, text, label) =>
        element("button", {
          type: "button",
          "aria-label": label,
          title: label,
          text,
          click: () => this.toggle(name),
        });
      this.buttons = {
        mask: button("mask", "Mask", "Mask of the picture (m)"),
        boxes: button("boxes", "Boxes", "Boxes of the picture (b)"),
        original: button("original", "Original", "Original beside the picture (o)"),
      };
      stage.switches.append(...Object.values(this.buttons));
      this.onOriginal = () => {};
    }

    /** Which layers the task's picture has. */
    show(task) {
      const { picture, kind } = task;
      this.has = {
        mask: Boolean(picture.mask),
        boxes: kind !== "box" && picture.objects.length > 0, // a box that is asked about is drawn anyway
        original: Boolean(picture.original),
      };
      this.picture = picture;
      for (const [name, button] of Object.entries(this.buttons)) button.hidden = !this.has[name];
      this.draw();
    }

    /** Show a layer, or take it away. */
    toggle(name) {
      if (!this.has?.[name]) return false;
      this.on[name] = !this.on[name];
      if (name === "original") this.onOriginal();
      this.draw();
      const title = { mask: "Mask", boxes: "Boxes", original: "Original" }[name];
      this.stage.say(`${title} ${this.on[name] ? "shown" : "hidden"}.`);
      return true;
    }

    key(key) {
      const name = { m: "mask", b: "boxes", o: "original" }[key];
      if (!name) return false;
      if (!this.toggle(name)) this.stage.say(`This picture has no ${name}.`);
      return true;
    }

    /** Draw what is on. There is no mask over a veiled picture: it would show outlines. */
    draw() {
      for (const [name, button] of Object.entries(this.buttons))
        button.setAttribute("aria-pressed", String(this.on[name]));
      for (const [at, pane] of this.stage.panes.entries()) {
        const masked = at === 0 && this.on.mask && this.has.mask && !this.stage.hidden;
        pane.mask.hidden = !masked;
        pane.mask.style.maskImage = masked ? `url("${this.picture.mask.replace(/["\\\n]/g, encodeURIComponent)}")` : "";
        const boxes = at === 0 && this.on.boxes && this.has.boxes ? this.picture.objects : [];
        pane.boxes.replaceChildren(...boxes.map(({ box }) => rectangle(box)));
      }
    }
  }

  Object.assign(Variorum, { layer: { veil, rectangle, caption, Layers } });
}
