/* Why an answer is no: how wrong a label is and in which way, or what is wrong with an edit, a box or a picture. */
{
  const { element, seen } = Variorum;

  /** What can be said about a no of a kind: [{field, id, text, definition}…], in the order of the keys 1 to 9. */
  function choices(me, kind) {
    const asked = me.panel.kinds[kind];
    const option =
      (field) =>
      ([id, text, definition]) => ({ field, id, text, definition: definition ?? "" });
    if (asked?.mistakes) return [...me.severities.map(option("severity")), ...me.categories.map(option("category"))];
    return (asked?.reasons ?? []).map(option("reason"));
  }

  const TITLES = { severity: "How wrong?", category: "In which way?", reason: "Why?" };

  /** Buttons for what can be said about a line. `choose(option)` is called with an option; it may be the chosen one. */
  function detailButtons(me, kind, line, choose) {
    const all = choices(me, kind);
    const groups = new Map();
    for (const [at, option] of all.entries()) {
      if (!groups.has(option.field)) groups.set(option.field, []);
      const on = line[option.field] === option.id;
      const button = element(
        "button",
        {
          type: "button",
          "aria-pressed": String(on),
          title: seen(option.definition || option.text, 400),
          click: () => choose(option),
        },
        at < 9 ? element("kbd", { "aria-hidden": "true", text: String(at + 1) }) : null,
        element("bdi", { text: seen(option.text, 100) }),
      );
      button.dataset.option = `${option.field}:${option.id}`;
      groups.get(option.field).push(button);
    }
    const parts = [];
    for (const [field, buttons] of groups) {
      const chosen = all.find((option) => option.field === field && option.id === line[field]);
      parts.push(
        element(
          "div",
          { class: "choices", role: "group", "aria-label": TITLES[field] },
          element("span", { class: "muted", text: TITLES[field] }),
          ...buttons,
          chosen?.definition ? element("p", { class: "definition", text: seen(chosen.definition, 400) }) : null,
        ),
      );
    }
    return parts;
  }

  /** What was said about a no, in a few words. */
  function detailText(me, kind, line) {
    return choices(me, kind)
      .filter(({ field, id }) => line[field] === id)
      .map(({ text }) => seen(text, 60))
      .join(", ");
  }

  Object.assign(Variorum, { choices, detailButtons, detailText });
}
