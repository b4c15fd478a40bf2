"""What a prompt means: umT5, with its results kept on disk so that it need not be loaded again."""

import gc
import html
import re
from pathlib import Path
from typing import Final

import ftfy
import torch
from torch import Tensor

from liveact_cli.core.errors import WeightsError
from liveact_cli.runtime.devices import device_with_room
from liveact_cli.wan import checkpoint, keymaps
from liveact_cli.wan.kept import Kept

SPARE: Final = 1_000_000_000
"""Bytes that encoding takes beside the weights."""


def clean_prompt(prompt: str) -> str:
    """Repair encodings, undo HTML entities (twice: they come doubled) and collapse white space."""
    repaired = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", repaired).strip()


class PromptTokens:
    """The released tokenizer: ids end with `</s>` and are cut to `limit`."""

    def __init__(self, directory: Path, limit: int) -> None:
        from tokenizers import Tokenizer

        path = directory / "tokenizer.json"
        if not path.is_file():
            raise WeightsError(
                f"{path} does not exist", "liveact model download fetches the tokenizer"
            )
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.enable_truncation(max_length=limit)

    def ids(self, prompt: str) -> list[int]:
        """Token ids of a prompt after cleaning."""
        return list(self._tokenizer.encode(clean_prompt(prompt)).ids)


class TextEncoder:
    """umT5's encoder; PromptEncoder protocol.

    `limit` is the checkpoint's `text_len`. The model is loaded when a prompt is met that `cache`
    (a directory, or None) does not hold, and `release` lets it go.
    """

    def __init__(
        self,
        weights: Path,
        tokenizer: Path,
        limit: int,
        device: torch.device | str,
        dtype: torch.dtype,
        cache: Path | None = None,
    ) -> None:
        self._weights, self._kept = weights, Kept(cache, "prompts")
        self._device, self._dtype = torch.device(device), dtype
        self._place = self._device
        self._limit = limit
        self._tokens = PromptTokens(tokenizer, limit)
        self._model: torch.nn.Module | None = None

    def ids(self, prompt: str) -> list[int]:
        """Token ids of a prompt, as the encoder sees them."""
        return self._tokens.ids(prompt)

    def encode(self, prompt: str) -> Tensor:
        """Encode a prompt -> `[tokens, text_dim]` on the CPU, without padding."""
        ids = self.ids(prompt)
        return self._kept.get(self._weights, (str(self._dtype), ids), lambda: self._run(ids))

    def release(self) -> None:
        """Let the model go: once the prompts are known it is 11 GB that nobody needs."""
        self._model = None
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _run(self, ids: list[int]) -> Tensor:
        if self._model is None:
            self._model = self._load()
        # No padding, hence no mask: umT5's positions are relative, so the result is the same.
        batch = torch.tensor([ids], device=self._place)
        context: Tensor = self._model(input_ids=batch).last_hidden_state
        return context[0]

    def _load(self) -> torch.nn.Module:
        from transformers import UMT5Config, UMT5EncoderModel

        released = checkpoint.read_tensors(self._weights)
        sizes = keymaps.text_sizes(released)
        config = UMT5Config(
            vocab_size=sizes.vocabulary,
            d_model=sizes.width,
            d_kv=sizes.head_width,
            d_ff=sizes.ffn_width,
            num_layers=sizes.layers,
            num_heads=sizes.heads,
            relative_attention_num_buckets=sizes.buckets,
            dropout_rate=0.0,
        )
        # Beside a transformer that is loaded already there may be no room for 11 GB more.
        self._place = device_with_room(self._device, self._weights.stat().st_size + SPARE)
        return checkpoint.build(
            lambda: UMT5EncoderModel(config),
            keymaps.text_tensors(released),
            self._weights.name,
            self._dtype,
            self._place,
        )
