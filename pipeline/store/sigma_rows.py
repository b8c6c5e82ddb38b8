"""The rows of a search for noise levels: their columns, and whether they can be a run's.

An image has one row for each step that its search keeps, all in one part; an image whose search failed has a single
row, with its reason.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.actors.sigma_search.searches import SearchOptions, read_search
from raysmooth.pipeline.store.row_checks import bad_row, row_facts
from raysmooth.storage.records import shown

SIGMAS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("dataset", "split", "index_set", "classifier", "denoiser", "objective")),
        ("classifier_fingerprint", pa.string()),
        ("denoiser_fingerprint", pa.string()),
        ("noise", pa.string()),
        ("sigma", pa.float64()),
        ("search", pa.string()),
        ("images", pa.int64()),
        ("image_id", pa.int64()),
        ("label", pa.int64()),
        ("file", pa.string()),
        ("step", pa.int64()),
        ("image_sigma", pa.float64()),
        ("objective_value", pa.float64()),
        ("prediction", pa.int64()),
        ("radius", pa.float64()),
        ("seconds", pa.float64()),
        ("status", pa.string()),
        ("error", pa.string()),
    ]
)
"""Columns of a row, in order. `sigma` is the level where the search began, `search` its canonical text. `image_sigma`
is the level found after `step` steps (0: a search without steps), a standard deviation in pixel units; there
`objective_value` is what the search makes large, a radius, and `prediction` the class whose radius that is. `radius` is
certified: within it a selector gives the same level (0: it abstains); null for searches without a certificate.
`seconds` are those of the image's whole search, in each of its rows. `step` and what follows are null where it failed.
"""

_FOUND = ("step", "image_sigma", "objective_value", "prediction")
"""Columns with a value in every row without an error."""

_Rule = tuple[str, np.ndarray, str]
"""A column, the rows in which it is wrong, and what is expected."""


def bad_sigmas(rows: pa.Table, manifest: Mapping[str, Any]) -> str | None:
    """What is wrong with the first wrong one of `rows`, a part of the run with this manifest, in one line; None if the
    run can have written them.
    """
    if missing := [name for name in SIGMAS_SCHEMA.names if name not in rows.column_names]:
        return f"lacks the column {missing[0]}"
    common = rows.drop_columns(["radius", "image_sigma"])  # those of certificates obey other rules
    if (wrong := bad_row(common, row_facts(manifest), manifest["num_classes"])) is not None:
        return wrong
    if rows.num_rows == 0:
        return None
    for name, bad, expected in _rules(rows, read_search(manifest["identity"]["search"])[1]):
        if bad.any():
            row = int(np.argmax(bad))
            image, found = (rows[column][row].as_py() for column in ("image_id", name))
            return f"has {name} {shown(found)} of image {shown(image)}, expected {expected}"
    return None


def _rules(rows: pa.Table, search: SearchOptions) -> Iterator[_Rule]:
    failed = pc.fill_null(pc.equal(rows["status"], "error"), False).to_numpy()
    known = {name: rows[name].is_valid().to_numpy() for name in (*_FOUND, "radius")}
    for name in (*_FOUND, "radius"):
        yield name, failed & known[name], "none, as the search failed"
    for name in _FOUND:
        yield name, ~failed & ~known[name], "a value"
    values = {name: rows[name].to_numpy().astype(float) for name in ("image_sigma", "objective_value", "radius")}
    sigma, radius = values["image_sigma"], values["radius"]
    yield "image_sigma", ~failed & ~((sigma > 0) & np.isfinite(sigma)), "a positive number"
    yield "objective_value", ~failed & ~np.isfinite(values["objective_value"]), "a finite number"
    certified = np.full(len(radius), search.certified)
    yield "radius", ~failed & (known["radius"] != certified), "a value" if search.certified else "none"
    yield "radius", known["radius"] & ~((radius >= 0) & np.isfinite(radius)), "0 or more"
    image, step = rows["image_id"].to_numpy(), pc.fill_null(rows["step"], -1).to_numpy()
    steps = np.asarray(search.kept_steps)
    yield "step", ~failed & ~np.isin(step, steps), f"one of {', '.join(map(str, search.kept_steps[:20]))}"
    own = np.unique(np.stack([image, step]), axis=1, return_counts=True, return_inverse=True)
    twice = own[2][own[1].ravel()] > 1
    yield "step", twice, "each step of an image once"
    images, places, number = np.unique(image, return_counts=True, return_inverse=True)
    failures = np.bincount(places, failed, len(images))
    whole = np.where(failures > 0, 1, len(steps))
    yield "image_id", (number != whole)[places], f"one row for each of its {len(steps)} steps"
