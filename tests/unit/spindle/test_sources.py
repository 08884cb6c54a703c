"""Which load a command is about: what is taken, and what is refused before anything is done."""

import argparse
from pathlib import Path

import pytest

from common.errors import StartRefused
from extractor.synthetic.synthetic import SyntheticLoad
from spindle.sources import add_folder_or_source_arguments, made_up, open_folder_or_source


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_folder_or_source_arguments(parser)
    return parser.parse_args(argv)


def test_made_up_records_are_a_load_like_any_other() -> None:
    source = open_folder_or_source(parsed("--synthetic", "50", "--seed", "3", "--month", "1", "--kinds", "labels"))

    assert source.load == SyntheticLoad(50, 3, 1, "20000201", kinds=("labels",))
    assert source.name == "50 synthetic records, seed 3, 1 month later"


@pytest.mark.parametrize("date", ["zzz", "2026-10-01", "20269999", "../20260301"])
def test_a_load_that_is_no_date_is_not_taken(date: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It would be newer than every load to come, and what is stored would be gone from it."""
    with pytest.raises(SystemExit) as end:
        parsed("--synthetic", "50", "--load", date)

    assert end.value.code == 2
    assert "is not a date like 20260301" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [(), ("dumps", "--synthetic", "5"), ("dumps", "--dumps", "others")])
def test_exactly_one_load_is_taken(argv: tuple[str, ...]) -> None:
    with pytest.raises(StartRefused, match="exactly one of FOLDER, --dumps and --synthetic"):
        open_folder_or_source(parsed(*argv))


def test_a_dump_is_of_no_other_month(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="--month is for --synthetic"):
        open_folder_or_source(parsed(str(tmp_path), "--month", "1"))


def test_other_made_up_records_have_another_name() -> None:
    """By it a manifest is known to be of just these."""
    loads = [SyntheticLoad(50, 3), SyntheticLoad(51, 3), SyntheticLoad(50, 4), SyntheticLoad(50, 3, 1, "20000101")]

    assert len({load.file_name("labels") for load in loads}) == len(loads)
    assert len({made_up(load).arguments for load in loads}) == len(loads)
