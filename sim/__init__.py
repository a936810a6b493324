"""The physical world and its clock: MuJoCo and NumPy only. Nothing here imports `envs` or `agent`."""
