"""What a machine offers, a container's limit included."""

from pathlib import Path

from liveact_cli.core.machine import _left_of_a_limit, available_memory, usable_cores


def test_a_control_group_leaves_what_its_limit_leaves(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("8000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 2000\ninactive_file 600\n")
    assert list(_left_of_a_limit(tmp_path)) == [5600]
    (tmp_path / "memory.max").write_text("max\n")
    assert list(_left_of_a_limit(tmp_path)) == []
    assert list(_left_of_a_limit(tmp_path / "absent")) == []
    free = available_memory()
    assert free is None or free > 1_000_000


def test_a_control_group_has_so_many_cores(tmp_path: Path) -> None:
    cores = usable_cores(tmp_path)
    assert cores >= 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_cores(tmp_path) == cores
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert usable_cores(tmp_path) == 1
