/* The lens of the grid: the picture with the focus, large, with the original or the other picture beside it. */
{
  const { element, seen } = Variorum;

  class Lens {
    constructor({ closed }) {
      this.figures = element("div", { class: "grid-lens-pictures" });
      this.title = element("p", { class: "grid-lens-title", "aria-live": "polite" });
      this.element = element(
        "div",
        { class: "grid-lens", role: "group", "aria-label": "Large picture", hidden: true },
        element(
          "div",
          { class: "line" },
          this.title,
          element("button", {
            type: "button",
            class: "icon",
            "aria-label": "Close the large picture",
            title: "Close (z)",
            text: "✕",
            click: closed,
          }),
        ),
        this.figures,
      );
      this.element.addEventListener("click", ({ target }) => target.closest("button") || closed());
    }

    get open() {
      return !this.element.hidden;
    }

    /** Show a question's picture, blurred if it is `veiled`; `title` says which one it is and how it is marked. */
    show(cell, title, veiled) {
      this.title.textContent = title;
      this.element.hidden = false;
      if (this.cell === cell && this.veiled === veiled) return;
      Object.assign(this, { cell, veiled });
      const { task, question } = cell;
      const original = task.kind === "edit" ? (task.picture.original ?? null) : null;
      const other = question.other ?? null;
      const shown = [
        original && [original, "original"],
        [task.picture, original ? "edit" : other ? "one" : ""],
        other && [other, "other"],
      ].filter(Boolean);
      this.figures.replaceChildren(
        ...shown.map(([picture, name]) =>
          element(
            "figure",
            {},
            element("img", {
              alt: name || "the picture, large",
              decoding: "async",
              draggable: "false",
              width: picture.width || null,
              height: picture.height || null,
              src: veiled || picture.veiled ? picture.blurred : picture.url,
            }),
            name ? element("figcaption", { text: seen(name) }) : null,
          ),
        ),
      );
    }

    close() {
      this.element.hidden = true;
      this.cell = null;
      this.figures.replaceChildren();
    }
  }

  Object.assign(Variorum, { Lens });
}
