"""Published figures are listed, drawn and compared as the file has them."""

import random
import re

import pytest

from vlatency.agent.realtime.cost.published import Record, zoo
from vlatency.experiments.shared.files import ROOT
from vlatency.experiments.timing.published_figure import figure, segments
from vlatency.experiments.timing.published_text import Wanted, disagreements, in_full, listing, side_by_side
from vlatency.sim.errors import UsageError

RECORDS = zoo().records
DRAWN = random.Random(2022).sample(RECORDS, 30)


def test_every_record_is_listed_with_its_source() -> None:
    blocks = "\n".join(listing(RECORDS)).split("\n\n")
    assert len(blocks) == len(zoo().profiles)
    for block, (name, records) in zip(blocks, zoo().profiles.items(), strict=True):
        assert block.startswith(f"{name}  ")
        for record in records:
            assert len(re.findall(rf"^  {record.id} ", block, re.M)) == 1
            assert f"{record.source}, {record.path}, {record.commit}" in block


@pytest.mark.parametrize("record", DRAWN, ids=lambda record: record.id)
def test_in_full_a_record_has_all_its_fields(record: Record) -> None:
    lines = in_full([record])
    assert [line.split()[0] for line in lines] == [
        name for name in Record.model_fields if name in record.model_fields_set
    ]
    assert any(line.split(None, 1) == ["source", record.source] for line in lines)


@pytest.mark.parametrize(
    ("wanted", "device"),
    [
        (Wanted(device="orin"), r"orin(-.*)?"),
        (Wanted(model="pi0.5", device="orin"), r"orin(-.*)?"),
        (Wanted(device="Thor"), "thor"),
        (Wanted(software="tensorrt", model="gr00t-n1.7"), ".*"),
    ],
)
def test_a_word_selects_all_names_that_begin_with_it_and_no_others(wanted: Wanted, device: str) -> None:
    found = wanted.select()
    assert found
    assert all(re.fullmatch(device, record.name.split("/")[1]) for record in found)
    assert {record.name.split("/")[0] for record in Wanted(model="pi0").select()} == {"pi0"}
    assert len(Wanted().select()) == len(RECORDS)


@pytest.mark.parametrize(
    "wanted", [Wanted(model="pi1"), Wanted("pi0", "orin-64gb"), Wanted(software="x"), Wanted("pi0", role="encode")]
)
def test_what_is_not_published_is_one_line(wanted: Wanted) -> None:
    with pytest.raises(UsageError) as error:
        wanted.select()
    assert "\n" not in str(error.value)


def test_sources_that_disagree_stand_side_by_side() -> None:
    found = disagreements(RECORDS)
    pairs = [{record.id for record in each.records} for each in found]
    assert {"gr17-023", "gr17a-050"} in pairs  # one README, two versions
    assert {"gr16-010", "gr510-059"} in pairs  # its authors and a user
    assert any({"dex-062", "lr2174-107"} <= pair for pair in pairs)  # the software alone
    for each in found:
        assert len({record.source for record in each.records}) > 1
        assert len({record.role for record in each.records}) == 1
        assert each.ratio >= 1.2
    text = "\n".join(side_by_side(found))
    assert all(f"[{record.id}]" in text for each in found for record in each.records)


def test_figures_of_one_source_never_disagree() -> None:
    for name in {record.source for record in RECORDS}:
        assert disagreements([record for record in RECORDS if record.source == name]) == []


@pytest.mark.parametrize("record", [each for each in RECORDS if each.role != "part"], ids=lambda record: record.id)
def test_a_bar_is_as_long_as_the_whole(record: Record) -> None:
    assert record.total_ms
    assert sum(part.ms for part in segments(record)) == pytest.approx(record.total_ms, rel=0.021)
    assert all(part.ms > 0 for part in segments(record))


def test_the_figure_has_a_bar_a_record() -> None:
    drawn = figure(RECORDS)
    for record in RECORDS:
        expected = record.role != "part" and record.batch == 1
        assert (f"<title>{record.id}: " in drawn) is expected
    with pytest.raises(UsageError):
        figure([record for record in RECORDS if record.role == "part"])


def test_the_figure_of_the_documentation_is_that_of_the_records() -> None:
    assert (ROOT / "docs" / "latencies.svg").read_text(encoding="utf-8") == figure(RECORDS)
