"""The error that the laws of the optimizations limit."""

import copy
from collections.abc import Callable, Sequence

import pytest

from vlatency.agent.optimization import Optimization, plain
from vlatency.agent.realtime.requests import Encode
from vlatency.agent.vla.model.features import feature_distance
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy

FeatureError = Callable[[Optimization, Sequence[Encode]], float]


@pytest.fixture
def feature_error(model: VLA) -> FeatureError:
    """How far an optimization moves the features of the model, over their norm."""

    def measure(optimization: Optimization, requests: Sequence[Encode]) -> float:
        chosen, reference = (VLAPolicy(copy.deepcopy(model), each) for each in (optimization, plain(optimization)))
        return feature_distance(chosen.encode(requests), reference.encode(requests))

    return measure
