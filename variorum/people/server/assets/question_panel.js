/* The list of questions beside a picture and the big buttons for the current one, as both modes with one picture have
 * them. */
{
  const { element, LabelList, answerButtons } = Variorum;
  const EXAMPLES = "variorum:examples";

  /** `on` says what the list does when something in it is pressed: `choose`, `detail`, `answer`. */
  class QuestionPanel {
    constructor(app, on) {
      this.app = app;
      this.list = new LabelList({ me: app.me, classes: app.classes, blurred: app.blurred, on });
      this.list.examples = app.session.get(EXAMPLES) ?? true;
      this.element = this.list.element;
      this.big = element("div", { class: "big", role: "group", "aria-label": "Answer" });
    }

    /** Show the buttons of a task's kind. */
    show(task) {
      this.asked = this.app.me.panel.kinds[task.kind];
      const answer = (value, event) => this.view.pressed(event) && this.view.answer(this.view.line, value);
      this.big.replaceChildren(...answerButtons(this.asked, answer));
    }

    update(line, detailed) {
      this.list.update(line, detailed);
      for (const button of this.big.children)
        button.setAttribute("aria-pressed", String(button.dataset.answer === line.answer));
    }

    focus(line) {
      this.list.focus(line);
    }

    toggleExamples(line) {
      this.list.examples = !this.list.examples;
      this.app.session.set(EXAMPLES, this.list.examples);
      this.list.update(line);
      this.app.say(`Definitions and examples ${this.list.examples ? "shown" : "hidden"}.`);
    }
  }

  Object.assign(Variorum, { QuestionPanel });
}
