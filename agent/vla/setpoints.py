"""What the rows of our own policy's chunks mean."""

from vlatency.sim.actions import ActionSpec
from vlatency.sim.clock import CHUNK_STEP_NS

SETPOINTS = ActionSpec(("absolute",) * 5, CHUNK_STEP_NS)
"""x, y, z [m], yaw [rad] and gripper (0 open to 1 closed), 100 ms apart. The yaw stays within a quarter turn of 0, so
that it averages as a number does."""
