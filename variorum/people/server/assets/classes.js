/* The classes of the edition: their names, a search as people type, and what is known about each. */
{
  const KEPT = 400; // classes that are remembered with their examples
  const SHOWN = 50; // classes that a search returns at most

  /** Text for comparing: lower case, without accents and joining signs. */
  function plain(text) {
    return text
      .normalize("NFKD")
      .replace(/\p{M}/gu, "")
      .toLowerCase()
      .replace(/[_\-/,.]+/g, " ");
  }

  /** How well a name answers a search, less is better; -1 if it doesn't. Names that start with the words come first. */
  function rank(name, words) {
    let worst = 0;
    for (const [at, word] of words.entries()) {
      const found = name.indexOf(word);
      if (found < 0) return -1;
      const starts = found === 0 ? 0 : name[found - 1] === " " ? 1 : 2;
      if (at === 0 || starts === 2) worst = Math.max(worst, starts);
    }
    return worst;
  }

  class Classes {
    /** `veiled`: whether examples are blurred until somebody asks to see them. */
    constructor(server, preload, veiled) {
      Object.assign(this, { server, preload, veiled, known: new Map() });
    }

    /** The address of an example of a class. */
    example({ thumbnail, blurred }) {
      return this.veiled ? blurred : thumbnail;
    }

    /** All classes, [[id, name]…]. */
    list() {
      this.listed ??= this.server
        .get("/api/classes")
        .then(({ classes }) => {
          this.all = classes.map(([id, name]) => ({ id, name, plain: plain(`${name} ${name === id ? "" : id}`) }));
          return classes;
        })
        .catch((error) => {
          this.listed = null;
          throw error;
        });
      return this.listed;
    }

    /** Classes whose names have all words, best first, at most 50. Needs `list` before. */
    find(text, without = new Set()) {
      const words = plain(text).split(/\s+/).filter(Boolean);
      const ranks = [[], [], []];
      for (const one of this.all ?? []) {
        if (without.has(one.id)) continue;
        const at = rank(one.plain, words);
        if (at >= 0) ranks[at].push(one);
        if (ranks[0].length >= 4 * SHOWN) break;
      }
      for (const found of ranks) found.sort((one, other) => one.name.length - other.name.length); // the exact one first
      return ranks
        .flat()
        .slice(0, SHOWN)
        .map(({ id, name }) => [id, name]);
    }

    /** What is known about a class: {id, name, definition, examples}; none of the examples comes from the same
     * photograph as `picture`. It is asked for once. */
    about(id, picture = "") {
      const key = `${id}\n${picture}`;
      if (!this.known.has(key)) {
        const query = new URLSearchParams(picture ? { id, for: picture } : { id });
        const asked = this.server.get(`/api/class?${query}`).catch((error) => {
          this.known.delete(key);
          throw error;
        });
        this.known.set(key, asked);
        if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
      }
      return this.known.get(key);
    }

    /** Ask for what the labels of a task need. */
    prepare(task) {
      if (task.kind !== "label") return;
      for (const { subject } of task.questions) {
        this.about(subject, task.picture.id)
          .then(({ examples }) => examples.forEach((one) => this.preload.load(this.example(one))))
          .catch(() => {}); // whoever shows it says so
      }
    }
  }

  Object.assign(Variorum, { Classes });
}
