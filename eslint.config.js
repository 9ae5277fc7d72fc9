import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["build/", "dist/", "node_modules/", ".venv/"] },
  js.configs.recommended,
  {
    rules: {
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": "error",
      "object-shorthand": "error",
      curly: ["error", "multi-line"],
      "no-implicit-coercion": "error",
      "max-lines-per-function": ["error", 60],
      "max-len": ["error", { code: 100, ignoreUrls: true }],
    },
  },
  { files: ["web/**/*.js", "tests/**/*.js"], languageOptions: { globals: globals.browser } },
  {
    files: ["web/sw.js", "web/{worker,kernels,storage}/**/*.js"],
    languageOptions: { globals: globals.worker },
  },
  { files: ["tools/**/*.mjs", "tests/**/*.mjs"], languageOptions: { globals: globals.node } },
];
