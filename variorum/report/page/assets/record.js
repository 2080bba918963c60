/* The panel of one picture: large, beside its original, with its siblings, checks, verdict and whole record. */
{
  const { element, seen, figure, copyButton, columnTitle, verdict, keeps, tree } = Variorum;
  const VERDICT = ["status", "reason", "action", "verdict_reason", "by", "given", "proposed"];
  const CHANGE = ["change", "why", "before", "after", "kept instead", "found by"];

  /** The panel in a dialog. `sequence()` gives the rows that arrows go through; `moved(row)` is called, with -1 at the end. */
  class RecordPanel {
    constructor(dialog, { data, thumbnails, records, sequence, moved }) {
      Object.assign(this, { dialog, data, thumbnails, records, sequence, moved, row: -1 });
      const button = (text, label, work) =>
        element("button", { type: "button", class: "icon", "aria-label": label, title: label, text, click: work });
      this.previous = button("‹", "Previous picture (←)", () => this.step(-1));
      this.next = button("›", "Next picture (→)", () => this.step(1));
      this.title = element("h2", { id: "record-title" });
      this.id = element("bdi", { class: "mono muted" });
      this.at = element("span", { class: "muted", "aria-live": "polite" });
      this.content = element("div", {
        class: "content",
        tabindex: "0",
        role: "group",
        "aria-label": "Picture and record",
      });
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
      dialog.addEventListener("keydown", (event) => {
        if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, textarea")) return;
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (by) (event.preventDefault(), this.step(by));
      });
      dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside the panel
      dialog.addEventListener("close", () => {
        const { row } = this;
        this.row = -1;
        this.content.replaceChildren();
        this.moved(-1, row);
      });
    }

    /** Show a row. */
    async open(row) {
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
      const told = element("div", { class: "told" });
      this.content.replaceChildren(element("div", { class: "looks" }, this.#pictures(row), this.#siblings(row)), told);
      this.content.scrollTop = 0;
      if (!this.dialog.open) (this.dialog.showModal(), this.content.focus());
      if (document.activeElement?.disabled || !this.dialog.contains(document.activeElement)) this.content.focus();
      this.moved(row);
      const sections = [this.#verdict(row)];
      let text = null;
      try {
        text = await this.records.text(row);
      } catch {
        sections.push(element("p", { text: "The record can't be unpacked: the file is damaged." }));
      }
      if (this.row !== row) return; // meanwhile another one was opened
      told.append(...sections, Variorum.modelAnswers(data, row), this.#checks(row, text), this.#record(text));
    }

    /** Go to a neighbour in the sequence. */
    step(by) {
      const rows = this.sequence();
      const position = rows.indexOf(this.row);
      const row = position < 0 ? undefined : rows[position + by];
      if (row !== undefined) this.open(row);
    }

    #figure(index, caption, marked = false) {
      const image = element("img", { alt: caption });
      const picture = element("div", { class: "picture", "data-why": "no picture" }, image);
      this.thumbnails.put(image, index);
      return element(
        "figure",
        { class: marked ? "shown" : null },
        picture,
        element("figcaption", {}, element("bdi", { text: caption })),
      );
    }

    #pictures(row) {
      const { data } = this;
      if (data.diff) {
        const caption = (side) => [data.side(side, row), data.text(side, row)].filter(Boolean).join(": ");
        return element(
          "div",
          { class: "pair" },
          this.#figure(2 * row, caption("before")),
          this.#figure(2 * row + 1, caption("after")),
        );
      }
      const original = data.original(row);
      const own = this.#figure(
        row,
        [data.text("variant", row) || "picture", verdict(data, row)].filter(Boolean).join(", "),
        true,
      );
      return element(
        "div",
        { class: "pair" },
        original >= 0 && original !== row ? this.#figure(original, "original") : null,
        own,
      );
    }

    #siblings(row) {
      const { data } = this;
      const rows = data.diff ? [] : data.siblings(row);
      if (rows.length < 2) return null;
      const list = element("ul", { class: "siblings" });
      for (const sibling of rows.slice(0, 200)) {
        const image = element("img", { alt: "" });
        const name = data.text("variant", sibling) || data.text("id", sibling);
        const mark = verdict(data, sibling);
        const picture = element("span", { class: "picture", "data-why": "none" }, image);
        this.thumbnails.put(image, sibling);
        const button = element(
          "button",
          {
            type: "button",
            "aria-current": sibling === row ? "true" : null,
            title: name,
            click: () => this.open(sibling),
          },
          picture,
          element("bdi", { text: name }),
          mark ? element("span", { class: "badge mark", "data-mark": mark, text: mark }) : null,
        );
        list.append(element("li", {}, button));
      }
      return element("section", {}, element("h3", { text: `From the same photograph (${figure(rows.length)})` }), list);
    }

    #verdict(row) {
      const { data } = this;
      const list = element("dl", { class: "facts" });
      const first = data.diff ? CHANGE : [];
      for (const name of new Set([...first, ...VERDICT, "kept instead", "found by", "split", "config", "origin", "licence"])) {
        const text = data.text(name, row);
        if (text)
          list.append(
            element("div", {}, element("dt", { text: columnTitle(name) }), element("dd", {}, element("bdi", { text }))),
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
          element("th", { scope: "row" }, element("bdi", { text: seen(String(name), 100) })),
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

  Object.assign(Variorum, { RecordPanel });
}
