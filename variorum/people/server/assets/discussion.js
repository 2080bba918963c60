/* The discussion: questions on which the blind votes differ, with all votes, to be decided together.
 *
 * A decision is a vote of the second round. Whoever shares the screen with the others gives it for all. */
{
  const { element, figure, addMode, Stage, DiscussionPanel, layer } = Variorum;
  const TOGETHER = 2; // the round
  const FEW = 3; // questions left when more are asked for
  const KEYS = [
    ["y n u", "decide: right, wrong, unclear"],
    ["1 2 3", "for wrong: major, minor, borderline"],
    ["Enter", "decide as chosen"],
    ["c", "write a comment"],
    ["s →", "leave it for later"],
    ["←", "the one before"],
    ["z", "take back the last decision"],
    ["+ − f", "larger, smaller, fit"],
    ["m b o v", "mask, boxes, original; show a blurred picture"],
  ];

  /** Whether the blind votes of a question differ. */
  function differs({ votes }) {
    return new Set(votes.filter(({ round }) => (round ?? 1) === 1).map(({ answer }) => answer)).size > 1;
  }

  class Discussion {
    async start(root, app) {
      Object.assign(this, { root, app, open: [], at: 0, known: new Set(), after: -1, asked: null });
      this.stage = new Stage({ say: app.say });
      this.panel = new DiscussionPanel({
        app,
        decide: (fields) => this.decide(fields),
        skip: () => this.step(1),
        back: () => this.step(-1),
      });
      this.rest = element("div", { class: "empty", hidden: true }, element("h2", { text: "Everybody agrees" }));
      this.rest.append(
        element("p", { class: "muted", text: "No question waits for a discussion." }),
        element("button", { type: "button", text: "Look again", click: () => this.#again() }),
      );
      this.work = element("div", { class: "discussion", hidden: true }, this.stage.element, this.panel.element);
      root.append(this.work, this.rest);
      await this.#more();
      this.#show();
    }

    stop() {
      this.stage.stop();
      this.root = null;
    }

    /** Ask the server for more questions. */
    #more() {
      this.asked ??= this.app.server
        .get(`/api/discussion?after=${this.after}`)
        .then(({ tasks, left }) => {
          this.left = left;
          for (const task of tasks) {
            this.after = Math.max(this.after, task.task);
            for (const question of task.questions) {
              if (this.known.has(question.question) || !differs(question)) continue;
              this.known.add(question.question);
              this.open.push({ task, question });
            }
          }
          this.ended = !tasks.length;
        })
        .finally(() => (this.asked = null));
      return this.asked;
    }

    /** Ask from the start: others may have voted or decided meanwhile. */
    async #again() {
      Object.assign(this, { open: [], at: 0, after: -1, ended: false });
      this.known.clear();
      await this.#more();
      this.#show();
    }

    #show() {
      if (!this.root) return;
      this.at = Math.min(this.at, Math.max(0, this.open.length - 1));
      const current = this.open[this.at];
      this.rest.hidden = Boolean(current);
      this.work.hidden = !current;
      this.current = current;
      if (!current) return this.rest.querySelector("button").focus();
      const { task, question } = current;
      const { picture } = task;
      const pictures = [[picture, picture.original ? "edit" : "", "the picture"]];
      if (picture.original) pictures.push([picture.original, "original", "the original"]);
      if (question.other) pictures.push([question.other, "the other picture", "the other picture"]);
      this.stage.show(pictures, { blurred: this.app.me.panel.kinds[task.kind].veiled || task.veiled, task });
      if (question.box) this.stage.panes[0].boxes.replaceChildren(layer.rectangle(question.box));
      this.panel.show(current, { at: this.at + 1, of: this.open.length, left: Math.max(this.left, this.open.length) });
      if (this.open.length - this.at <= FEW && !this.ended) this.#more().catch(() => {}); // asked again later
    }

    /** The next question, or the one before; the decided ones are gone. */
    step(by) {
      if (!this.open.length) return;
      this.at = (this.at + by + this.open.length) % this.open.length;
      this.#show();
    }

    /** Decide for all. */
    decide(fields) {
      const { current } = this;
      if (!current || !fields.answer) return;
      const { task, question } = current;
      const vote = this.app.vote(task, question, { ...fields, round: TOGETHER });
      this.open.splice(this.at, 1);
      this.left = Math.max(0, this.left - 1);
      this.app.cast([vote], { task, undo: () => this.root && this.#back(current) });
      const words = this.app.me.panel.kinds[task.kind];
      this.app.say(`Decided: ${words[fields.answer]}. ${figure(this.open.length)} left.`);
      this.#next();
    }

    async #next() {
      if (!this.open.length && !this.ended) await this.#more();
      this.#show();
    }

    /** Show a question again whose decision was taken back. */
    #back(one) {
      this.open.splice(this.at, 0, one);
      this.left++;
      this.#show();
    }

    key(event) {
      if (!this.current) return false;
      const button = event.target.closest?.("button, summary, a, label");
      if (button && ["Enter", " "].includes(event.key)) return false;
      if (event.repeat && "ynu".includes(event.key)) return true;
      if (this.panel.key(event)) return true;
      if (this.stage.key(event)) return true;
      const work = { s: 1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (work) this.step(work);
      return Boolean(work);
    }
  }

  const mode = new Discussion();
  addMode({
    name: "discussion",
    title: "Discussion",
    place: 4,
    keys: KEYS,
    start: (root, app) => mode.start(root, app),
    stop: () => mode.stop(),
    key: (event) => mode.key(event),
  });
  Object.assign(Variorum, { discussion: mode });
}
