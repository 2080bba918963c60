/* What surrounds the pictures: the head with the facts, the list of keys, light and dark. */
{
  const { element, seen, figure, copy } = Variorum;
  const at = (id) => document.getElementById(id);

  /** The head of the page, made of the facts. */
  function showHead(data) {
    const { facts } = data;
    const title = data.diff ? `${facts.title} → ${facts.other?.title ?? ""}` : facts.title;
    at("title").append(element("bdi", { text: seen(title ?? "", 300) }));
    at("subtitle").textContent = seen(facts.subtitle || (facts.notes ?? [])[0] || "", 300);
    at("subtitle").hidden = !at("subtitle").textContent;
    if (facts.warning) {
      const said = element("bdi", { text: seen(facts.warning, 500) });
      const name = element("strong", { text: "Content warning: " });
      at("warning").append(name, said, " All pictures are blurred in this file.");
      at("warning").hidden = false;
    }
    for (const [name, number] of facts.counts ?? []) {
      at("counts").append(
        element(
          "li",
          {},
          element("strong", { text: figure(number) }),
          " ",
          element("bdi", { text: seen(String(name), 60) }),
        ),
      );
    }
    at("counts").hidden = !at("counts").firstChild;
    if (facts.digest) {
      const [label, digest] = [`${facts.digest.slice(0, 12)}…`, at("digest")];
      digest.textContent = label;
      digest.title = facts.digest;
      digest.setAttribute("aria-label", `Copy the digest ${facts.digest.slice(0, 12)}`);
      digest.hidden = false;
      digest.addEventListener("click", async () => {
        digest.textContent = (await copy(facts.digest)) ? "copied" : label;
        setTimeout(() => (digest.textContent = label), 1500);
      });
    }
    about(data);
    if (data.diff) at("tab-grid").textContent = "Changes";
  }

  /** Findings, notes, digests and links, folded up. */
  function about(data) {
    const { facts } = data;
    const list = (title, lines) =>
      lines?.length
        ? [
            element("h2", { text: title }),
            element("ul", {}, ...lines.map((line) => element("li", {}, element("bdi", { text: seen(String(line)) })))),
          ]
        : [];
    // A link is the name of a file beside the page: coded, so that it can't be an address of another kind.
    const links = (facts.links ?? []).map(([name, file]) =>
      element("a", { href: `./${file.split("/").map(encodeURIComponent).join("/")}`, text: seen(name, 60) }),
    );
    const editions = data.diff ? [facts, facts.other ?? {}] : []; // an edition's own digest is a button
    const digests = editions.filter((one) => one.digest).map((one) => `${one.title}: ${one.digest}`);
    const parts = [...list("Findings", facts.findings), ...list("Notes", facts.notes), ...list("Digests", digests)];
    if (links.length)
      parts.push(element("h2", { text: "Beside this page" }), element("p", { class: "links" }, ...links));
    at("about").hidden = !parts.length;
    const counted = [
      [facts.findings, "finding"],
      [facts.notes, "note"],
      [links, "link"],
    ].filter(([lines]) => lines?.length);
    at("about").firstChild.textContent =
      counted.map(([lines, name]) => `${lines.length} ${name}${lines.length === 1 ? "" : "s"}`).join(", ") || "Digests";
    at("about").lastChild.append(...parts);
  }

  const KEYS = [
    ["/", "search"],
    ["f", "filters"],
    ["o", "originals beside edits"],
    ["b", "blur pictures, where they aren't blurred already"],
    ["1 2 3", "small, medium, large thumbnails"],
    ["g, p, c", "map, plots, models; again: back to the pictures"],
    ["← → ↑ ↓", "from picture to picture"],
    ["Home End", "start and end of a line; with Ctrl, of all"],
    ["Page Up, Page Down", "a screen of pictures"],
    ["Enter", "open a picture; ← → go on, Esc closes"],
    ["a, t", "ask people about a picture, add a tag"],
    ["m", "all marks, and their file"],
    ["o", "in a record: wipe, side by side, one picture"],
    [", .", "in a record: move the wipe"],
    ["m, b", "in a record: mask, boxes"],
    ["+ − f", "in a record: zoom; arrows move what is zoomed"],
    ["?", "this list"],
  ];

  /** The list of keys in its dialog. */
  function showHelp() {
    const lines = KEYS.map(([keys, what]) =>
      element("div", {}, element("dt", {}, element("kbd", { text: keys })), element("dd", { text: what })),
    );
    const close = element("button", {
      type: "button",
      class: "icon",
      "aria-label": "Close",
      text: "✕",
      click: () => at("help").close(),
    });
    at("help").append(
      element("div", { class: "head" }, element("h2", { id: "help-title", text: "Keys" }), close),
      element("dl", { class: "keys" }, ...lines),
    );
    at("help").addEventListener("click", (event) => event.target === at("help") && at("help").close());
    at("help-button").addEventListener("click", () => at("help").showModal());
  }

  /** The button for light and dark, which starts with the system's choice. `changed` is called for what isn't styled. */
  function themeButton(changed) {
    const dark = () =>
      (document.documentElement.dataset.theme ??
        (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const label = () => {
      at("theme").textContent = dark() ? "☀" : "☾";
      at("theme").setAttribute("aria-label", dark() ? "Light colours" : "Dark colours");
      at("theme").title = at("theme").getAttribute("aria-label");
      changed();
    };
    at("theme").addEventListener(
      "click",
      () => ((document.documentElement.dataset.theme = dark() ? "light" : "dark"), label()),
    );
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
    label();
  }

  Object.assign(Variorum, { showHead, showHelp, themeButton });
}
