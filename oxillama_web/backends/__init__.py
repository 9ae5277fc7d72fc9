"""What runs a plan: the C kernels, or NumPy as the reference and the fallback."""
