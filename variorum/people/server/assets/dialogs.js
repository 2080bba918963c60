/* Dialogs: what is wrong with a picture, a comment, a label to add, and the list of keys. */
{
  const { element, seen, ClassBox } = Variorum;

  /** The title of a dialog, and a button that closes it. */
  function head(name, title, click) {
    const close = element("button", { type: "button", class: "quiet icon", "aria-label": "Close", text: "✕", click });
    return element("div", { class: "head" }, element("h2", { id: `${name}-title`, text: title }), close);
  }

  /** A dialog with a title. Escape, ✕ and a click beside it close it; the focus goes back to where it was. */
  function makeDialog(name, title, ...content) {
    const dialog = element(
      "dialog",
      { id: name, class: "small", "aria-labelledby": `${name}-title` },
      head(name, title, () => dialog.close()),
      element("div", { class: "content" }, ...content),
    );
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    return dialog;
  }

  /** The dialogs of a mode in which pictures are judged one after the other. */
  class Dialogs {
    constructor(root, { me, classes, on }) {
      Object.assign(this, { on });
      this.problem = makeDialog(
        "problem",
        "This picture can't be judged",
        element("p", { class: "muted", text: "Why? The picture is marked as problematic, and the next one follows." }),
        element("div", { class: "stack" }, ...me.problems.map((one, at) => this.#reason(one, at))),
      );
      this.problem.addEventListener("keydown", (event) => {
        const reason = me.problems[Number(event.key) - 1];
        if (reason && !event.altKey && !event.ctrlKey && !event.metaKey) (event.preventDefault(), this.#choose(reason));
      });
      this.text = element("textarea", {
        id: "comment-text",
        rows: "4",
        maxlength: "2000",
        "aria-labelledby": "comment-title",
      });
      const form = element(
        "form",
        { class: "stack" },
        (this.about = element("p", { class: "muted" })),
        this.text,
        element("p", { class: "muted" }, element("kbd", { text: "Ctrl Enter" }), " keeps it"),
        element("button", { type: "submit", class: "primary", text: "Keep the comment" }),
      );
      form.addEventListener("submit", (event) => (event.preventDefault(), this.#commented()));
      this.text.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) (event.preventDefault(), this.#commented());
      });
      this.comment = makeDialog("comment", "Comment", form);
      this.classes = new ClassBox({
        classes,
        chosen: (id, name) => (this.add.close(), this.on.added(id, name)),
      });
      this.add = makeDialog("add-label", "Add a label that the picture shows", this.classes.element);
      root.append(this.problem, this.comment, this.add);
    }

    #reason([id, text], at) {
      return element(
        "button",
        { type: "button", class: "reason", click: () => this.#choose([id, text]) },
        element("kbd", { "aria-hidden": "true", text: at < 9 ? String(at + 1) : "" }),
        element("bdi", { text: seen(text, 200) }),
      );
    }

    #choose([id, text]) {
      this.problem.close();
      this.on.problem(id, text);
    }

    #commented() {
      this.comment.close();
      this.on.commented(this.text.value.trim());
    }

    askProblem() {
      this.problem.showModal();
    }

    askComment(about, text) {
      this.about.textContent = about;
      this.text.value = text;
      this.comment.showModal();
      this.text.focus();
    }

    askLabel(without) {
      this.add.showModal();
      this.classes.input.focus();
      this.classes.open(without);
    }
  }

  const COMMON = [
    ["y n u", "right, wrong, unclear; and on to the next question"],
    ["w", "wrong, and say how: digits choose"],
    ["z", "undo: take the last answers back"],
    ["s", "skip: the picture comes back later"],
    ["p", "the picture can't be judged"],
    ["a", "add a label: type a part of its name"],
    ["c", "comment"],
    ["e", "definition and examples on or off"],
    ["+ − f", "zoom in, zoom out, fit or 100 %"],
    ["m b o", "mask, boxes, original"],
    ["v", "show a blurred picture"],
  ];
  const BOXES = [
    ["← → ↑ ↓", "move a box; with Shift resize it, with Ctrl ten times as far"],
    ["Backspace", "put the box back"],
  ];
  const LAST = [["?", "this list"]];

  /** Fill the list of keys: those of a mode, and those of modes in which pictures are judged one after the other. */
  function fillHelp(dialog, { title, keys = [], common = false }, { box }) {
    const namesOf = (names) => (names.includes(", ") ? [names] : names.split(" "));
    const lines = (all) =>
      element(
        "dl",
        { class: "keys" },
        ...all.map(([names, what]) =>
          element(
            "div",
            {},
            element("dt", {}, ...namesOf(names).map((name) => element("kbd", { text: name }))),
            element("dd", { text: what }),
          ),
        ),
      );
    dialog.replaceChildren(
      head("help", "Keys", () => dialog.close()),
      element(
        "div",
        { class: "columns" },
        element("section", {}, element("h3", { text: title }), lines([...keys, ...(common ? [] : LAST)])),
        common
          ? element(
              "section",
              {},
              element("h3", { text: "Pictures and one by one" }),
              lines([...COMMON, ...(box ? BOXES : []), ...LAST]),
            )
          : "",
      ),
    );
  }

  Object.assign(Variorum, { makeDialog, Dialogs, fillHelp });
}
