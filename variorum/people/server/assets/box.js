/* A box that can be moved and resized: by its edges and corners, and by arrow keys. */
{
  const { drawn, layer } = Variorum;
  const LEAST = 2; // pixels of the picture that a box keeps
  const HANDLE = 9; // half of a handle's side, in pixels of the screen
  // Which edges a handle moves: left, top, right, bottom.
  const HANDLES = [
    ["nw-resize", [1, 1, 0, 0]],
    ["n-resize", [0, 1, 0, 0]],
    ["ne-resize", [0, 1, 1, 0]],
    ["e-resize", [0, 0, 1, 0]],
    ["se-resize", [0, 0, 1, 1]],
    ["s-resize", [0, 0, 0, 1]],
    ["sw-resize", [1, 0, 0, 1]],
    ["w-resize", [1, 0, 0, 0]],
  ];

  const between = (low, value, high) => Math.min(high, Math.max(low, value));

  /** Boxes of a task on its picture; the current one can be changed. `changed(box)` gets the new one. */
  class BoxEditor {
    constructor(stage, changed) {
      Object.assign(this, { stage, changed, box: null });
      stage.layers.placed = () => this.draw();
    }

    /** The task has no boxes to change. */
    clear() {
      this.box = this.line = null;
    }

    /** Show the boxes of lines; `line` is the current one. */
    show(lines, line) {
      this.others = lines.filter((one) => one !== line && one.asked).map((one) => one.box || one.asked);
      this.line = line?.asked ? line : null;
      this.box = line?.asked ? [...(line.box || line.asked)] : null;
      this.draw();
    }

    draw() {
      const [pane] = this.stage.panes;
      if (!pane?.scale || !this.box) return;
      const { boxes } = pane;
      const others = this.others.map((box) => layer.rectangle(box, { class: "faint" }));
      const was = this.line.box ? [layer.rectangle(this.line.asked, { class: "former" })] : [];
      const handles = HANDLES.map(([cursor, edges], at) => this.#handle(pane, cursor, edges, at));
      boxes.replaceChildren(...others, ...was, layer.rectangle(this.box), ...handles);
    }

    #handle(pane, cursor, edges, at) {
      const [left, top, width, height] = this.box;
      const x = left + (edges[0] ? 0 : edges[2] ? width : width / 2);
      const y = top + (edges[1] ? 0 : edges[3] ? height : height / 2);
      const half = HANDLE / pane.scale;
      const node = drawn("rect", { class: "handle", x: x - half, y: y - half, width: 2 * half, height: 2 * half });
      node.append(drawn("title", { text: "Drag to change the box" }));
      node.style.cursor = cursor;
      node.dataset.at = String(at);
      node.addEventListener("pointerdown", (event) => this.#drag(event, pane, edges));
      return node;
    }

    #drag(event, pane, edges) {
      if (event.button > 0) return;
      event.preventDefault();
      event.stopPropagation();
      const start = pane.at(event.clientX, event.clientY);
      const before = this.box;
      const move = (moved) => {
        if (moved.pointerId !== event.pointerId) return;
        const [x, y] = pane.at(moved.clientX, moved.clientY);
        this.#edges(before, edges, x - start[0], y - start[1]);
        this.draw();
      };
      const end = (ended) => {
        if (ended.pointerId !== event.pointerId) return;
        removeEventListener("pointermove", move);
        removeEventListener("pointerup", end);
        removeEventListener("pointercancel", end);
        this.changed(this.box);
      };
      addEventListener("pointermove", move);
      addEventListener("pointerup", end);
      addEventListener("pointercancel", end);
    }

    #edges([left, top, width, height], [l, t, r, b], dx, dy) {
      const { width: wide, height: high } = this.stage.panes[0].picture;
      let [right, bottom] = [left + width, top + height];
      if (l) left = between(0, left + dx, right - LEAST);
      if (t) top = between(0, top + dy, bottom - LEAST);
      if (r) right = between(left + LEAST, right + dx, wide);
      if (b) bottom = between(top + LEAST, bottom + dy, high);
      this.box = [left, top, right - left, bottom - top].map((value) => Math.round(value * 10) / 10);
    }

    /** Arrows move the box, with Shift its right and lower edges, with Ctrl ten times as far. */
    key({ key, shiftKey, ctrlKey }) {
      if (!this.box) return false;
      const { width, height } = this.stage.panes[0].picture;
      const step = Math.max(1, Math.round(Math.max(width, height) / 400)) * (ctrlKey ? 10 : 1);
      const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[key];
      if (!by) return false;
      const [left, top, wide, high] = this.box;
      if (shiftKey) this.#edges(this.box, [0, 0, 1, 1], ...by);
      else {
        const x = between(0, left + by[0], width - wide);
        this.box = [x, between(0, top + by[1], height - high), wide, high];
      }
      this.changed(this.box);
      return true;
    }
  }

  Object.assign(Variorum, { BoxEditor });
}
