"""What the clock has to know of other people's environments, as data: `assets/suites/*.yaml`, or one's own file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping as Dict
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from vlatency.sim.actions import ActionSpec, Hold, Kind
from vlatency.sim.clock import s_to_ns
from vlatency.sim.errors import UsageError

_REPEATED = re.compile(r"(\w+) x(\d+)")
CONDITION = re.compile(r"(?P<key>\S+)(?: *(?P<sign><=|>=|<|>) *(?P<bound>[-+.\de]+))?")
"""Of a success: the name of something true, or a comparison of a number."""


def _expand(words: object) -> object:
    """`delta x3` is `delta` three times."""
    if not isinstance(words, list):
        return words
    expanded: list[object] = []
    for word in words:
        repeated = _REPEATED.fullmatch(word) if isinstance(word, str) else None
        expanded += [repeated[1]] * int(repeated[2]) if repeated else [word]
    return expanded


class _Table(BaseModel):
    """A part of a file, all of whose names are known. Only lists are converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Pixels = Annotated[int, Field(ge=1, le=4096)]
Triple = Annotated[tuple[float, float, float], Field(strict=False)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
Numbers = Annotated[tuple[float, ...], Field(strict=False)]


class FreeCamera(_Table):
    """A camera that the MuJoCo model does not have, as MuJoCo's `mjvCamera` describes it."""

    lookat: Triple
    distance: float
    """From `lookat` [m]."""
    azimuth: float
    """About the vertical [degrees]."""
    elevation: float
    """[degrees]"""


class Camera(_Table):
    """Where a view comes from: exactly one of the first four."""

    model: str = ""
    """A camera of the MuJoCo model inside."""
    free: FreeCamera | None = None
    """A free camera in the MuJoCo model inside."""
    observation: str = ""
    """An image in the observation, such as `pixels/top`."""
    render: bool = False
    """What the environment's `render()` returns."""
    flip: Literal["", "vertical", "horizontal", "both"] = ""
    """Which way the image is turned over; both: by 180 degrees."""
    position: Triple | None = None
    """Where a camera of the model is moved to [m]."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Camera:
        sources = [bool(self.model), self.free is not None, bool(self.observation), self.render]
        if sum(sources) != 1:
            raise ValueError("needs exactly one of model, free, observation, render: where the image comes from")
        if self.position is not None and not self.model:
            raise ValueError("can be moved only if it is a camera of the model")
        return self


class Mapping(_Table):
    """One environment, as the clock sees it. `docs/your-environment.md` has an example."""

    name: str = ""
    """As the command line spells it, such as `metaworld:push-v3`."""
    about: str = ""
    not_run_here: str = ""
    """Why nobody has run this mapping, if so."""
    packages: Texts = ()
    """Python packages whose versions a result depends on."""
    make: dict[str, Any] = {}
    """Keyword arguments that the environment is made with."""
    step_s: Annotated[float, Field(ge=1e-6, le=1000)]
    """Simulated time that one step takes [s]."""
    time_limit_s: Annotated[float, Field(gt=0, le=1e6)]
    """Simulated time after which an episode is over [s]."""
    kinds: Annotated[tuple[Kind, ...], Field(strict=False), BeforeValidator(_expand)]
    """What each number of an action is; `delta x3` is three of them."""
    hold: Hold = "repeat"
    """What is in force when a row of a chunk is over and no other follows, as in `ActionSpec`."""
    noop: Numbers = ()
    limits: Annotated[tuple[float, float], Field(strict=False)] | None = None
    rotations: Annotated[tuple[Annotated[tuple[int, ...], Field(strict=False)], ...], Field(strict=False)] = ()
    start: str = ""
    """The part of the observation that an absolute action must repeat for the robot to stay where it is. Else the
    absolute numbers of the action before the first command are those nearest to 0."""
    success: Annotated[Texts, Field(min_length=1)]
    """The first of these names that `info` has says whether the task is done. `terminated` and `reward` are what
    `step` returns; `distance < 0.05` compares a number."""
    success_at: Literal["first", "end"] = "first"
    """first: the first success ends the episode; end: what counts is whether the task is done at the time limit."""
    cameras: dict[str, Camera] = {}
    hidden_groups: Annotated[tuple[Annotated[int, Field(ge=0, le=5)], ...], Field(strict=False)] = ()
    """Groups of geoms of the MuJoCo model that are not drawn."""
    size: Annotated[tuple[Pixels, Pixels], Field(strict=False)] = (224, 224)
    """Width and height of the views [px]."""
    state: Texts = ()
    """Parts of the observation that make up the state, such as `agent_pos`, `robot/joints[:7]` or `[:4]`. None: all
    numbers of it."""
    instruction: str = ""
    """What the policy is told. Empty: what the environment says, or else its name."""
    reset: str = ""
    """MODULE:CALLABLE that is called with the environment and the seed in the place of `env.reset(seed=seed)`."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Mapping:
        _ = self.actions
        if self.time_limit_s < self.step_s:
            raise ValueError(f"time_limit_s must be at least one step, {self.step_s:g} s, not {self.time_limit_s:g}")
        for condition in self.success:
            match = CONDITION.fullmatch(condition)
            if not match or (match["bound"] and not _is_number(match["bound"])):
                raise ValueError(
                    f"success is the name of something in info, or like 'distance < 0.05', not {condition!r}"
                )
        for part in (*self.state, *filter(None, [self.start])):
            if not PART.fullmatch(part):
                raise ValueError(f"a part of the observation is like agent_pos, robot/joints[:7] or [:4], not {part!r}")
        return self

    @cached_property
    def actions(self) -> ActionSpec:
        """What an action means. A row of a chunk is in force for one step."""
        return ActionSpec(self.kinds, s_to_ns(self.step_s), self.hold, self.noop, self.rotations, self.limits)


PART = re.compile(r"(?P<path>[^\[\]]*)(?:\[(?P<first>-?\d*):(?P<last>-?\d*)\])?")
"""A part of an observation: keys with slashes between them, and a range."""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_table(path: Path) -> dict[str, Any]:
    """The names and values of a YAML file.

    Raises:
        UsageError: there is none, or it is not such a file.
    """
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML text: {' '.join(str(error).split())}") from None
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table):
        raise UsageError(f"{path} must have lines like 'step_s: 0.05'; docs/your-environment.md has an example")
    return table


