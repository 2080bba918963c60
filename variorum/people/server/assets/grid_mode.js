/* The grid: up to 60 pictures with the same question, of which only the exceptions are marked.
 *
 * A batch becomes votes when it is confirmed, all at once, and can be taken back as a whole. The next batch is fetched
 * and decoded while the person looks at this one. A batch that doesn't fit into view can't be confirmed before its end
 * has been in view, nor before its pictures are there: nobody says yes to what they haven't seen. */
{
  const { addMode, Batch, Tiles, Lens, GridChoice, GridPage } = Variorum;
  const NUMBER = 60;
  const PAUSE_MS = 400; // after a batch appears: a second press of a key isn't meant for it
  const PATIENCE_MS = 2000; // for votes that are on their way
  const HOLD_MS = 300; // a space that is held longer shows the lens instead of marking
  const KEYS = [
    ["← → ↑ ↓", "from picture to picture"],
    ["Space", "mark as an exception, or take that back"],
    ["u", "mark as unclear"],
    ["r", "take the mark away"],
    ["Shift + arrows, Shift + click", "select a range, which Space, u and r then mark"],
    ["a", "mark all, or none"],
    ["hold Space, or l", "the picture large; arrows go on"],
    ["v", "show or blur pictures"],
    ["Enter", "confirm, and go on with the next pictures"],
    ["z", "take back the last batch"],
    ["Esc", "back to the choice of classes"],
  ];

  class GridMode {
    async start(root, app) {
      Object.assign(this, { root, app, current: null, coming: [], asked: null, queue: null });
      const all = Object.entries(app.me.panel.kinds);
      const kinds = Object.fromEntries(all.filter(([name, { grid }]) => grid && (app.kind ?? name) === name));
      this.choice = new GridChoice({ server: app.server, kinds, open: (...chosen) => this.open(...chosen) });
      this.tiles = new Tiles({ changed: () => this.#changed(), lens: () => this.#lens(true) });
      this.lens = new Lens({ closed: () => this.#lens(false) });
      this.page = new GridPage({
        tiles: this.tiles,
        lens: this.lens,
        choose: () => this.choose(),
        confirm: () => this.confirm(),
        undo: () => app.takeBack(),
        blur: () => this.#blur(!this.blurred),
      });
      this.released = (event) => this.#release(event);
      document.addEventListener("keyup", this.released);
      root.append(this.choice.element, this.page.element);
      await this.choose();
    }

    stop() {
      document.removeEventListener("keyup", this.released);
      clearTimeout(this.holding);
      this.queue?.stop();
      this.root = this.current = this.queue = null;
    }

    /** Show what the grid can be filled with. */
    async choose() {
      if (this.lens.open) this.lens.close();
      this.current = this.queue = null;
      this.page.element.hidden = true;
      this.choice.clear();
      this.choice.element.hidden = false;
      await Promise.race([this.sent, new Promise((done) => setTimeout(done, PATIENCE_MS))]); // counts are up to date then
      await this.choice.show();
      if (this.root && matchMedia("(pointer: fine)").matches) this.choice.focus();
    }

    /** Fill the grid with the open questions of a kind, and of a class if the kind has one. */
    async open(kind, subject, name) {
      Object.assign(this, { kind, subject, coming: [], asked: null, current: null, asking: performance.now() });
      this.queue = this.app.queue({ mode: "grid", number: NUMBER, kind, subject: subject ?? undefined });
      this.words = this.app.me.panel.kinds[kind];
      this.choice.element.hidden = true;
      this.page.open(kind, this.words, name);
      this.veiled = this.words.veiled;
      this.#blur(this.veiled);
      this.#changed();
      if (kind === "label") this.#tell(subject);
      await this.#advance();
    }

    async #tell(subject) {
      const { classes } = this.app;
      const { definition, examples } = await classes.about(subject);
      if (!this.root || this.subject !== subject) return;
      this.page.tell(
        definition,
        examples.map((one) => classes.example(one)),
      );
    }

    /** Fetch the batch that comes next, unless it is there. One request at a time, however often it is asked for. */
    #fetch() {
      const { queue } = this;
      if (this.coming.length) return Promise.resolve();
      this.asked ??= queue
        .more()
        .then((tasks) => {
          if (queue !== this.queue || !tasks.length) return;
          const batch = new Batch(tasks, (answer) => this.words[answer], this.blurred);
          batch.decoded();
          this.coming.push(batch);
          this.#hold();
        })
        .finally(() => queue === this.queue && (this.asked = null));
      return this.asked;
    }

    /** Tell the queue what this tab holds, so that nobody is sent it again. */
    #hold() {
      if (!this.queue) return;
      this.queue.ahead = [this.current, ...this.coming].filter(Boolean).flatMap(({ tasks }) => tasks);
      this.queue.held.mine(this.queue.holding);
    }

    /** Show the next batch, and fetch the one after it. */
    async #advance() {
      const { queue } = this;
      try {
        await this.#fetch();
        if (!queue || queue !== this.queue) return; // meanwhile another class was chosen
        this.#show(this.coming.shift() ?? null);
        if (this.current) await this.#fetch();
      } catch (error) {
        this.app.notice(error.message);
        if (queue === this.queue && !this.ready) this.choose(); // there is nothing to go on with
      }
    }

    #show(batch) {
      if (this.lens.open) this.lens.close();
      this.current = batch;
      this.ready = false;
      this.#hold();
      this.choice.ended(this.kind, this.subject, !batch);
      if (!batch) this.page.finish();
      else {
        this.shown = performance.now();
        batch.veil(this.blurred);
        this.tiles.show(batch);
        this.#wait(batch);
      }
      this.#changed();
    }

    /** A batch may be confirmed once its pictures are there. */
    #wait(batch) {
      const decoded = batch.decoded();
      const there = () => batch === this.current && decoded === batch.decoded(); // no others are coming
      decoded.then(() => {
        if (!there()) return;
        performance.measure("grid", { start: this.asking ?? this.shown, end: performance.now() });
        setTimeout(() => there() && ((this.ready = true), this.#changed()), PAUSE_MS);
      });
    }

    #changed() {
      this.page.update(this.current, this.ready);
      if (this.current && this.lens.open) this.#lens(true);
    }

    /** Blur the pictures, or load and show them. */
    #blur(on) {
      this.blurred = on;
      this.page.blurred(on, this.veiled);
      const batch = this.current;
      if (!batch?.veil(on)) return;
      this.ready = false;
      this.#wait(batch);
      this.#changed();
    }

    #lens(open) {
      if (!open) {
        this.lens.close();
        return this.current && this.tiles.focus();
      }
      const { active, batch } = this.tiles;
      const title = `${active + 1} of ${batch.cells.length}: ${this.words[batch.marks[active]]}`;
      this.lens.show(batch.cells[active], title, this.blurred);
    }

    /** Send a vote for every picture of the batch, and go on. */
    confirm() {
      const batch = this.current;
      if (!batch) return;
      if (this.tiles.unseen) return this.tiles.further();
      if (!this.ready) return;
      this.asking = performance.now();
      this.ready = false; // a second press sends nothing
      const seconds = Number(((this.asking - this.shown) / 1000 / batch.cells.length).toFixed(3));
      const votes = batch.cells.map(({ task, question }, at) =>
        this.app.vote(task, question, { answer: batch.marks[at], seconds }),
      );
      const { queue } = this;
      this.sent = this.app.cast(votes, { undo: () => queue && queue === this.queue && this.#again(batch) });
      this.app.say(`Sent ${this.page.told(batch)}`);
      this.#advance();
    }

    /** Show a batch again that was taken back; what was shown instead comes after it. */
    #again(batch) {
      if (this.current) this.coming.unshift(this.current);
      this.asking = undefined;
      this.page.reopen();
      this.#show(batch);
    }

    key(event) {
      if (this.page.element.hidden) return false;
      if (!this.current) return event.key === "Escape" && (this.choose(), true);
      const button = event.target.closest?.("button, summary, a");
      if (button && ["Enter", " "].includes(event.key)) return false; // it is the button's
      if (event.key === " ") return (event.repeat || this.#press(), true);
      if (this.tiles.arrow(event)) return true;
      const work = {
        Enter: () => event.repeat || this.confirm(),
        x: () => this.tiles.mark("no"),
        u: () => this.tiles.mark("unclear"),
        r: () => this.tiles.mark("yes"),
        a: () => this.tiles.all(this.tiles.click),
        l: () => this.#lens(!this.lens.open),
        v: () => this.veiled && this.#blur(!this.blurred),
        Escape: () => this.#back(),
      }[event.key];
      if (!work) return false;
      work();
      return true;
    }

    #back() {
      if (this.lens.open) this.#lens(false);
      else if (this.tiles.range) this.tiles.select(null);
      else this.choose();
    }

    /** Space marks when it is released soon, and shows the lens while it is held. */
    #press() {
      clearTimeout(this.holding);
      this.held = "short";
      this.holding = setTimeout(() => {
        if (!this.held || !this.current) return;
        this.held = "long";
        this.#lens(true);
      }, HOLD_MS);
    }

    #release({ key }) {
      if (key !== " " || !this.held) return;
      clearTimeout(this.holding);
      const { held } = this;
      this.held = "";
      if (!this.current) return;
      if (held === "long") this.#lens(false);
      else this.tiles.mark("no");
    }
  }

  const mode = new GridMode();
  addMode({
    name: "grid",
    title: "Grid",
    place: 3,
    keys: KEYS,
    offered: (me) => Object.values(me.panel.kinds).some(({ grid }) => grid),
    start: (root, app) => mode.start(root, app),
    stop: () => mode.stop(),
    key: (event) => mode.key(event),
  });
  Object.assign(Variorum, { gridMode: mode });
}
