"""The Triton kernels compile for Hopper, which the interpreter does not prove."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton has no build for this system")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a process without the interpreter has compiled."""
    script = Path(__file__).parent / "compile_kernels.py"
    variables = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    variables["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    done = subprocess.run([sys.executable, script], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.multi
def test_every_kernel_compiles_for_hopper(report: dict) -> None:
    for made in report["kernels"]:
        assert made["bytes"] > 1000
        # 16 bytes at a time: a kernel that is bound by memory must not load number by number.
        assert made["wide_accesses"] >= 4, made


@pytest.mark.multi
def test_the_decoder_is_one_graph_with_its_kernels_inside(report: dict) -> None:
    """Two: the stream's first latent frame, and all calls of the same number of frames after it."""
    assert report["decoder"]["graphs"] == 2
    assert report["decoder"]["kernels"] > 30
