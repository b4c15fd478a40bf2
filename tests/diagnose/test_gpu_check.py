"""tools/gpu_check.sh: all of it at a tiny size, with no more packages than a bare machine has."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from liveact_cli.diagnose.stages import Check

ROOT = Path(__file__).parents[2]

# torch, triton, safetensors, numpy, typer and rich, and what they cannot be imported without.
BARE = (
    "torch", "torchgen", "functorch", "triton", "safetensors", "numpy", "typer", "rich",
    "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock",
    "fsspec", "click", "shellingham", "annotated_doc", "pygments", "markdown_it", "mdurl",
    "liveact_cli",
)  # fmt: skip

# Python runs a module named sitecustomize before everything else: to it, the rest does not exist.
WALL = f"""
import sys

class Wall:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        known = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")
        if known or top in {set(BARE)!r}:
            return self.finder.find_spec(name, path, target)

    def invalidate_caches(self):
        pass

sys.meta_path[:] = [Wall(finder) for finder in sys.meta_path]
"""


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Every stage's line by its name."""
    folder = tmp_path_factory.mktemp("check")
    (folder / "sitecustomize.py").write_text(WALL, encoding="utf-8")
    variables = dict(os.environ) | {"PYTHON": sys.executable, "PYTHONPATH": str(folder)}
    command = [ROOT / "tools" / "gpu_check.sh", "--device", "cpu", "--toy", "--output", "out.jsonl"]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    lines = (folder / "out.jsonl").read_text().splitlines()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {record["stage"]: record for record in map(json.loads, lines)}


@pytest.mark.multi
def test_nothing_fails_behind_the_wall(stages: dict[str, dict]) -> None:
    assert [name for name, record in stages.items() if "failed" in record] == []
    assert list(stages) == [
        "machine", "proofs", "gemm", "attention sdpa", "convolutions", "norms", "golden roll-outs",
        "golden roll-outs, fused", "golden video", "golden pipeline", "decoder wan",
        "decoder lightvae", "decoder taew2_1", "decoder wan, in tiles",
        "build fp32", "record fp32", "32x48 fp32",
        "32x32 fp32", "build fp8", "fp8 against fp32", "32x48 fp8", "32x32 fp8",
        "32x48 fp8 taew2_1", "32x48 fp8 lightvae", "32x48 fp8, attention too",
        "flat memory", "32x48 fp8, CUDA graphs",
        "24 GB", "two devices",
    ]  # fmt: skip
    assert "is not installed" in stages["golden pipeline"]["skipped"]
    (fallen,) = stages["32x48 fp8, CUDA graphs"]["fallbacks"]
    assert fallen.startswith("CUDA graphs cannot run here"), "a processor has none"
    notes = stages["32x48 fp8"]["bench"]["notes"]
    assert any("encoder is not measured" in note for note in notes)
    assert any("encoding is not measured" in note for note in notes)


@pytest.mark.multi
def test_what_is_exact_reaches_its_aim(stages: dict[str, dict]) -> None:
    for name in ("golden roll-outs", "golden roll-outs, fused", "golden video", "flat memory"):
        figures = stages[name]["figures"]
        aimed = [figure for figure in figures if figure["aim"] is not None]
        assert aimed
        assert all(figure["value"] <= figure["aim"] for figure in aimed), name


@pytest.mark.multi
def test_fp8_is_compared_with_the_same_numbers(stages: dict[str, dict]) -> None:
    errors = [figure["value"] for figure in stages["fp8 against fp32"]["figures"]]
    assert len(errors) == 3
    assert all(1e-4 < error < 0.1 for error in errors)


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_check", ROOT / "tools" / "gpu_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_failure_is_kept_and_the_next_stage_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    check = Check(tmp_path / "out.jsonl", 5, said.append)

    def bad(stage) -> None:
        stage.add("before", 1.0, "s", 0.5, "less")
        raise RuntimeError("the device is on fire")

    assert not check.run("bad", 0, bad)
    assert check.run("good", 0, lambda stage: stage.add("speed", 9.0, "frames/s", 8.0))
    assert not check.run("late", 1000, lambda stage: None)
    bad_line, good, late = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert bad_line["failed"] == "RuntimeError: the device is on fire"
    assert bad_line["figures"][0]["value"] == 1.0
    assert good["figures"][0]["aim"] == 8.0
    assert "1000 s needed" in late["skipped"]
    assert (check.failed, len(check.missed)) == (["bad"], 1)
    assert "    before: 1 s (MISSED: at most 0.5)" in said


def test_without_a_gpu_it_says_so(tool: ModuleType, monkeypatch, capsys) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert tool.main([]) == 5
    assert "no GPU" in capsys.readouterr().out
