"""A seed is one scene in every arm, and a scene belongs to one seed: other people's environments need not know that."""

from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.setting import Setting
from vlatency.sim.errors import UsageError

SCENE = "scene"
"""Column of a row: a digest of all that the episode began with. Our own tasks have none: their tests hold the law."""


class Scenes:
    """The scenes of a run or sweep so far, whichever process they began in."""

    def __init__(self) -> None:
        self._scenes: dict[tuple[str, str, int], str] = {}
        self._seeds: dict[tuple[str, str, str], int] = {}

    def check(self, setting: Setting, row: Row) -> None:
        """Take note of a row.

        Raises:
            UsageError: its seed began with another scene before, or its scene belongs to another seed.
        """
        if SCENE not in row:
            return
        name, seed, scene = setting.task, row["seed"], row[SCENE]
        world = (name, setting.guest.env_sha256 if setting.guest else "")
        if self._scenes.setdefault((*world, seed), scene) != scene:
            raise UsageError(
                f"seed {seed} of {name} gave another scene in mode {row['mode']} than before, so arms cannot be "
                "compared; give a 'reset' that starts from the seed alone (docs/your-environment.md)"
            )
        other = self._seeds.setdefault((*world, scene), seed)
        if other != seed:
            raise UsageError(
                f"seeds {other} and {seed} of {name} give the same scene, so more episodes would tell nothing new; "
                "run fewer episodes, or give a 'reset' that draws the scene from the seed"
            )
