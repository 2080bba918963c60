/* What the grid can be filled with: the classes with open questions, most first, and the kinds without a subject. */
{
  const { element, seen, figure } = Variorum;
  const HIDDEN = 60 * 1000; // milliseconds for which something that has ended isn't offered
  const LISTED = 100; // lines in the document; a search finds the others

  // The question about many at once; `{}` is the place of the class with its article. Other kinds have their own question.
  const MANY = {
    label: "Do all of these show {}?",
    edit: "Are all of these edits clean?",
    safe: "Are all of these pictures safe to show to everyone?",
    box: "Do all of these boxes fit?",
    copy: "Is each of these pairs the same picture?",
  };

  /** The question about many pictures, as the texts before and after the class's name. */
  function askMany(kind, { ask }) {
    return (MANY[kind] ?? ask.replace("{name}", "{}")).split("{}");
  }

  class GridChoice {
    /** `kinds` are those of the panel by name; `open(kind, subject, phrase)` is called with what was chosen. */
    constructor({ server, kinds, open }) {
      Object.assign(this, { server, open, kinds, lines: [], ends: new Map() });
      this.search = element("input", {
        type: "search",
        placeholder: "Search classes",
        "aria-label": "Search classes",
        autocomplete: "off",
        spellcheck: "false",
        enterkeyhint: "go",
        maxlength: "100",
        input: () => this.#fill(),
        keydown: (event) => this.#key(event),
      });
      this.count = element("p", { class: "muted", role: "status" });
      this.list = element("ul", { class: "class-choices", "aria-label": "Classes" });
      this.others = element("div", { class: "choice-kinds" });
      this.list.addEventListener("keydown", (event) => this.#key(event));
      this.element = element(
        "div",
        { class: "choice" },
        element("h2", { text: "Many pictures at once" }),
        element("p", {
          class: "muted",
          text: "Choose what to check. You see up to 60 pictures and mark only the exceptions.",
        }),
        this.others,
        element("div", { class: "choice-search" }, this.search, this.count),
        this.list,
      );
    }

    /** Nothing was left of a kind and class, or there is something again. Counts of the server are a little old. */
    ended(kind, subject, yes) {
      const key = JSON.stringify([kind, subject ?? null]);
      if (yes) this.ends.set(key, Date.now());
      else this.ends.delete(key);
    }

    #left(kind, subject, open) {
      const ended = this.ends.get(JSON.stringify([kind, subject]));
      return open > 0 && !(Date.now() - ended < HIDDEN);
    }

    /** Show nothing until the server has said what is open. */
    clear() {
      this.search.value = "";
      this.others.replaceChildren();
      this.list.replaceChildren();
      this.count.textContent = "Loading…";
    }

    /** Ask the server what is open, and show it. */
    async show() {
      const found = await Promise.all(
        Object.keys(this.kinds).map(async (kind) => [
          kind,
          (await this.server.get(`/api/subjects?kind=${kind}`)).subjects,
        ]),
      );
      const labels = found.filter(([kind]) => kind === "label").flatMap(([, subjects]) => subjects);
      this.lines = labels
        .map(([id, name, open, phrase]) => ({
          id,
          name: seen(name, 200),
          open,
          phrase: seen(phrase, 210),
          key: `${name} ${id}`.toLowerCase(),
        }))
        .filter(({ id, open }) => this.#left("label", id, open))
        .sort((a, b) => b.open - a.open || (a.key < b.key ? -1 : 1));
      this.others.replaceChildren(
        ...found
          .filter(([kind, subjects]) => kind !== "label" && subjects.some(([, , open]) => this.#left(kind, null, open)))
          .map(([kind, subjects]) => {
            const open = subjects.reduce((sum, [, , number]) => sum + number, 0);
            return this.#button({ id: null, name: askMany(kind, this.kinds[kind]).join(""), open }, kind);
          }),
      );
      const labelled = Boolean(this.kinds.label);
      this.search.parentElement.hidden = this.list.hidden = !labelled;
      this.#fill();
    }

    /** Give the focus to the search, or to the first button without one. */
    focus() {
      (this.list.hidden ? this.others.querySelector("button") : this.search)?.focus();
    }

    #fill() {
      const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const found = this.lines.filter(({ key }) => words.every((word) => key.includes(word)));
      this.list.replaceChildren(
        ...found.slice(0, LISTED).map((line) => element("li", {}, this.#button(line, "label"))),
      );
      const more = found.length > LISTED ? `; the ${LISTED} with most are listed` : "";
      this.count.textContent = this.lines.length
        ? `${figure(found.length)} ${found.length === 1 ? "class" : "classes"} with open questions${more}`
        : "No questions about classes are open for you.";
    }

    #button({ id, name, open, phrase }, kind) {
      return element(
        "button",
        { type: "button", class: "choice-button", click: () => this.open(kind, id, phrase ?? name) },
        element("bdi", { text: name }),
        element("span", { class: "number muted", text: `${figure(open)} open` }),
      );
    }

    #key(event) {
      const buttons = [...this.list.querySelectorAll("button")];
      const at = buttons.indexOf(document.activeElement);
      const to = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
      if (event.key === "Enter" && event.target === this.search) buttons[0]?.click();
      else if (to === undefined) return;
      else if (to < 0) this.search.focus();
      else buttons[to]?.focus();
      event.preventDefault();
      event.stopPropagation();
    }
  }

  Object.assign(Variorum, { GridChoice, askMany });
}
