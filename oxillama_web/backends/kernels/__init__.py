"""Run a plan in the C kernels, natively or in WebAssembly."""
