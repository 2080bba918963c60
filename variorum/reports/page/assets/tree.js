/* JSON values for reading, and whether a number passes its limit. */
{
  const { element, seen, figure } = Variorum;
  const LONG = 60; // entries of a list or object that are shown at once
  const DEEP = 2; // levels that are open at first

  /** Whether a value passes a limit such as `>= 0.5`; null if the limit has another form. */
  function keeps(value, limit) {
    const found = /^\s*(>=|<=|>|<|≥|≤)\s*(-?[\d.]+(?:e[-+]?\d+)?)\s*$/i.exec(limit ?? "");
    if (!found || !Number.isFinite(value)) return null;
    const bound = Number(found[2]);
    return {
      ">=": value >= bound,
      "≥": value >= bound,
      "<=": value <= bound,
      "≤": value <= bound,
      ">": value > bound,
      "<": value < bound,
    }[found[1]];
  }

  /** A value of JSON as nested lists of definitions. Parts that are deep or long are made when they are opened. */
  function tree(value, depth = 0) {
    if (typeof value === "string" && /^[[{]/.test(value)) {
      try {
        value = JSON.parse(value); // a text that holds JSON
      } catch {
        // a text that only begins like it
      }
    }
    if (value === null) return element("span", { class: "muted", text: "none" });
    if (typeof value !== "object")
      return element("bdi", {
        class: typeof value,
        text: typeof value === "number" ? String(value) : seen(String(value), 20000),
      });
    const plain = Array.isArray(value);
    const entries = Object.entries(value);
    if (!entries.length) return element("span", { class: "muted", text: "empty" });
    if (plain && entries.length <= LONG && value.every((one) => typeof one === "number"))
      return element("bdi", { class: "number", text: value.map(String).join(", ") });
    const list = element("dl", {});
    const add = (from) => {
      for (const [key, one] of entries.slice(from, from + LONG)) {
        list.append(
          element(
            "div",
            {},
            element("dt", {}, element("bdi", { text: seen(key, 200) })),
            element("dd", {}, tree(one, depth + 1)),
          ),
        );
      }
      if (from + LONG >= entries.length) return;
      const more = element("button", {
        type: "button",
        class: "quiet",
        text: `Show more (${figure(entries.length - from - LONG)})`,
      });
      more.addEventListener("click", () => (holder.remove(), add(from + LONG)));
      const holder = element("div", {}, element("dt", {}), element("dd", {}, more));
      list.append(holder);
    };
    if (depth === 0) return (add(0), list);
    const details = element(
      "details",
      {},
      element("summary", {
        text: plain
          ? `${figure(entries.length)} in a list`
          : Object.keys(value)
              .slice(0, 4)
              .map((key) => seen(key, 30))
              .join(", ") + (entries.length > 4 ? ", …" : ""),
      }),
    );
    const open = () => list.firstChild || (add(0), details.append(list));
    details.addEventListener("toggle", () => details.open && open());
    if (depth <= DEEP && entries.length <= 12) ((details.open = true), open());
    return details;
  }

  Object.assign(Variorum, { keeps, tree });
}
