"""A model of 3.5 GB in a page: nearly all that the kernels' 32-bit addresses reach."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from browser_helpers import call, serving
from gguf import GGMLQuantizationType
from gguf_vocabularies import add_byte_level_vocabulary
from playwright.sync_api import Browser
from serve import make_server

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig

pytest_plugins = ["browser_fixtures"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTH, FFN, N_HEADS, VOCABULARY = 2048, 8192, 16, 320
ALIGNMENT = 32
PROMPT = "the quick brown fox"


def test_a_model_of_three_and_a_half_gigabytes(
    browser: Browser, site: Path, tmp_path: Path
) -> None:
    """Its blocks hold zeros, so that it answers what one block of them does.

    Embedding and output head are at the end of the file, beyond three of its gigabytes.
    """
    write_llama(tmp_path / "large.gguf", n_layers=49)
    write_llama(tmp_path / "small.gguf", n_layers=1)
    assert 3.45e9 < (tmp_path / "large.gguf").stat().st_size < 3.55e9
    engine = InferenceEngine(EngineConfig(model_path=str(tmp_path / "small.gguf")))
    engine.load_model()
    expected = engine.generate(PROMPT, 4, sampler=SamplerConfig.greedy())
    assert len(set(expected)) > 1
    body = """
        const llm = await OxiLlama.load({ model: "models/large.gguf", cache: "off", threads: 2 });
        let text = "";
        const options = { temperature: 0, repetitionPenalty: 1, maxTokens: 4 };
        for await (const piece of llm.generate(prompt, options)) text += piece;
        const { info } = llm;
        llm.dispose();
        return { text, info };
    """
    with serving(make_server(site, tmp_path)) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        result = call(page, body, prompt=PROMPT)
        context.close()
    assert result.get("code") is None, result
    assert result["text"] == expected
    assert result["info"]["memoryBytes"] > 3.4e9


def write_llama(path: Path, n_layers: int) -> None:
    """A sparse file: it takes little of the disk."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(n_layers)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // N_HEADS)
    add_byte_level_vocabulary(writer, VOCABULARY)
    offset = 0
    for layer in range(n_layers):
        for name, shape in BLOCK.items():
            offset += add_tensor_info(writer, f"blk.{layer}.{name}.weight", shape)
    rng = np.random.default_rng(7)
    ends = [
        ("token_embd.weight", rng.standard_normal((VOCABULARY, WIDTH)).astype(np.float32)),
        ("output_norm.weight", np.ones(WIDTH, np.float32)),
        ("output.weight", rng.standard_normal((VOCABULARY, WIDTH)).astype(np.float32)),
    ]
    for name, values in ends:
        add_tensor_info(writer, name, values.shape, quantized=False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        header = file.seek(0, 2)
        file.seek(-(-header // ALIGNMENT) * ALIGNMENT + offset)
        for _, values in ends:
            file.write(values.tobytes())


def add_tensor_info(
    writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], quantized: bool = True
) -> int:
    """Matrices of blocks in Q8_0; returns the bytes in the file."""
    n_values = int(np.prod(shape))
    if not quantized or len(shape) == 1:
        writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * n_values)
        return -(-4 * n_values // ALIGNMENT) * ALIGNMENT
    n_bytes = n_values // 32 * 34
    rows = (shape[0], shape[1] // 32 * 34)
    kind = GGMLQuantizationType.Q8_0
    writer.add_tensor_info(name, rows, np.dtype(np.uint8), n_bytes, raw_dtype=kind)
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


# names in a block, and the shapes of their tensors: rows, columns
BLOCK = {
    "attn_norm": (WIDTH,),
    "attn_q": (WIDTH, WIDTH),
    "attn_k": (WIDTH, WIDTH),
    "attn_v": (WIDTH, WIDTH),
    "attn_output": (WIDTH, WIDTH),
    "ffn_norm": (WIDTH,),
    "ffn_gate": (FFN, WIDTH),
    "ffn_up": (FFN, WIDTH),
    "ffn_down": (WIDTH, FFN),
}
