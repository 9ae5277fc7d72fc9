"""A model's forward pass as data: operations over named buffers."""
