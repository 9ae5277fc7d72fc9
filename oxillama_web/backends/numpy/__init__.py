"""Run a plan in NumPy: the reference, and the fallback."""
