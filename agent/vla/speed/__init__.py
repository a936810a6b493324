"""What makes the model fast: kernels, quantization, compilation, and computing less."""
