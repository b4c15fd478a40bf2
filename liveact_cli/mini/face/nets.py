"""Running the networks of a LiteRT bundle."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from liveact_cli.mini.face.geometry import Array

RGB = NDArray[np.uint8]


def load(model: bytes) -> Any:
    """Return an interpreter of one thread, so that results do not depend on the machine."""
    with _silence():
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def _silence() -> Iterator[None]:
    """Keep LiteRT from announcing its delegate: it writes to the process's stderr itself."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def run(interpreter: Any, value: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return all outputs of a net for its only input."""
    (source,) = interpreter.get_input_details()
    interpreter.set_tensor(source["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(out["index"]) for out in interpreter.get_output_details()]


def warp(image: RGB, to_crop: Array, side: int, zoom: float) -> RGB:
    """Cut `to_crop` (2x3) out of the picture; strong shrinking goes through an area filter."""
    step = 1
    while zoom * step * 2 <= 1.0:
        step *= 2
    if step > 1:
        height, width = image.shape[0] // step, image.shape[1] // step
        if min(height, width) >= 2:
            fx, fy = image.shape[1] / width, image.shape[0] / height
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            to_crop = to_crop @ np.array([[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2], [0, 0, 1]])
    return np.asarray(
        cv2.warpAffine(
            image, to_crop, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ),
        np.uint8,
    )


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return logits as probabilities."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -80.0, 80.0)))
