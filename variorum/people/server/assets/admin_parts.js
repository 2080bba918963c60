/* Parts of the administrator's page: facts, the bar of coverage, and a line for each reviewer. */
{
  const { element, drawn, seen, figure } = Variorum;
  const LOW_ALPHA = 0.667; // Krippendorff's limit for tentative conclusions
  const HIGH_ALPHA = 0.8;
  const TONES = 6; // of the bar of coverage

  const percent = (value) => (Number.isFinite(value) ? `${Math.round(100 * value)} %` : "–");

  /** A time in the unit that people would use. */
  function time(seconds) {
    if (!Number.isFinite(seconds)) return "–";
    if (seconds < 90) return `${figure(Math.round(seconds))} s`;
    if (seconds < 90 * 60) return `${figure(Math.round(seconds / 60))} min`;
    return seconds < 48 * 3600 ? `${(seconds / 3600).toFixed(1)} h` : `${figure(Math.round(seconds / 86400))} days`;
  }

  /** A number with its name, and a sentence that explains it. */
  function fact(name, value, about = "") {
    return element(
      "div",
      { class: "fact" },
      element("span", { class: "muted", text: name }),
      element("strong", { text: value }),
      about ? element("span", { class: "muted small", text: about[0].toUpperCase() + about.slice(1) }) : null,
    );
  }

  /** What a coefficient of agreement means in words. */
  function agreementWord(value) {
    if (!Number.isFinite(value)) return "not enough votes yet";
    if (value >= HIGH_ALPHA) return "high";
    if (value >= LOW_ALPHA) return "enough for tentative conclusions";
    if (value >= 0.4) return "moderate";
    return value > 0.1 ? "low; people may understand the questions differently" : "no better than chance";
  }

  /** The bar of coverage: a part for each number of votes. `counts` are questions by votes, [[votes, questions]…]. */
  function coverageBar(counts, wanted) {
    const all = counts.reduce((sum, [, number]) => sum + number, 0) || 1;
    const tone = (votes) => Math.min(TONES - 1, Math.round(((TONES - 1) * votes) / Math.max(1, wanted)));
    const shown = counts.filter(([, number]) => number > 0);
    let at = 0;
    const parts = shown.map(([votes, number]) => {
      const part = drawn("rect", {
        class: `tone-${tone(votes)}`,
        x: at,
        y: 0,
        width: (100 * number) / all,
        height: 10,
      });
      at += (100 * number) / all;
      return part;
    });
    const name = (votes) =>
      votes >= wanted ? `${votes} votes${votes === wanted ? ", complete" : ""}` : `${votes} of ${wanted}`;
    const legend = shown.map(([votes, number]) =>
      element(
        "li",
        {},
        element("span", { class: `swatch tone-${tone(votes)}`, "aria-hidden": "true" }),
        element("span", { text: name(votes) }),
        element("strong", { text: figure(number) }),
      ),
    );
    return [
      drawn(
        "svg",
        { class: "coverage-bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        ...parts,
      ),
      element("ul", { class: "legend", "aria-label": "Questions by number of votes" }, ...legend),
    ];
  }

  /** An accuracy with its interval, as a bar from 0 to 1 with a tick at one half, which is guessing. */
  function interval({ right, of, low, high }) {
    if (!of) return element("span", { class: "muted", text: "no gold yet" });
    const at = (value) => (100 * value).toFixed(1);
    return element(
      "span",
      { class: "interval" },
      drawn(
        "svg",
        { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
        drawn("rect", { class: "rail", x: 0, y: 5, width: 100, height: 2 }),
        drawn("rect", { class: "half", x: 49.5, y: 2, width: 1, height: 8 }),
        drawn("rect", { class: "span", x: at(low), y: 3, width: at(Math.max(0.01, high - low)), height: 6 }),
        drawn("rect", { class: "point", x: at(Math.min(0.98, right / of)), y: 0, width: 2, height: 12 }),
      ),
      element("span", { text: `${figure(right)} of ${figure(of)}` }),
      element("span", { class: "muted", text: `${percent(low)} to ${percent(high)}` }),
    );
  }

  const COLUMNS = ["Reviewer", "Answers", "Gold", "Agreement", "Pace", "Information", ""];

  /** The table of reviewers, those first who wait; the buttons call `pause(reviewer, yes)` and `admit(reviewer, yes)`. */
  function raterTable(raters, pause, admit) {
    const sorted = [...raters.filter(({ waiting }) => waiting), ...raters.filter(({ waiting }) => !waiting)];
    const head = COLUMNS.map((name) =>
      name
        ? element("th", { scope: "col", text: name })
        : element("td", {}, element("span", { class: "away", text: "Actions" })),
    );
    return element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...sorted.map((rater) => raterLine(rater, pause, admit))),
    );
  }

  function raterLine(rater, pause, admit) {
    const name = seen(rater.reviewer, 100);
    const cell = (label, ...children) => element("td", { "data-label": label }, ...children);
    const bits = Number.isFinite(rater.bits) ? rater.bits.toFixed(2) : "–";
    const marks = [
      rater.waiting ? element("span", { class: "badge warn", text: "waits" }) : null,
      rater.paused ? element("span", { class: "badge", text: "paused" }) : null,
      rater.suspect ? element("span", { class: "badge warn", text: "⚠ suspect" }) : null,
    ];
    const beside = (rater.beside ?? []).map((one) => seen(one, 100)).join(", ");
    const button = (text, click) =>
      element("button", {
        type: "button",
        text,
        "aria-label": `${text} ${name}`,
        "data-for": rater.reviewer,
        "data-does": text,
        click,
      });
    const buttons = rater.waiting
      ? [
          button("Confirm", () => admit(rater.reviewer, true)),
          button("Refuse", () => admit(rater.reviewer, false)),
        ]
      : [button(rater.paused ? "Resume" : "Pause", () => pause(rater.reviewer, !rater.paused))];
    return element(
      "tr",
      { class: rater.paused ? "paused" : null },
      element(
        "th",
        { scope: "row" },
        element("div", { class: "who" }, element("bdi", { text: name }), ...marks),
        beside ? element("p", { class: "small reason", text: `Same address as ${beside}` }) : null,
        rater.why ? element("p", { class: "small reason", text: seen(rater.why, 400) }) : null,
      ),
      cell("Answers", figure(rater.answers)),
      cell("Gold", interval(rater.gold)),
      cell("Agreement", percent(rater.agreement)),
      cell("Pace", Number.isFinite(rater.seconds_per_answer) ? `${rater.seconds_per_answer.toFixed(1)} s` : "–"),
      cell("Information", `${bits}${bits === "–" ? "" : " bits"}`),
      element("td", { class: "act" }, ...buttons),
    );
  }

  Object.assign(Variorum, { fact, time, percent, agreementWord, coverageBar, raterTable });
}
