"""A batch on a Ray cluster of two nodes on the loopback, one of which is killed half-way."""

import importlib.util
import sys
import threading
from pathlib import Path

import pytest

from liveact_cli.cli.context import Environment
from liveact_cli.cli.main import main
from liveact_cli.core.errors import UsageError
from liveact_cli.studio.batch import known_store
from liveact_cli.studio.cluster import check_address
from liveact_cli.weights.resolve import example_file

JOBS = 8


@pytest.mark.parametrize(
    "address", ["auto", "local", "", "6379", "http://a:1", "ray://a:10001", "a b:1"]
)
def test_only_a_named_cluster_is_connected_to(address: str) -> None:
    with pytest.raises(UsageError, match="write the address of a Ray cluster"):
        check_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "head:6379", "[::1]:6379"])
def test_addresses(address: str) -> None:
    check_address(address)


@pytest.mark.slow
@pytest.mark.multi
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `cluster`")
def test_half_the_cluster_dies(toy_mini: Path, tmp_path: Path, monkeypatch) -> None:
    """Its job is rendered by the other node, and the report tells of two attempts."""
    # The nodes' processes must find this package, however it was found here; and they stay on the
    # loopback.
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    from ray.cluster_utils import Cluster

    node = {
        "node_ip_address": "127.0.0.1", "num_cpus": 1, "object_store_memory": 80_000_000,
        "memory": 4_000_000_000,
    }  # fmt: skip
    manifest = tmp_path / "night.yaml"
    manifest.write_text(
        f"defaults: {{audio: '{example_file('audio.wav')}', ref: '{example_file('face.png')}', "
        f"model: '{toy_mini}', size: 64x64, duration: 6, output: '{{n:02}}.mp4'}}\n"
        "jobs:\n" + "".join(f"  - {{seed: {number}}}\n" for number in range(JOBS))
    )
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        second = cluster.add_node(**node)
        cluster.wait_for_nodes()
        killed = threading.Event()

        def kill_later() -> None:
            """Kill the second node while it renders, when two videos are there."""
            while not killed.wait(0.1):
                running = len(list(tmp_path.glob(".*.mp4.liveact")))
                if len(list(tmp_path.glob("*.mp4"))) >= 2 and running == 2:
                    cluster.remove_node(second, allow_graceful=False)
                    killed.set()

        watch = threading.Thread(target=kill_later, daemon=True)
        watch.start()
        environment = Environment(variables={}, directory=tmp_path)
        words = ["batch", str(manifest), "--cluster", cluster.address, "--json", "--retries", "3"]
        code = main(words, environment)
        assert killed.is_set()
        killed.set()
    finally:
        cluster.shutdown()
    with known_store(manifest) as store:
        rows = store.rows()
    assert code == 0
    assert all((tmp_path / row.name).stat().st_size == row.size for row in rows)
    assert max(row.attempts for row in rows) > 1
