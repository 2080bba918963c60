/* Pictures and records, taken out of the page's blocks when they are asked for.
 *
 * The browser is still reading the blocks when the app starts. A block is complete once something follows it. */
{
  const CHUNK = 100;

  function bytes(base64) {
    const text = atob(base64);
    const found = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at++) found[at] = text.charCodeAt(at);
    return found;
  }

  /** A map that drops the least recently used entry. */
  class Recent {
    constructor(most) {
      Object.assign(this, { most, kept: new Map() });
    }

    get(key, make) {
      let value = this.kept.get(key);
      if (value === undefined) value = make();
      else this.kept.delete(key);
      this.kept.set(key, value); // last is newest
      if (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value);
      return value;
    }
  }

  /** The page's data blocks. */
  class Blocks {
    constructor(root = document) {
      this.root = root;
      this.waiting = new Set();
      if (root.readyState !== "loading") return;
      const watch = new MutationObserver(() => this.#tell());
      watch.observe(root.body, { childList: true });
      root.addEventListener("DOMContentLoaded", () => (watch.disconnect(), this.#tell()));
    }

    /** Whether all of the page is there. */
    get complete() {
      return this.root.readyState !== "loading";
    }

    /** The text of a block; null if it isn't there, or not yet. */
    text(name) {
      const node = this.root.getElementById(name);
      return node && (node.nextSibling || this.complete) ? node.textContent : null;
    }

    /** A promise of the text of a block, once it is there; of null if the page has none. */
    async ready(name) {
      if (this.text(name) === null && !this.complete)
        await new Promise((done) => this.onMore(() => (this.text(name) !== null || this.complete) && done()));
      return this.text(name);
    }

    /** Call a function whenever more blocks have come. */
    onMore(work) {
      this.waiting.add(work);
    }

    #tell() {
      for (const work of this.waiting) work();
    }
  }

  /** Pictures of one kind by number: thumbnails, larger versions or masks.
   *
   * They are shown as data addresses. Blobs would have to be made and given back, and measured in Chromium they load
   * five times slower: each is asked of another process. The browser decodes what is shown, and forgets it by itself. */
  class Thumbnails {
    constructor(blocks, size = CHUNK, { name = "pictures", type = "image/webp", kept = 40 } = {}) {
      Object.assign(this, { blocks, name, type });
      this.size = size; // pictures per block
      this.lines = new Recent(kept); // blocks
      this.pending = new Map();
      blocks.onMore(() => this.#retry());
    }

    /** Show a picture in an `img` as soon as it is there. Its parent says whether there is none: class `absent`. */
    put(image, index) {
      this.pending.delete(image);
      const url = this.url(index);
      if (url) {
        image.src = url;
      } else {
        image.removeAttribute("src");
        if (url === null) this.pending.set(image, index);
      }
      image.parentElement?.classList.toggle("absent", url === "");
    }

    /** The address of a picture; empty if there is none, null if it hasn't come yet. */
    url(index) {
      const chunk = Math.floor(index / this.size);
      const lines = this.lines.kept.get(chunk) ?? this.#read(chunk);
      if (!lines) return this.blocks.complete ? "" : null;
      const line = lines[index % this.size];
      return line ? `data:${this.type};base64,${line}` : "";
    }

    #read(chunk) {
      const text = this.blocks.text(`${this.name}-${chunk}`);
      return text === null ? null : this.lines.get(chunk, () => text.slice(1).split("\n")); // a line end comes first
    }

    #retry() {
      for (const [image, index] of this.pending) {
        if (!image.isConnected) this.pending.delete(image);
        else if (this.url(index) !== null) this.put(image, index);
      }
    }
  }

  /** Records as JSON texts. */
  class Records {
    constructor(blocks) {
      this.blocks = blocks;
      this.chunks = new Recent(20);
    }

    /** A promise of the text of a row's record; of null if the page has none. */
    async text(row) {
      const chunk = Math.floor(row / CHUNK);
      const texts = await this.chunks.get(chunk, () => this.#unpack(chunk));
      return texts?.[row % CHUNK] ?? null;
    }

    async #unpack(chunk) {
      const text = await this.blocks.ready(`records-${chunk}`);
      if (text === null) return null;
      const packed = new Blob([bytes(text.trim())]).stream().pipeThrough(new DecompressionStream("gzip"));
      return JSON.parse(await new Response(packed).text());
    }
  }

  Object.assign(Variorum, { Blocks, Thumbnails, Records, Recent });
}
