"""Triton's interpreter stands in for a GPU, where there is none."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    # Read when a kernel is defined, so before anything imports the module that has them.
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="session")
def fused():
    pytest.importorskip("triton", reason="Triton has no build for this system")
    from liveact_cli.runtime.kernels import fused

    return fused
