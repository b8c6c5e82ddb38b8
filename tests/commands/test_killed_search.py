"""A search for noise levels whose driver is really killed: the same command finds the rest, and the same levels."""

import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import REPOSITORY
from preloaded import PreloadedCommand
from started_runs import FIRST_FLUSH

pytestmark = pytest.mark.processes

SECONDS = 0.15
"""Of a forward pass: 60 images of three levels each take longer than the first rows need to be on disk."""


def start(out: Path, environment: dict[str, str], gate: Path) -> PreloadedCommand:
    """A search of 60 digits by two replicas, image by image; they pause once rows are on disk, until `gate` exists."""
    passes = int(FIRST_FLUSH / SECONDS) + 5
    flags = "--dataset digits --max 60 --sigma 0.25 --search grid:levels=3,draws=8 --batch-size 8 --replicas 2"
    network = f"base_classifiers:Gated:seconds={SECONDS},passes={passes},gate={gate}"
    return PreloadedCommand(
        ["optimize-sigma", *flags.split(), "--classifier", network, "--out", str(out)], environment, REPOSITORY
    )


def parts_of(out: Path) -> dict[Path, pd.DataFrame]:
    return {part: pd.read_parquet(part) for part in sorted(out.glob("sigmas/*/part-*.parquet"))}


def finish(out: Path, environment: dict[str, str], gate: Path) -> pd.DataFrame:
    gate.touch()
    process = start(out, environment, gate)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    rows = pd.concat(parts_of(out).values()).sort_values("image_id", ignore_index=True)
    return rows.drop(columns="seconds")


def test_sigkill_in_the_search_then_the_same_command(tmp_path: Path, ray_cluster: dict[str, str]) -> None:
    gate = tmp_path / "gate"
    process = start(tmp_path / "killed", ray_cluster, gate)
    deadline = time.monotonic() + 240
    while not parts_of(tmp_path / "killed"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    before = parts_of(tmp_path / "killed")
    searched = {image for part in before.values() for image in part["image_id"]}
    assert 0 < len(searched) < 60
    rows = finish(tmp_path / "killed", ray_cluster, gate)
    # What the first session wrote is there as it was, and no image of it was searched again.
    after = parts_of(tmp_path / "killed")
    assert all(after[part].equals(found) for part, found in before.items())
    assert sum(len(part) for part in after.values()) == 60
    assert not searched & {image for part in after.keys() - before.keys() for image in after[part]["image_id"]}
    undisturbed = finish(tmp_path / "whole", ray_cluster, gate)
    pd.testing.assert_frame_equal(rows, undisturbed, check_exact=True)
    assert rows["image_id"].tolist() == [*range(60)]
