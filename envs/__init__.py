"""Gymnasium pick tasks: `gymnasium.make("vlatency.envs:vlatency/Pick-v0")`.

Gymnasium 1.0 no longer finds environments through entry points. It imports the module before the colon instead.
"""

import gymnasium

# No max_episode_steps: the time limit is in simulated time, and the environment checks it.
gymnasium.register(id="vlatency/Pick-v0", entry_point="vlatency.envs.pick:PickEnv")
