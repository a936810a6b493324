"""Gymnasium pick tasks: `gymnasium.make("vlatency.envs:vlatency/Pick-v0")`.

Gymnasium 1.0 removed environment plug-ins (entry points); the module before the colon is what it imports instead.
"""

import gymnasium

# Gymnasium's own time limit counts steps; ours is simulated time, checked by the environment itself.
gymnasium.register(id="vlatency/Pick-v0", entry_point="vlatency.envs.pick:PickEnv")
