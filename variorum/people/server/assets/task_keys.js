/* Buttons and keys for one picture, and what is shown when none is left, in the modes "pictures" and "one by one". */
{
  const { element, choices } = Variorum;

  /** The bar below the questions: tools, the mode's big buttons, and the button that goes on. */
  function taskBar(view) {
    const button = (name, key, text, work, more = {}) =>
      element(
        "button",
        { type: "button", "data-do": name, title: `${text} (${key})`, click: work, ...more },
        element("span", { text }),
        element("kbd", { "aria-hidden": "true", text: key }),
      );
    view.adding = button("add", "a", "Add label", () => view.askLabel());
    view.going = button("next", "↵", "Next picture", (event) => view.pressed(event) && view.finish(), {
      class: "primary",
    });
    const tools = element(
      "div",
      { class: "task-tools", role: "toolbar", "aria-label": "This picture" },
      view.adding,
      button("comment", "c", "Comment", () => view.askComment()),
      button("problem", "p", "Problem", () => view.dialogs.askProblem()),
      button("skip", "s", "Skip", (event) => view.pressed(event) && view.skip()),
      button("undo", "z", "Undo", () => view.undo()),
    );
    const box = element("input", { type: "checkbox", change: () => view.wait(!box.checked) });
    box.checked = !view.waits;
    const title = "The next picture comes with the last answer. Without it, pictures stay until Enter.";
    const waits = element("label", { class: "waits", title }, box, element("span", { text: "Go on by itself" }));
    view.going.append(element("span", { class: "going-on", "aria-hidden": "true" }));
    return element("div", { class: "bar-below" }, tools, view.panel.big, view.going, view.one ? "" : waits);
  }

  /** What is shown when there is no picture left for now; `again` looks for more. */
  function nothingLeft({ none, app }, again) {
    const { discussion, progress } = app.me;
    const why = progress.left
      ? "Other reviewers have the rest, or the review is paused."
      : "You have answered all questions that are open for you. Thank you.";
    none.replaceChildren(
      element("h2", { text: "Nothing more to answer here" }),
      element("p", { class: "muted", text: why }),
      element("button", { type: "button", class: "primary", text: "Look again", click: again }),
      discussion ? element("a", { href: "#discussion", text: "Discuss where people disagree" }) : "",
    );
    app.say("Nothing more to answer here.");
  }

  /** While a no is explained, digits choose details, and Enter or space goes on. */
  function digit(view, key) {
    const option = choices(view.app.me, view.task.kind)[Number(key) - 1];
    if (option && /^[1-9]$/.test(key)) return (view.detail(view.line, option), true);
    if (key !== "Enter" && key !== " ") return false;
    view.explained();
    return true;
  }

  /** A keydown for the picture that is shown; true if it was used. */
  function taskKey(view, event) {
    const { key } = event;
    if (!["y", "n", "u"].includes(key)) view.hold();
    if (!view.task) return key === "z" ? (view.undo(), true) : false;
    const panning = view.stage.zoomed && !event.shiftKey;
    if (key.startsWith("Arrow") && view.line.asked && !panning) return view.box.key(event);
    if (event.ctrlKey) return false;
    if (view.detailed && digit(view, key)) return true;
    if (view.stage.key(event)) return true;
    const work = {
      y: () => view.answer(view.line, "yes"),
      n: () => view.answer(view.line, "no"),
      u: () => view.answer(view.line, "unclear"),
      w: () => view.explain(),
      p: () => view.dialogs.askProblem(),
      a: () => view.askLabel(),
      c: () => view.askComment(),
      z: () => view.undo(),
      s: () => view.skip(),
      e: () => view.panel.toggleExamples(view.line),
      Backspace: () => view.line.box && view.boxed([...view.line.asked]),
    }[key];
    if (!work) return false;
    if (!event.repeat) work(); // a key that is held down answers once
    return true;
  }

  Object.assign(Variorum, { taskBar, taskKey, nothingLeft });
}
