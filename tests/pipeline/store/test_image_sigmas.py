"""Searches on disk: what a run reads of them, and which rows are refused."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from manifests import manifest_of
from search_rows import DDRS, SELECTOR, failed_row, image_rows, search_manifest, write_search

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.status.run_status import State, StatusReader
from raysmooth.pipeline.store.image_sigmas import read_image_sigmas
from raysmooth.pipeline.store.manifest import SIGMAS
from raysmooth.pipeline.store.run_store import RunStore
from raysmooth.pipeline.store.search_store import SearchStore
from raysmooth.pipeline.store.sigma_rows import SIGMAS_SCHEMA, bad_sigmas

MANIFEST = search_manifest()
STEPS = {100: 0.3, 200: 0.4, 250: 0.45}


def whole(out: Path, failed: int = 3, **changes: Any) -> str:
    manifest = search_manifest(**changes)
    levels = {image: {step: sigma + image / 100 for step, sigma in STEPS.items()} for image in range(5)}
    images = [image_rows(manifest, image, found) for image, found in levels.items() if image != failed]
    return write_search(out, manifest, [*images, failed_row(manifest, failed, "cannot be read")])


def test_the_levels_of_a_step_and_its_rule(tmp_path: Path) -> None:
    run = whole(tmp_path)
    read = read_image_sigmas(tmp_path, run[:6], 200)
    assert (read.run_id, read.step, read.rule) == (run, 200, DDRS.replace("steps=250", "steps=200"))
    assert read.sigmas == pytest.approx({0: 0.4, 1: 0.41, 2: 0.42, 4: 0.44}, rel=1e-15)
    assert read.failed == {3: "cannot be read"}
    assert (read.radii, read.alpha) == (None, None)
    assert read.identity == MANIFEST["identity"]
    last = read_image_sigmas(tmp_path, run)
    assert (last.step, last.rule, last.sigmas[0]) == (250, DDRS, 0.45)


def test_a_selector_has_radii_and_half_of_its_alpha_is_left(tmp_path: Path) -> None:
    manifest = search_manifest(SELECTOR, index_set="all 2", images=2)
    radii = {0: 0.125, 1: 0.0}
    run = write_search(tmp_path, manifest, [image_rows(manifest, i, {0: 0.5}, radius) for i, radius in radii.items()])
    read = read_image_sigmas(tmp_path, run)
    assert (read.step, read.rule, read.radii, read.alpha) == (0, SELECTOR, radii, 0.001)


def test_steps_that_were_not_kept_are_refused_with_those_that_were(tmp_path: Path) -> None:
    run = whole(tmp_path)
    with pytest.raises(RaysmoothError, match=f"--steps 300: run {run} has kept steps 100, 200, 250: write one of"):
        read_image_sigmas(tmp_path, run, 300)
    manifest = search_manifest(SELECTOR, index_set="all 1", images=1)
    selector = write_search(tmp_path, manifest, [image_rows(manifest, 0, {0: 0.5}, 0.1)])
    with pytest.raises(RaysmoothError, match=f"^--steps 4: run {selector} has no steps: leave it out$"):
        read_image_sigmas(tmp_path, selector, 4)


def test_other_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=r"^--sigmas zz: there are no runs in \S+/empty: write --out with the fol"):
        read_image_sigmas(tmp_path / "empty", "zz")
    run = whole(tmp_path)
    with pytest.raises(RaysmoothError, match=f"--sigmas zz: there is no such run: known: {run}"):
        read_image_sigmas(tmp_path, "zz")
    schema = pa.schema([("image_id", pa.int64()), ("radius", pa.float64())])
    with RunStore(tmp_path, "certificates", schema, manifest_of()) as certified:
        pass
    with pytest.raises(RaysmoothError, match=r"run \w+ \(certify\) has found no noise levels: name a run of raysmooth"):
        read_image_sigmas(tmp_path, certified.run_id)


def test_an_unfinished_search_is_refused_and_its_status_is_known(tmp_path: Path) -> None:
    run = write_search(tmp_path, MANIFEST, [image_rows(MANIFEST, 0, STEPS), failed_row(MANIFEST, 4, "bad")])
    with pytest.raises(RaysmoothError, match=f"run {run} has searched 2 of 5 images: continue it"):
        read_image_sigmas(tmp_path, run)
    (status,) = StatusReader(tmp_path).read()
    assert (status.state, status.done, status.images, status.errors) == (State.STOPPED, 2, 5, 1)
    assert status.first_error == "image 4: bad"
    # 250 steps of a forward and a backward pass, which counts as two.
    assert (status.mean_draws, status.draws) == (750, 1500)


def test_a_second_session_knows_the_images_of_the_first(tmp_path: Path) -> None:
    write_search(tmp_path, MANIFEST, [image_rows(MANIFEST, 0, STEPS), image_rows(MANIFEST, 2, STEPS)])
    with SearchStore(tmp_path, MANIFEST) as store:
        assert store.finished == {0, 2}
        for image in (1, 3, 4):
            store.add_image(image_rows(MANIFEST, image, STEPS))
    assert sorted(read_image_sigmas(tmp_path, MANIFEST["run_id"]).sigmas) == [0, 1, 2, 3, 4]


def test_a_copied_part_is_refused(tmp_path: Path) -> None:
    run = write_search(tmp_path, MANIFEST, [image_rows(MANIFEST, 0, STEPS)])
    (part,) = (tmp_path / SIGMAS / f"run_id={run}").iterdir()
    part.with_name("part-copy-00001.parquet").write_bytes(part.read_bytes())
    for read in (lambda: SearchStore(tmp_path, MANIFEST), lambda: read_image_sigmas(tmp_path, run)):
        with pytest.raises(RaysmoothError, match="holds images that another part holds too"):
            read()


@pytest.mark.parametrize(
    ("row", "changes", "wrong"),
    [
        (0, {"image_sigma": 0.0}, "has image_sigma 0.0 of image 1, expected a positive number"),
        (1, {"image_sigma": None}, "has image_sigma null of image 1, expected a value"),
        (1, {"step": 150}, "has step 150 of image 1, expected one of 100, 200, 250"),
        (1, {"step": 100}, "has step 100 of image 1, expected each step of an image once"),
        (2, None, "has image_id 1 of image 1, expected one row for each of its 3 steps"),
        (0, {"objective_value": float("inf")}, "has objective_value Infinity of image 1, expected a finite number"),
        (0, {"radius": 0.1}, "has radius 0.1 of image 1, expected none"),
        (2, {"prediction": 6}, "has prediction 6 of image 1, expected a class, 0 to 5"),
        (0, {"image_id": 5}, "has image_id 5, expected one of 'all 5'"),
        (0, {"sigma": 0.5}, "has sigma 0.5 of image 1, expected 0.25, as in its manifest"),
        (0, {"search": "grid"}, 'has search "grid" of image 1, expected'),
        (3, {"image_sigma": 0.3}, "has image_sigma 0.3 of image 2, expected none, as the search failed"),
    ],
)
def test_rows_that_no_search_writes(row: int, changes: dict[str, Any] | None, wrong: str) -> None:
    rows = [*image_rows(MANIFEST, 1, STEPS), *failed_row(MANIFEST, 2, "bad")]
    assert bad_sigmas(pa.Table.from_pylist(rows, SIGMAS_SCHEMA), MANIFEST) is None
    if changes is None:
        del rows[row]
    else:
        rows[row] |= changes
    found = bad_sigmas(pa.Table.from_pylist(rows, SIGMAS_SCHEMA), MANIFEST)
    assert found is not None
    assert re.match(re.escape(wrong), found), found
