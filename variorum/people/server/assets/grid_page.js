/* What surrounds the tiles of the grid: the question with its class, what a click marks, the selection, confirm. */
{
  const { element, seen, figure, askMany } = Variorum;
  const ANSWERS = ["yes", "no", "unclear"];

  class GridPage {
    /** `acts` has what the buttons do: choose, confirm, undo, blur, and `tiles` and `lens`, which the page shows. */
    constructor(acts) {
      this.tiles = acts.tiles;
      const button = (text, title, click, properties = {}) =>
        element("button", { type: "button", text, title, click, ...properties });
      const marks = (answers, click) =>
        answers.map(([answer, key]) => button("", key, () => click(answer), { "data-answer": answer }));
      this.ask = element("h2", { class: "ask" });
      this.about = element("div", { class: "class-about" });
      this.clicks = marks(
        [
          ["no", "x"],
          ["unclear", "u"],
        ],
        (answer) => acts.tiles.clickMarks(answer),
      );
      this.selected = element("div", { class: "selected line", role: "group", "aria-label": "Selected pictures" });
      this.number = element("span", {});
      this.selected.append(
        this.number,
        ...marks(
          [
            ["no", "Space"],
            ["unclear", "u"],
            ["yes", "r"],
          ],
          (answer) => acts.tiles.mark(answer),
        ),
      );
      this.blur = button("", "Show or blur the pictures (v)", () => acts.blur());
      this.undo = button("Undo", "Take back the last batch (z)", () => acts.undo());
      this.confirm = button("Confirm", "Confirm (Enter)", () => acts.confirm(), { class: "primary confirm" });
      const clicked = element("span", { class: "muted", text: "A click marks" });
      this.bar = element(
        "div",
        { class: "grid-bar" },
        element("div", { class: "line", role: "group", "aria-label": "What a click marks" }, clicked, ...this.clicks),
        this.selected,
        element("span", { class: "room" }),
        this.blur,
        this.undo,
        this.confirm,
      );
      this.rest = element("div", { class: "empty", hidden: true });
      const back = button("‹ Back", "Choose another class (Esc)", () => acts.choose(), { class: "quiet" });
      const head = element(
        "header",
        { class: "grid-head" },
        element("div", { class: "line" }, back, this.ask),
        this.about,
      );
      this.element = element(
        "div",
        { class: "grid-page", hidden: true },
        head,
        acts.tiles.scroller,
        this.rest,
        acts.lens.element,
        this.bar,
      );
      this.choose = acts.choose;
    }

    /** Ask a question of a kind; `words` are its answers' words, `name` the class with its article. */
    open(kind, words, name) {
      this.words = words;
      for (const one of [...this.clicks, ...this.selected.querySelectorAll("button")])
        one.textContent = words[one.dataset.answer];
      const [before, after] = askMany(kind, words);
      this.ask.replaceChildren(before, ...(after === undefined ? [] : [element("bdi", { text: name }), after]));
      this.about.replaceChildren();
      this.element.hidden = false;
      this.reopen();
      this.tiles.sheet.replaceChildren();
    }

    /** The definition of the class and the addresses of examples of it. */
    tell(definition, examples) {
      const told = definition ? seen(definition, 600) : "There is no definition of this class.";
      this.about.replaceChildren(
        element("p", { class: "shown-definition", text: told }),
        element(
          "ul",
          { class: "shown-examples", "aria-label": "Examples" },
          ...examples.map((src, at) =>
            element("li", {}, element("img", { src, alt: `example ${at + 1}`, decoding: "async" })),
          ),
        ),
      );
    }

    /** Show tiles again after the end. */
    reopen() {
      this.tiles.scroller.hidden = false;
      this.rest.hidden = true;
    }

    /** Nothing is left to ask. */
    finish() {
      this.tiles.scroller.hidden = true;
      this.tiles.sheet.replaceChildren();
      const other = element("button", { type: "button", text: "Choose another", click: () => this.choose() });
      this.rest.replaceChildren(element("h2", { text: "Nothing is open here any more" }), other);
      this.rest.hidden = false;
      other.focus();
    }

    blurred(on, offered) {
      this.element.classList.toggle("blurred", on);
      this.blur.hidden = !offered;
      this.blur.textContent = on ? "Show pictures" : "Blur pictures";
    }

    /** Show the state of a batch in the bar; `ready`: whether it may be confirmed. */
    update(batch, ready) {
      const { range, unseen, click } = this.tiles;
      this.bar.classList.toggle("idle", !batch);
      for (const one of this.clicks) one.setAttribute("aria-pressed", String(one.dataset.answer === click));
      this.selected.hidden = !batch || !range || range[0] === range[1];
      this.number.textContent = range ? `${figure(range[1] - range[0] + 1)} selected` : "";
      this.confirm.disabled = !batch || (!ready && !unseen);
      this.confirm.textContent = !batch
        ? "Confirm"
        : unseen
          ? `Show ${figure(unseen)} more`
          : `Confirm ${this.told(batch)}`;
    }

    /** The number of each answer in words. */
    told({ counts }) {
      const given = ANSWERS.filter((answer) => counts[answer] || answer === "yes");
      return given.map((answer) => `${figure(counts[answer])} ${this.words[answer]}`).join(", ");
    }
  }

  Object.assign(Variorum, { GridPage });
}
