"""The examples in the docstrings of the main classes run as they stand."""

import inspect
import textwrap

import gymnasium
import pytest

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.envs.pick import PickEnv
from vlatency.experiments.shared.files import ROOT
from vlatency.sim.plant import Plant

KNOWN = {each.__name__: each for each in (Act, Encode, Optimization, PickEnv, Plant, VLAPolicy, gymnasium)}


def example(of: type) -> str:
    """The code in the Example section of a docstring: all lines that are indented twice."""
    section = (inspect.getdoc(of) or "").split("Example:\n")[1].split("\n\nArgs:")[0]
    return textwrap.dedent("\n".join(line for line in section.splitlines() if line.startswith(" " * 8)))


@pytest.mark.gl
@pytest.mark.parametrize("of", [PickEnv, Plant, VLAPolicy], ids=lambda of: of.__name__)
def test_an_example_runs(of: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code = example(of)
    assert code.count("\n") >= 2
    exec(code, dict(KNOWN))
