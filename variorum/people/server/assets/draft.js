/* Answers of a person to one task, before they are cast.
 *
 * They are remembered at every change, so that a reload or a crash shows the picture with the answers that it had. */
{
  const { newId } = Variorum;
  const FIELDS = ["answer", "category", "severity", "reason", "comment", "box", "seconds"];
  const OLD = 14 * 24 * 3600 * 1000; // milliseconds after which a draft is dropped
  const LONGEST = 600; // seconds: a longer pause isn't time spent on a question

  /** Seconds that a person has looked, without the time in which the page was hidden. */
  class Watch {
    constructor() {
      this.start();
      document.addEventListener("visibilitychange", () => {
        if (document.hidden) this.hidden = performance.now();
        else if (this.hidden) ((this.since += performance.now() - this.hidden), (this.hidden = 0));
      });
    }

    start() {
      this.since = performance.now();
      this.hidden = document.hidden ? this.since : 0;
    }

    /** Seconds since the last lap. */
    lap() {
      const seconds = Math.min(LONGEST, (performance.now() - this.since) / 1000);
      this.start();
      return Math.round(seconds * 100) / 100;
    }
  }

  /** The answers to a task. `lines` are its questions and the labels that were added, each with its answer. */
  class Draft {
    constructor(task, shelf, owner) {
      Object.assign(this, { task, shelf, key: Draft.#key(task, owner) });
      this.lines = task.questions.map(({ box, ...question }) => ({ ...question, asked: box ?? null, answer: "" }));
      this.trail = []; // lines as they were before each change, last is newest
      const before = shelf.get(this.key);
      for (const kept of before?.lines ?? []) {
        const line = this.line(kept.subject);
        if (line) Object.assign(line, kept.fields);
        else if (kept.added) this.lines.push({ ...kept.added, ...kept.fields });
      }
    }

    static #key({ task, picture }, owner) {
      return `variorum:${owner}:draft:${task}:${picture.sha256.slice(0, 16)}`;
    }

    /** Whether a task has answers that haven't been cast. */
    static begun(task, shelf, owner) {
      return Boolean(shelf.get(Draft.#key(task, owner)));
    }

    line(subject) {
      return this.lines.find((line) => line.subject === subject) ?? null;
    }

    get complete() {
      return this.lines.every((line) => line.answer);
    }

    /** Position of the next question without an answer, from a position on and then from the start; -1 for none. */
    open(from = 0) {
      const after = this.lines.findIndex((line, at) => at >= from && !line.answer);
      return after >= 0 ? after : this.lines.findIndex((line) => !line.answer);
    }

    /** Change fields of a line: answer, category, severity, reason, comment, box, seconds. */
    set(line, fields) {
      this.trail.push([line.subject, { ...line }]);
      Object.assign(line, fields);
      if (line.answer !== "no") Object.assign(line, { category: "", severity: "", reason: "", box: null });
      this.#remember();
    }

    /** Add a label that was typed in. It counts as right until the person says otherwise. */
    add(id, name, seconds) {
      const line = { subject: id, name, added: true, answer: "yes", seconds };
      this.trail.push([id, null]);
      this.lines.push(line);
      this.#remember();
      return line;
    }

    /** Drop a label that was typed in. */
    drop(line) {
      this.lines = this.lines.filter((one) => one !== line || !one.added);
      this.trail = this.trail.filter(([subject]) => subject !== line.subject);
      this.#remember();
    }

    /** Take back the last change. Returns the line that it was about, null for a label that is gone again; undefined
     * if nothing has changed. */
    back() {
      const last = this.trail.pop();
      if (!last) return undefined;
      const [subject, before] = last;
      if (!before) this.lines = this.lines.filter((line) => line.subject !== subject);
      else {
        const line = this.line(subject);
        for (const name of FIELDS) line[name] = before[name];
      }
      this.#remember();
      return before ? this.line(subject) : null;
    }

    /** Votes of all answers, in the form of /api/votes. */
    votes(make) {
      return this.lines.filter((line) => line.answer).map((line) => make(line));
    }

    /** The answers were cast, or the task was skipped. */
    forget() {
      this.shelf.remove(this.key);
    }

    /** Show the answers again after they were taken back. */
    restore() {
      this.#remember();
    }

    #remember() {
      const lines = this.lines.map((line) => {
        const { subject, name, added } = line;
        const fields = Object.fromEntries(FIELDS.map((field) => [field, line[field]]));
        return { subject, fields, added: added ? { subject, name, added } : null };
      });
      this.shelf.set(this.key, { at: Date.now(), lines });
    }

    /** Drop drafts that nobody took up for two weeks. */
    static tidy(shelf, owner) {
      for (const key of shelf.keys(`variorum:${owner}:draft:`)) {
        if (!(Date.now() - (shelf.get(key)?.at ?? 0) < OLD)) shelf.remove(key);
      }
    }
  }

  /** A vote in the form of /api/votes. */
  function makeVote(task, question, fields) {
    const vote = {
      vote: newId(),
      task: task.task,
      question: question.question,
      kind: question.kind ?? task.kind,
      id: task.picture.id,
      sha256: task.picture.sha256,
      subject: question.subject,
    };
    for (const [name, value] of Object.entries(fields)) {
      if (value !== undefined && value !== null && value !== "") vote[name] = value;
    }
    return vote;
  }

  Object.assign(Variorum, { Draft, Watch, makeVote });
}
