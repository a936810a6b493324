"""What makes the model fast: attention kernels, quantization, compilation, and saving work."""
