/* The page: joins the panel, starts modes, gives them what they share, and sends keys to them.
 *
 * What a mode is, and what `app` offers it, is told in modes.js. */
{
  const {
    modes,
    element,
    Server,
    Shelf,
    Outbox,
    Held,
    Answered,
    Preload,
    Queue,
    tabOf,
    Classes,
    Draft,
    Saved,
    makeVote,
    joinForm,
    waitingRoom,
    showPanel,
    showProgress,
    showModes,
    showKinds,
    showNotice,
    fillHelp,
    themeButton,
  } = Variorum;
  const at = (id) => document.getElementById(id);
  const INVITED = "This review is for invited people. Open the link that the organiser has made for you.";
  const UNDO = 30; // casts that can be taken back
  const shelf = new Shelf(() => localStorage);
  const session = new Shelf(() => sessionStorage);
  const tab = tabOf(session);
  const saved = new Saved();
  const server = new Server({ reached });
  const root = at("work");
  let outbox = null;
  let mode = null; // the one that is open
  let warned = ""; // what the server said of the last answers; once closed, it isn't shown again as long as it holds
  let casts = []; // what can be taken back: {votes, undo}

  const app = {
    server,
    shelf,
    session,
    say,
    notice: showNotice,
    progressed,
    vote: makeVote,
    cast,
    takeBack,
    skip: ({ task }) => outbox.skip(task),
    forget: () => remember([]),
    unsent: () => outbox.size,
    queue: (options) => {
      const { held, answered, preload, owner } = app;
      const begun = (task) => Draft.begun(task, shelf, owner);
      const veiled = ({ kind, veiled }) => veiled || (app.me.panel.kinds[kind]?.veiled ?? true);
      const shared = { server, session, held, answered, preload, outbox, owner, begun, veiled };
      return new Queue({ ...shared, onProgress: progressed, ...options });
    },
  };

  function reached(yes) {
    saved.show(outbox?.size ?? 0, yes);
    say(yes ? "The connection is back." : "The connection is lost. Your answers are kept and sent later.");
  }

  function say(text) {
    const node = at("said");
    node.textContent = node.textContent === text ? `${text}\u00a0` : text; // the same again is read again
  }

  function progressed(progress) {
    app.me.progress = progress;
    showProgress(progress);
  }

  function remember(list) {
    casts = list.slice(-UNDO);
    const kept = casts.map(({ votes, questions }) => ({
      votes: votes.map(({ vote, task }) => ({ vote, task })),
      questions,
    }));
    session.set(`variorum:${app.owner}:casts`, kept);
  }

  /** Questions that votes answer. One about a problem answers all of its task's. */
  function questionsOf(votes, task) {
    const whole = task && votes.some(({ kind }) => kind === "problem");
    return [...votes, ...(whole ? task.questions : [])].map(({ question }) => question).filter(Boolean);
  }

  function cast(votes, { task, undo } = {}) {
    const questions = questionsOf(votes, task);
    app.answered.mark(questions, true);
    remember([...casts, { votes, questions, undo }]);
    return outbox.votes(votes);
  }

  /** Take the last cast back, and show its task again where it is still known. */
  function takeBack() {
    const last = casts.at(-1);
    if (!last) return (say("There is nothing to take back."), null);
    remember(casts.slice(0, -1));
    app.answered.mark(last.questions, false);
    outbox.withdraw(last.votes);
    last.undo?.();
    say(
      last.undo ? "The last answers were taken back." : "The last answers were taken back; their question comes again.",
    );
    return last.votes;
  }

  function refused(sentence, vote) {
    if (vote === null)
      enter(sentence); // the cookie isn't valid any more
    else showNotice(`An answer wasn't kept: ${sentence}`);
  }

  /** Ask who the person is; if the server doesn't know, show the form to join. */
  async function who(message) {
    for (;;) {
      try {
        return await server.get("/api/me");
      } catch (error) {
        if (error.status !== 401) throw error;
        if (error.told.waiting) await waitingRoom(root, error.told);
        else if (error.told.invited) throw new Error(INVITED);
        else await joinForm(server, root, { ...error.told, message });
      }
    }
  }

  /** Start with the person whom the server knows. */
  async function enter(message = "") {
    mode?.stop();
    mode = null;
    at("modes").hidden = at("counts").hidden = true;
    try {
      app.me = await who(message);
    } catch (error) {
      return root.replaceChildren(element("p", { class: "empty", text: error.message }));
    }
    const { panel, reviewer, csrf } = app.me;
    Object.assign(server, { csrf, reviewer });
    app.owner = `${panel.edition}/${panel.name}:${reviewer}`;
    app.blurred = Boolean(panel.blur);
    app.preload = new Preload();
    app.classes = new Classes(server, new Preload(120), app.blurred);
    app.held = new Held(shelf, await tab, app.owner);
    app.answered = new Answered(shelf, app.owner);
    app.kind = session.get("variorum:kind") ?? undefined;
    if (!(app.kind in panel.kinds)) app.kind = undefined;
    outbox?.close();
    outbox = new Outbox(server, app.owner, shelf, {
      changed: (number) => saved.show(number, server.online),
      kept: ({ progress, warning = "" }) => {
        if (progress) progressed(progress);
        if (warning && warning !== warned) showNotice(warning);
        warned = warning;
      },
      refused,
    });
    casts = session.get(`variorum:${app.owner}:casts`) ?? [];
    Draft.tidy(shelf, app.owner);
    showPanel(app.me);
    showProgress(app.me.progress);
    if (panel.paused) showNotice("The review is paused: answers aren't accepted for now.");
    showKinds(panel.kinds, app.kind, (kind) => {
      app.kind = kind;
      session.set("variorum:kind", kind ?? null);
      open();
    });
    outbox.send();
    setTimeout(() => app.classes.list().catch(() => {}), 1500); // so that a label can be typed in at once
    return open();
  }

  /** Open the mode that the address names. */
  async function open() {
    const offered = modes.filter((one) => one.offered?.(app.me) ?? true);
    const wanted = location.hash.slice(1) || session.get("variorum:mode");
    mode?.stop();
    mode = offered.find((one) => one.name === wanted) ?? offered[0];
    session.set("variorum:mode", mode.name);
    if (location.hash !== `#${mode.name}`) history.replaceState(null, "", `#${mode.name}`);
    showModes(offered, mode.name);
    const place = element("div", { class: `mode mode-${mode.name}` });
    root.replaceChildren(place);
    remember(casts.map(({ votes, questions }) => ({ votes, questions }))); // another mode can't show their tasks again
    fillHelp(at("help"), mode, app.me.panel.kinds);
    try {
      await mode.start(place, app);
    } catch (error) {
      if (error.status === 401) enter(error.message);
      else showNotice(error.message);
    }
  }

  function keys(event) {
    if (event.altKey || event.metaKey || event.defaultPrevented || !mode) return;
    if (document.querySelector("dialog[open]")) return;
    const { key, target } = event;
    if (target.matches("input:not([type=checkbox], [type=range]), textarea, select")) {
      if (key === "Escape") target.blur();
      return;
    }
    // a button, link or box that has the focus takes Enter and space itself
    if ((key === "Enter" || key === " ") && target.closest("button, a, summary, [type=checkbox]")) return;
    if (key === "?") at("help").showModal();
    else if (mode.key?.(event)) event.preventDefault();
    else if (key === "z" && !event.ctrlKey) (event.preventDefault(), (mode.undo ?? takeBack)());
    else return;
    event.preventDefault();
  }

  function listen() {
    document.addEventListener("keydown", keys);
    addEventListener("hashchange", () => app.me && open());
    addEventListener("online", () => outbox?.send());
    addEventListener("pagehide", () => app.held?.mine([])); // a reload takes them up again
    addEventListener("pageshow", (event) => event.persisted && outbox?.send());
    at("help-button").addEventListener("click", () => at("help").showModal());
    at("help").addEventListener("click", (event) => event.target === at("help") && at("help").close());
    document.querySelector(".skip").addEventListener("click", (event) => (event.preventDefault(), root.focus()));
    const theme = shelf.get("variorum:theme");
    if (theme) document.documentElement.dataset.theme = theme;
    themeButton(() => {
      const { theme: chosen } = document.documentElement.dataset;
      if (chosen) shelf.set("variorum:theme", chosen);
    });
  }

  listen();
  enter();
  Object.assign(Variorum, { app });
}
