/* The questions of a task as a list: name, definition, examples of the class, and an answer each. */
{
  const { element, seen, choices, detailButtons, detailText } = Variorum;
  const SIGNS = { yes: "✓", unclear: "?", no: "✕" };
  const ORDER = ["no", "unclear", "yes"]; // as the arrows of "one by one" lie: left, down, right

  /** The question of a line in words. */
  function question(asked, line) {
    const name = seen(line.name || "", 200);
    const phrase = seen(line.phrase || line.name || line.subject, 210);
    if (asked.ask.includes("{name}")) return asked.ask.replace("{name}", () => phrase);
    return name ? `${name}: ${asked.ask}` : asked.ask;
  }

  /** Three buttons: wrong, unclear, right. `answer(value, event)` is called with an answer. */
  function answerButtons(asked, answer, name = "") {
    return ORDER.map((value) =>
      element(
        "button",
        {
          type: "button",
          class: `answer ${value}`,
          "data-answer": value,
          "aria-pressed": "false",
          "aria-label": name ? `${asked[value]}: ${name}` : null,
          title: `${asked[value]} (${{ yes: "y", unclear: "u", no: "n" }[value]})`,
          click: (event) => answer(value, event),
        },
        element("span", { "aria-hidden": "true", text: SIGNS[value] }),
        element("span", { class: "word", text: asked[value] }),
      ),
    );
  }

  /** A picture that is shown larger while the pointer or the focus is on it; a blurred one, when it is pressed. */
  function example(picture, name, number, blurred) {
    const image = element("img", { alt: "", src: blurred ? picture.blurred : picture.thumbnail, loading: "lazy" });
    const large = element("img", { alt: "" });
    const lens = element("span", { class: "lens", hidden: true }, large);
    const button = element(
      "button",
      { type: "button", class: blurred ? "example blurry" : "example", "aria-label": `Example ${number} of ${name}` },
      image,
      lens,
    );
    const show = (on) => {
      if (on && !large.src) large.src = picture.url;
      lens.hidden = !on;
    };
    for (const [type, on] of [
      ["mouseenter", !blurred],
      ["focus", !blurred],
      ["mouseleave", false],
      ["blur", false],
    ])
      button.addEventListener(type, () => show(on));
    button.addEventListener("click", () => show(lens.hidden));
    return button;
  }

  /** One question with its answer. */
  class Row {
    constructor(list, line, at) {
      Object.assign(this, { list, line });
      const { asked, task } = list;
      this.name = asked.ask.includes("{name}") ? seen(line.name || line.subject, 200) : question(asked, line);
      this.answers = answerButtons(asked, (value, event) => list.on.answer(line, value, event), this.name);
      this.head = element(
        "div",
        { class: "label-head", role: "group", tabindex: "-1", click: () => list.on.choose(line) },
        element("kbd", { "aria-hidden": "true", text: at < 9 ? String(at + 1) : "" }),
        element("bdi", { class: "name", text: this.name }),
        (this.said = element("span", { class: "said" })),
        element("span", { class: "answers" }, ...this.answers),
      );
      this.about = element("div", { class: "about-label", hidden: true });
      this.how = element("div", { class: "how", hidden: true });
      this.element = element("li", { class: "label" }, this.head, this.about, this.how);
      this.head.addEventListener("focus", () => list.on.choose(line));
    }

    update(current, detailed) {
      const { line, list } = this;
      const { asked, me, task } = list;
      const word = line.answer ? asked[line.answer] : "no answer yet";
      const details = detailText(me, task.kind, line);
      this.element.dataset.answer = line.answer;
      this.element.classList.toggle("current", current);
      this.head.tabIndex = current ? 0 : -1;
      this.head.setAttribute("aria-label", [this.name, word, details].filter(Boolean).join(", "));
      if (current) this.head.setAttribute("aria-current", "true");
      else this.head.removeAttribute("aria-current");
      for (const button of this.answers)
        button.setAttribute("aria-pressed", String(button.dataset.answer === line.answer));
      const told = [line.added ? "added" : "", details, line.comment ? `“${seen(line.comment, 80)}”` : ""];
      this.said.textContent = told.filter(Boolean).join(" · ");
      this.said.hidden = !this.said.textContent;
      this.#how(current, detailed);
      this.#about(current && list.examples && task.kind === "label");
    }

    #how(current, detailed) {
      const { line, list } = this;
      const { me, task } = list;
      const on = current && line.answer === "no" && choices(me, task.kind).length > 0;
      this.how.hidden = !on;
      this.how.classList.toggle("by-key", detailed);
      if (!on) return;
      const focused = this.how.contains(document.activeElement) ? document.activeElement.dataset.option : null;
      this.how.replaceChildren(...detailButtons(me, task.kind, line, (option) => list.on.detail(line, option)));
      if (focused) this.how.querySelector(`[data-option="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }

    async #about(on) {
      this.about.hidden = !on;
      if (!on || this.about.firstChild) return;
      const { line, list } = this;
      const definition = element("p", { class: "definition", text: " " });
      const examples = element("div", { class: "examples" });
      this.about.append(definition, examples);
      try {
        const told = await list.classes.about(line.subject, list.task.picture.id);
        definition.textContent = seen(told.definition || "This class has no definition.", 1000);
        examples.append(...told.examples.map((one, at) => example(one, this.name, at + 1, list.blurred || one.veiled)));
        examples.hidden = !told.examples.length;
      } catch (error) {
        definition.textContent = error.message;
      }
    }
  }

  /** The list. `on` has choose(line), answer(line, value, event) and detail(line, option). */
  class LabelList {
    constructor({ me, classes, blurred, on }) {
      Object.assign(this, { me, classes, blurred, on, examples: true, rows: [] });
      this.title = element("h2", { id: "question" });
      this.list = element("ol", { class: "labels", "aria-labelledby": "question" });
      this.element = element("div", { class: "list" }, this.title, this.list);
    }

    /** Show the lines of a task; `only` limits them. */
    show(task, lines) {
      this.task = task;
      this.asked = this.me.panel.kinds[task.kind];
      const several = this.asked.of && (lines.length > 1 || task.kind !== "label");
      this.title.textContent = several ? this.asked.of : question(this.asked, lines[0]);
      this.rows = lines.map((line, at) => new Row(this, line, at));
      this.list.replaceChildren(...this.rows.map((row) => row.element));
      this.element.scrollTop = 0;
    }

    /** Show answers and which line is the current one; `detailed`: digits choose details. */
    update(current, detailed = false) {
      for (const row of this.rows) row.update(row.line === current, detailed);
    }

    /** Bring a line into sight, with the keyboard's focus. */
    focus(line) {
      const row = this.rows.find((one) => one.line === line);
      row?.head.focus({ preventScroll: true });
      row?.element.scrollIntoView({ block: "nearest" });
    }
  }

  Object.assign(Variorum, { LabelList, answerButtons, question });
}
