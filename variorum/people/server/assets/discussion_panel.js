/* One question of the discussion: the class, what each person said, and the decision. */
{
  const { element, seen, figure } = Variorum;
  const ANSWERS = [
    ["yes", "y"],
    ["no", "n"],
    ["unclear", "u"],
  ];

  /** The value that most have; empty without any. */
  function most(values) {
    const counts = new Map();
    for (const value of values) if (value) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts].sort((one, other) => other[1] - one[1])[0]?.[0] ?? "";
  }

  class DiscussionPanel {
    /** `decide(fields)`, `skip()` and `back()` do what the buttons say. */
    constructor({ app, decide, skip, back }) {
      Object.assign(this, { app, decide, step: { skip, back } });
      this.severities = app.me.severities.map((one) => (Array.isArray(one) ? one : [one, one, ""]));
      this.categories = app.me.categories;
      this.count = element("p", { class: "muted", role: "status" });
      this.ask = element("h2", { class: "ask", tabindex: "-1" });
      this.about = element("div", { class: "class-about" });
      this.votes = element("tbody", {});
      this.buttons = ANSWERS.map(([answer, key]) =>
        element(
          "button",
          { type: "button", class: "decision", "data-answer": answer, click: () => this.choose(answer) },
          (this[`word_${answer}`] = element("span", {})),
          element("kbd", { text: key, "aria-hidden": "true" }),
        ),
      );
      const chooser = (label, name) => {
        const select = element("select", { "aria-label": label });
        this[name] = select;
        return element("label", { class: "field" }, element("span", { class: "muted", text: label }), select);
      };
      this.why = element("div", { class: "mistake", hidden: true });
      this.why.append(
        chooser("Severity", "severity"),
        chooser("Kind of mistake", "category"),
        chooser("Reason", "reason"),
      );
      this.definition = element("p", { class: "muted small" });
      this.why.append(this.definition);
      for (const select of [this.severity, this.category]) select.addEventListener("change", () => this.#define());
      this.comment = element("textarea", {
        rows: "2",
        maxlength: "2000",
        "aria-label": "Comment on the decision",
        placeholder: "Why, in a few words (c)",
        keydown: (event) => this.#typed(event),
      });
      this.send = element("button", { type: "button", class: "primary confirm", click: () => this.#decide() });
      const button = (label, title, click) => element("button", { type: "button", text: label, title, click });
      const head = ["Who", "Answer", "Why", "Comment"].map((name) => element("th", { scope: "col", text: name }));
      this.before = element(
        "div",
        { class: "told-before", tabindex: "0", role: "group", "aria-label": "Question and votes" },
        element(
          "div",
          { class: "line" },
          this.count,
          element("span", { class: "room" }),
          button("‹ Before", "The one before (←)", back),
          button("Later ›", "Leave it for later (s)", skip),
        ),
        this.ask,
        this.about,
        element(
          "table",
          { class: "votes", "aria-label": "Votes" },
          element("thead", {}, element("tr", {}, ...head)),
          this.votes,
        ),
      );
      const verdict = element(
        "div",
        { class: "verdict" },
        element("h3", { text: "Decision of the group" }),
        element("div", { class: "decisions", role: "group", "aria-label": "Decision" }, ...this.buttons),
        this.why,
        this.comment,
        this.send,
      );
      this.element = element("section", { class: "panel", "aria-label": "Question" }, this.before, verdict);
    }

    /** Show a question with its votes. */
    show({ task, question }, { at, of, left }) {
      this.question = question;
      this.words = this.app.me.panel.kinds[task.kind];
      this.count.textContent = `${figure(at)} of ${figure(of)}${left > of ? `, ${figure(left)} in all` : ""}`;
      const [before, after] = this.words.ask.split("{name}");
      const name = element("bdi", { text: seen(question.phrase || question.subject, 210) });
      this.ask.replaceChildren(before, ...(after === undefined ? [] : [name, after]));
      for (const [answer] of ANSWERS) this[`word_${answer}`].textContent = this.words[answer];
      this.votes.replaceChildren(...question.votes.map((vote) => this.#vote(vote)));
      this.about.replaceChildren();
      if (task.kind === "label") this.#tell(task, question);
      this.comment.value = "";
      this.#fill(question);
      this.answer = "";
      this.#chosen();
      this.before.scrollTop = 0;
      if (this.element.contains(document.activeElement)) this.ask.focus(); // so that keys decide, and aren't typed
    }

    async #tell(task, question) {
      const about = await this.app.classes.about(question.subject, task.picture.id);
      if (this.question !== question) return;
      const told = about.definition ? seen(about.definition, 600) : "There is no definition of this class.";
      this.about.replaceChildren(
        element("p", { class: "shown-definition", text: told }),
        element(
          "ul",
          { class: "shown-examples", "aria-label": "Examples" },
          ...about.examples.map((one, at) => {
            const src = this.app.classes.example(one);
            return element("li", {}, element("img", { src, alt: `example ${at + 1}`, decoding: "async" }));
          }),
        ),
      );
    }

    #vote({ reviewer, answer, category, severity, reason, comment }) {
      const named = (list, id) => list.find(([one]) => one === id)?.[1] ?? id;
      const why = [
        severity && named(this.severities, severity),
        category && named(this.categories, category),
        reason && named(this.words.reasons ?? [], reason),
      ].filter(Boolean);
      return element(
        "tr",
        {},
        element("td", {}, element("bdi", { text: seen(reviewer, 100) })),
        element(
          "td",
          {},
          element("span", { class: "badge", "data-answer": answer, text: this.words[answer] ?? answer }),
        ),
        element("td", { text: why.join(", ") || "–", class: why.length ? null : "none" }),
        element("td", { class: comment ? null : "none" }, element("bdi", { text: comment ? seen(comment) : "–" })),
      );
    }

    /** The choices for a no, set to what most of those who said no have chosen. */
    #fill({ votes }) {
      const no = votes.filter(({ answer }) => answer === "no");
      const options = (select, list, value) => {
        const lines = list.map(([id, name]) => element("option", { value: id, text: name }));
        select.replaceChildren(element("option", { value: "", text: "not said" }), ...lines);
        select.value = value;
        select.parentElement.hidden = !list.length;
      };
      const { mistakes, reasons = [] } = this.words;
      options(this.severity, mistakes ? this.severities : [], most(no.map((vote) => vote.severity)));
      options(this.category, mistakes ? this.categories : [], most(no.map((vote) => vote.category)));
      options(this.reason, reasons, most(no.map((vote) => vote.reason)));
      this.details = mistakes || reasons.length > 0;
      this.#define();
    }

    /** What the chosen category and severity mean. */
    #define() {
      const chosen = [
        this.severities.find(([id]) => id === this.severity.value),
        this.categories.find(([id]) => id === this.category.value),
      ];
      this.definition.textContent = chosen
        .map((one) => one?.[2] ?? "")
        .filter(Boolean)
        .join(" ");
    }

    /** Choose an answer. One that needs nothing more is the decision at once. */
    choose(answer) {
      if (answer !== "no" || !this.details) return ((this.answer = answer), this.#decide());
      if (this.answer === "no") return this.#decide();
      this.answer = answer;
      this.#chosen();
    }

    #chosen() {
      for (const button of this.buttons)
        button.setAttribute("aria-pressed", String(button.dataset.answer === this.answer));
      this.why.hidden = this.send.hidden = !this.answer;
      if (this.answer) this.send.textContent = `Decide: ${this.words[this.answer]}`;
    }

    #decide() {
      const no = this.answer === "no" && this.details;
      const [category, severity, reason] = [this.category, this.severity, this.reason].map((one) =>
        no ? one.value : "",
      );
      this.decide({ answer: this.answer, category, severity, reason, comment: this.comment.value.trim() });
    }

    #typed(event) {
      if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
        event.preventDefault();
        event.stopPropagation();
        if (event.key === "Enter" && this.answer) this.#decide();
        else this.ask.focus();
      }
    }

    key({ key }) {
      const answer = ANSWERS.find(([, one]) => one === key)?.[0];
      const severity = this.answer && !this.severity.parentElement.hidden ? this.severities[Number(key) - 1] : null;
      if (answer) this.choose(answer);
      else if (severity) ((this.severity.value = severity[0]), this.#define());
      else if (key === "Enter" && this.answer) this.#decide();
      else if (key === "c") this.comment.focus();
      else if (key === "Escape" && this.answer) ((this.answer = ""), this.#chosen());
      else return false;
      return true;
    }
  }

  Object.assign(Variorum, { DiscussionPanel, most });
}
