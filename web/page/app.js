/** The page: choose a model, load it, and chat with it. */

import { isolatePage } from "../isolation.js";
import { OxiLlama, OxiLlamaError } from "../oxillama.js";
import { Chat, describe } from "./chat.js";
import { ConversationList, ConversationStore, toMarkdown } from "./conversations.js";
import { element, saveFile, show } from "./dom.js";
import { SnapshotKeeper, SnapshotStore } from "./kv_snapshots.js";
import { LoadView } from "./loading.js";
import {
  fileName,
  modelTitle,
  showBundledModels,
  showKeptModels,
  showKnownModels,
} from "./models.js";
import { keepPage } from "./offline.js";
import { Settings } from "./settings.js";
import { StatsBar } from "./stats.js";

/** @import { Source } from "../oxillama.js" */

/** How long after a model was loaded the page saves itself for visits without a network. */
const SETTLED_MS = 3_000;
/** How long a model may take to save its conversation before it is disposed of. */
const LEAVE_MS = 2_000;

const ENCODER =
  "This model compares texts, and cannot write any. Choose another one to chat with.";

/** The parts of the page that are visible only while a model is loaded. */
const CHAT_PARTS = ["chat", "new-chat", "change-model", "toggle-sidebar", "sidebar"];

/** @type {OxiLlama | null} */
let llm = null;
/** @type {Chat | null} */
let chat = null;
/** @type {SnapshotKeeper | null} */
let keeper = null;
/** @type {AbortController | null} */
let loading = null;

const log = element("log", HTMLElement);
const prompt = element("prompt", HTMLTextAreaElement);
const sidebarButton = element("toggle-sidebar", HTMLButtonElement);
/** The list of conversations then covers the chat. */
const narrow = matchMedia("(max-width: 900px)");
const settings = new Settings(element("fields", HTMLElement));
const settingsDialog = element("settings", HTMLDialogElement);
const stats = new StatsBar();
const snapshots = new SnapshotStore();
const store = new ConversationStore(
  () => snapshots.clear(),
  () => show("memory-only", true),
);
const list = new ConversationList(
  element("conversations", HTMLElement),
  store,
  (id) => void openConversation(id),
  (id) => void afterRemoval(id),
);
addEventListener("visibilitychange", () => {
  if (document.hidden) void keeper?.saveNow(); // there may be no time later
});

// <meta name="oxillama-isolation" content="off"> leaves the page as its host serves it
const isolation = document.querySelector("meta[name=oxillama-isolation]");
const isolates = isolation?.getAttribute("content") !== "off";
if (isolates) await isolatePage();

connectStart();
connectChat();
connectSidebar();
connectSettings();
showKnownModels((url, name) => void load(url, name));
void showBundledModels((url, name) => void load(url, name));
void showKeptModels((url, name) => void load(url, name));

OxiLlama.prepare();
const requested = new URLSearchParams(location.search).get("model");
if (requested !== null) void load(requested, fileName(requested));

/** @param {File[]} files  of one model; if there are several, their names give the order */
function loadFiles(files) {
  const [first, ...others] = files.sort((a, b) => (a.name < b.name ? -1 : 1));
  if (first !== undefined) void load(others.length > 0 ? files : first, first.name);
}

/**
 * @param {Source | Source[]} model
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
      ...settings.loadOptions(),
      signal: loading.signal,
      onProgress: (event) => progress.update(event),
    });
    if (llm.info.isEncoder || llm.info.isReranker) {
      llm.dispose();
      llm = null;
      showError(ENCODER);
    } else {
      openChat(llm, modelTitle(name), typeof model === "string");
    }
  } catch (error) {
    const stopped = error instanceof OxiLlamaError && error.code === "aborted";
    if (!stopped) showError(describe(error));
  } finally {
    loading = null;
    show("loading", false);
    show("choices", true);
  }
}

function connectStart() {
  const file = element("file", HTMLInputElement);
  file.addEventListener("change", () => {
    const chosen = [...(file.files ?? [])];
    file.value = "";
    loadFiles(chosen);
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
    const dropped = [...(event.dataTransfer?.files ?? [])];
    if (document.body.dataset.view === "start") loadFiles(dropped);
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
    if (event.key === "Escape" && !settingsDialog.open) chat?.stop();
  });
  element("stop", HTMLElement).addEventListener("click", () => chat?.stop());
  element("new-chat", HTMLElement).addEventListener("click", () => void newChat());
  element("export", HTMLElement).addEventListener("click", exportConversation);
  element("change-model", HTMLElement).addEventListener("click", () => void openStart());
  element("ideas", HTMLElement).addEventListener("click", (event) => {
    const idea = event.target instanceof HTMLButtonElement ? event.target.textContent : null;
    if (idea) void ask(idea);
  });
}

function connectSidebar() {
  sidebarButton.addEventListener("click", () => {
    showSidebar(sidebarButton.getAttribute("aria-expanded") !== "true");
  });
  narrow.addEventListener("change", () => {
    if (chat !== null) showSidebar(!narrow.matches);
  });
}

function connectSettings() {
  element("open-settings", HTMLElement).addEventListener("click", () => {
    settingsDialog.showModal();
    settingsDialog.scrollTop = 0;
  });
  element("defaults", HTMLElement).addEventListener("click", () => settings.reset());
  settingsDialog.addEventListener("click", (event) => {
    if (event.target === settingsDialog) settingsDialog.close();
  });
}

/** @param {string} text */
async function ask(text) {
  if (text === "" || chat === null || chat.busy) return;
  prompt.value = "";
  const asked = chat;
  await whileAnswering(() => asked.send(text, settings.instructions(), settings.options()));
}

