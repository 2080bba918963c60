/* The panel of one picture: large, under a wipe with its original, with its siblings, checks, verdict and whole record. */
{
  const { element, seen, breakable, figure, badge, copyButton, columnTitle, verdict, keeps, tree, RecordPicture } =
    Variorum;
  const VERDICT = ["status", "reason", "action", "verdict_reason", "by", "given", "proposed", "marks.tags", "marks.note"];
  const CODES = ["status", "reason", "action", "verdict_reason"];
  const CHANGE = ["change", "why", "before", "after", "kept instead", "found by"];

  /** The panel in a dialog. `sequence()` gives the rows that arrows go through; `moved(row)` is called, with -1 at the end. */
  class RecordPanel {
    constructor(dialog, { data, thumbnails, larger, masks, records, sequence, marking, moved, blurred }) {
      Object.assign(this, { dialog, data, thumbnails, records, sequence, marking, moved, blurred, row: -1 });
      const button = (text, label, work) =>
        element("button", { type: "button", class: "icon", "aria-label": label, title: label, text, click: work });
      this.previous = button("‹", "Previous picture (←)", () => this.step(-1));
      this.next = button("›", "Next picture (→)", () => this.step(1));
      this.title = element("h2", { id: "record-title" });
      this.id = element("bdi", { class: "mono muted" });
      this.at = element("span", { class: "muted", "aria-live": "polite" });
      this.said = element("p", { class: "away", "aria-live": "polite" });
      const say = (text) => (this.said.textContent = text);
      this.picture = new RecordPicture({ data, thumbnails, larger, masks, say, step: (by) => this.step(by) });
      this.strips = element("div", { class: "strips" });
      this.told = element("div", { class: "told" });
      this.content = element("div", {
        class: "content",
        tabindex: "0",
        role: "group",
        "aria-label": "Picture and record",
      });
      this.content.append(element("div", { class: "looks" }, this.picture.element, this.strips), this.told, this.said);
      const close = button("✕", "Close (Esc)", () => dialog.close());
      dialog.setAttribute("aria-labelledby", "record-title");
      dialog.removeAttribute("aria-label");
      dialog.append(
        element(
          "div",
          { class: "head" },
          element("div", { class: "what" }, this.title, this.id),
          this.at,
          this.previous,
          this.next,
          close,
        ),
        this.content,
      );
      dialog.addEventListener("keydown", (event) => this.#key(event));
      dialog.addEventListener("close", () => {
        const { row } = this;
        this.row = -1;
        if (this.marking) this.marking.row = -1;
        for (const part of [this.strips, this.told]) part.replaceChildren();
        this.moved(-1, row);
      });
    }

    /** Keys of the picture come first: while it is zoomed, arrows move it. */
    #key(event) {
      if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, textarea")) return;
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (this.marking && ["a", "t"].includes(event.key)) {
        event.preventDefault();
        if (event.key === "a") this.marking.turn();
        else this.marking.field.focus();
      } else if (event.key !== "Escape" && this.picture.stage.key(event)) event.preventDefault();
      else if (by) (event.preventDefault(), this.step(by));
    }

    /** Show a row; `tag` goes to the field for a tag. */
    async open(row, { tag = false } = {}) {
      this.row = row;
      const { data } = this;
      const position = this.sequence().indexOf(row);
      const many = this.sequence().length;
      this.at.textContent = position < 0 ? "not among the filtered" : `${figure(position + 1)} of ${figure(many)}`;
      this.previous.disabled = position <= 0;
      this.next.disabled = position < 0 || position === many - 1;
      this.title.textContent =
        [data.text("class", row), data.text("variant", row)].filter(Boolean).join(" · ") || "Picture";
      this.id.textContent = data.text("id", row);
      const siblings = this.#siblings(row);
      this.strips.replaceChildren(...[siblings ?? this.#alike(row)].filter(Boolean));
      this.told.replaceChildren(...(this.marking ? [this.marking.element] : []));
      this.marking?.show(row);
      this.content.scrollTop = this.told.scrollTop = 0;
      if (!this.dialog.open) (this.dialog.showModal(), this.content.focus());
      if (document.activeElement?.disabled || !this.dialog.contains(document.activeElement)) this.content.focus();
      if (tag) this.marking?.field.focus();
      this.moved(row);
      this.picture.show(row, null, this.blurred());
      const sections = [this.#verdict(row)];
      let [text, original] = [null, null];
      try {
        text = await this.records.text(row);
        // the larger version of the original is found by what its record says, if pictures lie beside the page
        if (data.facts.beside) original = parsed(await this.records.text(Math.max(0, data.original(row))));
      } catch {
        sections.push(element("p", { text: "The record can't be unpacked: the file is damaged." }));
      }
      if (this.row !== row) return; // meanwhile another one was opened
      this.picture.show(row, parsed(text), this.blurred(), original);
      const answers = Variorum.modelAnswers(data, row);
      const alike = siblings ? this.#alike(row) : null;
      this.told.append(...sections, answers, this.#checks(row, text), alike ?? "", this.#record(text));
    }

    /** Go to a neighbour in the sequence. */
    step(by) {
      const rows = this.sequence();
      const position = rows.indexOf(this.row);
      const row = position < 0 ? undefined : rows[position + by];
      if (row !== undefined) this.open(row);
    }

    #siblings(row) {
      const rows = this.data.diff ? [] : this.data.siblings(row);
      const name = (sibling) => this.data.text("variant", sibling);
      return rows.length < 2 ? null : this.#strip(`From the same photograph (${figure(rows.length)})`, rows, row, name);
    }

    /** The pictures that look most like it, by the embeddings of curation. */
    #alike(row) {
      const rows = (this.data.near[row] ?? []).filter((one) => one < this.data.rows);
      const name = (other) => this.data.text("class", other);
      return rows.length ? this.#strip("Pictures like this one", rows, row, name) : null;
    }

    #strip(title, rows, row, nameOf) {
      const { data } = this;
      const list = element("ul", { class: "siblings" });
      for (const other of rows.slice(0, 200)) {
        const image = element("img", { alt: "" });
        const name = nameOf(other) || data.text("id", other);
        const mark = verdict(data, other);
        const picture = element("span", { class: "picture", "data-why": "none" }, image);
        this.thumbnails.put(image, other);
        const button = element(
          "button",
          {
            type: "button",
            "aria-current": other === row ? "true" : null,
            title: name,
            click: () => this.open(other),
          },
          picture,
          element("bdi", { text: name }),
          mark ? element("span", { class: "badge mark", "data-mark": mark, text: badge(mark) }) : null,
        );
        list.append(element("li", {}, button));
      }
      return element("section", {}, element("h3", { text: title }), list);
    }

    #verdict(row) {
      const { data } = this;
      const list = element("dl", { class: "facts" });
      const first = data.diff ? CHANGE : [];
      for (const name of new Set([...first, ...VERDICT, "kept instead", "found by", "split", "config", "origin", "licence"])) {
        const text = data.text(name, row);
        const said = CODES.includes(name) ? data.word(data.raw(name, row)) : "";
        if (text)
          list.append(
            element(
              "div",
              {},
              element("dt", { text: columnTitle(name) }),
              element(
                "dd",
                {},
                element("bdi", { text }),
                said ? element("p", { class: "muted said", text: said }) : null,
              ),
            ),
          );
      }
      return element("section", {}, element("h3", { text: data.diff ? "Change" : "Verdict and place" }), list);
    }

    /** Gates as the record has them, or as columns of the table. */
    #gates(row, text) {
      try {
        const record = JSON.parse(text);
        const ops = typeof record.ops === "string" ? JSON.parse(record.ops) : record.ops;
        const gates = record.gates ?? ops?.at(-1)?.gates;
        const found = Object.entries(gates ?? {}).filter(([, gate]) => gate !== null && typeof gate === "object");
        if (found.length)
          return found.map(([name, { value, limit, passed }]) => [
            name,
            Number(value),
            limit ?? "",
            typeof passed === "boolean" ? passed : null,
          ]);
      } catch {
        // no record, or one of another kind: use the table's values
      }
      const columns = this.data.numbers.filter(
        (one) => one.name.startsWith("gate.") && !Number.isNaN(one.numbers[row]),
      );
      return columns.map(({ name, numbers }) => {
        const limit = Variorum.limitOf(this.data, name);
        return [name.slice(5), numbers[row], limit, keeps(numbers[row], limit)];
      });
    }

    #checks(row, text) {
      const gates = this.#gates(row, text);
      if (!gates.length) return "";
      const lines = gates.map(([name, value, limit, passed]) =>
        element(
          "tr",
          { class: passed === false ? "failed" : null },
          element(
            "th",
            { scope: "row", title: this.data.word(name, "checks") },
            breakable(seen(String(name), 100)),
            passed === false && this.data.word(name, "checks")
              ? element("p", { class: "muted said", text: this.data.word(name, "checks") })
              : null,
          ),
          element("td", { class: "number", text: figure(value) }),
          element("td", { class: "number", text: seen(String(limit), 100).replace(">=", "≥").replace("<=", "≤") }),
          element("td", { text: passed === null ? "–" : passed ? "✓ passed" : "✕ failed" }),
        ),
      );
      const head = ["check", "value", "limit", "result"].map((name, at) =>
        element("th", { scope: "col", class: at === 1 || at === 2 ? "number" : null, text: name }),
      );
      return element(
        "section",
        {},
        element("h3", { text: "Checks" }),
        element(
          "div",
          { class: "wide" },
          element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...lines)),
        ),
      );
    }

    #record(text) {
      let value = text; // shown as it is, if it isn't JSON
      try {
        value = JSON.parse(text);
      } catch {
        // as said
      }
      const head = element("div", { class: "line" }, element("h3", { text: "Record" }));
      if (text !== null) head.append(copyButton("Copy JSON", () => text, { class: "quiet" }));
      return element(
        "section",
        { class: "record" },
        head,
        text === null ? element("p", { class: "muted", text: "The page has no record of this picture." }) : tree(value),
      );
    }
  }

  /** A record as an object; null for any other text. */
  function parsed(text) {
    try {
      const record = JSON.parse(text);
      return record !== null && typeof record === "object" ? record : null;
    } catch {
      return null;
    }
  }

  Object.assign(Variorum, { RecordPanel });
}
