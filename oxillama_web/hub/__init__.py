"""Find and download models by name: `fetch` in models.py, and `inspect` in inspection.py."""
