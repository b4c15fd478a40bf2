import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveact_cli.core.units import Size, counted, format_bytes, format_time, parse_size, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        ("2.5", 2.5),
        (".5", 0.5),
        ("2s", 2.0),
        (" 1500 ms ", 1.5),
        ("3m", 180.0),
        ("1h", 3600.0),
        ("1:02.5", 62.5),
        ("01:00:00", 3600.0),
        ("1:02:03.250", 3723.25),
    ],
)
def test_times(text, seconds):
    assert parse_time(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "abc", "-1", "1:2:3:4", "1:75", "2x", "ms", "1..5", "nan", "inf", "9" * 400]
)
def test_not_times(text):
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text)


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 999))
def test_clock_times_are_exact(minutes, seconds, milliseconds):
    written = f"{minutes}:{seconds:02}.{milliseconds:03}"
    assert round(parse_time(written) * 1000) == (minutes * 60 + seconds) * 1000 + milliseconds


@given(st.integers(60, 10**7))
def test_whole_seconds_survive_writing_and_reading(seconds):
    assert parse_time(format_time(seconds)) == seconds


@given(st.integers(1, 10**5), st.integers(1, 10**5))
def test_sizes_survive_writing_and_reading(width, height):
    assert parse_size(str(Size(width, height))) == (width, height)


@pytest.mark.parametrize("text", ["512", "0x5", "512x", "axb", "-1x5", "512x512x3"])
def test_not_sizes(text):
    with pytest.raises(ValueError, match="is not a picture size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (850e6, "850 MB"),
        (1.2e9, "1.2 GB"),
        (40_252_211_200, "40.3 GB"),
        (999_600, "1 MB"),
        (99_960_000, "100 MB"),
    ],
)
def test_bytes_are_written_with_three_digits(count, text):
    assert format_bytes(count) == text


def test_counted_words() -> None:
    assert [counted(n, "shot", "shots") for n in (0, 1, 2)] == ["0 shots", "1 shot", "2 shots"]
