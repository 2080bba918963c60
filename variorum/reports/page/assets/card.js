/* A card of the grid: a picture, or two on a page of a difference, with its class, variant and state. */
{
  const { element, seen } = Variorum;
  // Words and signs, so that states don't differ by colour alone.
  const WARN = {
    quarantined: "⚠ quarantined",
    withheld: "■ withheld",
    withhold: "■ withhold",
    dropped: "✕ dropped",
    drop: "✕ drop",
    relabel: "↻ relabel",
    review: "? ask people",
    audit: "? random check",
    ineligible: "– not possible",
    failed: "– failed",
  };

  /** A card: a picture, or two on a page of a difference, with badges. */
  class Card {
    constructor(grid) {
      this.grid = grid;
      this.images = Array.from({ length: grid.data.diff ? 2 : 1 }, () =>
        element("img", { alt: "", decoding: "async", draggable: "false" }),
      );
      const side = (number) =>
        grid.data.diff ? element("span", { class: "side", "data-side": ["before", "after"][number] }) : null;
      const pictures = this.images.map((image, number) => element("div", { class: "picture" }, image, side(number)));
      this.flag = element("span", { class: "flag", hidden: true });
      pictures[0].append(this.flag);
      this.variant = element("span", { class: "badge" });
      this.mark = element("span", { class: "badge mark" });
      this.name = element("bdi", { class: "name" });
      this.value = element("span", { class: "value" });
      this.element = element(
        "div",
        { class: "card", role: "gridcell" },
        element("div", { class: "pictures" }, ...pictures),
        element("div", { class: "line" }, this.name, this.value),
        element("div", { class: "line" }, this.variant, this.mark),
      );
      this.element.card = this;
    }

    show(row, context) {
      const { data, thumbnails, sort } = this.grid;
      this.row = row;
      this.images.forEach((image, side) => thumbnails.put(image, row * this.images.length + side));
      for (const image of this.images) image.parentElement.dataset.why = absence(data, row);
      const mark = data.diff ? data.text("change", row) : verdict(data, row);
      const held = !data.diff && data.raw("status", row) === "quarantined";
      const gone = !data.diff && (data.raw("status", row) === "dropped" || data.raw("action", row) === "drop");
      this.element.className = `card${held ? " held" : ""}${gone ? " gone" : ""}${context ? " context" : ""}`;
      const [name, label] = this.grid.originals ? besideOriginal(data, row) : names(data, row);
      this.name.textContent = name || data.text("id", row);
      this.variant.textContent = this.variant.title = label;
      this.variant.hidden = !label;
      this.mark.textContent = badge(mark);
      this.mark.hidden = !mark;
      this.mark.title = [mark, why(data, row)].filter(Boolean).join(": ");
      this.mark.dataset.mark = mark;
      const column = data.columns.get(sort);
      this.value.textContent = column && !["class", "variant"].includes(sort) ? column.text(row) || "–" : "";
      this.value.hidden = !this.value.textContent;
      for (const side of this.element.querySelectorAll(".side")) side.textContent = data.side(side.dataset.side, row);
      this.value.title = this.value.textContent && `${sort}: ${this.value.textContent}`;
      this.element.setAttribute("aria-label", (context ? "original, " : "") + data.about(row));
      this.flagged();
      this.roving();
    }

    /** Show the marks that people have set. */
    flagged() {
      const { ask, tags } = this.grid.marks?.of(this.row) ?? { tags: [] };
      this.flag.hidden = !ask && !tags.length;
      this.flag.textContent = [ask ? "⚑" : "", ...tags].filter(Boolean).join(" ");
    }

    roving() {
      this.element.tabIndex = this.row === this.grid.active ? 0 : -1;
    }
  }

  /** A state or verdict as a badge says it. */
  function badge(mark) {
    return WARN[mark] ?? mark;
  }

  /** The reason of a row's state or verdict in words, or the state itself. */
  function why(data, row) {
    const [status, action] = [data.raw("status", row), data.raw("action", row)];
    const held = status && status !== "accepted" && status !== "dropped";
    const reason = data.raw(held ? "reason" : "verdict_reason", row);
    return data.word(held ? status : action) + (reason ? ` ${data.word(reason) || seen(reason)}` : "");
  }

  /** A card's two texts. */
  function names(data, row) {
    if (!data.diff)
      return [data.text("class", row), data.columns.get("variant")?.values.length > 1 ? data.text("variant", row) : ""];
    const classes = [data.text("before", row), data.text("after", row)];
    const moved = classes[0] && classes[1] && classes[0] !== classes[1];
    const label = moved ? classes.join(" → ") : data.text("class", row);
    const variant = data.text("variant", row);
    const why = [data.text("why", row), data.text("found by", row)].filter(Boolean).join(" · ");
    return [variant && variant !== "original" ? `${label} · ${variant}` : label, why];
  }

  /** A card's texts beside its original: the class only where it differs from the original's. */
  function besideOriginal(data, row) {
    const original = data.original(row);
    const differs = original === row || original < 0 || data.text("class", row) !== data.text("class", original);
    return [data.text("variant", row), differs ? data.text("class", row) : ""];
  }

  /** The text in place of a missing picture. */
  function absence(data, row) {
    if (data.diff) return { added: "not there before", dropped: "dropped", withheld: "withheld" }[data.raw("change", row)] ?? "no picture";
    const reason = data.text("reason", row);
    return reason ? `no picture: ${data.word(reason) || reason}` : "no picture";
  }

  /** The state that a card shows, or else the verdict; accepted and kept pictures show none. */
  function verdict(data, row) {
    const [status, action] = [data.raw("status", row), data.raw("action", row)];
    if (status && status !== "accepted") return data.text("status", row);
    return action && !["keep", "kept"].includes(action) ? data.text("action", row) : "";
  }

  Object.assign(Variorum, { Card, absence, badge, verdict });
}
