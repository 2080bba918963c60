/* What surrounds the questions: joining, the head with progress, modes, messages, and whether all is saved. */
{
  const { element, seen, figure, pause } = Variorum;
  const at = (id) => document.getElementById(id);
  const ASK_AGAIN = 4; // seconds until somebody who waits asks whether they are in
  const PACED = 10; // answers from which on a pace is shown

  /** The form to join a panel. The promise is kept when the server knows the person. */
  function joinForm(server, root, { key, title, warning, message = "" }) {
    return new Promise((done) => {
      at("title").textContent = seen(title || "Review", 200);
      const field = (name, label, more) => [
        element("label", { for: `join-${name}`, text: label }),
        element("input", { id: `join-${name}`, name, required: true, maxlength: "200", ...more }),
      ];
      const told = element("p", { class: "told", role: "alert", text: message, hidden: !message });
      const button = element("button", { type: "submit", class: "primary", text: "Join" });
      const form = element(
        "form",
        { class: "join" },
        element("h2", { text: "Join the review" }),
        element("p", {
          class: "muted",
          text: "Your answers are kept under this name. Others see them in the discussion, once a question has all its votes.",
        }),
        warning
          ? element(
              "p",
              {},
              element("strong", { text: "Content warning: " }),
              element("bdi", { text: seen(warning, 500) }),
              " Pictures are blurred until you ask to see them.",
            )
          : null,
        ...field("name", "Your name", { type: "text", autocomplete: "nickname", spellcheck: "false" }),
        ...(key ? field("key", "Key of the review", { type: "password", autocomplete: "off" }) : []),
        told,
        button,
      );
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        button.disabled = true;
        told.hidden = true;
        const given = { name: form.elements.name.value.trim() };
        if (key) given.key = form.elements.key.value.trim();
        try {
          await server.post("/join", given, { once: true });
          form.remove();
          done();
        } catch (error) {
          told.textContent = error.message;
          told.hidden = false;
        } finally {
          button.disabled = false;
        }
      });
      root.replaceChildren(form);
      form.elements.name.focus();
    });
  }

  /** What somebody sees who has joined and has to be confirmed; the promise is kept when it is time to ask again. */
  function waitingRoom(root, { title, waiting }) {
    at("title").textContent = seen(title || "Review", 200);
    const text = `You have joined as ${seen(waiting, 100)}. The organiser lets you in; this page then goes on by itself.`;
    if (root.firstChild?.textContent !== text)
      root.replaceChildren(element("p", { class: "empty", role: "status", text }));
    return pause(ASK_AGAIN);
  }

  /** The panel's title and edition. */
  function showPanel({ panel, reviewer }) {
    const title = seen(panel.title || panel.edition, 200);
    at("title").textContent = title;
    document.title = `${title} – review`;
    const parts = [panel.title && panel.title !== panel.edition ? panel.edition : "", reviewer];
    at("subtitle").textContent = parts
      .filter(Boolean)
      .map((part) => seen(part, 100))
      .join(" · ");
    at("subtitle").hidden = false;
  }

  /** How far the person has come: answers, what is left, pace, agreement with others. */
  function showProgress({ answered, left, seconds_per_answer: pace, agreement }) {
    const item = (value, text, title) =>
      element("li", { title }, element("strong", { text: value }), " ", element("span", { text }));
    const items = [item(figure(answered), "answered", "Your answers")];
    if (Number.isFinite(left)) items.push(item(figure(left), "left", "Questions that are open for you"));
    if (Number.isFinite(pace) && answered >= PACED)
      items.push(item(pace < 1 ? "< 1 s" : `${Math.round(pace)} s`, "each", "Seconds per answer, lately"));
    if (Number.isFinite(agreement) && agreement !== null)
      items.push(
        item(`${Math.round(100 * agreement)} %`, "agreement", "With others, on questions that have all their votes"),
      );
    at("counts").replaceChildren(...items);
    at("counts").hidden = false;
    const part = left > 0 ? answered / (answered + left) : answered ? 1 : 0;
    document.body.style.setProperty("--done", String(part));
  }

  /** Links to the modes; the address tells which one is open, so that the back button goes to the last one. */
  function showModes(modes, name) {
    at("modes").hidden = false;
    at("modes")
      .querySelector("ul")
      .replaceChildren(
        ...modes.map((mode) =>
          element(
            "li",
            {},
            element("a", {
              href: `#${mode.name}`,
              "aria-current": mode.name === name ? "page" : null,
              text: mode.title,
            }),
          ),
        ),
      );
  }

  /** Choice of a kind of questions, where the panel has several. */
  function showKinds(kinds, chosen, choose) {
    const select = at("kind").querySelector("select");
    const names = Object.keys(kinds);
    at("kind").hidden = names.length < 2;
    select.replaceChildren(
      element("option", { value: "", text: "all" }),
      ...names.map((name) => element("option", { value: name, text: seen(kinds[name].title || name, 60) })),
    );
    select.value = chosen ?? "";
    select.addEventListener("change", () => (choose(select.value || undefined), select.blur()));
  }

  /** Whether the server has everything. Nothing is said while a vote is on its way for less than a second. */
  class Saved {
    constructor() {
      this.node = at("saved");
    }

    show(waiting, online) {
      clearTimeout(this.timer);
      if (!waiting && online) return this.#set("", "");
      if (!online) this.#set("lost", waiting ? `Not saved yet (${waiting})` : "No connection");
      else this.timer = setTimeout(() => this.#set("waiting", `Not saved yet (${waiting})`), 1000);
    }

    #set(state, text) {
      this.node.dataset.state = state;
      this.node.textContent = text;
      this.node.hidden = !text;
      this.node.title = text ? "Your answers wait in this browser and are sent as soon as the server is there." : "";
    }
  }

  /** A message that stays until it is closed. The same one isn't shown twice. */
  function showNotice(text) {
    const list = at("notices");
    const shown = [...list.children].find((item) => item.dataset.text === text);
    if (shown) return;
    const item = element(
      "li",
      { role: "alert" },
      element("span", { text: seen(text, 500) }),
      element("button", {
        type: "button",
        class: "quiet icon",
        "aria-label": "Close this message",
        text: "✕",
        click: () => (item.remove(), (list.hidden = !list.firstChild)),
      }),
    );
    item.dataset.text = text;
    list.append(item);
    list.hidden = false;
    if (list.childElementCount > 3) list.firstChild.remove();
  }

  Object.assign(Variorum, { joinForm, waitingRoom, showPanel, showProgress, showModes, showKinds, showNotice, Saved });
}
