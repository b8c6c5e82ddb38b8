"""The states that an image passes through, in a small run without Ray."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import opened

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.drawing.ledger import Ledger
from raysmooth.pipeline.drawing.open_images import ImageState

WAITING, DRAWING, FINISHED = ImageState.WAITING, ImageState.DRAWING, ImageState.FINISHED
RUN: dict[str, Any] = {"classifier": "base_classifiers:Linear:pixels=192", "dataset": "folder", "sigma": 0.25}
RUN |= {"n0": 25, "n": 100, "block_size": 50}
"""Shards of two images: a unit takes 50 draws, two images' selection draws."""


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Any]:
    """Five images, of which the second cannot be read and the last has another shape."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8, 3), 50 * number, np.uint8)).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes(b"\x89PNG not really")
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(folder / "4.png")
    return {**RUN, "data_root": str(folder)}


def states(ledger: Ledger) -> list[ImageState]:
    return [ledger._images.state_of(image_id) for image_id in range(5)]


def draw_rest(step: Callable[[], bool]) -> None:
    while step():
        pass


def test_images_are_opened_shard_by_shard_and_only_move_forward(tmp_path: Path, pictures: dict[str, Any]) -> None:
    order, seen = [WAITING, DRAWING, FINISHED], []
    with opened(tmp_path / "out", **pictures) as (ledger, step):
        seen.append(states(ledger))
        while step():
            seen.append(states(ledger))
        ledger.conclude()
        seen.append(states(ledger))
    assert seen[0] == [WAITING] * 5
    assert seen[1] == [DRAWING, FINISHED, WAITING, WAITING, WAITING]
    assert seen[-1] == [FINISHED] * 5
    for before, after in pairwise(seen):
        assert all(order.index(a) >= order.index(b) for a, b in zip(after, before, strict=True))
    assert [row["image_id"] for row in ledger.errors] == [1, 4]


def test_a_resumed_run_opens_only_what_has_no_row(tmp_path: Path, pictures: dict[str, Any]) -> None:
    with opened(tmp_path / "out", **pictures) as (ledger, step):
        while ledger.finished < 2:  # the unreadable image, and the first
            step()
    with opened(tmp_path / "out", **pictures) as (ledger, step):
        assert states(ledger) == [FINISHED, WAITING, WAITING, WAITING, WAITING]
        assert ledger.next_request() is not None
        assert states(ledger)[:2] == [FINISHED, FINISHED]  # the unreadable image is tried again


def test_an_image_altered_in_mid_run_is_not_certified(tmp_path: Path, pictures: dict[str, Any]) -> None:
    altered = Path(pictures["data_root"]) / "3.png"
    content = altered.read_bytes()
    with opened(tmp_path / "out", **pictures) as (ledger, step):
        step()
        Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(altered)
        with pytest.raises(RaysmoothError, match=r"image 3 of folder \(3.png\) was altered during the run"):
            draw_rest(step)
        run_id = ledger.run_id
    altered.write_bytes(content)
    with opened(tmp_path / "out", **pictures) as (ledger, step):
        assert ledger.run_id == run_id
        draw_rest(step)
        assert states(ledger) == [FINISHED] * 5


def test_stored_counts_that_are_not_this_runs_are_refused(tmp_path: Path, pictures: dict[str, Any]) -> None:
    with opened(tmp_path / "out", **pictures) as (ledger, step):
        step()
    with opened(tmp_path / "out", **pictures) as (ledger, step):
        images = ledger._images
        (blocks,) = images._earlier_blocks.values()
        images._earlier_blocks = {0: [type(block)(**{**vars(block), "invalid": 1}) for block in blocks]}
        with pytest.raises(
            RaysmoothError, match=r"the stored counts of image 0 \(0\.png\) hold 26 labels of block 0, not 25: move"
        ):
            draw_rest(step)
