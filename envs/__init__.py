"""Gymnasium pick tasks. Installed, they register themselves: `gymnasium.make("vlatency/Pick-v0")` needs no import."""


def register() -> None:
    """Entry point of the group `gymnasium.envs`; Gymnasium calls it inside the namespace `vlatency`."""
    import gymnasium

    # Gymnasium's own time limit counts steps; ours is simulated time, checked by the environment itself.
    gymnasium.register(id="vlatency/Pick-v0", entry_point="envs.pick:PickEnv")
