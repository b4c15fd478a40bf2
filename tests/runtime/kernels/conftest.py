"""Kernels run on a GPU, or in Triton's interpreter (tests/conftest.py)."""

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="session")
def fused():
    pytest.importorskip("triton", reason="Triton has no build for this system")
    from liveact_cli.runtime.kernels import fused

    return fused
