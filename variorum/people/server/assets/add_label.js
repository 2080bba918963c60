/* Adding a label by typing: a search over all classes, as a combobox with a list. */
{
  const { element, seen, once } = Variorum;

  /** A combobox for classes. `chosen(id, name)` is called with what the person takes. */
  class ClassBox {
    constructor({ classes, chosen }) {
      Object.assign(this, { classes, chosen, found: [], at: -1 });
      this.input = element("input", {
        id: "class-search",
        type: "text",
        role: "combobox",
        "aria-autocomplete": "list",
        "aria-expanded": "false",
        "aria-controls": "class-list",
        "aria-label": "Search all classes",
        placeholder: "Type a part of the name",
        autocomplete: "off",
        autocapitalize: "off",
        spellcheck: "false",
        enterkeyhint: "done",
        maxlength: "200",
      });
      this.list = element("ul", { id: "class-list", role: "listbox", "aria-label": "Classes" });
      this.told = element("p", { class: "muted", role: "status" });
      this.element = element("div", { class: "class-box" }, this.input, this.told, this.list);
      const search = once(() => this.search());
      this.input.addEventListener("input", search);
      this.input.addEventListener("keydown", (event) => this.#key(event));
    }

    /** Start anew; classes in `without` aren't offered. */
    async open(without) {
      Object.assign(this, { without, found: [], at: -1 });
      this.input.value = "";
      this.told.textContent = "Loading the classes…";
      this.list.replaceChildren();
      this.#expanded(false);
      try {
        this.all = (await this.classes.list()).length;
        this.search();
      } catch (error) {
        this.told.textContent = error.message;
      }
    }

    search() {
      if (!this.all) return;
      const text = this.input.value.trim();
      this.found = text ? this.classes.find(text, this.without) : [];
      this.list.replaceChildren(
        ...this.found.map(([id, name], at) =>
          element(
            "li",
            { id: `class-${at}`, role: "option", "aria-selected": "false", click: () => this.#take(at) },
            element("bdi", { text: seen(name, 200) }),
            name === id ? null : element("bdi", { class: "mono muted", text: seen(id, 60) }),
          ),
        ),
      );
      this.told.textContent = text
        ? this.found.length
          ? `${this.found.length >= 50 ? "First 50" : this.found.length} found`
          : "No other class has this in its name."
        : `${this.all.toLocaleString("en")} classes`;
      this.#expanded(this.found.length > 0);
      this.#move(this.found.length ? 0 : -1);
    }

    #expanded(yes) {
      this.input.setAttribute("aria-expanded", String(yes));
      this.list.hidden = !yes;
    }

    #move(at) {
      this.list.children[this.at]?.setAttribute("aria-selected", "false");
      this.at = at;
      const option = this.list.children[at];
      option?.setAttribute("aria-selected", "true");
      option?.scrollIntoView({ block: "nearest" });
      if (option) this.input.setAttribute("aria-activedescendant", option.id);
      else this.input.removeAttribute("aria-activedescendant");
    }

    #key(event) {
      const last = this.found.length - 1;
      const to = {
        ArrowDown: this.at >= last ? 0 : this.at + 1,
        ArrowUp: this.at <= 0 ? last : this.at - 1,
        PageDown: Math.min(last, this.at + 8),
        PageUp: Math.max(0, this.at - 8),
      }[event.key];
      if (to !== undefined && last >= 0) this.#move(to);
      else if (event.key === "Enter" && !event.isComposing) (this.search(), this.#take(this.at));
      else return;
      event.preventDefault();
    }

    #take(at) {
      if (this.found[at]) this.chosen(...this.found[at]);
    }
  }

  Object.assign(Variorum, { ClassBox });
}
