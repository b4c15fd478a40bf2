"""One way to change a sampling rate, for everything in training."""

import librosa
import numpy as np
from numpy.typing import NDArray

RATE = 16000


def resample(
    samples: NDArray[np.floating], rate: float, target: float = RATE
) -> NDArray[np.float32]:
    """Mono sound at another rate (soxr, high quality)."""
    sound = np.asarray(samples, np.float32)
    if rate == target:
        return sound
    changed = librosa.resample(sound, orig_sr=rate, target_sr=target, res_type="soxr_hq")
    return np.asarray(changed, np.float32)
