/* Where marks are set: a part of the record, and a dialog for many pictures and for the file. */
{
  const { element, figure, seen, MARK } = Variorum;

  /** A field for a tag with those that are used already. `add(tag)` is called. */
  function tagField(marks, name, add) {
    const known = element("datalist", { id: `${name}-tags` });
    const field = element("input", {
      type: "text",
      list: `${name}-tags`,
      placeholder: "Add a tag",
      "aria-label": "Add a tag",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: String(MARK.TAG),
      enterkeyhint: "done",
      focus: () => known.replaceChildren(...marks.tags.slice(0, 50).map((tag) => element("option", { value: tag }))),
    });
    const form = element(
      "form",
      {
        class: "line",
        submit: (event) => (event.preventDefault(), field.value.trim() && add(field.value), (field.value = "")),
      },
      field,
      known,
      element("button", {
        type: "submit",
        text: "Add",
        class: name === "record" ? "away" : null,
        tabindex: name === "record" ? "-1" : null,
      }),
    );
    return { form, field };
  }

  /** The marks of the picture whose record is open. */
  class MarkPanel {
    constructor(marks) {
      Object.assign(this, { marks, row: -1 });
      this.ask = element("button", {
        type: "button",
        title: "Ask people about this picture (a)",
        click: () => this.turn(),
      });
      this.tags = element("ul", { class: "chips", "aria-label": "Tags" });
      const { form, field } = tagField(marks, "record", (tag) => marks.tag([this.row], tag));
      this.field = field;
      this.note = element("input", {
        type: "text",
        placeholder: "Add a note",
        "aria-label": "Note",
        maxlength: String(MARK.NOTE),
        autocomplete: "off",
        change: () => marks.change([this.row], (mark) => ({ ...mark, note: this.note.value })),
      });
      this.element = element(
        "section",
        { class: "marks-of" },
        element("h3", { text: "Your marks" }),
        element("div", { class: "line" }, this.ask, form),
        this.tags,
        this.note,
      );
      marks.listeners.add(() => this.row >= 0 && this.#fill());
    }

    show(row) {
      this.row = row;
      this.#fill();
      this.note.value = this.marks.of(row).note;
    }

    turn() {
      this.marks.ask([this.row], !this.marks.of(this.row).ask);
    }

    #fill() {
      const { ask, tags } = this.marks.of(this.row);
      this.ask.setAttribute("aria-pressed", String(ask));
      this.ask.textContent = "⚑ Ask people";
      const drop = (tag) =>
        element(
          "button",
          {
            type: "button",
            class: "chip",
            "aria-label": `Remove tag ${tag}`,
            click: () => (this.marks.tag([this.row], tag, false), this.field.focus()),
          },
          element("bdi", { text: seen(tag) }),
          element("span", { "aria-hidden": "true", text: "✕" }),
        );
      this.tags.replaceChildren(...tags.map((tag) => element("li", {}, drop(tag))));
      this.tags.hidden = !tags.length;
      this.note.hidden = !this.marks.has(this.row);
    }
  }

  /** The dialog with all marks. `shown()` gives the rows in view, `only(on)` shows the marked ones alone. */
  class MarkDialog {
    constructor(dialog, button, { marks, shown, only, isOnly }) {
      Object.assign(this, { dialog, button, marks, shown, only, isOnly });
      this.summary = element("p", {});
      this.scope = element("h3", {});
      const all = (work) => () => work(this.shown());
      const { form } = tagField(marks, "dialog", (tag) => marks.tag(this.shown(), tag));
      this.alone = element("button", { type: "button", click: () => (only(!isOnly()), this.#fill()) });
      this.save = element("button", {
        type: "button",
        class: "primary",
        text: "Download the marks",
        click: () => this.#download(),
      });
      this.clear = element("button", {
        type: "button",
        class: "quiet",
        text: "Remove all marks",
        click: () => this.#clear(),
      });
      this.how = element("p", { class: "muted" });
      const close = element("button", {
        type: "button",
        class: "icon",
        "aria-label": "Close",
        text: "✕",
        click: () => dialog.close(),
      });
      dialog.append(
        element("div", { class: "head" }, element("h2", { id: "marks-title", text: "Marks" }), close),
        element(
          "div",
          { class: "marks-body" },
          this.summary,
          element("div", { class: "line" }, this.save, this.alone, this.clear),
          this.how,
          this.scope,
          element(
            "div",
            { class: "line" },
            element("button", { type: "button", text: "⚑ Ask people", click: all((rows) => marks.ask(rows, true)) }),
            element("button", { type: "button", text: "Don't ask", click: all((rows) => marks.ask(rows, false)) }),
          ),
          form,
        ),
      );
      dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
      button.addEventListener("click", () => this.open());
      marks.listeners.add(() => this.#fill());
      this.#fill();
    }

    open() {
      this.#fill();
      this.dialog.showModal();
    }

    #fill() {
      const { marks } = this;
      const [many, shown] = [marks.by.size, this.shown().length];
      this.button.textContent = many ? `Marks (${figure(many)})` : "Marks";
      const asked = [...marks.by.values()].filter((mark) => mark.ask).length;
      const tags = marks.tags.length;
      const said = [`${figure(asked)} to ask people about`, `${figure(tags)} ${tags === 1 ? "tag" : "tags"}`];
      this.summary.textContent = many
        ? `${figure(many)} ${many === 1 ? "picture is" : "pictures are"} marked: ${said.join(", ")}.`
        : "No picture is marked. In the grid or in a record, a asks people about a picture and t adds a tag.";
      if (!marks.kept)
        this.summary.textContent += " This browser doesn't keep them: download them before you close the page.";
      const edition = String(marks.data.facts.title ?? "").replace(/-r\d+$/, "");
      this.how.textContent = `They stay in this browser. Downloaded, they are read by: variorum review ${edition} --marks FILE, and by variorum curate RECIPE --marks FILE.`;
      this.scope.textContent = `Mark the ${shown === 1 ? "picture" : `${figure(shown)} pictures`} in view`;
      this.alone.textContent = this.isOnly() ? "Show all pictures" : "Show marked ones alone";
      this.alone.hidden = !many && !this.isOnly();
      this.save.hidden = this.clear.hidden = !many;
      this.clear.textContent = "Remove all marks";
      this.sure = false;
    }

    #clear() {
      if (this.sure) return this.marks.clear();
      this.sure = true;
      this.clear.textContent = "Really remove all?";
    }

    #download() {
      const url = URL.createObjectURL(new Blob([this.marks.file], { type: "application/jsonl" }));
      const name = String(this.marks.data.facts.title ?? "edition")
        .replace(/[^\w.@-]+/g, "_")
        .slice(0, 100);
      element("a", { href: url, download: `marks-${name}.jsonl` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    }
  }

  Object.assign(Variorum, { MarkPanel, MarkDialog });
}
