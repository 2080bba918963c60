/* The view: filters and an order, and the rows that result. It doesn't touch the document. */
{
  /** Filters and an order on a table. `order` holds the rows that pass, sorted; `listeners` are called after every change. */
  class View {
    constructor(data, marks = null) {
      Object.assign(this, { data, marks });
      this.listeners = new Set();
      this.clear();
      this.sort = "";
      this.descending = false;
      this.#update();
    }

    /** No filters. */
    clear() {
      this.words = "";
      this.chosen = new Map(); // column's name → set of codes, -1 for none
      this.ranges = new Map(); // column's name → [low, high], null for an open end
      this.area = null; // corners [x, y] of a polygon on the map
      this.marked = false; // whether only marked pictures are shown
    }

    /** Whether rows are filtered. */
    get filtered() {
      return Boolean(this.words.trim() || this.chosen.size || this.ranges.size || this.area || this.marked);
    }

    /** Change filters or order in a function, and tell the listeners. */
    change(how) {
      how(this);
      for (const [name, codes] of this.chosen) if (!codes.size) this.chosen.delete(name);
      for (const [name, [low, high]] of this.ranges) if (low === null && high === null) this.ranges.delete(name);
      this.#update();
      for (const listener of this.listeners) listener(this);
    }

    /** Choose a value of a column of texts, or take it back. */
    toggle(name, code, on) {
      this.change(() => {
        const codes = new Set(this.chosen.get(name));
        if (on) codes.add(code);
        else codes.delete(code);
        this.chosen.set(name, codes);
      });
    }

    #update() {
      const { rows } = this.data;
      this.fails = new Uint8Array(rows); // how many filters a row fails
      this.alone = new Map(); // per column of chosen values, which rows it fails
      const need = (passes) => {
        const failed = new Uint8Array(rows);
        for (let row = 0; row < rows; row++) if (!passes(row)) ((failed[row] = 1), this.fails[row]++);
        return failed;
      };
      for (const [name, codes] of this.chosen) {
        const column = this.data.columns.get(name);
        this.alone.set(
          name,
          need((row) => codes.has(column.codes[row])),
        );
      }
      for (const [name, [low, high]] of this.ranges) {
        const { numbers } = this.data.columns.get(name);
        need((row) => numbers[row] >= (low ?? -Infinity) && numbers[row] <= (high ?? Infinity)); // NaN fails
      }
      const words = this.words.toLowerCase().split(/\s+/).filter(Boolean);
      const found = (row, word) => this.#texts[row].includes(word) || this.marks?.words(row).includes(word);
      if (words.length) need((row) => words.every((word) => found(row, word)));
      if (this.marked && this.marks) need((row) => this.marks.has(row));
      if (this.area) need(this.#inside());
      this.order = this.#sorted().filter((row) => this.fails[row] === 0);
    }

    /** Search in further texts too, one for each row. */
    searchIn(texts) {
      this.haystack = this.#texts.map((text, row) => `${text}\n${texts[row]}`);
      if (this.words.trim()) this.change(() => {});
    }

    get #texts() {
      this.haystack ??= Array.from({ length: this.data.rows }, (_, row) =>
        ["id", "origin", "class", "labels", "given", "proposed", "why", "before", "after"]
          .map((name) => this.data.raw(name, row) ?? "")
          .join("\n")
          .toLowerCase(),
      );
      return this.haystack;
    }

    #sorted() {
      const key = `${this.descending} ${this.sort}`;
      if (this.sortedBy !== key) {
        const all = Int32Array.from({ length: this.data.rows }, (_, row) => row);
        const keys = this.data.columns.get(this.sort)?.keys;
        const sign = this.descending ? -1 : 1;
        if (keys) all.sort((a, b) => compare(keys[a], keys[b], sign) || a - b);
        else if (this.descending) all.reverse();
        this.everything = all;
        this.sortedBy = key;
      }
      return this.everything;
    }

    #inside() {
      const { x, y } = this.data.facts.map;
      const [xs, ys] = [this.data.columns.get(x).numbers, this.data.columns.get(y).numbers];
      return (row) => within(xs[row], ys[row], this.area);
    }

    /** Rows per value of a column of texts, none last, with all filters but its own. */
    counts(name) {
      const { codes, values } = this.data.columns.get(name);
      const own = this.alone.get(name);
      const counts = new Int32Array(values.length + 1);
      for (let row = 0; row < codes.length; row++) {
        if (this.fails[row] - (own ? own[row] : 0) === 0) counts[codes[row] < 0 ? values.length : codes[row]]++;
      }
      return counts;
    }
  }

  /** Order of two numbers; missing ones come last either way. */
  function compare(a, b, sign) {
    const [none, other] = [Number.isNaN(a), Number.isNaN(b)];
    if (none || other) return none - other;
    return sign * (a - b);
  }

  /** Whether a point lies in a polygon: by the edges that a ray to the right crosses. */
  function within(x, y, corners) {
    let inside = false;
    for (let one = 0, other = corners.length - 1; one < corners.length; other = one++) {
      const [[ax, ay], [bx, by]] = [corners[one], corners[other]];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
    }
    return inside;
  }

  /** Counts of numbers in equal bins between two ends; `rows` limits which are counted. */
  function binned(numbers, [low, high], bins, rows = null) {
    const counts = new Int32Array(bins);
    const scale = high > low ? bins / (high - low) : 0;
    const count = (value) => {
      if (!Number.isNaN(value)) counts[Math.min(bins - 1, Math.floor((value - low) * scale))]++;
    };
    if (rows) for (const row of rows) count(numbers[row]);
    else numbers.forEach(count);
    return counts;
  }

  Object.assign(Variorum, { View, within, binned });
}
