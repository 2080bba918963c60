/* The modes of the page, such as pictures, one by one or the grid.
 *
 * A mode is an object, given to `Variorum.addMode` when its file is read:
 *
 *   name         in the address (`#grid`) and in storage
 *   title        what people read
 *   place        a number: modes are listed by it (picture 1, one by one 2, grid 3, discussion 4)
 *   offered      optional, a function of `app.me`: whether the panel has a use for it
 *   start        a function (root, app): fills the empty element `root`; may be asynchronous
 *   stop         a function: the mode ends; `root` is emptied afterwards
 *   key          a function of a keydown event outside of fields and dialogs: true if the mode has used it, and the
 *                page then prevents its default. `?` and, if there is no `undo`, `z` belong to the page.
 *   undo         optional, a function: takes back the last answers (key z). Without it the page takes back the last
 *                `app.cast` and says so
 *   keys         lines of the help: [[keys, what they do]…]; several keys with spaces between them, or a text with a
 *                comma
 *   common       optional: whether the keys for one picture are listed too
 *
 * `app` has
 *
 *   me           the answer of /api/me: panel, problems, categories, severities, reviewer, progress, discussion
 *   server       get(path), post(path, body): promises of JSON; they try again while the connection is lost.
 *                They throw a ServerError {status, message} on 4xx
 *   classes      the classes of the edition: `await list()` → [[id, name]…], `find(words)` → [[id, name]…],
 *                `await about(id)` → {id, name, definition, examples}
 *   queue        a function ({mode, number, kind, subject}): a Queue with `current`, `await start()`, `await next()`,
 *                `await more()` → tasks of the server that this tab doesn't hold yet
 *   kind         the kind of questions that the person has chosen, or undefined for all
 *   vote         a function (task, question, fields): a vote with a new id. `question` is one of the task's, or
 *                {kind?, subject} for what isn't among them; `fields` are answer, round, category, severity, reason,
 *                comment, box, seconds, replaces
 *   cast         a function (votes, {task, undo}): keep votes until the server has them, also over a reload. They can
 *                be taken back with `takeBack`; `undo`, if given, is called after that. The promise is kept when the
 *                server has them
 *   takeBack     a function: take back the last cast; returns what was cast, or null
 *   forget       a function: casts so far can't be taken back any more (another mode has started)
 *   unsent       a function: how many things the server doesn't have yet
 *   skip         a function (task): the task comes back later
 *   say          a function (text): a short message for the live region
 *   notice       a function (text): a message that stays until it is closed
 *   progressed   a function (progress): show another progress
 *   blurred      whether pictures are blurred until asked for */
{
  const modes = [];

  /** Add a mode to the page. */
  function addMode(mode) {
    modes.push(mode);
    modes.sort((one, other) => one.place - other.place);
  }

  Object.assign(Variorum, { modes, addMode });
}
