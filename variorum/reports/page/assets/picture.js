/* The picture of a record, as large as there is room: under a wipe with its original, with mask and boxes, to zoom. */
{
  const { element, seen, Stage, Compare, absence, badge, verdict } = Variorum;
  const ALIKE = 0.03; // by which the shapes of two pictures under a wipe may differ
  const SWIPE = 60; // pixels that a finger moves to go to another picture
  const OBJECTS = 300; // boxes that are drawn

  /** Where a record's pictures stand: `step(by)` goes to a neighbour, `say` tells what happened. */
  class RecordPicture {
    constructor({ data, thumbnails, larger, masks, step, say }) {
      Object.assign(this, { data, thumbnails, larger, masks });
      this.stage = new Stage({ say, layers: Compare });
      this.compare = this.stage.layers;
      this.compare.onWay = () => this.#draw(true);
      this.none = element("p", { class: "picture absent", hidden: true });
      this.element = this.stage.element;
      this.small = element("p", {
        class: "small-version",
        hidden: true,
        text: "A small version. --most 800 or --pictures gives larger ones.",
      });
      this.element.prepend(this.none, this.small);
      this.#swipes(step);
    }

    /** Show a row with what its record and that of its original say: null as long as they aren't there. */
    async show(row, record, blurred, original = null) {
      const { data } = this;
      const own = data.diff ? 2 * row + 1 : row;
      const other = data.diff ? 2 * row : data.original(row) === row ? -1 : data.original(row);
      const asked = (this.asked = Symbol()); // meanwhile another row may be shown
      const names = data.diff
        ? ["before", "after"].map((side) => [data.side(side, row), data.text(side, row)].filter(Boolean).join(": "))
        : [
            data.text("kept instead", row) ? "kept instead" : "original",
            [data.text("variant", row) || "picture", badge(verdict(data, row)).replace(/^\W+/, "")]
              .filter(Boolean)
              .join(", "),
          ];
      const sides = data.diff ? [record?.before, record?.after] : [original, record];
      let [second, first] = await Promise.all([
        this.#picture(other, sides[0], data.diff ? row : other),
        this.#picture(own, sides[1], row),
      ]);
      if (this.asked !== asked) return;
      if (data.diff && !first) [first, second, names[1]] = [second, null, names[0]]; // it isn't there any more
      this.none.hidden = Boolean(first);
      this.none.dataset.why = absence(data, row);
      const keep = this.row === row; // the record has come: the zoom stays
      Object.assign(this, { row, first, second, names, blurred: this.blurred && keep ? this.stage.hidden : blurred });
      this.#draw(keep);
    }

    #draw(keep) {
      const { first, second, names } = this;
      const fits =
        Boolean(first && second) && Math.abs((first.width * second.height) / (first.height * second.width) - 1) < ALIKE;
      const task = { picture: first ?? { objects: [] }, other: second, fits, names };
      this.compare.task = task;
      const shown = first ? [[first, names[1], names[1]]] : [];
      if (second && this.compare.shown === "beside") shown.push([second, names[0], names[0]]);
      if (!first) this.compare.handle.hidden = true;
      this.stage.show(shown, { blurred: Boolean(this.blurred), task, keep });
      this.stage.tools.hidden = !first;
      this.small.hidden = !first?.small;
    }

    /** A picture as the stage takes it; null where there is none. Boxes are scaled to the size at which it is shown. */
    async #picture(index, record, row) {
      if (index < 0) return null;
      const large = this.larger.url(index) || (await this.#beside(record));
      const url = large || this.thumbnails.url(index);
      if (!url) return null;
      const known = ["width", "height"].map((name) =>
        Number(record?.[name] ?? this.data.columns.get(name)?.numbers[row]),
      );
      const [width, height] = known.every((side) => side > 0) ? known : await natural(url);
      const { thumbnail, warning } = this.data.facts; // over a picture that is blurred for good, boxes would tell of it
      const objects = !warning && Array.isArray(record?.annotations?.objects) ? record.annotations.objects : [];
      const boxes = objects
        .slice(0, OBJECTS)
        .filter(({ bbox }) => Array.isArray(bbox) && bbox.length === 4 && bbox.every(Number.isFinite))
        .map(({ bbox, label }) => ({ box: bbox, name: seen(String(label ?? ""), 40) }));
      const small = !large && !warning && Math.max(width, height) > 1.5 * thumbnail;
      return { url, small, blurred: url, width, height, mask: this.masks.url(index) || null, objects: boxes };
    }

    /** The larger version that lies beside the page, named by the picture's hash; empty if it isn't there. */
    async #beside(record) {
      const { beside, warning, thumbnail } = this.data.facts;
      if (
        !beside ||
        Math.max(record?.width, record?.height) <= thumbnail ||
        warning ||
        !/^[0-9a-f]{64}$/.test(record?.sha256)
      )
        return "";
      const url = `./${encodeURIComponent(beside)}/${record.sha256.slice(0, 16)}.webp`;
      return (await natural(url, 0))[0] ? url : "";
    }

    #swipes(step) {
      let start = null;
      const { row } = this.stage;
      row.addEventListener("pointerdown", (event) => {
        const alone = event.pointerType === "touch" && !this.stage.zoomed && event.isPrimary;
        start = alone && !event.target.closest(".handle, button") ? [event.clientX, event.clientY] : null;
      });
      row.addEventListener("pointerup", (event) => {
        if (!start || !event.isPrimary) return;
        const [dx, dy] = [event.clientX - start[0], event.clientY - start[1]];
        start = null;
        if (Math.abs(dx) > SWIPE && Math.abs(dx) > 2 * Math.abs(dy)) step(dx < 0 ? 1 : -1);
      });
    }
  }

  /** Width and height of a picture; `none` if it can't be shown. */
  async function natural(url, none = 256) {
    const image = new Image();
    image.src = url;
    await image.decode().catch(() => {});
    return [image.naturalWidth || none, image.naturalHeight || none];
  }

  Object.assign(Variorum, { RecordPicture });
}
