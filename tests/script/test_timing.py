"""Every form of time, exactly."""

import pytest
from hypothesis import given
from script_strategies import lengths, points

from liveact_cli.script.timing import Duration, parse_length, parse_point


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        ("2.5", 2.5),
        (" 2s ", 2.0),
        ("1500ms", 1.5),
        ("0:02", 2.0),
        ("0:05.5", 5.5),
        ("1:02:03.250", 3723.25),
        ("90:00", 5400.0),
        ("2m", 120.0),
        ("25%", 25.0),
        ("12.5 %", 12.5),
        ("end-3s", 97.0),
        ("end - 0:03", 97.0),
        ("END", 100.0),
    ],
)
def test_points(text: str, seconds: float) -> None:
    assert parse_point(text).seconds(100.0) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-2s", "0:75", "1:60:00", "110%", "end+3s", "end-", "1e3", "٣", "9" * 50, "999h"],
)
def test_wrong_points_say_why(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ .*\w"):
        parse_point(text)


def test_a_point_before_the_start_is_offered_as_one_before_the_end() -> None:
    with pytest.raises(ValueError, match="end-2s"):
        parse_point("-2s")


@pytest.mark.parametrize("text", ["-1s", "25%", "end-3s", "long"])
def test_lengths_are_not_points(text: str) -> None:
    with pytest.raises(ValueError, match="length"):
        parse_length(text)


@given(points)
def test_points_are_read_back_as_written(point) -> None:
    assert parse_point(str(point)) == point


@given(lengths)
def test_lengths_are_read_back_as_written(length: Duration) -> None:
    assert parse_length(str(length)) == length
