/* Evaluated models: two side by side, what each confuses, and their answers to one picture. */
{
  const { element, figure, seen, once } = Variorum;
  const MATRIX = 30; // classes that a matrix has at most
  const PAIRS = 20; // confusions that are listed at a time
  const RESAMPLES = 1000;
  const DRAWS = 1e7; // of photographs for an interval, at most
  const collator = new Intl.Collator("en", { numeric: true });
  const BASELINE = "baseline"; // a column of no and yes
  const RIGHT = 0; // codes of a column of answers
  const WRONG = 1;

  /** The models of a page with their columns: `right`, and `says` and `p` where their answers are known. */
  function modelsOf(data) {
    const columns = ({ name, right, says, p }) => ({
      name,
      right: data.columns.get(right),
      says: data.columns.get(says),
      p: data.columns.get(p),
    });
    return (data.facts.models ?? []).map(columns).filter((model) => model.right?.values);
  }

  /** Names of the columns that are about models. */
  function modelColumns(data) {
    return (data.facts.models ?? []).flatMap(({ right, says, p }) => [right, says, p]).filter(Boolean);
  }

  /** The column that tells baselines, such as plates, apart; null without one, and where a filter chooses variants. */
  function baselines(data, view, own) {
    const chosen = view.chosen.has("variant") || (view.chosen.has(BASELINE) && !own.includes(BASELINE));
    return chosen ? null : (data.columns.get(BASELINE) ?? null);
  }

  /** The rows that pass all filters but those on `own` columns, without baselines unless a filter chooses some. */
  function inView(data, view, own) {
    const alone = own.map((name) => view.alone.get(name)).filter(Boolean);
    const passes = (row) => view.fails[row] === alone.reduce((failed, one) => failed + one[row], 0);
    const codes = baselines(data, view, own)?.codes;
    return view.everything.filter((row) => passes(row) && codes?.[row] !== 1);
  }

  /** How often two models are right and wrong, and the difference of their accuracies with its interval, in points. */
  function compared(data, rows, one, other) {
    const counts = [0, 0, 0, 0]; // both right, only the first, only the second, both wrong
    const sums = new Map(); // by photograph: [difference, pictures]
    for (const row of rows) {
      const [a, b] = [one.right.codes[row], other.right.codes[row]];
      if (a < 0 || b < 0) continue;
      counts[2 * a + b]++;
      const group = data.photograph[row];
      if (!sums.has(group)) sums.set(group, [0, 0]);
      const sum = sums.get(group);
      sum[0] += b - a; // a wrong answer is 1
      sum[1]++;
    }
    const number = counts.reduce((all, count) => all + count, 0);
    const share = (count) => (100 * count) / number;
    return {
      counts,
      number,
      photographs: sums.size,
      accuracies: [share(counts[0] + counts[1]), share(counts[0] + counts[2])],
      difference: share(counts[1] - counts[2]),
      interval: interval([...sums.values()]),
    };
  }

  /** The 95 % bootstrap interval of Σ difference / Σ pictures, by drawing photographs; null for fewer than two. */
  function interval(groups) {
    const number = groups.length;
    if (number < 2) return null;
    const differences = Float64Array.from(groups, ([difference]) => difference);
    const sizes = Float64Array.from(groups, ([, size]) => size);
    const times = Math.max(200, Math.min(RESAMPLES, Math.floor(DRAWS / number)));
    let state = 1; // always the same draws: a page shows the same figures each time
    const draw = () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return (mixed ^ (mixed >>> 14)) >>> 0;
    };
    const found = Float64Array.from({ length: times }, () => {
      let [difference, size] = [0, 0];
      for (let at = 0; at < number; at++) {
        const place = Math.floor((draw() / 4294967296) * number);
        difference += differences[place];
        size += sizes[place];
      }
      return (100 * difference) / size;
    }).sort();
    const quantile = (share) => {
      const place = share * (times - 1);
      const [low, high] = [found[Math.floor(place)], found[Math.ceil(place)]];
      return low + (high - low) * (place % 1);
    };
    return [quantile(0.025), quantile(0.975)];
  }

  /** The wrong answers of a model: [code of the class, code of the answer, pictures], the most frequent first. */
  function confusions(rows, classes, { right, says }) {
    const counts = new Map();
    for (const row of rows) {
      if (right.codes[row] !== WRONG || classes.codes[row] < 0 || says.codes[row] < 0) continue;
      const key = classes.codes[row] * says.values.length + says.codes[row];
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const found = [...counts].map(([key, count]) => [
      Math.floor(key / says.values.length),
      key % says.values.length,
      count,
    ]);
    const name = ([code, answer]) => `${classes.values[code]}\n${says.values[answer]}`;
    return found.sort((a, b) => b[2] - a[2] || collator.compare(name(a), name(b)));
  }

  const one = (value) => value.toFixed(1).replace("-", "−");

  function row(cells, head = "td") {
    return element("tr", {}, ...cells.map((cell) => (cell instanceof Node ? cell : element(head, { text: cell }))));
  }

  /** The section of models. `showAll` goes to the pictures after a filter was set. */
  class Models {
    constructor(place, { data, view, showAll }) {
      Object.assign(this, { place, data, view, showAll, most: PAIRS, mine: new Map(), models: modelsOf(data) });
      this.empty = !this.models.length;
      if (this.empty) return;
      const options = (models) =>
        models.map((model) => element("option", { value: model.right.name, text: seen(model.name, 80) }));
      const pick = (label, models, change) =>
        element("select", { "aria-label": label, change: () => (change?.(), this.update()) }, ...options(models));
      const answering = this.models.filter((model) => model.says);
      this.first = pick("First model", this.models);
      this.second = pick("Second model", this.models);
      this.confused = pick("Model", answering, () => (this.most = PAIRS));
      this.second.selectedIndex = Math.min(1, this.models.length - 1);
      const holder = () => element("div", { class: "holder" });
      [this.all, this.pair, this.pairs, this.matrix] = [holder(), holder(), holder(), holder()];
      const section = (title, tools, part, kind = "") =>
        element(
          "section",
          { class: `plot ${kind}` },
          element("div", { class: "line tools" }, element("h3", { text: title }), ...tools),
          part,
        );
      const versus = element("span", { class: "muted", text: "and" });
      place.append(
        element("h2", { class: "away", text: "Models" }),
        element("p", { class: "muted about-models" }, (this.scope = element("span", {}))),
        element(
          "div",
          { class: "plots models" },
          section("Right and wrong", [], this.all),
          this.models.length > 1 ? section("Side by side", [this.first, versus, this.second], this.pair, "beside") : "",
          answering.length ? section("Most confused", [this.confused], this.pairs) : "",
          answering.length && this.classes ? (this.matrixBox = section("", [], this.matrix, "wide-plot")) : "",
        ),
      );
      this.update = once(() => this.#paint());
    }

    get classes() {
      const column = this.data.columns.get("class");
      return column && !column.numeric ? column : null;
    }

    #model(select) {
      return this.models.find((model) => model.right.name === select.value);
    }

    /** Columns whose filters don't narrow this section: those of models, and those that its own buttons set. */
    #own() {
      const set = [...this.mine].filter(([name, codes]) => this.view.chosen.get(name) === codes).map(([name]) => name);
      return [...new Set([...modelColumns(this.data), ...set])];
    }

    /** A button with a number of pictures that shows them: `filters` are [column, codes]. */
    #shows(text, label, filters) {
      const click = () => {
        this.view.change((view) => {
          const own = this.#own();
          for (const name of own) (view.chosen.delete(name), view.ranges.delete(name));
          this.mine = new Map(filters.map(([column, codes]) => [column.name, new Set(codes)]));
          if (baselines(this.data, view, own)) this.mine.set(BASELINE, new Set([0]));
          for (const [name, codes] of this.mine) view.chosen.set(name, codes);
        });
        this.showAll();
      };
      return element("button", { type: "button", class: "count", "aria-label": label, title: label, text, click });
    }

    #counted(number, label, filters) {
      const text = figure(number);
      const said = `${label}: show ${number === 1 ? "this picture" : `these ${text} pictures`}`;
      return number ? this.#shows(text, said, filters) : element("span", { class: "muted", text });
    }

    #paint() {
      if (this.place.hidden) return;
      const own = this.#own();
      const rows = inView(this.data, this.view, own);
      const others = [...this.view.chosen.keys(), ...this.view.ranges.keys()].some((name) => !own.includes(name));
      const filtered = others || this.view.words.trim() || this.view.area;
      this.scope.textContent = [
        filtered ? "Pictures that pass the filters, except filters on models' answers" : "All pictures of this page",
        baselines(this.data, this.view, own) ? ", without baselines such as plates; choose a variant to see its figures" : "",
        ". Each number shows its pictures.",
      ].join("");
      this.#paintAll(rows);
      if (this.models.length > 1) this.#paintPair(rows);
      const model = this.#model(this.confused);
      if (model && this.classes) {
        const found = confusions(rows, this.classes, model);
        this.#paintPairs(found, model);
        this.#paintMatrix(rows, found, model);
      }
    }

    #paintAll(rows) {
      const lines = this.models.map((model) => {
        const counts = [0, 0];
        for (const row of rows) if (model.right.codes[row] >= 0) counts[model.right.codes[row]]++;
        const number = counts[0] + counts[1];
        const share = number ? (100 * counts[0]) / number : NaN;
        const bar = element("span", { class: "share", "aria-hidden": "true" }, element("span", {}));
        bar.firstChild.style.width = `${number ? share : 0}%`;
        const cell = (code, what) =>
          element("td", { class: "number" }, this.#counted(counts[code], `${model.name} ${what}`, [[model.right, [code]]]));
        return row([
          element("th", { scope: "row" }, element("bdi", { text: seen(model.name, 120) })),
          element("td", { class: "number", text: number ? `${one(share)}\u00a0%` : "–" }),
          element("td", { class: "bar-cell" }, bar),
          cell(RIGHT, "right"),
          cell(WRONG, "wrong"),
        ]);
      });
      const head = ["model", "accuracy", "", "right", "wrong"].map((text, at) =>
        element(text ? "th" : "td", { scope: text ? "col" : null, class: at ? (text ? "number" : "bar-cell") : null, text }),
      );
      this.all.replaceChildren(
        element(
          "div",
          { class: "wide" },
          element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...lines)),
        ),
      );
    }

    #paintPair(rows) {
      const [first, second] = [this.#model(this.first), this.#model(this.second)];
      if (first === second)
        return this.pair.replaceChildren(element("p", { class: "muted", text: "Choose two different models." }));
      const found = compared(this.data, rows, first, second);
      if (!found.number)
        return this.pair.replaceChildren(element("p", { class: "muted", text: "No picture here was scored for both." }));
      const [a, b] = [seen(first.name, 60), seen(second.name, 60)];
      const name = (text) => element("bdi", { text });
      const cell = (at, codes, what) => {
        const filters = [
          [first.right, [codes[0]]],
          [second.right, [codes[1]]],
        ];
        const share = element("span", { class: "muted", text: `${one((100 * found.counts[at]) / found.number)}\u00a0%` });
        return element(
          "td",
          { class: codes[0] === codes[1] ? "agree" : "differ" },
          element("span", { class: "what", text: what }),
          this.#counted(found.counts[at], `${a} ${codes[0] ? "wrong" : "right"}, ${b} ${codes[1] ? "wrong" : "right"}`, filters),
          share,
        );
      };
      const [low, high] = found.interval ?? [];
      const distance = `${one(found.difference)} points`;
      const said = found.interval ? `${distance}, 95\u00a0% interval ${one(low)} to ${one(high)}` : distance;
      const chance = found.interval && low <= 0 && high >= 0 ? " It may be chance: the interval includes 0." : "";
      const pictures = `${figure(found.number)} picture${found.number === 1 ? "" : "s"}`;
      const photographs = `${figure(found.photographs)} photograph${found.photographs === 1 ? "" : "s"}`;
      this.pair.replaceChildren(
        element(
          "p",
          {},
          name(a),
          ` ${one(found.accuracies[0])}\u00a0%, `,
          name(b),
          ` ${one(found.accuracies[1])}\u00a0%. Difference ${said}.${chance}`,
        ),
        element(
          "table",
          { class: "four" },
          element("thead", {}, row([element("td", {}), ...[`${b} right`, `${b} wrong`].map((text) => element("th", { scope: "col", text }))])),
          element(
            "tbody",
            {},
            row([element("th", { scope: "row", text: `${a} right` }), cell(0, [RIGHT, RIGHT], "both right"), cell(1, [RIGHT, WRONG], "only the first right")]),
            row([element("th", { scope: "row", text: `${a} wrong` }), cell(2, [WRONG, RIGHT], "only the second right"), cell(3, [WRONG, WRONG], "both wrong")]),
          ),
        ),
        element("p", {
          class: "muted small",
          text: `${pictures} of ${photographs} that both were scored on. Bootstrap over the photographs, the same for both models.`,
        }),
      );
    }

    #paintPairs(found, model) {
      if (!found.length)
        return this.pairs.replaceChildren(element("p", { class: "muted", text: "No wrong answer here." }));
      const lines = found.slice(0, this.most).map(([code, answer, count]) => {
        const [label, said] = [seen(this.classes.values[code], 80), seen(model.says.values[answer], 80)];
        const filters = [
          [this.classes, [code]],
          [model.right, [WRONG]],
          [model.says, [answer]],
        ];
        return row([
          element("th", { scope: "row" }, element("bdi", { text: label })),
          element("td", {}, element("bdi", { text: said })),
          element("td", { class: "number" }, this.#counted(count, `${label} taken for ${said}`, filters)),
        ]);
      });
      const head = ["class", "model says", "pictures"].map((text, at) =>
        element("th", { scope: "col", class: at === 2 ? "number" : null, text }),
      );
      const left = found.length - this.most;
      const more = element("button", {
        type: "button",
        class: "quiet",
        text: `Show more (${figure(left)})`,
        click: () => ((this.most += 5 * PAIRS), this.update()),
      });
      this.pairs.replaceChildren(
        element(
          "div",
          { class: "wide" },
          element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...lines)),
        ),
        left > 0 ? more : "",
      );
    }

    #paintMatrix(rows, found, model) {
      const { classes } = this;
      const total = new Map();
      const right = new Map();
      for (const row of rows) {
        const code = classes.codes[row];
        if (code < 0 || model.right.codes[row] < 0) continue;
        total.set(code, (total.get(code) ?? 0) + 1);
        if (model.right.codes[row] === RIGHT) right.set(code, (right.get(code) ?? 0) + 1);
      }
      const codes = [...total.keys()].sort((a, b) => collator.compare(classes.values[a], classes.values[b]));
      this.matrixBox.hidden = codes.length < 2 || codes.length > MATRIX;
      if (this.matrixBox.hidden) return;
      this.matrixBox.querySelector("h3").textContent = `Confusion matrix of ${seen(model.name, 80)}`;
      const answers = codes.map((code) => model.says.values.indexOf(classes.values[code]));
      const cells = new Map(found.map(([code, answer, count]) => [`${code} ${answer}`, count]));
      const others = [...new Set(found.map(([, answer]) => answer))].filter((answer) => !answers.includes(answer));
      const shaded = (content, count, of, good) => {
        const cell = element("td", { class: good ? "good" : "bad" }, content);
        cell.style.setProperty("--share", `${Math.round(6 + (36 * count) / of)}%`);
        if (!count) cell.className = "";
        return cell;
      };
      const line = (code) => {
        const label = seen(classes.values[code], 80);
        const filters = (...more) => [[classes, [code]], ...more];
        const own = codes.map((other, at) => {
          if (other === code) {
            const count = right.get(code) ?? 0;
            return shaded(this.#counted(count, `${label}, right`, filters([model.right, [RIGHT]])), count, total.get(code), true);
          }
          const count = cells.get(`${code} ${answers[at]}`) ?? 0;
          const what = `${label} taken for ${seen(classes.values[other], 80)}`;
          const filter = filters([model.right, [WRONG]], [model.says, [answers[at]]]);
          return shaded(count ? this.#counted(count, what, filter) : "", count, total.get(code), false);
        });
        const rest = others.reduce((sum, answer) => sum + (cells.get(`${code} ${answer}`) ?? 0), 0);
        const filter = filters([model.right, [WRONG]], [model.says, others]);
        const last = shaded(
          rest ? this.#counted(rest, `${label} taken for another class`, filter) : "",
          rest,
          total.get(code),
          false,
        );
        return row([element("th", { scope: "row" }, element("bdi", { text: label })), ...own, ...(others.length ? [last] : [])]);
      };
      const head = (text) => element("th", { scope: "col", title: text }, element("bdi", { text }));
      const heads = codes.map((code) => head(seen(classes.values[code], 80)));
      const corner = element("th", { scope: "col", class: "corner", text: "class ↓ · model says →" });
      this.matrix.replaceChildren(
        element(
          "div",
          { class: "wide", tabindex: "0", role: "group", "aria-label": "Confusion matrix" },
          element(
            "table",
            { class: "matrix" },
            element("thead", {}, row([corner, ...heads, ...(others.length ? [head("another class")] : [])])),
            element("tbody", {}, ...codes.map(line)),
          ),
        ),
      );
    }

    update() {}
  }

  /** What each model answered to the picture of a row, for its panel; empty if none did. */
  function modelAnswers(data, place) {
    const lines = modelsOf(data)
      .filter(({ right }) => right.codes[place] >= 0)
      .map(({ name, right, says, p }) => {
        const good = right.codes[place] === RIGHT;
        return element(
          "tr",
          { class: good ? null : "failed" },
          element("th", { scope: "row" }, element("bdi", { text: seen(name, 120) })),
          element("td", {}, element("bdi", { text: says?.text(place) || "–" })),
          element("td", { class: "number", text: p && !Number.isNaN(p.numbers[place]) ? p.numbers[place].toFixed(2) : "–" }),
          element("td", { text: good ? "✓ right" : "✕ wrong" }),
        );
      });
    if (!lines.length) return "";
    const head = ["model", "says", "p(label)", "answer"].map((name, at) =>
      element("th", { scope: "col", class: at === 2 ? "number" : null, text: name }),
    );
    return element(
      "section",
      {},
      element("h3", { text: `Models on ${data.text("class", place) || "this picture"}` }),
      element(
        "div",
        { class: "wide" },
        element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...lines)),
      ),
    );
  }

  Object.assign(Variorum, { Models, modelAnswers, compared });
}
