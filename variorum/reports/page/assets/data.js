/* The table of the page: columns of texts and numbers, and which pictures were made from the same photograph. */
{
  const { seen } = Variorum;
  const collator = new Intl.Collator("en", { numeric: true });

  /** A column. Texts are codes of distinct `values`, -1 for none; a flag is a text, no or yes; numbers have NaN for none. */
  class Column {
    constructor({ name, kind, values, codes }) {
      this.name = name;
      this.numeric = kind === "number";
      if (this.numeric) {
        this.numbers = Float64Array.from(values, (value) => (typeof value === "number" ? value : NaN));
      } else if (kind === "flag") {
        this.values = ["no", "yes"];
        this.codes = Int32Array.from(values, (value) => (value === null ? -1 : value ? 1 : 0));
      } else {
        this.values = values;
        this.codes = Int32Array.from(codes);
      }
    }

    /** The value of a row for reading; empty without one. */
    text(row) {
      if (this.numeric) return Number.isNaN(this.numbers[row]) ? "" : Variorum.figure(this.numbers[row]);
      return this.codes[row] < 0 ? "" : seen(this.values[this.codes[row]]);
    }

    /** The value of a row as it is: a text, or null. */
    raw(row) {
      return this.codes[row] < 0 ? null : this.values[this.codes[row]];
    }

    /** A number per row that sorts like the column; NaN without a value. */
    get keys() {
      if (this.numeric) return this.numbers;
      this.sorted ??= this.#ranks();
      return this.sorted;
    }

    #ranks() {
      const codes = this.values.map((_, code) => code).sort((a, b) => collator.compare(this.values[a], this.values[b]));
      const rank = new Float64Array(codes.length);
      codes.forEach((code, position) => (rank[code] = position));
      return Float64Array.from(this.codes, (code) => (code < 0 ? NaN : rank[code]));
    }

    /** [lowest, highest] of the numbers; null if there are none. */
    get extent() {
      if (this.ends === undefined) {
        let [low, high] = [Infinity, -Infinity];
        for (const value of this.numbers) {
          if (value < low) low = value;
          if (value > high) high = value;
        }
        this.ends = low <= high ? [low, high] : null;
      }
      return this.ends;
    }
  }

  /** Facts and table of a page. */
  class Data {
    constructor(facts, table) {
      this.facts = facts;
      this.rows = table.rows;
      this.columns = new Map(table.columns.map((one) => [one.name, new Column(one)]));
      this.near = table.near ?? [];
      this.diff = facts.kind === "diff";
    }

    /** What a code means, or the value of a check, in a sentence; empty where the page doesn't say. */
    word(code, kind = "codes") {
      const words = this.facts.words?.[kind];
      return words && typeof code === "string" && Object.hasOwn(words, code) ? seen(String(words[code]), 300) : "";
    }

    /** The columns of numbers that mean something to people. */
    get numbers() {
      return [...this.columns.values()].filter((one) => one.numeric && one.name !== "source" && one.extent);
    }

    /** Number of rows of pictures that were asked for and don't exist. */
    get unmade() {
      return this.#counted(["ineligible", "failed"]);
    }

    /** Number of rows of pictures that may not be kept. */
    get withheld() {
      return this.#counted(["withheld"]);
    }

    #counted(states) {
      const status = this.columns.get("status");
      if (!status || this.diff) return 0;
      return status.codes.reduce((number, code) => number + states.includes(status.values[code]), 0);
    }

    /** The value of a row in a column, for reading; empty without the column or the value. */
    text(name, row) {
      return this.columns.get(name)?.text(row) ?? "";
    }

    /** The value of a row in a column of texts, as it is. */
    raw(name, row) {
      return this.columns.get(name)?.raw(row) ?? null;
    }

    /** The row of the original picture that a row was made from; -1 if it isn't in the page. */
    original(row) {
      const source = this.columns.get("source")?.numbers[row];
      return Number.isInteger(source) && source >= 0 && source < this.rows ? source : -1;
    }

    /** A number per row, the same for all pictures made from the same photograph. */
    get photograph() {
      this.group ??= this.#groups();
      return this.group;
    }

    #groups() {
      // Without the original in the page, pictures belong together by the name of where they come from.
      const origin = this.columns.get("origin");
      return Int32Array.from({ length: this.rows }, (_, row) => {
        const first = this.original(row);
        if (first >= 0) return first;
        return origin && origin.codes[row] >= 0 ? this.rows + origin.codes[row] : row;
      });
    }

    /** All rows made from the same photograph, the original first, then by variant. */
    siblings(row) {
      this.families ??= this.#families();
      return this.families.get(this.photograph[row]);
    }

    #families() {
      const families = new Map();
      this.photograph.forEach((group, row) => {
        if (!families.has(group)) families.set(group, []);
        families.get(group).push(row);
      });
      for (const rows of families.values()) rows.sort((a, b) => this.turn(a, b));
      return families;
    }

    /** Order within a photograph: the original, then variants in the table's order. */
    turn(a, b) {
      const [first, second] = [this.original(a) === a, this.original(b) === b];
      if (first !== second) return first ? -1 : 1;
      const variant = this.columns.get("variant");
      return (variant ? variant.codes[a] - variant.codes[b] : 0) || a - b;
    }

    /** The name of a side of a change. Beside a dropped copy stands the picture that was kept. */
    side(name, row) {
      if (!this.diff || !this.text("kept instead", row)) return name;
      return name === "after" ? "kept instead" : "dropped";
    }

    /** What a picture is, in a line, as alternative text. */
    about(row) {
      const names = this.diff ? ["change", "class", "variant", "why"] : ["class", "variant", "status", "action"];
      const said = names.map((name) => this.text(name, row)).filter(Boolean);
      return [...said, this.text("id", row)].join(", ");
    }
  }

  /** The limit of a column of gates, for display; empty without one. */
  function limitOf(data, name) {
    const { limits } = data.facts;
    return limits && Object.hasOwn(limits, name)
      ? seen(String(limits[name]), 60).replace(">=", "≥").replace("<=", "≤")
      : "";
  }

  Object.assign(Variorum, { Column, Data, limitOf });
}
