"""Fixtures over the toy checkpoint; the helpers are in conftest_wan."""

import torch
from conftest_wan import components, pipeline, speech, speech_encoder, vae

__all__ = ["components", "pipeline", "speech", "speech_encoder", "vae"]

# Many small convolutions: a second thread costs more than it brings.
torch.set_num_threads(1)
