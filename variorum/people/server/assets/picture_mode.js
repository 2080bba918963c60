/* The mode "Pictures": a picture with all its questions. */
{
  const { addMode, QuestionPanel, TaskView, taskKey } = Variorum;
  const CYCLE = { "": "yes", yes: "no", no: "unclear", unclear: "yes" };

  /** All questions of a picture. The buttons for the current one are shown on phones. */
  class PicturePanel extends QuestionPanel {
    constructor(app) {
      super(app, {
        choose: (line) => this.view.choose(line),
        detail: (line, option) => this.view.detail(line, option),
        // the list stays with a label that has become wrong, so that people can say how
        answer: (line, value, event) => {
          if (!this.view.pressed(event)) return;
          this.view.answer(line, value, { stay: value === "no" && line.answer !== "no" });
          this.view.focus();
        },
      });
    }

    show(task, draft) {
      super.show(task);
      this.list.show(task, draft.lines);
    }
  }

  let view = null;

  /** Choose a label by its digit; again changes its answer: right, wrong, unclear. */
  function digit(key) {
    const line = view.draft.lines[Number(key) - 1];
    if (!line) return;
    view.choose(line);
    view.answer(line, CYCLE[line.answer], { stay: true });
    view.focus();
  }

  /** All labels without an answer are wrong. */
  function restWrong() {
    const open = view.draft.lines.filter((line) => !line.answer);
    const seconds = view.watch.lap() / open.length; // one look, shared by all
    const last = open.at(-1);
    for (const line of open) view.answer(line, "no", { stay: line !== last, seconds });
    if (open.length) view.app.say(`${open.length} answered: all others are wrong.`);
    view.focus();
  }

  addMode({
    name: "picture",
    title: "Pictures",
    place: 1,
    common: true,
    start(root, app) {
      const panel = new PicturePanel(app);
      view = Variorum.view = panel.view = new TaskView(root, app, { mode: "picture", one: false, panel });
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
      if (!view.task || event.ctrlKey || event.repeat) return false;
      const { key } = event;
      if (/^[1-9]$/.test(key)) return (digit(key), true);
      const work = {
        0: restWrong,
        Enter: () => view.finish(),
        " ": () => view.finish(),
        ArrowDown: () => view.step(1),
        ArrowRight: () => view.step(1),
        ArrowUp: () => view.step(-1),
        ArrowLeft: () => view.step(-1),
      }[key];
      work?.();
      return Boolean(work);
    },
    keys: [
      ["1 … 9", "choose a label: right; again: wrong, unclear"],
      ["0", "all without an answer are wrong"],
      ["↑ ↓", "to another label; a picture that is zoomed moves"],
      ["Enter Space", "next picture, when all are answered; by itself after y, n, u and 0"],
    ],
  });
}
