/* The mode "One by one": one question at a time, accepted or rejected with one key or one tap. */
{
  const { addMode, element, QuestionPanel, TaskView, question, taskKey } = Variorum;
  const ARROWS = { ArrowRight: "yes", ArrowLeft: "no", ArrowDown: "unclear" };

  /** The current question, with its place among those of the picture. */
  class OnePanel extends QuestionPanel {
    constructor(app) {
      super(app, {
        choose: () => {},
        detail: (line, option) => this.view.detail(line, option),
        answer: (line, value) => this.view.answer(line, value),
      });
      this.place = element("p", { class: "muted" });
      this.element = element("div", { class: "one-question" }, this.place, this.list.element);
    }

    show(task, draft) {
      super.show(task);
      Object.assign(this, { task, draft, line: null });
    }

    update(line, detailed) {
      const { lines } = this.draft;
      if (line !== this.line) {
        this.line = line;
        this.view.since = performance.now(); // a double click answers one question
        this.list.show(this.task, [line]);
        this.list.title.textContent = question(this.asked, line);
        this.place.textContent = lines.length > 1 ? `Question ${lines.indexOf(line) + 1} of ${lines.length}` : "";
      }
      super.update(line, detailed);
      this.big.querySelector(".no .word").textContent = line.box ? "send my box" : this.asked.no;
    }
  }

  let view = null;

  addMode({
    name: "one",
    title: "One by one",
    place: 2,
    common: true,
    start(root, app) {
      const panel = new OnePanel(app);
      view = Variorum.view = panel.view = new TaskView(root, app, { mode: "one", one: true, panel });
      return view.start();
    },
    stop() {
      view.stop();
    },
    undo() {
      view.undo();
    },
    key(event) {
      if (taskKey(view, event)) return true;
      if (!view.task || event.ctrlKey || event.shiftKey) return false;
      if (ARROWS[event.key]) return (event.repeat || view.answer(view.line, ARROWS[event.key]), true);
      if ((event.key === "Enter" || event.key === " ") && view.line.answer) return (view.explained(), true);
      return false;
    },
    keys: [
      ["→", "right, as y"],
      ["←", "wrong, as n"],
      ["↓", "unclear, as u"],
      ["Enter", "send the corrected box; go on after w"],
    ],
  });
}
