"""Whether stored counts can be a run's, and whether rows follow from them. One pass over whole columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.actors.noise.role import Role
from raysmooth.pipeline.store.row_checks import index_set_of

ROLES = tuple(role.name.lower() for role in Role)


@dataclass(frozen=True)
class CountLimits:
    """What a run's blocks can be: labels below `num_classes`, blocks of at most `block_size` draws, images of `ids`,
    and `planned` draws by role where all images get the same. None is unknown.
    """

    num_classes: int
    block_size: int | None = None
    ids: range | None = None
    planned: Mapping[str, int] | None = None

    @classmethod
    def of(cls, identity: Mapping[str, Any], num_classes: int) -> "CountLimits":
        """Those of a sampled run."""
        planned = None
        if identity.get("sampling", "fixed") == "fixed" and isinstance(identity.get("n"), int):
            planned = {"estimation": identity["n"], "selection": identity.get("n0") or 0}
        return cls(num_classes, identity.get("block_size"), index_set_of(identity.get("index_set")), planned)


def bad_block(blocks: pa.Table, limits: CountLimits) -> str | None:
    """What is wrong with the first wrong one of `blocks`, rows of COUNTS_SCHEMA, in one line; None if all can be what
    a run wrote.
    """
    if blocks.num_rows == 0:
        return None
    for name in blocks.column_names:
        if blocks[name].null_count:
            return f"has a null in {name}"
    for name, bad, expected in _rules(blocks, limits):
        if bad.any():
            row = int(np.argmax(bad))
            found = blocks[name][row].as_py()
            image = blocks["image_id"][row].as_py()
            found = f"{found:.6g}" if isinstance(found, float) else str(found)
            of = f"block {blocks['block'][row].as_py()} of image {image}"
            return f"has {name} {found[:60]} in {of}, expected {expected}"
    return None


def _rules(blocks: pa.Table, limits: CountLimits) -> Iterator[tuple[str, np.ndarray, str]]:
    image, block, draws, invalid, seconds = (
        blocks[name].to_numpy() for name in ("image_id", "block", "draws", "invalid", "seconds")
    )
    yield "role", ~pc.is_in(blocks["role"], pa.array(ROLES)).to_numpy(), " or ".join(ROLES)
    if limits.ids is not None:
        ids = limits.ids
        yield "image_id", (image < ids.start) | (image >= ids.stop) | ((image - ids.start) % ids.step != 0), "the run's"
    yield "image_id", image < 0, "0 or more"
    yield "block", block < 0, "0 or more"
    size = limits.block_size or 2**31
    yield "draws", (draws < 1) | (draws > size), f"1 to {size}"
    yield "invalid", (invalid < 0) | (invalid > draws), "0 to draws"
    yield "seconds", ~((seconds >= 0) & (seconds < np.inf)), "0 or more"
    if limits.planned is not None and limits.block_size:
        first = pc.equal(blocks["role"], ROLES[int(Role.SELECTION)]).to_numpy()
        whole = np.where(first, limits.planned["selection"], limits.planned["estimation"])
        left = whole - block.astype(np.int64) * limits.block_size
        yield "block", left <= 0, "one of those that the settings give"
        yield "draws", draws != np.minimum(left, limits.block_size), "those of the settings' plan"
    lengths = pc.list_value_length(blocks["labels"]).to_numpy()
    yield "counts", lengths != pc.list_value_length(blocks["counts"]).to_numpy(), "as many as labels"
    labels, counts = (pc.list_flatten(blocks[name]) for name in ("labels", "counts"))
    row = np.repeat(np.arange(len(lengths)), lengths)
    if labels.null_count or counts.null_count:
        yield "labels", np.ones(len(lengths), bool), "no null"
    labels, counts = labels.to_numpy().astype(np.int64), counts.to_numpy().astype(np.int64)
    yield "labels", _any(row, (labels < 0) | (labels >= limits.num_classes), lengths), f"below {limits.num_classes}"
    yield "counts", _any(row, counts < 0, lengths), "0 or more"
    again = np.zeros(len(labels), bool)
    again[1:] = (row[1:] == row[:-1]) & (labels[1:] <= labels[:-1])
    yield "labels", _any(row, again, lengths), "each once, ascending"
    total = np.bincount(row, counts, len(lengths)).astype(np.int64)
    yield "counts", total + invalid != draws, "a sum of draws minus invalid"


def _any(row: np.ndarray, bad: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Of flags of labels, whether any in the row is set."""
    return np.bincount(row, bad, len(lengths)) > 0


