"""The presets: found by name, right, and playable."""

from pathlib import Path

import pytest

from liveact_cli.config.edge import flag_layer, merge
from liveact_cli.config.presets import find_preset, preset_files
from liveact_cli.core.errors import UsageError
from liveact_cli.script.direct import Recording, load_direction
from liveact_cli.script.parse import parse_preset
from liveact_cli.script.performance import Orders
from liveact_cli.script.source import read_source

NAMES = ["facetime", "livestream", "newsreader", "podcast", "singer", "storyteller", "talkshow"]


def find(name: str) -> Path:
    return find_preset(name, {"XDG_CONFIG_HOME": "/nonexistent"})


def test_the_presets_are_these() -> None:
    assert list(preset_files({"XDG_CONFIG_HOME": "/nonexistent"})) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_right_and_directs(name: str) -> None:
    preset = parse_preset(read_source(find(name))).script
    assert preset.prompt
    assert preset.framing.shot
    direction = load_direction(Recording(60.0, 25.0), find, orders=Orders(preset=name))
    assert direction.problems == ()
    gestures = [span for span in direction.script.spans if span.kind == "action"]
    assert len(gestures) == pytest.approx(preset.energy.gestures, abs=2)
    assert direction.script.idle.head == preset.energy.head


@pytest.mark.parametrize("name", NAMES)
def test_what_it_sets_for_a_render_is_possible(name: str) -> None:
    preset = parse_preset(read_source(find(name))).script
    settings = merge([flag_layer(preset.settings())])
    assert settings.crf == preset.encoder.crf


def test_names_are_found_in_any_spelling() -> None:
    assert find("Talk Show") == find("talk-show") == find("talkshow")


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="no preset 'podcats'") as caught:
        find("podcats")
    assert "'podcast'" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        find("qqq")
    assert "newsreader" in caught.value.hint


def test_a_preset_of_the_user_hides_a_built_in_one(tmp_path: Path) -> None:
    folder = tmp_path / "liveact" / "presets"
    folder.mkdir(parents=True)
    (folder / "podcast.yaml").write_text("liveact: 1\ndescription: mine\n")
    assert find_preset("podcast", {"XDG_CONFIG_HOME": str(tmp_path)}) == folder / "podcast.yaml"
