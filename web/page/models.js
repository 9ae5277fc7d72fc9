/** The models that the page offers: the site's own, those on this device, and well-known ones. */

import { OxiLlama } from "../oxillama.js";
import { element, make, makeButton, megabytes, show } from "./dom.js";

/**
 * @typedef {object} KnownModel
 * @property {string} name
 * @property {string} url
 * @property {number} bytes  approximately
 * @property {string} licence
 */

/** @type {KnownModel[]} */
export const KNOWN_MODELS = [
  {
    name: "SmolLM2 135M Instruct",
    url: onHub("bartowski/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct-Q8_0.gguf"),
    bytes: 145e6,
    licence: "Apache 2.0",
  },
  {
    name: "Gemma 3 270M",
    url: onHub("ggml-org/gemma-3-270m-it-GGUF", "gemma-3-270m-it-Q8_0.gguf"),
    bytes: 292e6,
    licence: "Gemma Terms of Use",
  },
  {
    name: "SmolLM2 360M Instruct",
    url: onHub("HuggingFaceTB/SmolLM2-360M-Instruct-GGUF", "smollm2-360m-instruct-q8_0.gguf"),
    bytes: 386e6,
    licence: "Apache 2.0",
  },
  {
    name: "Qwen2.5 0.5B Instruct",
    url: onHub("Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q4_k_m.gguf"),
    bytes: 491e6,
    licence: "Apache 2.0",
  },
  {
    name: "Qwen3 0.6B",
    url: onHub("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf"),
    bytes: 639e6,
    licence: "Apache 2.0",
  },
  {
    name: "Llama 3.2 1B Instruct",
    url: onHub("bartowski/Llama-3.2-1B-Instruct-GGUF", "Llama-3.2-1B-Instruct-Q4_K_M.gguf"),
    bytes: 808e6,
    licence: "Llama 3.2 Community License",
  },
];

/** @typedef {(url: string, name: string) => void} OnChoose */

/** @param {OnChoose} onChoose */
export function showKnownModels(onChoose) {
  const items = KNOWN_MODELS.map(({ name, url, bytes, licence }) =>
    make("li", "", modelButton(name, `${licence} · about ${size(bytes)}`, () =>
      onChoose(url, name))),
  );
  element("known-models", HTMLElement).replaceChildren(...items);
}

/**
 * Show what models/models.json lists.
 *
 * @param {OnChoose} onChoose
 */
export async function showBundledModels(onChoose) {
  let models;
  try {
    const response = await fetch("models/models.json");
    if (!response.ok) return;
    models = /** @type {{file: string, bytes: number}[]} */ (await response.json());
  } catch {
    return; // the page offers its other models
  }
  const items = models.map(({ file, bytes }) =>
    make("li", "", modelButton(modelTitle(file), megabytes(bytes), () =>
      onChoose(`models/${encodeURIComponent(file)}`, file))),
  );
  element("bundled-models", HTMLElement).replaceChildren(...items);
  show("bundled", items.length > 0);
}

/**
 * Show what OxiLlama.cache holds, and how much storage it takes.
 *
 * @param {OnChoose} onChoose
 */
export async function showKeptModels(onChoose) {
  let files, usage;
  try {
    files = (await OxiLlama.cache.list()).filter(({ complete }) => complete);
    usage = await OxiLlama.cache.usage();
  } catch {
    return; // this browser keeps nothing
  }
  const refresh = () => showKeptModels(onChoose);
  const items = files.map(({ url, bytes }) => {
    const name = modelTitle(fileName(url));
    const load = modelButton(name, megabytes(bytes), () => onChoose(url, name));
    const forget = () => OxiLlama.cache.delete(url).then(refresh, refresh);
    const remove = makeButton("quiet icon", "×", () => void forget());
    remove.setAttribute("aria-label", `Delete ${name} from this device`);
    return make("li", "", load, remove);
  });
  element("kept-models", HTMLElement).replaceChildren(...items);
  element("storage", HTMLElement).textContent =
    `All models together take ${megabytes(usage.bytes)} on this device.`;
  show("kept", files.length > 0);
}

/** @param {string} url */
export function fileName(url) {
  const name = url.split(/[?#]/)[0]?.split("/").pop() || url;
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/**
 * Return the name that people know a model by; the one inside a file is often a training run's.
 *
 * @param {string} name  of its file, or the model's
 */
export function modelTitle(name) {
  return name.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, "");
}

/**
 * @param {string} name
 * @param {string} detail
 * @param {() => void} onClick
 */
function modelButton(name, detail, onClick) {
  const button = make("button", "", make("span", "name", name), make("span", "size", detail));
  button.type = "button";
  button.addEventListener("click", onClick);
  return button;
}

/**
 * @param {string} repository
 * @param {string} file
 */
function onHub(repository, file) {
  return `https://huggingface.co/${repository}/resolve/main/${file}`;
}

/** @param {number} bytes */
function size(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`;
}