def parse_mapping(table: Dict[str, Any], where: str) -> Mapping:
    """Check `table` and make a mapping of it.

    Args:
        table: as `Mapping` describes it.
        where: where it comes from, for messages.

    Raises:
        UsageError: one line that says what is wrong and what would work.
    """
    try:
        return Mapping.model_validate(dict(table))
    except ValidationError as error:
        raise UsageError(f"{where}: {_one_line(error)}") from None


def _one_line(error: ValidationError) -> str:
    # A misspelt name is unknown, and may be missing at the same time: the first explains the second.
    first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    loc, message = first["loc"], first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    place = ".".join(str(part) for part in loc)
    match first["type"]:
        case "extra_forbidden":
            tables: dict[str, type[_Table]] = {"cameras": Camera, "free": FreeCamera}
            known = list(tables.get(_table_of(loc), Mapping).model_fields)
            close = difflib.get_close_matches(str(loc[-1]), known, 1)
            return (
                f"{place} is not known"
                + (f"; did you mean {close[0]}?" if close else "")
                + f" Known are {', '.join(known)}"
            )
        case "missing":
            return f"{place} is missing: {_ASKED.get(str(loc[-1]), 'it must be given')}"
        case "value_error":
            return f"{place} {message}".strip()
    found = repr(first["input"])
    return f"{place} {message}, not {found[:57] + '...' * (len(found) > 57)}"


def _table_of(loc: tuple[int | str, ...]) -> str:
    return "free" if "free" in loc[:-1] else str(loc[0]) if len(loc) > 1 else ""


_ASKED = {
    "step_s": "the simulated seconds that one step takes, such as 0.05",
    "time_limit_s": "the simulated seconds after which an episode is over, such as 10",
    "kinds": "what each number of an action is, such as [delta x3, absolute]; kinds are absolute, delta, velocity",
    "success": "what says that the task is done, such as [is_success]",
}
