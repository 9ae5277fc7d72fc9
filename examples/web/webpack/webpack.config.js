import { fileURLToPath } from "node:url";

// public/ is served as it is; the bundle goes beside index.html
export default {
  mode: "production",
  entry: "./main.js",
  output: {
    path: fileURLToPath(new URL("./public", import.meta.url)),
    filename: "bundle.js",
    module: true,
  },
  experiments: { outputModule: true },
};
