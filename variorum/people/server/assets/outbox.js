/* What the server doesn't have yet: votes, votes taken back, and skipped tasks.
 *
 * Each lies in the browser's storage under a key of its own until the server has confirmed it. A reload, a crash or a
 * lost connection loses none, and two tabs can't overwrite each other's. Each has an id, so that the server keeps it
 * once however often it comes. They are sent in the order in which they were made. */
{
  const { newId, pause } = Variorum;
  const AT_ONCE = 100; // votes per request
  const WAITS = [0.4, 0.8, 1.6, 3, 6, 12];

  /** Storage that also works where the browser forbids it, as long as the page is open. */
  class Shelf {
    constructor(storage) {
      this.own = new Map();
      try {
        storage().setItem("variorum", "1");
        this.storage = storage();
      } catch {
        this.storage = null;
      }
    }

    set(key, value) {
      try {
        this.storage.setItem(key, JSON.stringify(value));
        this.own.delete(key);
      } catch {
        this.own.set(key, JSON.stringify(value)); // no storage, or it is full
      }
    }

    get(key) {
      const text = this.own.get(key) ?? this.storage?.getItem(key) ?? null;
      try {
        return text === null ? null : JSON.parse(text);
      } catch {
        return null;
      }
    }

    remove(key) {
      this.own.delete(key);
      this.storage?.removeItem(key);
    }

    keys(start) {
      const all = [...this.own.keys()];
      for (let at = 0; at < (this.storage?.length ?? 0); at++) all.push(this.storage.key(at));
      return all.filter((key) => key.startsWith(start)).sort();
    }
  }

  /** `owner` is panel and reviewer; `on` has changed(number), kept(answer) and refused(sentence, vote). */
  class Outbox {
    constructor(server, owner, shelf, on) {
      Object.assign(this, { server, shelf, on, start: `variorum:${owner}:out:` });
      this.last = Number(this.shelf.keys(this.start).at(-1)?.slice(this.start.length).split("-")[0] ?? 0);
      this.working = null;
      this.flying = new Set(); // keys on their way
      this.listen = (event) => event.key?.startsWith(this.start) && this.#changed();
      addEventListener("storage", this.listen);
    }

    /** Another person uses the page now: nothing is sent any more, and what waits stays where it is. */
    close() {
      this.closed = true;
      removeEventListener("storage", this.listen);
    }

    /** Things that the server hasn't confirmed. */
    get entries() {
      return this.shelf.keys(this.start).map((key) => ({ key, ...this.shelf.get(key) }));
    }

    get size() {
      return this.shelf.keys(this.start).length;
    }

    /** Tasks that they are about. */
    get tasks() {
      return [...new Set(this.entries.map((entry) => entry.body?.task).filter((task) => Number.isInteger(task)))];
    }

    /** Keep votes and send them. */
    votes(votes) {
      for (const vote of votes) this.#put("vote", vote);
      this.#changed();
      return this.send();
    }

    /** Take votes back. One that hasn't left yet is only dropped. */
    withdraw(votes) {
      const waiting = new Map(this.entries.map((entry) => [entry.body?.vote, entry.key]));
      for (const { vote, task } of votes) {
        const key = waiting.get(vote);
        if (key && !this.flying.has(key) && !this.tried?.has(key)) this.shelf.remove(key);
        else this.#put("withdraw", { vote, task, by: newId() });
      }
      this.#changed();
      return this.send();
    }

    /** Say that a task shall come later. */
    skip(task) {
      this.#put("skip", { task });
      this.#changed();
      return this.send();
    }

    #put(what, body) {
      this.last = Math.max(Date.now(), this.last + 1); // in order, also if the clock is set back
      this.shelf.set(`${this.start}${String(this.last).padStart(15, "0")}-${newId().slice(0, 8)}`, { what, body });
    }

    #changed() {
      if (!this.closed) this.on.changed(this.size);
    }

    /** Send all that waits. The promise is kept when nothing waits any more. */
    send() {
      this.working ??= this.#work().finally(() => (this.working = null));
      return this.working;
    }

    async #work() {
      this.tried ??= new Set(); // keys that may have arrived although nobody said so
      for (let failed = 0; ;) {
        const batch = this.#batch(failed > 0 && this.alone);
        if (!batch.length || this.closed) return;
        for (const { key } of batch) (this.flying.add(key), this.tried.add(key));
        try {
          await this.#deliver(batch);
          for (const { key } of batch) this.shelf.remove(key);
          failed = 0;
          this.alone = false;
        } catch (error) {
          if (error.passing !== false) await this.#wait(failed++);
          else if (error.status === 401) return this.on.refused(error.message, null);
          else if (batch.length > 1)
            ((this.alone = true), (failed = 1)); // find the one that is refused
          else {
            this.shelf.remove(batch[0].key);
            this.on.refused(error.message, batch[0].body);
          }
        } finally {
          for (const { key } of batch) this.flying.delete(key);
          this.#changed();
        }
      }
    }

    async #wait(failed) {
      this.#changed();
      await pause(WAITS[Math.min(failed, WAITS.length - 1)]);
    }

    /** The first entries that one request can bring: several votes, several withdrawals, or one skipped task. */
    #batch(alone) {
      const entries = this.entries.filter((entry) => entry.what && entry.body);
      const [first] = entries;
      if (!first || first.what === "skip" || alone) return entries.slice(0, 1);
      const other = entries.findIndex((entry) => entry.what !== first.what);
      return entries.slice(0, Math.min(AT_ONCE, other < 0 ? entries.length : other));
    }

    async #deliver(batch) {
      const { what } = batch[0];
      const bodies = batch.map(({ body }) => body);
      const options = { once: true, keepalive: true };
      if (what === "skip") return this.server.post("/api/skip", bodies[0], options);
      const told =
        what === "withdraw"
          ? await this.server.post("/api/withdraw", { votes: bodies.map(({ vote, by }) => ({ vote, by })) }, options)
          : await this.server.post("/api/votes", { votes: bodies }, options);
      for (const [at, { state, why }] of (told.results ?? []).entries())
        // in the order in which they were sent
        if (state === "refused") this.on.refused(why, bodies[at] ?? {});
      return this.on.kept(told);
    }
  }

  Object.assign(Variorum, { Shelf, Outbox });
}
