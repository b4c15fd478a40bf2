"""What the audio net's rows must tell, how well they do, and the files that nets are kept in.

Heads read linearly from the rows: phones at 100 Hz, lip shapes, closures, the mouth of a neutral
performance, voice activity, loudness, pitch. They train and judge; none of them is shipped.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from liveact_cli.mini.audio import FRAMES_PER_ROW, AudioNet, AudioNetConfig
from liveact_cli.mini.model import load_mini
from liveact_cli.mini.visemes import SHAPE_NAMES, VISEME_INDEX, VISEME_SHAPES, VISEMES
from liveact_cli.training.corpus import Stream
from liveact_cli.training.lips import LIP_CHANNELS

_SMOOTH_SLOW, _SMOOTH_FAST = 3.0, 1.5
_EVENTS = ("PBM", "FV")


class AudioHeads(nn.Module):
    """What the rows must tell; used in training and for judging, never shipped."""

    def __init__(self, config: AudioNetConfig) -> None:
        super().__init__()
        classes = len(VISEMES)
        self.trunk_phones = nn.Conv1d(config.width, 2 * classes, 1)
        self.phones = nn.Linear(config.channels, FRAMES_PER_ROW * classes)
        self.shapes = nn.Linear(config.channels, len(SHAPE_NAMES))
        self.events = nn.Linear(config.channels, len(_EVENTS))
        self.curves = nn.Linear(config.channels, 4)
        self.lips = nn.Linear(config.channels, len(LIP_CHANNELS))

    def phones_at_100_hz(self, rows: Tensor) -> Tensor:
        """Rows [B, F, D] -> logits [B, 4F, classes]."""
        logits = self.phones(rows)
        return logits.reshape(len(logits), -1, len(VISEMES))


def _gauss(track: Tensor, sigma: float) -> Tensor:
    """Smooth [B, T, C] over time."""
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    flat = functional.pad(
        track.permute(0, 2, 1).flatten(0, 1)[:, None], (reach, reach), mode="replicate"
    )
    smooth = functional.conv1d(flat, (kernel / kernel.sum())[None, None])
    return smooth.reshape(track.shape[0], track.shape[2], -1).permute(0, 2, 1)


def shape_targets(classes: Tensor) -> Tensor:
    """Lip shapes [B, F, 5] at 25 fps from viseme classes [B, 4F] at 100 Hz.

    Closing and lip-teeth contact are smoothed half as much as the others: they are fast.
    """
    shapes = torch.from_numpy(VISEME_SHAPES)[classes.long()]
    slow, fast = _gauss(shapes, _SMOOTH_SLOW), _gauss(shapes, _SMOOTH_FAST)
    smooth = torch.cat([slow[..., :1], fast[..., 1:3], slow[..., 3:]], 2)
    return smooth.reshape(len(smooth), -1, FRAMES_PER_ROW, smooth.shape[2]).mean(2)


def event_targets(classes: Tensor) -> Tensor:
    """[B, F, 2]: 1 where any of a frame's four mel frames is a bilabial, a labiodental."""
    marks = torch.stack([classes == VISEME_INDEX[name] for name in _EVENTS], 2).float()
    return marks.reshape(len(marks), -1, FRAMES_PER_ROW, len(_EVENTS)).amax(2)


@torch.inference_mode()
def predict(
    net: AudioNet, heads: AudioHeads, mel: NDArray[np.float16]
) -> dict[str, NDArray[np.float32]]:
    """shapes [F, 5], events [F, 2], phones [4F, classes] (probabilities) of one stream."""
    rows = net(torch.from_numpy(np.asarray(mel, np.float32))[None])
    return {
        "shapes": torch.sigmoid(heads.shapes(rows))[0].numpy(),
        "events": torch.sigmoid(heads.events(rows))[0].numpy(),
        "phones": heads.phones_at_100_hz(rows).softmax(2)[0].numpy(),
    }


def _runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.diff(np.concatenate([[0], active.astype(int), [0]]))
    return list(zip(np.where(edges == 1)[0], np.where(edges == -1)[0], strict=True))


def score(
    net: AudioNet, heads: AudioHeads, streams: list[Stream], threshold: float = 0.5, margin: int = 4
) -> dict[str, float]:
    """Frame accuracy, shape correlations while speaking, and closures found within +-40 ms."""
    right = frames = hits = closures = true_runs = runs = 0
    said, aimed = [], []
    for stream in streams:
        guess = predict(net, heads, stream.mel)
        classes = np.asarray(stream.classes)
        talking = np.repeat(stream.speech > 0.5, FRAMES_PER_ROW)
        right += int((guess["phones"].argmax(1) == classes)[talking].sum())
        frames += int(talking.sum())
        target = shape_targets(torch.from_numpy(classes.copy())[None])[0].numpy()
        said.append(guess["shapes"][stream.speech > 0.5])
        aimed.append(target[stream.speech > 0.5])
        closed = np.repeat(guess["events"][:, 0] > threshold, FRAMES_PER_ROW)
        truth = classes == VISEME_INDEX["PBM"]
        for first, last in _runs(truth):
            closures += 1
            hits += bool(closed[max(0, first - margin) : last + margin].any())
        for first, last in _runs(closed & talking):
            runs += 1
            true_runs += bool(truth[max(0, first - margin) : last + margin].any())
    said_all, aimed_all = np.concatenate(said), np.concatenate(aimed)
    correlations = {
        name: float(np.corrcoef(said_all[:, k], aimed_all[:, k])[0, 1])
        for k, name in enumerate(SHAPE_NAMES)
    }
    return {
        "accuracy": right / max(1, frames),
        **correlations,
        "closure_recall": hits / max(1, closures),
        "closure_precision": true_runs / max(1, runs),
        "closures": closures,
    }


def save_net(net: AudioNet, heads: AudioHeads, path: Path, note: dict[str, str]) -> None:
    """Write net and heads with the net's sizes in the metadata."""
    state = {f"net.{k}": v.contiguous() for k, v in net.state_dict().items()}
    state |= {f"heads.{k}": v.contiguous() for k, v in heads.state_dict().items()}
    save_file(state, path, {"config": json.dumps(net.config.as_metadata()), **note})


def load_net(path: Path) -> tuple[AudioNet, AudioHeads]:
    """Read what `save_net` wrote."""
    with safe_open(path, "pt") as file:
        values = json.loads(file.metadata()["config"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    values["dilations"] = tuple(values["dilations"])
    config = AudioNetConfig(**values)
    net, heads = AudioNet(config), AudioHeads(config)
    net.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("net.")})
    heads.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("heads.")})
    return net.eval(), heads.eval()


def trained_net(path: Path) -> tuple[AudioNet, AudioHeads | None]:
    """The net and heads of a run's `audio_net.safetensors`, or the net alone of liveact-mini."""
    with safe_open(path, "pt") as file:
        own = any(name.startswith("heads.") for name in file.keys())  # noqa: SIM118 (not a dict)
    return load_net(path) if own else (load_mini(path).audio_encoder.net, None)
