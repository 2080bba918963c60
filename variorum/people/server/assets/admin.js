/* The administrator's page: who reviews and how well, how far the panel is, and what the administrator can do. */
{
  const { element, seen, figure, copyButton, themeButton, Server } = Variorum;
  const { fact, time, agreementWord, coverageBar, raterTable } = Variorum;
  const EVERY_MS = 4000;
  const FORMATS = [
    ["parquet", "Parquet"],
    ["csv", "CSV"],
    ["label_studio", "Label Studio"],
  ];
  const at = (id) => document.getElementById(id);
  const server = new Server();
  server.renew = load; // the token of administrators comes with the numbers
  let data = null;
  let shown = ""; // what is on the page as text, so that nothing is replaced without a change

  async function load() {
    try {
      data = await server.get("/api/admin", { once: true });
      server.csrf = data.csrf;
      at("failed").hidden = true;
      show();
    } catch (error) {
      failed(data ? `${error.message} The numbers below may be old.` : error.message);
    }
  }

  function failed(text) {
    at("failed").textContent = seen(text);
    at("failed").hidden = false;
  }

  function show() {
    const { csrf, ...rest } = data;
    const text = JSON.stringify(rest);
    if (text === shown) return;
    shown = text;
    const { panel, raters, coverage, agreement, links } = data;
    at("title").replaceChildren(element("bdi", { text: seen(panel.title || panel.name, 200) }));
    document.title = `${seen(panel.title || panel.name, 100)}: administration`;
    at("subtitle").textContent = seen(panel.edition ? `${panel.name} · ${panel.edition}` : panel.name, 200);
    at("subtitle").hidden = false;
    at("state").textContent = panel.paused ? "paused" : "open";
    at("state").className = `badge ${panel.paused ? "warn" : "good"}`;
    at("pause").textContent = panel.paused ? "Resume the panel" : "Pause the panel";
    at("pause").hidden = false;
    facts(raters, coverage, agreement);
    at("coverage").replaceChildren(...coverageBar(byVotes(coverage), panel.votes));
    at("notes").replaceChildren(...panel.notes.map((line) => element("li", { text: seen(line, 200) })));
    at("notes").hidden = !panel.notes.length;
    const { for: focused, does } = document.activeElement?.dataset ?? {};
    at("raters").replaceChildren(
      raters.length ? raterTable(raters, pause, admit) : element("p", { class: "muted", text: "Nobody has joined yet." }),
    );
    if (focused !== undefined)
      [...at("raters").querySelectorAll("button")]
        .find((one) => one.dataset.for === focused && one.dataset.does === does)
        ?.focus();
    invite(links.join);
  }

  /** Questions by number of votes, [[votes, questions]…] in order. */
  function byVotes({ votes }) {
    return Object.entries(votes)
      .map(([number, questions]) => [Number(number), questions])
      .sort(([one], [other]) => one - other);
  }

  function facts(raters, coverage, { alpha, ac1 }) {
    const active = raters.filter(({ answers: given, paused }) => given && !paused).length;
    const needed = active && coverage.seconds !== null ? coverage.seconds / active : NaN;
    const people = active === 1 ? "for one reviewer" : `for ${figure(active)} reviewers, each`;
    const answers = raters.reduce((sum, rater) => sum + rater.answers, 0);
    at("facts").replaceChildren(
      fact("Answers", figure(answers), `${figure(coverage.questions)} questions`),
      fact("Answers left", figure(coverage.answers), `about ${figure(coverage.clicks)} clicks`),
      fact("Time left", time(needed), Number.isFinite(needed) ? people : "No pace to reckon by yet"),
      fact("Krippendorff's α", digits(alpha), `${agreementWord(alpha)}. It is low if nearly all answers are the same.`),
      fact("Gwet's AC1", digits(ac1), `${agreementWord(ac1)}. Rare answers don't lower it.`),
    );
  }

  function digits(value) {
    return Number.isFinite(value) ? value.toFixed(2) : "–";
  }

  function link(label, address) {
    return [
      element("span", { class: "muted", text: label }),
      element("input", { type: "text", class: "mono", readonly: true, value: address, "aria-label": label }),
      copyButton("Copy", () => address, { "aria-label": `Copy: ${label}` }),
    ];
  }

  function invite(address) {
    if (at("join").dataset.address === address) return; // a selection in it stays
    at("join").dataset.address = address ?? "";
    const lines = address ? [element("div", { class: "link" }, ...link("Invitation for anybody", address))] : [];
    at("join").replaceChildren(...lines);
  }

  /** Pause or resume a reviewer; without one, the panel. */
  async function pause(reviewer, paused) {
    await act(() => server.post("/api/admin/pause", { reviewer, paused }, { once: true }));
  }

  /** Confirm somebody who waits, or refuse them. */
  async function admit(reviewer, admitted) {
    await act(() => server.post("/api/admin/admit", { reviewer, admitted }, { once: true }));
  }

  async function add(event) {
    event.preventDefault();
    const name = at("name").value.trim();
    if (!name) return at("name").focus();
    await act(async () => {
      const told = await server.post("/api/admin/reviewer", { name }, { once: true });
      const address = new URL(told.link, location.href).href;
      at("added").prepend(
        element("li", { class: "link" }, ...link(`Link of ${seen(name, 100)}, for them alone`, address)),
      );
      at("name").value = "";
      at("added-said").textContent = `${seen(name, 100)} is added. Copy the link now: it isn't shown again.`;
    });
  }

  async function act(work) {
    try {
      await work();
    } catch (error) {
      return failed(error.message);
    }
    await load();
  }

  at("pause").addEventListener("click", () => pause(null, !data.panel.paused));
  at("add").addEventListener("submit", add);
  at("exports").append(
    ...FORMATS.map(([format, name]) =>
      element("a", { class: "button", href: `/api/admin/export?format=${format}`, download: "", text: name }),
    ),
  );
  themeButton(() => {});
  let timer = setInterval(tick, EVERY_MS);
  function tick() {
    if (!document.hidden) load();
  }
  document.addEventListener("visibilitychange", tick);
  addEventListener("pagehide", () => clearInterval(timer));
  addEventListener("pageshow", ({ persisted }) => persisted && ((timer = setInterval(tick, EVERY_MS)), tick()));
  load();
}
