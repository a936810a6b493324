"""What a person runs: evaluate, collect, train, and what those share. Nothing imports `experiments`."""
