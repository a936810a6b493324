"""The command that lists published latencies."""

from pathlib import Path

import pytest

from vlatency.agent.realtime.cost.published import zoo
from vlatency.experiments.latencies import Args, main
from vlatency.experiments.shared.command import parse
from vlatency.sim.errors import UsageError


def test_without_arguments_every_record_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(Args())
    said = capsys.readouterr().out
    assert all(f"  {record.id} " in said for record in zoo().records)


def test_one_device_and_one_model(capsys: pytest.CaptureFixture[str]) -> None:
    main(parse(Args, ["--device", "orin", "--model", "pi0.5"]))
    said = capsys.readouterr().out
    shown = {record.id for record in zoo().records if f"  {record.id} " in said}
    assert shown == {"frt-094", "frt-095", "frt-096", "frt-097"}


def test_ids_and_names_are_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    main(parse(Args, ["frt-096", "pi0/l40s/flash-draft"]))
    said = capsys.readouterr().out
    assert "frt-096" in said
    assert "622.44" in said
    with pytest.raises(UsageError, match="nobody"):
        main(Args(("nobody",)))


def test_a_figure_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(Args(model="gr00t", plot=tmp_path / "a.svg"))
    assert "gr17-025" in (tmp_path / "a.svg").read_text()
    assert "a.svg" in capsys.readouterr().out


def test_contradictions_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(Args(model="gr00t-n1.7", device="h100", contradictions=True))
    said = capsys.readouterr().out
    assert "[gr17-023]" in said
    assert "[gr17a-050]" in said
    main(Args(model="bitvla", contradictions=True))
    assert "no two sources" in capsys.readouterr().out
