"""Baichuan: 7B with rotary positions, 13B with ALiBi. The numbers of layers tell them apart."""

from tiny_file import Case, llama_case

CASES = {
    "baichuan": Case("baichuan", llama_case(32, 4, 4, 16), n_texts=1),
    "baichuan-13b": Case("baichuan", llama_case(40, 4, 4, 16), n_texts=1),
}
