"""umT5: cleaning, tokens, contexts, and the cache that spares loading it."""

from pathlib import Path

import pytest
import torch
from conftest_wan import CHECKPOINT, Golden, relative

from liveact_cli.core.errors import WeightsError
from liveact_cli.wan.text import TextEncoder, clean_prompt

WEIGHTS = CHECKPOINT / "models_t5_umt5-xxl-enc-bf16.pth"
TOKENIZER = CHECKPOINT / "google" / "umt5-xxl"


def encoder(golden: Golden, cache: Path | None = None) -> TextEncoder:
    limit = int(golden.metadata["text_len"])
    return TextEncoder(WEIGHTS, TOKENIZER, limit, "cpu", torch.float32, cache)


def test_cleaning_repairs_unescapes_and_collapses() -> None:
    assert clean_prompt("  heart \n gesture &amp;amp; laughing ") == "heart gesture & laughing"
    assert clean_prompt("schÃ¶n") == "schön"


def test_contexts_match_the_released_code(components: Golden) -> None:
    umt5 = encoder(components)
    for index, prompt in enumerate(components.prompts):
        assert umt5.ids(prompt) == components.tensors[f"text.{index}.ids"].tolist()
        context = umt5.encode(prompt)
        assert relative(context, components.tensors[f"text.{index}.context"]) < 1e-5


def test_long_prompts_are_cut_and_still_end(components: Golden) -> None:
    ids = encoder(components).ids("word " * 100)
    assert len(ids) == int(components.metadata["text_len"])
    assert ids[-1] == 1


def test_a_known_prompt_needs_no_model(
    components: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encoder(components, tmp_path)
    context = first.encode("a person  talks")
    first.release()
    monkeypatch.setattr(TextEncoder, "_load", lambda self: pytest.fail("the model was loaded"))
    assert torch.equal(encoder(components, tmp_path).encode("a person talks"), context)
    (kept,) = (tmp_path / "prompts").iterdir()
    assert kept.suffix == ".safetensors"


def test_a_cache_that_fails_is_done_without(components: Golden, tmp_path: Path) -> None:
    right = encoder(components, tmp_path).encode("a person talks")
    (kept,) = (tmp_path / "prompts").iterdir()
    kept.write_bytes(b"no tensors")
    assert torch.equal(encoder(components, tmp_path).encode("a person talks"), right)
    file = tmp_path / "file"
    file.touch()
    assert torch.equal(encoder(components, file).encode("a person talks"), right)


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"tokenizer\.json"):
        TextEncoder(WEIGHTS, tmp_path, 24, "cpu", torch.float32)
