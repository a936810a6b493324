"""What the clock charges: latency profiles, distributions, rooflines."""
