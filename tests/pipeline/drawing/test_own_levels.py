"""Runs whose images have noise levels of their own, drawn in this process: each row is that of a run at its level."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from own_levels import searched
from search_rows import SELECTOR
from small_runs import certified, opened

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.status.run_status import StatusReader
from raysmooth.pipeline.store.parts import read_rows

RUN: dict[str, Any] = {
    "dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "max": 6, "n0": 10, "n": 120,
    "alpha": 0.05, "block_size": 50,
}  # fmt: skip
LEVELS = {0: 0.02, 1: 0.25, 2: 0.4, 3: 0.02, 4: 0.4}
"""Image 5 has none: its search failed."""

FAILED = {5: "no valid answer in step 3"}
OWN = ["run_id", "seconds", "sigma", "sigma_rule", "image_sigma", "index_set", "images"]
"""Columns that differ between a run at the images' levels and one with a single level."""


def own_rows(out: Path, run_id: str) -> pd.DataFrame:
    return read_rows(out, "certificates", run_id)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Results with a search, and a run at its levels."""
    out = tmp_path_factory.mktemp("own")
    search = searched(out, RUN, LEVELS, failed=FAILED)
    return out, search, certified(out, **RUN, sigmas=search[:6])


def test_an_image_has_the_row_of_a_run_at_its_level(run: tuple[Path, str, str], tmp_path: Path) -> None:
    rows = own_rows(run[0], run[2])
    assert rows["image_sigma"].tolist()[:5] == list(LEVELS.values())
    assert set(rows["sigma"]) == {0.25}
    assert rows["sigma_rule"].iloc[0].endswith("steps=250")
    for level in (0.02, 0.25, 0.4):
        fixed = own_rows(tmp_path, certified(tmp_path, **{**RUN, "sigma": level}))
        here = [image_id for image_id, own in LEVELS.items() if own == level]
        columns = [name for name in rows if name not in OWN]
        one, other = (of.loc[here, columns].reset_index(drop=True) for of in (rows, fixed))
        pd.testing.assert_frame_equal(one, other, check_dtype=False)
        assert fixed["sigma_rule"].isna().all()
        assert fixed["image_sigma"].isna().all()
    assert rows["radius"].gt(0).sum() >= 2


def test_an_image_whose_search_failed_is_an_error_with_the_reason(run: tuple[Path, str, str]) -> None:
    row = own_rows(run[0], run[2]).iloc[5]
    assert row["status"] == "error"
    assert row["error"] == "no sigma was found: no valid answer in step 3"
    assert np.isnan(row["image_sigma"])


def test_the_identity_has_the_search_and_the_rule(run: tuple[Path, str, str]) -> None:
    out, search, run_id = run
    identity = json.loads((out / "runs" / run_id / "manifest.json").read_text())["identity"]
    assert identity["sigmas_run"] == search
    assert identity["sigma_rule"] == own_rows(out, run_id)["sigma_rule"].iloc[0]
    plain = json.loads((out / "runs" / certified(out, **RUN, seed=5) / "manifest.json").read_text())["identity"]
    assert not {"sigmas_run", "sigma_rule"} & {*plain}


def test_another_step_is_another_run_with_its_levels(run: tuple[Path, str, str]) -> None:
    out, search, run_id = run
    other = certified(out, **RUN, sigmas=search, steps=200)
    rows = own_rows(out, other)
    assert other != run_id
    assert rows["image_sigma"].tolist()[:5] == [level / 2 for level in LEVELS.values()]
    assert rows["sigma_rule"].iloc[0].endswith("steps=200")


def test_a_resumed_run_reads_its_levels_again(run: tuple[Path, str, str], tmp_path: Path) -> None:
    search = searched(tmp_path, RUN, LEVELS, failed=FAILED)
    with opened(tmp_path, **RUN, sigmas=search) as (ledger, step):
        for _ in range(4):
            assert step()
        run_id = ledger.run_id
    assert certified(tmp_path, **RUN, sigmas=search) == run_id == run[2]
    columns = [name for name in own_rows(*run[::2]) if name != "seconds"]
    pd.testing.assert_frame_equal(own_rows(tmp_path, run_id)[columns], own_rows(*run[::2])[columns])


def test_readers_take_the_rows(run: tuple[Path, str, str]) -> None:
    out, _, run_id = run
    rows = read_certificates(out)
    assert len(rows[rows["run_id"] == run_id]) == 6
    assert run_id in {one.run_id for one in StatusReader(out).read()}


@pytest.mark.parametrize("changes", [{"n": 100}, {"alpha": 0.2}, {"noise_bound": "runner-up"}, {"norm": "linf"}])
def test_recertified_rows_are_those_of_runs_at_the_images_levels(
    run: tuple[Path, str, str], changes: dict[str, Any], tmp_path: Path
) -> None:
    again = recertify(run[0], run[2], **changes)
    search = searched(tmp_path, RUN, LEVELS, failed=FAILED)
    fresh = own_rows(tmp_path, certified(tmp_path, **{**RUN, **changes}, sigmas=search))
    columns = [name for name in fresh if name not in ("run_id", "seconds", "source", "sampling")]
    pd.testing.assert_frame_equal(again[columns], fresh[columns], check_dtype=False)
    assert again["source"].eq(f"recertified from {run[2]}").all()


@pytest.mark.parametrize("noise", [{"noise": "uniform", "sigma": 0.25}, {"sampling": "adaptive", "n": 400}])
def test_other_noise_and_sampling(noise: dict[str, Any], tmp_path: Path) -> None:
    """Draws of adaptive runs are planned at the run's level, as a share of a radius takes the same draws at any."""
    settings = {**RUN, **noise}
    search = searched(tmp_path, settings, LEVELS, failed=FAILED)
    rows = own_rows(tmp_path, certified(tmp_path, **settings, sigmas=search)).iloc[:5]
    for level in (0.02, 0.4):
        fixed = own_rows(tmp_path, certified(tmp_path, **{**settings, "sigma": level})).iloc[:5]
        here = rows["image_sigma"] == level
        columns = ["prediction", "radius", "p_lower", "count_top", "n_used", "draws"]
        pd.testing.assert_frame_equal(rows.loc[here, columns], fixed.loc[here, columns], check_dtype=False)
    read_certificates(tmp_path)


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """As `run`, with levels that a selector certified; it abstains for image 1, and image 3 may hardly move."""
    out = tmp_path_factory.mktemp("selected")
    radii = dict.fromkeys(LEVELS, 5.0) | {1: 0.0, 3: 0.001, 5: 5.0}
    search = searched(out, RUN, {**LEVELS, 5: 0.02}, SELECTOR.replace("0.001", "0.05"), radii)
    return out, search, certified(out, **RUN, sigmas=search)


