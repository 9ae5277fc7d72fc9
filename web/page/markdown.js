/** Markdown that grows while it is generated. */

import DOMPurify from "./vendor/dompurify.js";
import { marked } from "./vendor/marked.js";
import { make, makeButton } from "./dom.js";

const COPIED_MS = 1500;
// the lines of a poem stay lines
const OPTIONS = { gfm: true, breaks: true };

// No images: the address of one could carry the conversation to a stranger.
const SANITIZE = {
  RETURN_DOM_FRAGMENT: /** @type {const} */ (true),
  USE_PROFILES: { html: true },
  FORBID_TAGS: ["img", "picture", "video", "audio", "style", "form", "button", "textarea"],
  FORBID_ATTR: ["style", "id", "name"],
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer");
  }
});

/** Shows a text as Markdown; `update` changes only the blocks that changed, usually the last. */
export class MarkdownView {
  #container;
  /** @type {string[]} */
  #sources = [];

  /** @param {HTMLElement} container */
  constructor(container) {
    this.#container = container;
    container.classList.add("markdown");
  }

  /** @param {string} text  the whole text */
  update(text) {
    const tokens = marked.lexer(text, OPTIONS);
    tokens.forEach((token, index) => {
      if (this.#sources[index] === token.raw) return;
      this.#sources[index] = token.raw;
      const block = this.#container.children[index] ?? this.#container.appendChild(make("div", ""));
      block.replaceChildren(sanitized(marked.parser([token], OPTIONS)));
      for (const code of block.querySelectorAll("pre > code")) decorate(code);
    });
    this.#sources.length = tokens.length;
    while (this.#container.children.length > tokens.length) this.#container.lastChild?.remove();
  }
}

/** @param {string} html */
function sanitized(html) {
  return DOMPurify.sanitize(html, SANITIZE);
}

/**
 * Give a block of code a head with its language and a button that copies it.
 *
 * @param {Element} code
 */
function decorate(code) {
  const language = /language-(\S+)/.exec(code.className)?.[1] ?? "text";
  const copy = makeButton("quiet", "Copy", () => void copyText(code.textContent ?? "", copy));
  copy.setAttribute("aria-label", `Copy this ${language}`);
  const head = make("div", "code-head", make("span", "", language), copy);
  const pre = /** @type {HTMLElement} */ (code.parentElement);
  pre.tabIndex = 0; // so that the keyboard can scroll it
  const block = make("div", "code");
  pre.replaceWith(block);
  block.append(head, pre);
}

/**
 * Copy a text to the clipboard, and say so on the button that was clicked.
 *
 * @param {string} text
 * @param {HTMLButtonElement} button
 */
export async function copyText(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => (button.textContent = label), COPIED_MS);
}
