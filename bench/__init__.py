"""Measures the engine beside wllama (same browser) and llama.cpp (natively)."""
