"use strict";
/* The page's only name, and the few functions that every part uses: elements, texts of data, numbers, copying.
 *
 * Each part is a block that puts its functions and classes into `Variorum`, so that another page can take the parts
 * it needs. Whatever comes from data becomes a text node or an attribute's value, never markup. */
const Variorum = {};
{
  const SVG = "http://www.w3.org/2000/svg"; // a name, which no browser fetches

  function fill(node, properties, children) {
    for (const [key, value] of Object.entries(properties)) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "text") node.textContent = value;
      else if (typeof value === "function") node.addEventListener(key, value);
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  /** An element. Functions among the properties listen to the event of their name, `text` is its text. */
  function element(tag, properties = {}, ...children) {
    return fill(document.createElement(tag), properties, children);
  }

  /** The same for SVG. */
  function drawn(tag, properties = {}, ...children) {
    return fill(document.createElementNS(SVG, tag), properties, children);
  }

  // Control characters, marks that turn the direction of writing, and halves of surrogate pairs.
  const UNSEEN =
    /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]|[\ud800-\udfff]/gu;

  /** A text of data as people should see it: signs that are invisible, or move other signs, become visible. */
  function seen(text, longest = 2000) {
    const short = text.length > longest ? text.slice(0, longest) + "…" : text;
    return short.replace(UNSEEN, (sign) => {
      const code = sign.codePointAt(0);
      if (code === 10 || code === 9) return " ";
      return code < 32 ? String.fromCharCode(0x2400 + code) : `⟨${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
    });
  }

  /** A name that may break behind an underscore. */
  function breakable(name) {
    const parts = name.split(/(?<=_)/);
    return element("bdi", {}, ...parts.flatMap((part, at) => (at ? [element("wbr"), part] : [part])));
  }

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const exact = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

  /** A number for reading, with at most four significant digits after the integers. */
  function figure(value) {
    if (!Number.isFinite(value)) return "–";
    if (Number.isInteger(value)) return whole.format(value);
    const size = Math.abs(value);
    return size >= 1e6 || size < 1e-4 ? value.toExponential(2) : exact.format(value);
  }

  /** Put a text on the clipboard; true if that was allowed. */
  async function copy(text, beside = document.body) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = element("textarea", { class: "away", "aria-hidden": "true", tabindex: "-1" });
      area.value = text;
      const focused = document.activeElement;
      beside.append(area); // inside an open dialog, because nothing outside it can be selected
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      focused?.focus();
      return done;
    }
  }

  /** A button that copies, and says for a moment whether it did. */
  function copyButton(label, text, properties = {}) {
    const button = element("button", { type: "button", ...properties, text: label });
    button.addEventListener("click", async () => {
      button.textContent = (await copy(text(), button.parentElement)) ? "Copied" : "Copying isn't allowed here";
      setTimeout(() => (button.textContent = label), 1500);
    });
    return button;
  }

  /** A function that runs once in the next frame, however often it is called before. */
  function once(work) {
    let asked = 0;
    return () => {
      if (!asked) asked = requestAnimationFrame(() => ((asked = 0), work()));
    };
  }

  Object.assign(Variorum, { element, drawn, seen, breakable, figure, copy, copyButton, once });
}
