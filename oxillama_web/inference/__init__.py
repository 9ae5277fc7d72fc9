"""A loaded model, and the conversations that run on it."""