class CountSums:
    """The sums of the blocks of a run, to compare its rows with. Blocks may come in any number of tables."""

    def __init__(self) -> None:
        self._labels: list[pd.Series] = []
        self._draws: list[pd.DataFrame] = []

    def add(self, blocks: pa.Table) -> None:
        """Rows of COUNTS_SCHEMA, each valid by `bad_block`."""
        estimating = pc.equal(blocks["role"], ROLES[int(Role.ESTIMATION)]).to_numpy()
        image, draws, invalid = (blocks[name].to_numpy() for name in ("image_id", "draws", "invalid"))
        made = {"image_id": image, "draws": draws, "used": np.where(estimating, draws, 0), "invalid": invalid}
        self._draws.append(pd.DataFrame(made).groupby("image_id").sum())
        place = np.repeat(np.arange(blocks.num_rows), pc.list_value_length(blocks["labels"]).to_numpy())
        labels = {
            "estimating": estimating[place],
            "image_id": image[place],
            "label": pc.list_flatten(blocks["labels"]).to_numpy(),
            "count": pc.list_flatten(blocks["counts"]).to_numpy().astype(np.int64),
        }
        self._labels.append(pd.DataFrame(labels).groupby(["estimating", "image_id", "label"])["count"].sum())

    def contradiction(self, rows: pd.DataFrame) -> str | None:
        """What is wrong with the first of `rows`, one run's and sampled by it, that does not follow from its blocks;
        None if all do. Images without any block are passed over: their counts may have been removed.
        """
        if not self._draws or not {"draws", "n_used", "prediction", "count_top", "status"} <= {*rows}:
            return None
        fine = rows[rows["status"] == "ok"]
        made = pd.concat(self._draws).groupby(level=0).sum().reindex(fine["image_id"])
        there = made["draws"].notna().to_numpy()
        fine, made = fine[there], made[there]
        labels = pd.concat(self._labels).groupby(level=[0, 1, 2]).sum()
        top = _most_frequent(labels, estimating=False)
        if top.empty:  # predictions have no selection draws
            top = _most_frequent(labels, estimating=True)
        tops = top.reindex(fine["image_id"]).to_numpy()
        keys = pd.MultiIndex.from_arrays([np.full(len(fine), True), fine["image_id"], tops])
        counts = labels.reindex(keys).fillna(0).to_numpy()
        predicted, count_top = fine["prediction"].to_numpy(float), fine["count_top"].to_numpy(float)
        checks = {
            "draws": (fine["draws"].to_numpy(float), made["draws"].to_numpy()),
            "n_used": (fine["n_used"].to_numpy(float), made["used"].to_numpy()),
            "invalid draws": (np.zeros(len(fine)), made["invalid"].to_numpy()),
            "prediction": (predicted, np.where(predicted < 0, predicted, tops)),
            "count_top": (count_top, np.where(made["used"].to_numpy() > 0, counts, count_top)),
        }
        for name, (found, expected) in checks.items():
            if (bad := found != expected).any():
                row = int(np.argmax(bad))
                image = fine["image_id"].iloc[row]
                return f"has {name} {found[row]:g} of image {image}, expected {expected[row]:g} by its counts"
        return None


def _most_frequent(labels: pd.Series, estimating: bool) -> pd.Series:
    """The most frequent label of each image in one role (of several, the lowest), by image."""
    own = labels[labels.index.get_level_values("estimating") == estimating].reset_index(["estimating", "label"])
    best = own.sort_values("count", ascending=False, kind="stable")
    return best[~best.index.duplicated()]["label"]
