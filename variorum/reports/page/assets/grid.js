/* The grid of pictures. Only the visible lines are in the document, however many pictures there are.
 *
 * A line is a row of cards, or, with originals beside edits, a photograph: the original, which stays in sight, and its
 * edits, which scroll sideways. Elements of lines and cards that scroll out of view are reused for new ones. */
{
  const { element, figure, Card } = Variorum;
  const WIDTHS = [104, 152, 240]; // of cards by size, at least
  const GAP = 12;
  const TEXTS = 52; // height of a card's texts
  const HEAD = 30; // height of a photograph's name above its line
  const BEYOND = 2; // lines kept ready above and below

  /** Put an element where its number belongs among those of a map by number: readers follow the document's order. */
  function insert(parent, node, others, number, of) {
    let [next, after] = [Infinity, null];
    for (const [other, one] of others) {
      if (other > number && other < next && of(one).parentNode === parent) [next, after] = [other, of(one)];
    }
    parent.insertBefore(node, after);
  }

  /** The grid in an element. `open(row)` is called when a picture is chosen. */
  class Grid {
    constructor(place, { data, thumbnails, marks, open }) {
      Object.assign(this, { data, thumbnails, marks, open, size: 2, sort: "", active: -1, originals: false });
      this.sheet = element("div", { class: "sheet", role: "presentation" });
      this.scroller = element(
        "div",
        { class: "grid", id: "grid", role: "grid", "aria-label": "Pictures", tabindex: "-1" },
        this.sheet,
      );
      place.append(this.scroller);
      this.live = new Map(); // lines in the document by number
      this.spare = [];
      this.cards = [];
      this.sequence = new Int32Array();
      this.starts = new Int32Array(1);
      this.scroller.addEventListener("scroll", () => this.render(), { passive: true });
      this.scroller.addEventListener("keydown", (event) => this.#key(event));
      this.scroller.addEventListener("click", (event) => {
        const card = event.target.closest(".card")?.card;
        if (card) this.open((this.active = card.row));
      });
      this.scroller.addEventListener("focusin", (event) => {
        const card = event.target.closest(".card")?.card;
        if (card) this.#activate(card.row);
      });
      new ResizeObserver(() => this.layout()).observe(this.scroller);
    }

    /** Show these rows, in this order. */
    show(order, { originals = this.originals, sort = this.sort } = {}) {
      const changed = originals !== this.originals;
      Object.assign(this, { order, originals, sort });
      if (changed) this.#forget();
      this.layout(true);
    }

    /** Lay everything out anew: for a new size, width or order. `fresh` fills cards even if they keep their place. */
    layout(fresh = false) {
      const width = this.scroller.clientWidth - 2 * GAP;
      if (!this.order || width <= 0) return;
      const least = WIDTHS[this.size - 1] * (this.data.diff ? 1.8 : 1);
      const narrow = width < 480;
      const columns = narrow
        ? (this.data.diff ? [2, 1, 1] : [3, 2, 1])[this.size - 1]
        : Math.max(1, Math.floor((width + GAP) / (least + GAP)));
      this.width = this.originals
        ? Math.min(least, (width - GAP) / 2)
        : Math.floor((width - GAP * (columns - 1)) / columns);
      const picture = this.data.diff ? Math.floor(this.width / 2) : this.width;
      const height = picture + TEXTS;
      this.height = height + GAP + (this.originals ? HEAD : 0);
      const signature = [this.width, this.height, columns, this.originals].join();
      const kept = this.#top();
      if (this.originals) this.#photographs();
      else this.#rows(columns);
      this.scroller.style.setProperty("--card", `${this.width}px`);
      this.scroller.style.setProperty("--picture", `${picture}px`);
      this.scroller.setAttribute("aria-rowcount", String(this.lines));
      this.scroller.setAttribute("aria-colcount", this.originals ? "-1" : String(columns));
      this.sheet.style.width = this.originals ? `${(this.longest + 1) * (this.width + GAP) + GAP}px` : "";
      this.scroller.classList.toggle("sideways", this.originals);
      this.sheet.style.height = `${this.lines * this.height + GAP}px`;
      if (!this.place.has(this.active)) this.active = this.sequence[0] ?? -1;
      if (fresh || signature !== this.signature) {
        for (const [number, line] of this.live) this.#drop(number, line);
        if (signature !== this.signature && kept !== undefined) this.#reveal(this.place.get(kept), true);
      }
      this.signature = signature;
      this.render();
    }

    get lines() {
      return this.starts.length - 1;
    }

    #rows(columns) {
      this.sequence = this.order;
      const lines = Math.ceil(this.order.length / columns);
      this.starts = Int32Array.from({ length: lines + 1 }, (_, line) => Math.min(line * columns, this.order.length));
      this.#index();
    }

    /** One line per photograph, in the order of their first pictures; the original leads even if it is filtered out. */
    #photographs() {
      const { data } = this;
      const groups = new Map();
      for (const row of this.order) {
        const group = data.photograph[row];
        if (!groups.has(group)) groups.set(group, []);
        groups.get(group).push(row);
      }
      const sequence = [];
      const starts = [0];
      this.longest = 0; // number of edits
      this.matching = new Set(this.order);
      for (const rows of groups.values()) {
        const original = data.original(rows[0]);
        if (original >= 0 && !this.matching.has(original)) rows.push(original);
        rows.sort((a, b) => data.turn(a, b));
        this.longest = Math.max(this.longest, rows.length - (data.original(rows[0]) === rows[0] ? 1 : 0));
        sequence.push(...rows);
        starts.push(sequence.length);
      }
      this.sequence = Int32Array.from(sequence);
      this.starts = Int32Array.from(starts);
      this.#index();
    }

    #index() {
      this.place = new Map();
      this.sequence.forEach((row, position) => this.place.set(row, position));
    }

    /** The first row in sight. */
    #top() {
      if (!this.signature || !this.scroller.scrollTop) return undefined;
      const line = Math.min(this.lines - 1, Math.round(this.scroller.scrollTop / this.height));
      return this.sequence[this.starts[Math.max(0, line)]];
    }

    /** The number of the line with a position of the sequence. */
    #lineOf(position) {
      let [low, high] = [0, this.lines - 1];
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (this.starts[middle] <= position) low = middle;
        else high = middle - 1;
      }
      return low;
    }

    /** Bring the lines in sight into the document. The line with the focus stays in it, so that focus isn't lost. */
    render() {
      if (!this.height) return;
      const { scrollTop, scrollLeft, clientHeight } = this.scroller;
      const first = Math.max(0, Math.floor(scrollTop / this.height) - BEYOND);
      const last = Math.min(this.lines - 1, Math.ceil((scrollTop + clientHeight) / this.height) + BEYOND);
      const pinned = this.active >= 0 ? this.#lineOf(this.place.get(this.active)) : -1;
      for (const [number, line] of this.live) {
        if ((number < first || number > last) && number !== pinned) this.#drop(number, line);
      }
      if (scrollLeft !== this.left) for (const line of this.live.values()) this.#fill(line);
      this.left = scrollLeft;
      if (pinned >= 0 && pinned < first && !this.live.has(pinned)) this.#add(pinned);
      for (let number = first; number <= last; number++) if (!this.live.has(number)) this.#add(number);
      if (pinned > last && !this.live.has(pinned)) this.#add(pinned);
    }

    #add(number) {
      const line = this.spare.pop() ?? this.#line();
      line.number = number;
      line.element.hidden = false;
      line.element.style.transform = `translateY(${number * this.height + GAP}px)`;
      line.element.setAttribute("aria-rowindex", String(number + 1));
      insert(this.sheet, line.element, this.live, number, (one) => one.element);
      this.live.set(number, line);
      if (this.originals) this.#name(line);
      this.#fill(line);
    }

    #line() {
      const line = { cards: new Map(), leads: 0 };
      line.element = element("div", { class: this.originals ? "photograph" : "cards", role: "row" });
      if (this.originals) {
        line.name = element("bdi", {});
        line.tally = element("span", { class: "muted" });
        line.lead = element("div", { class: "lead", role: "presentation" });
        line.element.append(
          element("div", { class: "heading", role: "presentation" }, line.name, line.tally),
          line.lead,
        );
      }
      return line;
    }

    /** The heading above a photograph's line. */
    #name(line) {
      const rows = this.sequence.subarray(this.starts[line.number], this.starts[line.number + 1]);
      const { data } = this;
      line.leads = data.original(rows[0]) === rows[0] ? 1 : 0;
      const edits = rows.length - line.leads;
      const all = data.siblings(rows[0]).length - line.leads;
      line.name.textContent = data.text("origin", rows[0]) || data.text("class", rows[0]) || data.text("id", rows[0]);
      line.tally.textContent =
        edits === all
          ? `${figure(edits)} ${edits === 1 ? "edit" : "edits"}`
          : `${figure(edits)} of ${figure(all)} edits`;
      line.lead.classList.toggle("missing", !line.leads);
    }

    /** Put cards into a line: all of them, or of a photograph's edits those that are in sight. */
    #fill(line) {
      const [start, end] = [this.starts[line.number], this.starts[line.number + 1]];
      const step = this.width + GAP;
      const edits = start + line.leads;
      let [from, to] = [start, end];
      if (this.originals) {
        from = edits + Math.max(0, Math.floor(this.scroller.scrollLeft / step) - 1);
        to = Math.min(end, edits + Math.ceil((this.scroller.scrollLeft + this.scroller.clientWidth) / step) + 1);
      }
      const wanted = (position) =>
        (position >= from && position < to) || position < edits || this.sequence[position] === this.active;
      for (const [position, card] of line.cards) {
        if (wanted(position)) continue;
        this.#store(card);
        line.cards.delete(position);
      }
      for (let position = start; position < end; position++) {
        if (!wanted(position) || line.cards.has(position)) continue;
        const card = this.cards.pop() ?? new Card(this);
        const row = this.sequence[position];
        card.show(row, this.originals && !this.matching.has(row));
        card.element.setAttribute("aria-colindex", String(position - start + 1));
        const lead = position < edits;
        const at = this.originals ? (lead ? 0 : position - edits + 1) : position - start;
        card.element.style.transform = at > 0 ? `translateX(${at * step}px)` : "";
        if (lead) line.lead.append(card.element);
        else insert(line.element, card.element, line.cards, position, (one) => one.element);
        line.cards.set(position, card);
        card.element.hidden = false;
      }
    }

    /** Show the marks that have changed on the cards in sight. */
    flag() {
      for (const line of this.live.values()) for (const card of line.cards.values()) card.flagged();
    }

    #store(card) {
      card.element.hidden = true; // moving it out of the document would cost more
      card.element.tabIndex = -1;
      for (const image of card.images) this.thumbnails.pending.delete(image);
      this.cards.push(card);
    }

    #drop(number, line) {
      for (const card of line.cards.values()) this.#store(card);
      line.cards.clear();
      line.number = undefined;
      line.element.hidden = true;
      this.live.delete(number);
      this.spare.push(line);
    }

    /** Forget all elements, because lines look different now. */
    #forget() {
      for (const [number, line] of this.live) this.#drop(number, line);
      this.sheet.replaceChildren();
      this.spare = [];
      this.cards = [];
    }

    #activate(row) {
      const before = this.#card(this.active);
      this.active = row;
      before?.roving();
      this.#card(row)?.roving();
    }

    #card(row) {
      const position = this.place.get(row);
      return position === undefined ? undefined : this.live.get(this.#lineOf(position))?.cards.get(position);
    }

    /** Scroll until a position of the sequence is in sight. */
    #reveal(position, top = false) {
      if (position === undefined) return;
      const number = this.#lineOf(position);
      const [start, end] = [number * this.height, (number + 1) * this.height + GAP];
      const { scrollTop, clientHeight } = this.scroller;
      if (top || start < scrollTop) this.scroller.scrollTop = start;
      else if (end > scrollTop + clientHeight) this.scroller.scrollTop = end - clientHeight;
      this.render();
      const edit = position - this.starts[number] - (this.live.get(number)?.leads ?? 0);
      if (!this.originals || edit < 0) return;
      const at = edit * (this.width + GAP); // how far the edits may scroll until this one goes under the original
      const room = this.scroller.clientWidth - 2 * (this.width + GAP) - GAP;
      if (at < this.scroller.scrollLeft) this.scroller.scrollLeft = at;
      else if (at > this.scroller.scrollLeft + room) this.scroller.scrollLeft = at - room;
      this.render();
    }

    /** Focus a row's card; the first one in the grid without a row, or if it isn't shown. */
    focus(row = this.active) {
      const position = this.place?.get(row) ?? 0;
      if (!this.sequence.length) return this.scroller.focus();
      this.#activate(this.sequence[position]);
      this.#reveal(position);
      this.#card(this.active)?.element.focus({ preventScroll: true });
    }

    #key(event) {
      if (event.altKey || event.metaKey || !this.sequence.length) return;
      const position = this.place.get(this.active);
      if (event.key === "Enter" || event.key === " ") this.open(this.active);
      else {
        const to = this.#target(event, position);
        if (to === null) return;
        this.focus(this.sequence[Math.max(0, Math.min(this.sequence.length - 1, to))]);
      }
      event.preventDefault();
    }

    #target({ key, ctrlKey }, position) {
      const number = this.#lineOf(position);
      const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.height));
      const vertical = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page }[key];
      if (vertical) {
        const line = Math.max(0, Math.min(this.lines - 1, number + vertical));
        if (line === number) return position;
        return Math.min(this.starts[line] + position - this.starts[number], this.starts[line + 1] - 1);
      }
      if (key === "ArrowLeft") return position - 1;
      if (key === "ArrowRight") return position + 1;
      if (key === "Home") return ctrlKey ? 0 : this.starts[number];
      if (key === "End") return ctrlKey ? this.sequence.length - 1 : this.starts[number + 1] - 1;
      return null;
    }
  }

  Object.assign(Variorum, { Grid });
}
