"""Read GGUF files: their metadata, tensors and number formats."""
