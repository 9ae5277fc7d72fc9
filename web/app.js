/** The page: choose a model, load it, talk to it. */

import { Conversation, describe } from "./chat.js";
import { LoadView, megabytes } from "./loading.js";
import { OxiLlama, OxiLlamaError } from "./oxillama.js";
import { Settings } from "./settings.js";

/** @import { Source } from "./oxillama.js" */

/** @type {OxiLlama | null} */
let llm = null;
/** @type {Conversation | null} */
let conversation = null;
/** @type {AbortController | null} */
let loading = null;

const log = element("log", HTMLElement);
const prompt = element("prompt", HTMLTextAreaElement);
const settings = new Settings(element("fields", HTMLElement));
const settingsDialog = element("settings", HTMLDialogElement);

connectStart();
connectChat();
connectSettings();
void offerBundledModels();

OxiLlama.prepare();
const requested = new URLSearchParams(location.search).get("model");
if (requested !== null) void load(requested, fileName(requested));

/**
 * @param {Source} model
 * @param {string} name
 */
async function load(model, name) {
  if (loading !== null) return;
  loading = new AbortController();
  llm?.dispose();
  llm = null;
  showError("");
  show("loading", true);
  show("choices", false);
  element("cancel", HTMLElement).focus();
  const progress = new LoadView(
    element("progress", HTMLProgressElement),
    element("loading-title", HTMLElement),
    element("loading-detail", HTMLElement),
    name,
  );
  try {
    llm = await OxiLlama.load({
      model,
      signal: loading.signal,
      onProgress: (event) => progress.update(event),
    });
    conversation = new Conversation(llm, log);
    openChat(llm.info.name || name);
  } catch (error) {
    const stopped = error instanceof OxiLlamaError && error.code === "aborted";
    if (!stopped) showError(describe(error));
  } finally {
    loading = null;
    show("loading", false);
    show("choices", true);
  }
}

async function offerBundledModels() {
  let models;
  try {
    const response = await fetch("models/models.json");
    if (!response.ok) return;
    models = /** @type {{file: string, bytes: number}[]} */ (await response.json());
  } catch {
    return; // the page offers its other ways
  }
  const list = element("bundled-models", HTMLElement);
  for (const { file, bytes } of models) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(span("name", file.replace(/\.gguf$/i, "")), span("size", megabytes(bytes)));
    button.addEventListener("click", () => void load(`models/${encodeURIComponent(file)}`, file));
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
  }
  show("bundled", models.length > 0);
}

function connectStart() {
  const file = element("file", HTMLInputElement);
  file.addEventListener("change", () => {
    const chosen = file.files?.[0];
    file.value = "";
    if (chosen) void load(chosen, chosen.name);
  });

  const url = element("url", HTMLInputElement);
  element("url-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const address = url.value.trim();
    if (address === "") {
      showError("Write the web address of a GGUF file first.");
      url.focus();
    } else {
      void load(address, fileName(address));
    }
  });

  element("cancel", HTMLElement).addEventListener("click", () => loading?.abort());

  const drop = element("drop", HTMLElement);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) drop.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const dropped = event.dataTransfer?.files[0];
    if (dropped && document.body.dataset.view === "start") void load(dropped, dropped.name);
  });
}

function connectChat() {
  element("composer", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    void ask(prompt.value.trim());
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      void ask(prompt.value.trim());
    }
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !settingsDialog.open) conversation?.stop();
  });
  element("stop", HTMLElement).addEventListener("click", () => conversation?.stop());
  element("new-chat", HTMLElement).addEventListener("click", () => void newChat());
  element("change-model", HTMLElement).addEventListener("click", () => void openStart());
  element("ideas", HTMLElement).addEventListener("click", (event) => {
    const idea = event.target instanceof HTMLButtonElement ? event.target.textContent : null;
    if (idea) void ask(idea);
  });
}

function connectSettings() {
  element("open-settings", HTMLElement).addEventListener("click", () => settingsDialog.showModal());
  element("defaults", HTMLElement).addEventListener("click", () => settings.reset());
  settingsDialog.addEventListener("click", (event) => {
    if (event.target === settingsDialog) settingsDialog.close();
  });
}

/** @param {string} text */
async function ask(text) {
  if (text === "" || conversation === null || conversation.busy) return;
  prompt.value = "";
  show("empty", false);
  show("send", false);
  show("stop", true);
  prompt.focus();
  try {
    await conversation.send(text, settings.instructions(), settings.options());
  } finally {
    show("send", true);
    show("stop", false);
  }
}

async function newChat() {
  try {
    await conversation?.clear();
  } catch (error) {
    await openStart();
    showError(describe(error));
    return;
  }
  show("empty", true);
  prompt.focus();
}

/** @param {string} name */
function openChat(name) {
  document.body.dataset.view = "chat";
  for (const message of log.querySelectorAll(".message")) message.remove();
  show("empty", true);
  show("start", false);
  show("chat", true);
  show("new-chat", true);
  show("change-model", true);
  element("model-name", HTMLElement).textContent = name;
  prompt.focus();
}

async function openStart() {
  conversation = null;
  llm?.dispose();
  llm = null;
  OxiLlama.prepare();
  document.body.dataset.view = "start";
  show("chat", false);
  show("new-chat", false);
  show("change-model", false);
  show("start", true);
}

/** @param {string} message  "" takes the last one away */
function showError(message) {
  const notice = element("start-error", HTMLElement);
  notice.textContent = message;
  notice.hidden = message === "";
}

/**
 * @param {string} id
 * @param {boolean} visible
 */
function show(id, visible) {
  element(id, HTMLElement).hidden = !visible;
}

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * @param {string} className
 * @param {string} text
 */
function span(className, text) {
  const result = document.createElement("span");
  result.className = className;
  result.textContent = text;
  return result;
}

/** @param {string} url */
function fileName(url) {
  return url.split(/[?#]/)[0]?.split("/").pop() || url;
}
