"""The Triton kernels compile for Hopper, which the interpreter does not prove."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton has no build for this system")


@pytest.mark.multi
def test_every_kernel_compiles_for_hopper(tmp_path: Path) -> None:
    script = Path(__file__).parent / "compile_kernels.py"
    variables = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    variables["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, script], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for made in json.loads(done.stdout):
        assert made["bytes"] > 1000
        # 16 bytes at a time: a kernel that is bound by memory must not load number by number.
        assert made["wide_accesses"] >= 4, made
