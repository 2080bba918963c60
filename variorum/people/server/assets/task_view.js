/* One picture and its questions: what the modes "pictures" and "one by one" have in common.
 *
 * It holds the draft, listens to its buttons and keys, casts the votes and goes on. How the questions look is told by
 * the mode, in `panel`. */
{
  const { element, seen, Stage, BoxEditor, Draft, Watch, Dialogs, taskBar, nothingLeft, choices, question } = Variorum;
  const SETTLE = 250; // milliseconds after a new picture in which a press is the end of a double click
  const MOMENT = 400; // milliseconds between the last answer and the next picture, in which an answer can be changed
  const WAITS = "variorum:waits"; // in the browser's storage: whether a picture stays until Enter

  /** `one`: questions are asked one by one, and the task is done with the last answer. */
  class TaskView {
    constructor(root, app, { mode, one, panel }) {
      Object.assign(this, { root, app, mode, one, panel, line: null, task: null, draft: null });
      this.watch = new Watch();
      this.waits = app.shelf.get(WAITS) ?? false;
      this.stage = new Stage({ say: app.say });
      this.stage.layers.onOriginal = () => this.#pictures();
      this.box = new BoxEditor(this.stage, (box) => this.boxed(box));
      this.side = element("section", { class: "side-panel", "aria-label": "Questions" }, panel.element, taskBar(this));
      this.work = element("div", { class: `work ${one ? "single" : "many"}` }, this.stage.element, this.side);
      this.none = element("div", { class: "empty", hidden: true });
      root.append(this.work, this.none);
      root.addEventListener("pointerdown", ({ target }) => target.closest(".answer") || this.hold(), true);
      this.dialogs = new Dialogs(root, {
        me: app.me,
        classes: app.classes,
        on: {
          problem: (id, text) => this.problem(id, text),
          commented: (text) => this.comment(text),
          added: (id, name) => this.add(id, name),
        },
      });
    }

    /** Whether a press counts: not the second half of a double click that has already shown another picture. */
    pressed(event) {
      const second = event?.detail > 1 || (event?.detail > 0 && event.pointerType === "touch"); // taps may not be counted
      return !second || performance.now() - this.since > SETTLE;
    }

    async start() {
      this.queue = this.app.queue({ mode: this.mode === "one" ? "one" : "picture", kind: this.app.kind });
      await this.#go(this.queue.start());
    }

    stop() {
      this.hold();
      this.queue.stop();
      this.stage.stop();
    }

    async #go(coming) {
      this.moving = true;
      const late = setTimeout(() => this.root.classList.add("waiting"), 150);
      try {
        const task = await coming;
        if (!this.queue.stopped) this.show(task);
      } catch (error) {
        this.app.notice(error.message);
        this.show(null);
      } finally {
        clearTimeout(late);
        this.root.classList.remove("waiting");
        this.moving = false;
      }
    }

    /** Show a task; null: there is none. */
    show(task, { restored = false, line = null } = {}) {
      Object.assign(this, { task, line: null, detailed: false });
      this.work.hidden = !task;
      this.none.hidden = Boolean(task);
      if (!task) return nothingLeft(this, () => this.#go(this.queue.next()));
      this.app.classes.prepare(task);
      if (this.queue.ahead[0]) this.app.classes.prepare(this.queue.ahead[0]);
      if (!restored) this.draft = new Draft(task, this.app.shelf, this.app.owner);
      this.asked = this.app.me.panel.kinds[task.kind];
      this.since = performance.now();
      this.watch.start();
      const { lines } = this.draft;
      this.line = line ?? lines[Math.max(0, this.draft.open())];
      this.adding.hidden = task.kind !== "label";
      this.blurred = this.asked.veiled || task.veiled;
      this.box.clear();
      this.#pictures();
      this.panel.show(task, this.draft);
      this.update();
      this.focus();
    }

    #pictures() {
      const { picture, questions } = this.task;
      const revealed = this.stage.task === this.task && !this.stage.hidden;
      const shown = [[picture, "", "Picture to judge"]];
      const other = this.line?.other ?? questions[0]?.other;
      if (other) shown.push([other, "", "Other picture"]);
      else if (picture.original && this.stage.layers.on.original) {
        shown[0][1] = "edit";
        shown.push([picture.original, "original", "Original of the edit"]);
      }
      this.stage.task = this.task;
      this.stage.show(shown, { blurred: this.blurred && !revealed, task: this.task });
    }

    update() {
      if (!this.task) return;
      this.panel.update(this.line, this.detailed);
      this.going.disabled = !this.draft.complete;
      this.work.classList.toggle("complete", this.draft.complete);
      if (this.line?.asked) this.box.show(this.draft.lines, this.line);
    }

    focus() {
      if (!document.querySelector("dialog[open]")) this.panel.focus(this.line);
    }

    /** Make a line the current one. */
    choose(line) {
      if (!line || line === this.line) return;
      const { other } = this.line ?? {};
      this.line = line;
      this.detailed = false;
      if (line.other && line.other !== other) this.#pictures();
      this.update();
    }

    /** Go to the line at a distance. */
    step(by) {
      const { lines } = this.draft;
      const at = Math.max(0, Math.min(lines.length - 1, lines.indexOf(this.line) + by));
      this.choose(lines[at]);
      this.focus();
    }

    /** Answer a line. It stays the current one if `stay`, else the next open one follows. */
    answer(line, value, { stay = false, seconds = this.watch.lap() } = {}) {
      if (!this.task || this.moving) return;
      if (this.leaving && line === this.line && line.answer === value) return; // the same again keeps nobody here
      this.hold();
      this.choose(line);
      this.detailed = false;
      if (line.box && value === "yes")
        return this.app.say("You have changed the box. Send it with n, or put it back with Backspace.");
      this.draft.set(line, { answer: value, seconds: Math.min(600, (line.seconds ?? 0) + seconds) });
      this.app.say(`${this.#name(line)}: ${this.asked[value]}.`);
      if (stay) return this.update();
      const next = this.draft.open(this.draft.lines.indexOf(line) + 1);
      if (next >= 0) {
        this.choose(this.draft.lines[next]);
        this.update();
        this.focus();
      } else if (this.one) this.finish();
      else {
        this.update();
        const end = this.waits ? "All answered: Enter goes on." : "All answered, going on.";
        this.app.say(`${this.#name(line)}: ${this.asked[value]}. ${end}`);
        if (!this.waits) this.#leave();
      }
    }

    /** All is answered: go on in a moment, unless something is done before. */
    #leave() {
      this.hold();
      this.work.classList.add("leaving");
      this.leaving = setTimeout(() => this.finish({ again: true }), MOMENT);
    }

    /** Stay with the picture until Enter. */
    hold() {
      clearTimeout(this.leaving);
      this.leaving = 0;
      this.work.classList.remove("leaving");
    }

    /** Whether pictures stay until Enter; the browser remembers it. */
    wait(yes) {
      this.hold();
      this.waits = yes;
      this.app.shelf.set(WAITS, yes);
      this.app.say(yes ? "Pictures stay until Enter." : "The next picture comes with the last answer.");
      this.focus();
    }

    #name(line) {
      return seen(line.name || question(this.asked, line), 100);
    }

    /** Say more about a no: how wrong, in which way, or why. The same again takes it back. */
    detail(line, { field, id, text }) {
      const off = line[field] === id;
      this.draft.set(line, { [field]: off ? "" : id });
      this.app.say(off ? `${text} taken back.` : `${text}.`);
      this.update();
    }

    /** Wrong, and the digits say how. */
    explain() {
      if (!choices(this.app.me, this.task.kind).length) return this.app.say("This question has no details for a no.");
      this.answer(this.line, "no", { stay: true });
      this.detailed = true;
      this.update();
      this.app.say("Wrong. Digits say how; Enter goes on.");
    }

    /** The box of the current line was changed; as it was, it has no answer. */
    boxed(box) {
      const same = box.every((value, at) => value === this.line.asked[at]);
      this.draft.set(this.line, { answer: same ? "" : "no", box: same ? null : box });
      this.update();
      this.app.say(`Box ${box.map((value) => Math.round(value)).join(", ")}.`);
    }

    /** A no is explained: on to the next question, as after a plain n. */
    explained() {
      this.detailed = false;
      const next = this.draft.open(this.draft.lines.indexOf(this.line) + 1);
      if (next < 0) return this.finish();
      this.choose(this.draft.lines[next]);
      this.focus();
    }

    askComment() {
      if (this.line) this.dialogs.askComment(`About: ${this.#name(this.line)}`, this.line.comment ?? "");
    }

    comment(text) {
      this.draft.set(this.line, { comment: text });
      this.update();
      this.focus();
      this.app.say(text ? "Comment kept." : "Comment removed.");
    }

    askLabel() {
      if (this.task?.kind === "label") this.dialogs.askLabel(new Set(this.draft.lines.map(({ subject }) => subject)));
    }

    /** Add a label that the person has found; it counts as right. */
    add(id, name) {
      const line = this.draft.add(id, name, this.watch.lap());
      this.panel.show(this.task, this.draft);
      if (!this.one) this.line = line;
      this.update();
      this.focus();
      this.app.say(`${name} added as right.`);
    }

    /** The picture can't be judged: this is kept with the answers so far, and the next one comes. */
    problem(reason, text) {
      const { task, app } = this;
      const whole = { kind: "problem", subject: "" };
      const vote = app.vote(task, whole, { answer: "yes", reason, seconds: this.watch.lap() });
      this.#cast([...this.#votes(), vote]);
      app.say(`Problem: ${text}. Next picture.`);
    }

    #votes() {
      return this.draft.votes((line) => {
        const { answer, category, severity, reason, comment, box, seconds } = line;
        return this.app.vote(this.task, line, { answer, category, severity, reason, comment, box, seconds });
      });
    }

    /** Cast the answers and go on, if all questions have one. `again`: undo asks the last question again. */
    finish({ again = this.one } = {}) {
      this.hold();
      if (!this.task || this.moving) return;
      if (!this.draft.complete) {
        this.choose(this.draft.lines[this.draft.open()]);
        this.focus();
        return this.app.say("Not all questions are answered yet.");
      }
      this.#cast(this.#votes(), again);
    }

    #cast(votes, again = this.one) {
      const { task, draft, app } = this;
      app.cast(votes, { task, undo: () => this.#again(task, draft, again) });
      draft.forget();
      this.#go(this.queue.next());
    }

    #again(task, draft, again) {
      this.hold();
      this.queue.back(task);
      this.draft = draft;
      draft.restore();
      const line = again ? draft.back() : null; // the last question is asked again
      this.show(task, { restored: true, line });
    }

    skip() {
      if (!this.task || this.moving) return;
      this.app.skip(this.task); // its draft is kept for when it comes again
      this.app.say("Skipped. The picture comes back later.");
      this.#go(this.queue.next());
    }

    /** Take back the last change of this picture, or the answers to the last one. */
    undo() {
      const line = this.task ? this.draft.back() : undefined;
      if (line === undefined) return this.app.takeBack();
      if (line === null || line.added) this.panel.show(this.task, this.draft);
      this.line = null;
      this.choose(line ?? this.draft.lines[Math.max(0, this.draft.open())]);
      this.focus();
      this.app.say("Taken back.");
      return true;
    }
  }

  Object.assign(Variorum, { TaskView });
}
