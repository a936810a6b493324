"""The names that the simulation, the policy and the command line share. No MuJoCo, so that anything may import them."""

CAMERA_ORDER: tuple[str, ...] = ("top", "wrist", "front", "left", "right")
"""All cameras; `--views N` takes the first N."""
WRIST = "wrist"
"""The camera that moves with the gripper."""
WIDTH, HEIGHT = 640, 360
"""Size of a camera image [px]."""
COLOUR_NAMES: tuple[str, ...] = ("red", "green", "blue", "yellow", "magenta", "cyan")
SHAPE_NAMES: tuple[str, ...] = ("cube", "cylinder", "ball", "bar")
