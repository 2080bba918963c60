/* Thumbnails that are marked in bulk: one has the focus, a range may be selected, each is right, wrong or unclear.
 *
 * A batch has its own elements, which are made and decoded before it is shown. Showing it is one replacement. The size
 * of a tile is the largest at which the whole batch fits into view; below a least size the tiles scroll instead. */
{
  const { element, once } = Variorum;
  const LEAST = 92; // px, a tile on a desktop
  const PHONE = 3; // columns
  const MOST = 220; // px
  const GAP = 6;
  const LONG_PRESS_MS = 380;

  /** Questions about pictures, with a mark for each, and their elements. */
  class Batch {
    /** `said(answer)` gives the word of an answer. Without a mark the answer is yes. `veiled`: blurred at first. */
    constructor(tasks, said, veiled) {
      this.cells = tasks.flatMap((task) => task.questions.map((question) => ({ task, question })));
      this.tasks = tasks;
      this.said = said;
      this.marks = this.cells.map(() => "yes");
      this.images = [];
      this.veiled = veiled;
      const image = (picture, more = {}) => {
        const node = element("img", { alt: "", decoding: "async", draggable: "false", ...more });
        node.picture = picture;
        node.src = veiled ? picture.blurred : picture.thumbnail;
        this.images.push(node);
        return node;
      };
      this.tiles = this.cells.map(({ task, question }, at) => {
        const tile = element(
          "div",
          { class: "tile", role: "option", tabindex: "-1", "aria-selected": "false" },
          image(task.picture),
          question.other ? image(question.other, { class: "other" }) : null,
          question.box ? boxed(task.picture, question.box) : null,
          element("span", { class: "sign", "aria-hidden": "true" }),
        );
        tile.at = at;
        return tile;
      });
      this.tiles.forEach((_, at) => this.#label(at));
    }

    /** Blur all pictures, or load and show them; false if they are so already. */
    veil(on) {
      if (this.veiled === on) return false;
      this.veiled = on;
      for (const image of this.images) image.src = on ? image.picture.blurred : image.picture.thumbnail;
      this.ready = undefined;
      return true;
    }

    /** Resolves when all thumbnails are decoded, or known to be unavailable. */
    decoded() {
      this.ready ??= Promise.all(this.images.map((image) => image.decode().catch(() => {})));
      return this.ready;
    }

    mark(at, answer) {
      if (this.marks[at] === answer) return;
      this.marks[at] = answer;
      this.#label(at);
    }

    #label(at) {
      const answer = this.marks[at];
      const tile = this.tiles[at];
      tile.dataset.mark = answer;
      tile.setAttribute("aria-label", `Picture ${at + 1} of ${this.cells.length}: ${this.said(answer)}`);
      tile.lastChild.textContent = answer === "yes" ? "" : `${answer === "no" ? "✕" : "?"} ${this.said(answer)}`;
    }

    /** Number of tiles with each answer. */
    get counts() {
      const counts = { yes: 0, no: 0, unclear: 0 };
      for (const answer of this.marks) counts[answer]++;
      return counts;
    }
  }

  /** A box over a thumbnail that lies in the middle of a square. */
  function boxed({ width, height }, [left, top, wide, high]) {
    const side = Math.max(width, height);
    const frame = element("span", { class: "box", "aria-hidden": "true" });
    const part = (length) => `${(100 * length) / side}%`;
    Object.assign(frame.style, {
      left: part(left + (side - width) / 2),
      top: part(top + (side - height) / 2),
      width: part(wide),
      height: part(high),
    });
    return frame;
  }

  /** The tiles in an element. `changed()` is called after marks or the selection change, `lens(open)` opens the lens. */
  class Tiles {
    constructor({ changed, lens }) {
      Object.assign(this, { changed, lens, batch: null, active: 0, anchor: 0, range: null, click: "no", columns: 1 });
      this.sheet = element("div", { class: "tiles", role: "listbox", "aria-multiselectable": "true" });
      this.sheet.setAttribute("aria-label", "Pictures");
      this.scroller = element("div", { class: "tiles-scroller" }, this.sheet);
      this.scroller.addEventListener("scroll", () => this.#look(), { passive: true });
      this.sheet.addEventListener("click", (event) => this.#click(event));
      this.sheet.addEventListener("focusin", ({ target }) => target.at !== undefined && this.#activate(target.at));
      this.sheet.addEventListener("contextmenu", (event) => this.pressed && event.preventDefault());
      this.sheet.addEventListener("pointerdown", (event) => this.#press(event));
      for (const name of ["pointerup", "pointercancel", "pointerleave"])
        this.sheet.addEventListener(name, () => clearTimeout(this.timer));
      const layout = once(() => this.layout());
      new ResizeObserver(layout).observe(this.scroller);
    }

    /** Show a batch, from its first tile. */
    show(batch) {
      this.batch = batch;
      this.range = null;
      this.anchor = 0;
      this.seen = false;
      this.sheet.replaceChildren(...batch.tiles);
      this.scroller.scrollTop = 0;
      this.layout();
      this.#activate(0);
      this.focus();
    }

    /** Give the active tile the focus. */
    focus() {
      this.batch?.tiles[this.active]?.focus({ preventScroll: true });
    }

    /** Choose what a click marks. */
    clickMarks(answer) {
      this.click = answer;
      this.changed();
    }

    /** Fit the tiles into view. */
    layout() {
      const number = this.batch?.tiles.length;
      const { paddingLeft: side, paddingTop: top } = getComputedStyle(this.scroller);
      const width = this.scroller.clientWidth - 2 * parseFloat(side);
      const height = this.scroller.clientHeight - 2 * parseFloat(top);
      if (!number || !(width > 0)) return;
      const pair = this.batch.cells[0].question.other ? 2 : 1; // tiles of copies hold two pictures
      const size = width < 480 ? (width - (PHONE - 1) * GAP) / PHONE : fitting(width, height, number, pair);
      this.columns = Math.max(1, Math.floor((width + GAP) / (size * pair + GAP) + 1e-6));
      this.sheet.style.gridTemplateColumns = `repeat(${this.columns}, ${Math.floor(size * pair)}px)`;
      this.sheet.style.setProperty("--tile", `${Math.floor(size)}px`);
      this.#look();
    }

    /** Number of tiles that are still below what has been in view. */
    get unseen() {
      if (this.seen || !this.batch) return 0;
      const { scrollTop, clientHeight } = this.scroller;
      const { offsetTop } = this.sheet;
      return this.batch.tiles.filter(
        (tile) => tile.offsetTop - offsetTop + tile.offsetHeight / 2 > scrollTop + clientHeight,
      ).length;
    }

    /** Scroll to what hasn't been in view. */
    further() {
      this.scroller.scrollTop += this.scroller.clientHeight - 24;
      this.#look();
    }

    #look() {
      const before = this.seen;
      const { scrollTop, clientHeight, scrollHeight } = this.scroller;
      this.seen ||= scrollTop + clientHeight >= scrollHeight - 24;
      if (this.seen !== before || !this.seen) this.changed();
    }

    /** The tiles that a mark applies to: the selected range, or the one with the focus. */
    get chosen() {
      const [from, to] = this.range ?? [this.active, this.active];
      return Array.from({ length: to - from + 1 }, (_, at) => from + at);
    }

    /** Mark what is chosen; a second time takes the mark back. */
    mark(answer, chosen = this.chosen) {
      const marked = chosen.every((at) => this.batch.marks[at] === answer);
      for (const at of chosen) this.batch.mark(at, marked ? "yes" : answer);
      this.changed();
    }

    /** Mark all, or take all marks back if all have it. */
    all(answer) {
      this.select(null);
      this.mark(answer, [...this.batch.tiles.keys()]);
    }

    select(range) {
      const before = this.range;
      this.range = range;
      for (const [number, ends] of [before, range].entries())
        if (ends) {
          for (let at = ends[0]; at <= ends[1]; at++)
            this.batch.tiles[at]?.setAttribute("aria-selected", String(Boolean(number)));
        }
      this.changed();
    }

    #activate(at) {
      const { tiles } = this.batch;
      if (tiles[this.active]) tiles[this.active].tabIndex = -1;
      this.active = at;
      if (tiles[at]) tiles[at].tabIndex = 0;
    }

    /** Move the focus to a tile; `extend` selects from where the selection began. */
    go(to, extend = false) {
      const at = Math.max(0, Math.min(this.batch.tiles.length - 1, to));
      if (extend) this.select([Math.min(this.anchor, at), Math.max(this.anchor, at)]);
      else {
        this.anchor = at;
        if (this.range) this.select(null);
      }
      this.#activate(at);
      const tile = this.batch.tiles[at];
      tile.focus({ preventScroll: true });
      tile.scrollIntoView({ block: "nearest" });
      this.changed();
    }

    /** Move by an arrow key; true if it is one. */
    arrow({ key, shiftKey }) {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns }[key];
      const ends = { Home: 0, End: this.batch.tiles.length - 1 }[key];
      if (by === undefined && ends === undefined) return false;
      const to = ends ?? this.active + by;
      const inside = to >= 0 && to < this.batch.tiles.length;
      if (inside || Math.abs(by) === 1) this.go(to, shiftKey);
      return true;
    }

    #click(event) {
      const at = event.target.closest(".tile")?.at;
      if (at === undefined || this.pressed) return (this.pressed = false);
      if (event.shiftKey) return this.go(at, true);
      this.go(at);
      this.mark(this.click);
    }

    /** A long press of a finger opens the lens. */
    #press(event) {
      clearTimeout(this.timer);
      this.pressed = false;
      const at = event.target.closest(".tile")?.at;
      if (at === undefined || event.pointerType !== "touch") return;
      this.timer = setTimeout(() => {
        this.pressed = true; // the click that follows isn't a mark
        this.#activate(at);
        this.lens(true);
      }, LONG_PRESS_MS);
    }
  }

  /** The largest size of tiles at which all of them fit, in px; the least size if they don't. */
  function fitting(width, height, number, pair) {
    let best = 0;
    for (let columns = 1; columns <= number; columns++) {
      const lines = Math.ceil(number / columns);
      const wide = (width - (columns - 1) * GAP) / columns / pair;
      best = Math.max(best, Math.min(MOST, wide, (height - (lines - 1) * GAP) / lines));
    }
    if (best >= LEAST) return best;
    const columns = Math.max(1, Math.floor((width + GAP) / (LEAST * pair + GAP)));
    return (width - (columns - 1) * GAP) / columns / pair;
  }

  Object.assign(Variorum, { Batch, Tiles });
}
