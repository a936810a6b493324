"""The physical world and its clock, from MuJoCo and NumPy alone. Nothing here imports `envs` or `agent`."""
