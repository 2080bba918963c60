/* Marks that people set while they look: "ask people", tags and a note. They stay in this browser until they are
 * downloaded as a file of JSON lines, which `variorum review` and `variorum curate` read. */
{
  const FORMAT = 1;
  const TAGS = 20; // of a picture
  const TAG = 60; // characters
  const NOTE = 500;

  /** A tag without spaces at its ends and without characters that hide; empty if nothing is left. */
  function tagOf(text) {
    return Variorum.seen(String(text).trim().replace(/\s+/g, " "), 10 * TAG)
      .slice(0, TAG)
      .trim();
  }

  /** What is kept, if it is a mark. */
  function sound(value) {
    if (value === null || typeof value !== "object") return null;
    const tags = Array.isArray(value.tags) ? [...new Set(value.tags.map(tagOf))].filter(Boolean).slice(0, TAGS) : [];
    const note = typeof value.note === "string" ? value.note.slice(0, NOTE) : "";
    const mark = { ask: value.ask === true, tags, note };
    return mark.ask || tags.length || note.trim() ? mark : null;
  }

  /** The marks of an edition, by picture. `listeners` are called after every change. */
  class Marks {
    constructor(data) {
      Object.assign(this, { data, listeners: new Set(), kept: true });
      this.key = `variorum-marks:${data.facts.digest}`;
      this.read();
      addEventListener("storage", (event) => event.key === this.key && (this.read(), this.#tell())); // of another tab
    }

    read() {
      this.by = new Map();
      try {
        const found = JSON.parse(localStorage.getItem(this.key) ?? "{}");
        for (const [id, value] of Object.entries(found)) {
          const mark = sound(value);
          if (mark) this.by.set(id, mark);
        }
      } catch {
        this.kept = false;
      }
    }

    /** The mark of a row; an empty one if it has none. */
    of(row) {
      return this.by.get(this.data.raw("id", row)) ?? { ask: false, tags: [], note: "" };
    }

    has(row) {
      return this.by.has(this.data.raw("id", row));
    }

    /** Change the marks of rows: `how(mark)` gives the new one. */
    change(rows, how) {
      for (const row of rows) {
        const id = this.data.raw("id", row);
        const mark = sound(how(this.of(row)));
        if (mark) this.by.set(id, mark);
        else this.by.delete(id);
      }
      this.#keep();
      this.#tell();
    }

    ask(rows, on) {
      this.change(rows, (mark) => ({ ...mark, ask: on }));
    }

    tag(rows, tag, on = true) {
      const named = tagOf(tag);
      if (named)
        this.change(rows, (mark) => ({
          ...mark,
          tags: on ? [...mark.tags, named] : mark.tags.filter((one) => one !== named),
        }));
    }

    clear() {
      this.by.clear();
      this.#keep();
      this.#tell();
    }

    /** What a search finds in the marks of a row. */
    words(row) {
      const { tags, note } = this.of(row);
      return [...tags, note].join("\n").toLowerCase();
    }

    /** All tags, the most frequent first. */
    get tags() {
      const counts = new Map();
      for (const { tags } of this.by.values()) for (const tag of tags) counts.set(tag, (counts.get(tag) ?? 0) + 1);
      return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([tag]) => tag);
    }

    /** The file: what it is about in the first line, then a line for each picture. */
    get file() {
      const { title, digest } = this.data.facts;
      const lines = [{ marks: FORMAT, edition: title, digest }];
      for (const [id, { ask, tags, note }] of this.by) lines.push({ id, ask, tags, note: note.trim() });
      return lines.map((line) => JSON.stringify(line) + "\n").join("");
    }

    #keep() {
      try {
        if (this.by.size) localStorage.setItem(this.key, JSON.stringify(Object.fromEntries(this.by)));
        else localStorage.removeItem(this.key);
        this.kept = true;
      } catch {
        this.kept = false;
      }
    }

    #tell() {
      for (const listener of this.listeners) listener();
    }
  }

  Object.assign(Variorum, { Marks, MARK: { TAG, NOTE } });
}
