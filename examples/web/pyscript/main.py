"""The engine in PyScript's worker: fetches a model, and writes text into the page as it comes."""

from pyodide.http import pyfetch
from pyscript import document, window

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig

# a worker has no address of its own
MODEL = f"{window.location.origin}/models/SmolLM2-135M-Instruct.Q4_1.gguf"

engine = InferenceEngine(EngineConfig())
engine.load_model_from_bytes(await (await pyfetch(MODEL)).bytes())  # noqa: F704
answer = document.querySelector("#answer")
for text in engine.stream("1, 2, 3, 4, 5,", 32, sampler=SamplerConfig.greedy()):
    answer.append(text)
