"""Laws of the arm in its world."""

from collections.abc import Iterator

import numpy as np
import pytest

from vlatency.sim.arm import TCP
from vlatency.sim.cameras import CAMERAS, check_cameras, project
from vlatency.sim.clock import NS_PER_S, PHYSICS_STEP_NS
from vlatency.sim.errors import UsageError
from vlatency.sim.kinematics import ArmKinematics
from vlatency.sim.names import CAMERA_ORDER
from vlatency.sim.plant import WORKSPACE_LOW, ArmPlant
from vlatency.sim.world import COLOURS, SHAPES, Thing

HOME = np.array([0.40, 0.0, 0.28, 0.0])
LAYOUT = tuple(
    Thing(shape, colour, 0.45 + 0.12 * (i % 2), 0.12 * (i // 2) - 0.1, 0.4)
    for i, (shape, colour) in enumerate(zip(SHAPES, COLOURS, strict=False))
)


@pytest.fixture(scope="module")
def arm() -> Iterator[ArmPlant]:
    arm = ArmPlant(control_hz=10)
    yield arm
    arm.close()


def advance(arm: ArmPlant, seconds: float) -> None:
    for _ in range(round(seconds * NS_PER_S / PHYSICS_STEP_NS)):
        arm.step()


@pytest.mark.parametrize("pose", [(0.36, 0.24, 0.02, 0.0), (0.68, -0.24, 0.02, 1.5), (0.5, 0.0, 0.4, -1.0)])
def test_inverse_kinematics_reaches_the_pose_with_the_gripper_pointing_down(pose: tuple[float, ...]) -> None:
    import mujoco

    from vlatency.sim.arm import arm_spec

    joints = ArmKinematics().solve(np.array(pose))
    model = arm_spec().compile()
    data = mujoco.MjData(model)
    data.qpos[:6] = joints
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.site(TCP).xpos, pose[:3], atol=2e-4)
    np.testing.assert_allclose(data.site(TCP).xmat[8], -1.0, atol=1e-5)


def test_a_set_point_is_reached_and_held(arm: ArmPlant) -> None:
    arm.begin((), HOME)
    goal = np.array([0.45, 0.04, 0.25, 0.2])
    arm.command([*goal, 0])
    advance(arm, 0.5)
    np.testing.assert_allclose(arm.sensors().ee_pose, goal, atol=2e-3)
    advance(arm, 1.0)
    np.testing.assert_allclose(arm.sensors().ee_pose, goal, atol=1e-3)


def test_the_end_effector_trails_its_set_points_by_less_than_a_centimetre(arm: ArmPlant) -> None:
    arm.begin((), HOME)
    for tick in range(10):
        arm.command([0.40 + 0.02 * (tick + 1), 0, 0.28, 0, 0])
        advance(arm, 0.1)
    assert abs(arm.sensors().ee_pose[0] - 0.60) < 0.01


def test_a_set_point_below_the_table_is_clipped_above_it(arm: ArmPlant) -> None:
    arm.begin((), HOME)
    arm.command([0.5, 0, -1.0, 0, 0])
    advance(arm, 2.0)
    assert abs(arm.sensors().ee_pose[2] - WORKSPACE_LOW[2]) < 2e-3


def test_the_fingers_close_and_open(arm: ArmPlant) -> None:
    arm.begin((), HOME)
    arm.command([*HOME, 1])
    advance(arm, 1.0)
    assert arm.sensors().gripper_pos > 0.9
    arm.command([*HOME, 0])
    advance(arm, 1.0)
    assert arm.sensors().gripper_pos < 0.05


def test_objects_stay_where_they_were_placed(arm: ArmPlant) -> None:
    arm.begin(LAYOUT, HOME)
    advance(arm, 1.0)
    expected = [[thing.x, thing.y, thing.half_height] for thing in LAYOUT]
    np.testing.assert_allclose(arm.world.positions(), expected, atol=1e-3)
    assert np.abs(arm.world.velocities()).max() < 2e-3


def test_a_smaller_layout_leaves_nothing_of_a_larger_one(arm: ArmPlant) -> None:
    hashes = []
    for before in ((), LAYOUT):
        arm.begin(before, HOME)
        advance(arm, 0.1)
        arm.begin(LAYOUT[:2], HOME)
        advance(arm, 0.2)
        hashes.append(arm.trajectory_hash)
    assert hashes[0] == hashes[1]


def test_more_objects_than_slots_are_refused(arm: ArmPlant) -> None:
    with pytest.raises(ValueError, match="6 slots"):
        arm.begin(LAYOUT * 2, HOME)


def test_the_wrench_window_is_a_tenth_of_a_second_and_shows_a_push(arm: ArmPlant) -> None:
    arm.begin((), HOME)
    before = arm.sensors().wrench
    assert before.shape == (50, 6)
    arm.command([0.5, 0, 0.018, 0, 1])
    advance(arm, 1.5)
    assert not np.allclose(arm.sensors().wrench[-1], before[-1], atol=0.05)


def test_the_target_of_a_camera_projects_to_the_centre_of_its_image(arm: ArmPlant) -> None:
    arm.begin((), HOME)
    for name, camera in CAMERAS.items():
        if camera.body == "world":
            place = project(arm.world.model, arm.world.data, name, np.array([camera.target]))
            np.testing.assert_allclose(place, [[0.5, 0.5]], atol=1e-6)


@pytest.mark.gl
def test_every_camera_sees_the_object_where_it_projects(arm: ArmPlant) -> None:
    thing = Thing("cube", "red", 0.47, 0.03, 0.0)  # the wrist camera sees no further than x = 0.50 from HOME
    arm.begin((thing,), HOME)
    images = arm.renderer.render(arm.world.data, CAMERA_ORDER)
    for name, image in images.items():
        right, down = project(arm.world.model, arm.world.data, name, arm.world.positions())[0]
        pixel = image[int(down * 360), int(right * 640)].astype(int)
        assert pixel[0] > 1.8 * max(pixel[1], pixel[2]), name


def test_unknown_or_repeated_cameras_are_refused_with_the_valid_names() -> None:
    for names in (("elbow",), (), ("top", "top")):
        with pytest.raises(UsageError, match="top, wrist, front, left, right"):
            check_cameras(names)