def test_a_certified_selector_has_half_of_alpha_and_its_radius_is_a_limit(
    selected: tuple[Path, str, str], tmp_path: Path
) -> None:
    rows = own_rows(selected[0], selected[2])
    half = own_rows(tmp_path, certified(tmp_path, **{**RUN, "sigma": 0.02, "alpha": 0.025}))
    assert set(rows["alpha"]) == {0.05}
    for image_id in (0, 3, 5):
        one, other = rows.iloc[image_id], half.iloc[image_id]
        assert (one["p_lower"], one["count_top"]) == (other["p_lower"], other["count_top"])
        assert one["prediction"] == other["prediction"]
        assert one["radius"] == min(other["radius"], 0.001 if image_id == 3 else 5.0)
    assert half.iloc[3]["radius"] > 0.001
    assert (rows.iloc[1]["prediction"], rows.iloc[1]["radius"]) == (-1, 0.0)
    assert len(read_certificates(selected[0])) == 6


def test_a_selectors_run_is_recertified_with_its_radii_and_not_with_another_alpha(
    selected: tuple[Path, str, str],
) -> None:
    out, search, run_id = selected
    rows = own_rows(out, run_id)
    linf = recertify(out, run_id, norm="linf")
    certain = rows["radius"] > 0
    assert linf.loc[certain, "radius"].to_numpy() == pytest.approx(rows.loc[certain, "radius"].to_numpy() / 8)
    assert linf.iloc[3]["radius"] == pytest.approx(0.001 / 8)
    for alpha, familywise in ((0.1, None), (None, 0.1)):
        with pytest.raises(RaysmoothError, match=f"{run_id} shares its alpha with the search {search}"):
            recertify(out, run_id, alpha=alpha, familywise=familywise)


def test_a_row_that_its_counts_do_not_give_at_its_level_is_refused(run: tuple[Path, str, str]) -> None:
    out, _, run_id = run
    (part,) = (out / f"certificates/run_id={run_id}").iterdir()
    table = pq.ParquetFile(part).read()
    place = table["radius"].to_pylist().index(max(radius or 0 for radius in table["radius"].to_pylist()))
    levels = table["image_sigma"].to_pylist()
    levels[place] = 2.0
    content = part.read_bytes()
    changed = table.set_column(table.schema.get_field_index("image_sigma"), "image_sigma", [levels])
    pq.write_table(changed, part, write_page_checksum=True)
    try:
        with pytest.raises(RaysmoothError, match="has radius"):
            read_certificates(out)
    finally:
        part.write_bytes(content)
