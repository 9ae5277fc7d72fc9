import { OxiLlama } from "oxillama-web";

// public/oxillama is made by `npx oxillama-web public/oxillama`
OxiLlama.assets = "/oxillama/";

const model = new URLSearchParams(location.search).get("model") ?? "models/model.gguf";
const answer = document.getElementById("answer");
const llm = await OxiLlama.load({ model });
for await (const piece of llm.chat([{ role: "user", content: "Hello" }], { maxTokens: 20 })) {
  answer?.append(piece);
}
document.title = "done";
