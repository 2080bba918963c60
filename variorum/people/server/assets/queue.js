/* The next tasks: they are asked for early, and their pictures are loaded before they are needed.
 *
 * What a tab holds is remembered in the browser's storage: a reload shows the same picture again, and another tab of
 * the same person gets other tasks. */
{
  const { newId } = Variorum;
  const AHEAD = 3; // tasks that wait behind the current one
  const MOST = 200; // tasks that a request names
  const LATELY = 1000; // answered questions that are remembered
  const SHORT = 16; // digits of a question's key
  const STALE = 10 * 60 * 1000; // milliseconds until another tab's tasks count as given up
  const UNLOAD = 300; // milliseconds that a page may take to go away when it is loaded again

  /** Whether this page gets a lock that one page has at a time, for as long as it is open. */
  function locked(name) {
    if (!navigator.locks) return Promise.resolve(true); // pages without TLS have none
    return new Promise((done) => {
      const keep = () => (done(true), new Promise(() => {}));
      navigator.locks.request(name, { signal: AbortSignal.timeout(UNLOAD) }, keep).catch(() => done(false));
    });
  }

  /** The id of this tab. A tab that the browser has duplicated gets one of its own and forgets what the other holds. */
  async function tabOf(session) {
    const known = session.get("variorum:tab");
    if (known && (await locked(`variorum:tab:${known}`))) return known;
    const made = newId();
    session.set("variorum:tab", made);
    for (const key of session.keys("variorum:")) if (known && /:queue:|:casts$/.test(key)) session.remove(key);
    await locked(`variorum:tab:${made}`);
    return made;
  }

  /** Which tasks the tabs of a person hold. */
  class Held {
    constructor(shelf, tab, owner) {
      Object.assign(this, { shelf, tab, start: `variorum:${owner}:held:` });
    }

    /** Tasks of the other tabs. */
    others() {
      const found = [];
      for (const key of this.shelf.keys(this.start)) {
        if (key === this.start + this.tab) continue;
        const held = this.shelf.get(key);
        if (held && Math.abs(Date.now() - held.at) < STALE) found.push(...held.tasks);
        else this.shelf.remove(key);
      }
      return found;
    }

    /** Tell the other tabs. */
    mine(tasks) {
      if (tasks.length) this.shelf.set(this.start + this.tab, { at: Date.now(), tasks });
      else this.shelf.remove(this.start + this.tab);
    }
  }

  /** Questions that were answered lately in any tab. A mode that is opened again doesn't ask them once more, although
   * it remembers their tasks. */
  class Answered {
    constructor(shelf, owner) {
      Object.assign(this, { shelf, key: `variorum:${owner}:answered` });
    }

    has(question) {
      return (this.shelf.get(this.key) ?? []).includes(question.slice(0, SHORT));
    }

    /** `yes`: they are answered; else their answers were taken back. */
    mark(questions, yes) {
      const short = new Set(questions.map((question) => question.slice(0, SHORT)));
      const others = (this.shelf.get(this.key) ?? []).filter((question) => !short.has(question));
      this.shelf.set(this.key, yes ? [...others, ...short].slice(-LATELY) : others);
    }

    /** A task without its answered questions; null if none is left. */
    rest(task) {
      const questions = task.questions.filter(({ question }) => !this.has(question));
      return questions.length ? { ...task, questions } : null;
    }
  }

  /** Pictures that are loaded before they are shown. They are kept alive, so that the browser keeps them decoded. */
  class Preload {
    constructor(most = 24) {
      Object.assign(this, { most, images: new Map() });
    }

    /** Load a picture; the promise is kept when it is there, or can't be had. */
    load(url) {
      if (!url) return Promise.resolve();
      let image = this.images.get(url);
      if (!image) {
        image = new Image();
        image.src = url;
        image.done = image.decode().catch(() => this.images.delete(url)); // asked again next time
      }
      this.images.delete(url);
      this.images.set(url, image); // last is newest
      if (this.images.size > this.most) this.images.delete(this.images.keys().next().value);
      return image.done;
    }

    /** Load what a task shows: its picture first, then what stands beside it; blurred, if they are `veiled`. */
    task(task, veiled) {
      const { picture, questions } = task;
      const url = (one) => one && (veiled ? one.blurred : one.url);
      const loaded = this.load(url(picture));
      this.load(url(picture.original));
      for (const { other } of questions) this.load(url(other));
      return loaded;
    }
  }

  /** Tasks of one mode, in the order of asking. */
  class Queue {
    /** `begun(task)`: whether it has answers that haven't been cast. `veiled(task)`: whether its pictures are. */
    constructor({ server, session, held, answered, preload, outbox, owner, onProgress, begun, veiled, ...asked }) {
      const { mode, number, kind, subject } = asked;
      const shared = { server, session, held, answered, preload, outbox, onProgress, begun, veiled };
      Object.assign(this, { ...shared, mode, kind, subject });
      this.number = number ?? AHEAD + 1;
      this.key = `variorum:${owner}:queue:${mode}:${kind ?? ""}:${subject ?? ""}`;
      this.current = null;
      this.ahead = [];
      this.asking = null;
      this.ended = false; // the server had nothing more when it was last asked
    }

    /** Take up what the tab held before, or ask for tasks. Returns the current task, or null if there is none. */
    async start() {
      this.resume = true; // what a closed tab has left comes first
      const before = (this.session.get(this.key) ?? []).map((task) => this.answered.rest(task)).filter(Boolean);
      const done = new Set(this.outbox.tasks);
      const elsewhere = new Set(this.held.others());
      [this.current = null, ...this.ahead] = before.filter(({ task }) => !done.has(task) && !elsewhere.has(task));
      this.#remember();
      if (this.current) return (this.#load(), this.#refill(), this.current);
      return this.next();
    }

    /** The next task, or null if there is none now. */
    async next() {
      this.current = this.ahead.shift() ?? null;
      if (!this.current) {
        await this.#refill();
        this.current = this.ahead.shift() ?? null;
      }
      this.#remember();
      this.#refill();
      return this.current;
    }

    /** Show a task again before the current one, which stays next. */
    back(task) {
      if (this.current && this.current.task !== task.task) this.ahead.unshift(this.current);
      this.ahead = this.ahead.filter((one) => one.task !== task.task);
      this.current = task;
      this.#remember();
    }

    /** Tasks from the server that this tab doesn't hold yet. They belong to the caller. */
    async more(number = this.number) {
      const holding = [...new Set([...this.holding, ...this.held.others(), ...this.outbox.tasks])];
      const { mode, kind, subject, resume = false } = this;
      const few = holding.slice(0, MOST); // the server reads no more
      const told = await this.server.post("/api/next", { mode, number, holding: few, kind, subject, resume });
      this.resume = false;
      if (told.progress) this.onProgress(told.progress);
      const fresh = told.tasks.filter(({ task }) => !holding.includes(task));
      return resume ? [...fresh.filter(this.begun), ...fresh.filter((task) => !this.begun(task))] : fresh;
    }

    /** Numbers of the tasks that this queue holds. */
    get holding() {
      return [this.current, ...this.ahead].filter(Boolean).map(({ task }) => task);
    }

    /** Give all up. */
    stop() {
      this.stopped = true;
      this.held.mine([]);
    }

    #refill() {
      if (this.ahead.length >= AHEAD) return Promise.resolve();
      this.asking ??= this.more()
        .then((tasks) => {
          if (this.stopped) return;
          const have = new Set(this.holding);
          this.ahead.push(...tasks.filter(({ task }) => !have.has(task)));
          this.ended = !tasks.length;
          this.#remember();
          this.#load();
        })
        .finally(() => (this.asking = null));
      return this.asking;
    }

    #load() {
      for (const task of [this.current, ...this.ahead]) if (task) this.preload.task(task, this.veiled(task));
    }

    #remember() {
      this.session.set(this.key, [this.current, ...this.ahead].filter(Boolean));
      this.held.mine(this.holding);
    }
  }

  Object.assign(Variorum, { Held, Answered, Preload, Queue, tabOf });
}