async function regenerate() {
  if (chat === null || chat.busy) return;
  const asked = chat;
  await whileAnswering(() => asked.regenerate(settings.options()));
}

/** @param {() => Promise<void>} answer */
async function whileAnswering(answer) {
  show("empty", false);
  show("send", false);
  show("stop", true);
  prompt.focus();
  try {
    await answer();
  } finally {
    show("send", true);
    show("stop", false);
  }
}

/** @param {string} text  of the message to rewrite */
function edit(text) {
  prompt.value = text;
  prompt.focus();
}

async function newChat() {
  try {
    await chat?.open();
  } catch (error) {
    await openStart();
    showError(describe(error));
    return;
  }
  afterOpening();
}

/** @param {string} id */
async function openConversation(id) {
  const conversation = await store.load(id);
  if (conversation === undefined || chat === null) return;
  await chat.open(conversation);
  afterOpening();
}

function afterOpening() {
  show("empty", chat?.conversation.messages.length === 0);
  if (narrow.matches) showSidebar(false);
  log.scrollTop = log.scrollHeight;
  void refreshList();
  prompt.focus();
}

/** @param {string} id */
async function afterRemoval(id) {
  keeper?.remove(id);
  if (chat?.conversation.id === id) await newChat();
  else await refreshList();
}

async function refreshList() {
  await list.refresh(chat?.conversation.id ?? "");
}

function exportConversation() {
  if (chat === null) return;
  const { conversation } = chat;
  const name = conversation.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  const content = new Blob([toMarkdown(conversation)], { type: "text/markdown" });
  saveFile(`${name || "conversation"}.md`, content);
}

/**
 * @param {OxiLlama} loaded
 * @param {string} name
 * @param {boolean} isKeepable  the model came from an address
 */
function openChat(loaded, name, isKeepable) {
  document.body.dataset.view = "chat";
  keeper = new SnapshotKeeper(loaded, snapshots, store);
  chat = new Chat(loaded, {
    log,
    store,
    snapshots: keeper,
    stats,
    onSaved: () => void refreshList(),
    onEdit: edit,
    onRegenerate: () => void regenerate(),
  });
  stats.open(loaded.info);
  show("start", false);
  for (const part of CHAT_PARTS) show(part, true);
  showSidebar(!narrow.matches);
  element("model-name", HTMLElement).textContent = name;
  const { stored, note } = loaded.info.cache;
  element("model-note", HTMLElement).textContent = describe(new Error(`the model is ${note}`));
  show("model-note", isKeepable && !stored);
  afterOpening();
  setTimeout(() => void keepPage(isolates), SETTLED_MS);
}

async function openStart() {
  const [left, model] = [chat, llm];
  chat = keeper = llm = null;
  OxiLlama.prepare();
  document.body.dataset.view = "start";
  for (const part of CHAT_PARTS) show(part, false);
  show("start", true);
  void showKeptModels((url, name) => void load(url, name));
  await Promise.race([left?.leave(), new Promise((resolve) => setTimeout(resolve, LEAVE_MS))]);
  model?.dispose();
}

/** @param {boolean} visible */
function showSidebar(visible) {
  sidebarButton.setAttribute("aria-expanded", String(visible));
  show("sidebar", visible);
}

/** @param {string} message  "" hides the last one */
function showError(message) {
  const notice = element("start-error", HTMLElement);
  notice.textContent = message;
  notice.hidden = message === "";
}
