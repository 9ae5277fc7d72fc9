/** The conversation on the page: its messages, and the answer under way. */

import { OxiLlamaError } from "../oxillama.js";
import { AnswerView, userMessage } from "./answer.js";
import { newConversation, titleOf } from "./conversations.js";

/** @import { OxiLlama, GenerateOptions } from "../oxillama.js" */
/** @import { ChatMessage } from "../protocol.js" */
/** @import { Conversation, ConversationStore } from "./conversations.js" */
/** @import { MessageActions } from "./answer.js" */
/** @import { SnapshotKeeper } from "./kv_snapshots.js" */
/** @import { StatsBar } from "./stats.js" */

/**
 * @typedef {object} ChatParts
 * @property {HTMLElement} log
 * @property {ConversationStore} store
 * @property {SnapshotKeeper} snapshots
 * @property {StatsBar} stats
 * @property {() => void} onSaved
 * @property {(text: string) => void} onEdit  receives the text of the message to rewrite
 * @property {() => void} onRegenerate
 */

export class Chat {
  #llm;
  #parts;
  /** @type {Conversation} */
  #conversation = newConversation();
  /** @type {AbortController | null} */
  #abort = null;
  /** @type {Promise<void>} */
  #answering = Promise.resolve();
  /** Resolves when the model is at this conversation. */
  #opened = Promise.resolve();

  /**
   * @param {OxiLlama} llm
   * @param {ChatParts} parts
   */
  constructor(llm, parts) {
    this.#llm = llm;
    this.#parts = parts;
    this.#show();
  }

  get busy() {
    return this.#abort !== null;
  }

  get conversation() {
    return this.#conversation;
  }

  /**
   * Show the user's message and stream the model's answer to it. Errors are shown on the page.
   *
   * @param {string} text
   * @param {string} instructions
   * @param {GenerateOptions} options
   * @returns {Promise<void>}
   */
  send(text, instructions, options) {
    const messages = this.#conversation.messages;
    if (messages.length === 0 && instructions !== "") {
      messages.push({ role: "system", content: instructions });
    }
    messages.push({ role: "user", content: text });
    this.#parts.log.append(userMessage(text, messages.length - 1, this.#actions));
    return this.#run(text, options);
  }

  /**
   * Generate another answer to the last question.
   *
   * @param {GenerateOptions} options
   * @returns {Promise<void>}
   */
  regenerate(options) {
    const question = this.#conversation.messages.at(-1);
    return question?.role === "user" ? this.#run(question.content, options) : Promise.resolve();
  }

  stop() {
    this.#abort?.abort();
  }

  /**
   * Leave this conversation for another one, or for a new one.
   *
   * @param {Conversation} [conversation]
   */
  async open(conversation) {
    const left = this.leave();
    const next = conversation ?? newConversation();
    this.#conversation = next;
    this.#show();
    const opened = left.then(async () => {
      this.#parts.stats.context(0);
      if (conversation === undefined) return this.#llm.reset();
      this.#parts.snapshots.restore(conversation, (tokens) => {
        if (this.#conversation === next) this.#parts.stats.context(tokens);
      });
    });
    this.#opened = opened.catch(() => {}); // the caller gets the error
    await opened;
  }

  /** End the answer under way, and keep a snapshot. */
  async leave() {
    this.stop();
    await this.#answering;
    await this.#parts.snapshots.saveNow();
  }

  /** @type {MessageActions} */
  #actions = {
    edit: (index) => {
      const message = this.#conversation.messages[index];
      if (message === undefined || this.busy) return;
      this.#cut(index);
      this.#parts.onEdit(message.content);
    },
    regenerate: (index) => {
      if (this.busy) return;
      this.#cut(index);
      this.#parts.onRegenerate();
    },
  };

  /**
   * Remove this message and those after it.
   *
   * @param {number} index
   */
  #cut(index) {
    const messages = this.#conversation.messages;
    messages.length = index;
    if (messages.length === 1 && messages[0]?.role === "system") messages.length = 0;
    this.#show();
  }

  #show() {
    for (const message of this.#parts.log.querySelectorAll(".message")) message.remove();
    this.#conversation.messages.forEach(({ role, content }, index) => {
      if (role === "user") {
        this.#parts.log.append(userMessage(content, index, this.#actions));
      } else if (role === "assistant") {
        const view = new AnswerView(this.#parts.log);
        view.text = content;
        view.finish(null, index, this.#actions);
      }
    });
  }

  /**
   * @param {string} text
   * @param {GenerateOptions} options
   */
  #run(text, options) {
    this.#abort = new AbortController();
    this.#answering = this.#answer(text, { ...options, signal: this.#abort.signal });
    return this.#answering.finally(() => (this.#abort = null));
  }

  /**
   * @param {string} text
   * @param {GenerateOptions} options
   */
  async #answer(text, options) {
    const conversation = this.#conversation;
    const { messages } = conversation;
    const view = new AnswerView(this.#parts.log);
    this.#parts.snapshots.hold();
    await this.#save(conversation);
    await this.#opened;
    await this.#parts.snapshots.free;
    try {
      this.#parts.stats.begin();
      await this.#stream(messages, text, view, options);
      messages.push({ role: "assistant", content: view.text });
      view.finish(this.#llm.stats, messages.length - 1, this.#actions);
      this.#parts.stats.end(this.#llm.stats);
      this.#parts.snapshots.saveWhenIdle(conversation);
    } catch (error) {
      // the question is removed with its answer, so that the next one can be asked
      messages.pop();
      view.fail(describe(error));
    }
    await this.#save(conversation);
  }

  /**
   * @param {ChatMessage[]} messages
   * @param {string} text
   * @param {AnswerView} view
   * @param {GenerateOptions} options
   */
  async #stream(messages, text, view, options) {
    /** @type {GenerateOptions} */
    const watched = {
      ...options,
      onPrefill: (done, total) => view.prefill(done, total),
      onDecode: (tokens) => {
        view.decode(tokens);
        this.#parts.stats.decode(tokens);
      },
    };
    const { hasChatTemplate } = this.#llm.info;
    if (!hasChatTemplate && !messages.some(({ role }) => role === "assistant")) {
      view.note("This model was not trained to chat: it continues your text instead.");
    }
    const pieces = hasChatTemplate
      ? this.#llm.chat(messages, watched)
      : this.#llm.generate(text, watched);
    for await (const piece of pieces) view.add(piece);
  }

  /** @param {Conversation} conversation */
  async #save(conversation) {
    if (!conversation.messages.some(({ role }) => role === "user")) {
      // nothing was answered
      conversation.title = "";
      await this.#parts.store.remove(conversation.id);
      this.#parts.onSaved();
      return;
    }
    conversation.title ||= titleOf(conversation.messages);
    conversation.model = this.#llm.info.name;
    conversation.updated = Date.now();
    await this.#parts.store.save(conversation);
    this.#parts.onSaved();
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function describe(error) {
  if (error instanceof OxiLlamaError && error.code === "context_length") {
    return (
      "The conversation is longer than the model can take in. Start a new chat, or let the " +
      "model forget the oldest (in the settings) and load it again."
    );
  }
  const message = error instanceof Error ? error.message : String(error);
  return message.charAt(0).toUpperCase() + message.slice(1);
}
