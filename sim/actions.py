"""What the numbers of an action mean, and what follows from it: how actions are held, added, averaged and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from vlatency.sim.errors import UsageError

Kind: TypeAlias = Literal["absolute", "delta", "velocity"]
Hold: TypeAlias = Literal["repeat", "zero", "noop"]
HOLDS: tuple[Hold, ...] = get_args(Hold)
Vector: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class ActionSpec:
    """What the numbers of an action mean.

    A number is an `absolute` set-point (also a gripper's opening or effort), a `delta` to where the robot is, or a
    `velocity`. The last two are relative: what they lead to depends on when they are carried out, and how often.

    Attributes:
        kinds: one a number.
        row_ns: time from one row of a chunk to the next, and how long one row is in force [ns].
        hold: what is in force when a row is over and no other follows. repeat: the same again; zero: relative numbers
            become 0 and absolute ones keep their value; noop: the action `noop`.
        noop: the action that leaves the robot where it is, if there is one.
        rotations: groups of indices that form one rotation: 1 is an angle [rad], 3 a rotation vector [rad], 4 a
            quaternion w, x, y, z. A relative rotation is applied in the fixed frame, as robosuite's controllers do.
        limits: lowest and highest value of a relative number, if it has any.

    Raises:
        UsageError: two of them contradict each other.

    Example:
        A gripper that moves by up to 1 in x, y and z at 80 Hz, and the effort of its fingers, as in MetaWorld:

        >>> spec = ActionSpec(("delta",) * 3 + ("absolute",), 12_500_000, hold="zero", limits=(-1.0, 1.0))
        >>> spec.held(np.array([0.5, 0.0, -1.0, 0.8]))
        array([0. , 0. , 0. , 0.8])
    """

    kinds: tuple[Kind, ...]
    row_ns: int
    hold: Hold = "repeat"
    noop: tuple[float, ...] = ()
    rotations: tuple[tuple[int, ...], ...] = ()
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= set(get_args(Kind)):
            raise UsageError(f"each number of an action is {', '.join(get_args(Kind))}, not {self.kinds!r}")
        if self.row_ns < 1:
            raise UsageError(f"a row of a chunk must last at least 1 ns, not {self.row_ns}")
        if self.hold not in HOLDS:
            raise UsageError(f"unknown hold '{self.hold}'; use {', '.join(HOLDS)}")
        if self.hold == "zero" and not self.relative.any():
            raise UsageError("hold zero is for relative actions, and all of these are absolute; use hold repeat")
        if self.hold == "noop" and not self.noop:
            raise UsageError("hold noop needs an action that leaves the robot where it is, and none is known here")
        if self.noop and len(self.noop) != self.size:
            raise UsageError(f"noop must have {self.size} numbers as the action has, not {len(self.noop)}")
        taken = [index for group in self.rotations for index in group]
        if len(set(taken)) < len(taken) or not set(taken) <= set(range(self.size)):
            raise UsageError(f"rotations must name each index at most once, from 0 to {self.size - 1}")
        for group in self.rotations:
            if len(group) not in (1, 3, 4) or len({self.kinds[index] for index in group}) > 1:
                raise UsageError(
                    "a rotation has 1, 3 or 4 indices, all of one kind (angle, rotation vector, quaternion)"
                )

    @property
    def size(self) -> int:
        """How many numbers an action has."""
        return len(self.kinds)

    @cached_property
    def relative(self) -> NDArray[np.bool_]:
        """(size,) which numbers are relative."""
        return np.array([kind != "absolute" for kind in self.kinds])

    @property
    def expires(self) -> bool:
        """Whether another action follows a row that is over."""
        return self.hold != "repeat"

    def held(self, row: Vector) -> Vector:
        """(size,) the action in force after `row` (size,) is over."""
        if self.hold == "noop":
            return np.array(self.noop)
        return np.where(self.relative, self._still, row) if self.hold == "zero" else row

    @cached_property
    def _still(self) -> Vector:
        """(size,) relative numbers that change nothing."""
        still = np.zeros(self.size)
        for group in self.rotations:
            if len(group) == 4:
                still[group[0]] = 1.0
        return still

    @property
    def origin(self) -> Vector:
        """(size,) where the commands lead before the first one: no way at all."""
        return self._still.copy()

    def moved(self, position: Vector, row: Vector, rows: float = 1.0) -> Vector:
        """(size,) where `row` (size,) leads from `position` (size,) if it is in force as long as `rows` rows.

        A position is the sum of all relative numbers so far; its absolute numbers are the last ones commanded.
        """
        result = np.where(self.relative, position + row * rows, row)
        for group in self._turns(relative=True):
            index = list(group)
            result[index] = _turn(_scaled(row[index], rows), position[index])
        return result

    def moves(self, position: Vector, rows: Vector) -> Vector:
        """(n, size) where each of `rows` (n, size) leads, one after the other, from `position` (size,)."""
        places = []
        for row in rows:
            position = self.moved(position, row)
            places.append(position)
        return np.array(places)

    def toward(self, position: Vector, target: Vector) -> Vector:
        """(size,) the row that leads from `position` to `target`, or as far towards it as the limits permit."""
        row = np.where(self.relative, target - position, target)
        for group in self._turns(relative=True):
            index = list(group)
            row[index] = _turn_between(position[index], target[index])
        if self.limits is not None:
            row = np.where(self.relative, np.clip(row, *self.limits), row)
        return row

    def blend(self, rows: Vector, weights: Vector) -> Vector:
        """(size,) the mean, weighted by `weights` (n,), of positions or absolute rows (n, size); rotations as such."""
        mean: Vector = weights @ rows / weights.sum()
        for group in self.rotations:
            index = list(group)
            mean[index] = _mean_turn(rows[:, index], weights)
        return mean

    def _turns(self, relative: bool) -> Sequence[tuple[int, ...]]:
        return [group for group in self.rotations if self.relative[group[0]] == relative]


class Commanded:
    """Where the commands of an episode have led: the sum of what they said, for as long as each was in force.

    Relative rows of one chunk are measured from where the robot was commanded to be when the chunk was decided. A
    chunk that arrives late is carried on from there, not from where the robot is by then.
    """

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec
        self._position, self._row, self._since_ns = spec.origin, spec.origin, 0
        self._moving = bool(spec.relative.any())

    def position(self, now_ns: int) -> Vector:
        """(size,) at `now_ns`, not before the last command."""
        if not self._moving or now_ns == self._since_ns:
            return self._position
        return self.spec.moved(self._position, self._row, (now_ns - self._since_ns) / self.spec.row_ns)

    def command(self, row: Vector, now_ns: int) -> None:
        """`row` (size,) is in force from `now_ns` on."""
        self._position, self._row, self._since_ns = self.position(now_ns), row, now_ns


def _scaled(turn: Vector, rows: float) -> Vector:
    return turn if rows == 1.0 else _as(turn.size, _rotation(turn) ** rows) if turn.size > 1 else turn * rows


def _turn(by: Vector, position: Vector) -> Vector:
    return position + by if by.size == 1 else _as(by.size, _rotation(by) * _rotation(position))


def _turn_between(position: Vector, target: Vector) -> Vector:
    if position.size == 1:
        return np.remainder(target - position + np.pi, 2 * np.pi) - np.pi
    return _as(position.size, _rotation(target) * _rotation(position).inv())


def _mean_turn(turns: Vector, weights: Vector) -> Vector:
    if turns.shape[1] == 1:
        first: Vector = turns[0]
        offsets = np.remainder(turns - first + np.pi, 2 * np.pi) - np.pi
        mean: Vector = first + weights @ offsets / weights.sum()
        return mean
    return _as(turns.shape[1], _rotation(turns).mean(weights))


def _rotation(turn: Vector):  # type: ignore[no-untyped-def]  # scipy has no types
    """Scipy's rotation of a rotation vector or of a quaternion w, x, y, z."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(turn) if turn.shape[-1] == 3 else Rotation.from_quat(np.roll(turn, -1, axis=-1))


def _as(size: int, rotation) -> Vector:  # type: ignore[no-untyped-def]
    if size == 3:
        vector: Vector = rotation.as_rotvec()
        return vector
    quaternion: Vector = np.roll(rotation.as_quat(canonical=True), 1)
    return quaternion
