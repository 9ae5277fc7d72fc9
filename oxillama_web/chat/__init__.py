"""Turn messages into a prompt, in the model's own chat template."""
