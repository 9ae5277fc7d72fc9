/** Answers in JSON: shown as code with one member on each line, even while they are generated. */

const FENCE = "~~~~~~~~";
// after whitespace: a string, which may be incomplete; a bracket, comma or colon; a number or word
const TOKEN = /\s*("(?:\\[^]|[^"\\])*(?:"|\\?$)|[{}[\],:]|[^\s{}[\],:"]+)/gy;

/**
 * @param {string} text  of an answer so far
 * @returns {string} the text, with a JSON object at its beginning as a block of code in Markdown
 */
export function asMarkdown(text) {
  if (!/^\s*\{\s*(?:["}]|$)/.test(text)) return text;
  const { lines, end } = indent(text);
  return `${FENCE}json\n${lines}\n${FENCE}\n\n${text.slice(end)}`;
}

/**
 * Indent an object. Only the whitespace between tokens changes: numbers stay as they are.
 *
 * @param {string} text  begins with an object
 * @returns {{lines: string, end: number}} the object, and its end in the text
 */
function indent(text) {
  let [lines, depth, last, end] = ["", 0, "", 0];
  for (const match of text.matchAll(TOKEN)) {
    const token = /** @type {string} */ (match[1]);
    end = match.index + match[0].length;
    const closes = isIn("}]", token);
    if (closes) depth -= 1;
    const isFirst = isIn("{[", last);
    if (last === "," || isFirst !== closes) lines += `\n${"  ".repeat(depth)}`;
    else if (last === ":") lines += " ";
    lines += token;
    if (isIn("{[", token)) depth += 1;
    if (depth === 0) break;
    last = token;
  }
  return { lines, end };
}

/**
 * @param {string} letters
 * @param {string} token
 */
function isIn(letters, token) {
  return token !== "" && letters.includes(token);
}
