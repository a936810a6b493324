"""The published timeline of a peer's clock comes out of ours, charged the same latencies under the same rules."""

from itertools import pairwise

import pytest

from tests.agent.realtime.stalebench import (
    HORIZON,
    PEER_STEP_NS,
    REQUEST_AFTER,
    PeerEpisode,
    published,
    replay,
)
from vlatency.sim.clock import PHYSICS_STEP_NS, ms_to_ns, ns_to_ms

EPISODES = pytest.mark.parametrize("peer", published(), ids=lambda peer: f"{peer.strategy} {peer.profile}")


def test_the_excerpt_is_whole_and_keeps_its_own_rules() -> None:
    assert sum(len(peer.requests) for peer in published()) == 52
    for peer in published():
        rest = HORIZON if peer.strategy == "blocking_sync" else REQUEST_AFTER
        for asked, following in pairwise(peer.requests):
            assert following.request_step == asked.available_step + rest


@EPISODES
def test_every_request_and_every_arrival_falls_on_the_published_step(peer: PeerEpisode) -> None:
    found = replay(peer, PEER_STEP_NS)
    steps = [[1 + t_ns // PEER_STEP_NS for t_ns in times] for times in (found.asked_ns, found.used_ns)]
    assert all(t_ns % PEER_STEP_NS == 0 for t_ns in (*found.asked_ns, *found.used_ns))
    assert steps[0] == [asked.request_step for asked in peer.requests]
    assert steps[1] == [asked.available_step for asked in peer.requests if asked.available_step <= peer.steps]


@EPISODES
def test_holds_and_ages_of_actions_are_the_published_ones(peer: PeerEpisode) -> None:
    found = replay(peer, PEER_STEP_NS)
    assert found.held_ns == peer.holds * PEER_STEP_NS
    assert ns_to_ms(sum(found.ages_ns)) / peer.steps == pytest.approx(peer.mean_age_ms, rel=1e-12)
    assert ns_to_ms(max(found.ages_ns)) == peer.max_age_ms


@EPISODES
def test_at_our_resolution_an_answer_comes_when_it_is_there(peer: PeerEpisode) -> None:
    found = replay(peer, PHYSICS_STEP_NS)
    assert len(found.asked_ns) == len(peer.requests)
    for asked_ns, used_ns, asked in zip(found.asked_ns, found.used_ns, peer.requests, strict=False):
        assert 0 <= used_ns - asked_ns - ms_to_ns(asked.latency_ms) < PHYSICS_STEP_NS


def test_rounding_to_50_ms_makes_old_actions_older_and_an_idle_arm_idler() -> None:
    for peer in published():
        theirs, ours = replay(peer, PEER_STEP_NS), replay(peer, PHYSICS_STEP_NS)
        assert all(late >= exact for late, exact in zip(theirs.used_ns, ours.used_ns, strict=False))
        assert max(theirs.ages_ns) > max(ours.ages_ns)
        assert theirs.held_ns > ours.held_ns
