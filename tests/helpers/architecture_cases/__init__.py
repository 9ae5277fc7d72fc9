"""One module for each architecture, with its cases: `CASES`, by name."""
