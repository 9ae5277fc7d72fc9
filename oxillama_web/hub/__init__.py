"""Find and download models by name."""
