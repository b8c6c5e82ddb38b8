"""Whether stored counts can be a run's, and whether rows follow from them. One pass over whole columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.actors.noise.role import CERTIFYING, Role
from raysmooth.pipeline.certification.array_bounds import lower_bounds, shares_of, upper_bounds
from raysmooth.pipeline.certification.certificate import ABSTAIN, REJECTION
from raysmooth.pipeline.store.row_checks import index_set_of
from raysmooth.pipeline.store.sigma_rules import class_share

ROLES = tuple(role.name.lower() for role in CERTIFYING)


@dataclass(frozen=True)
class CountLimits:
    """What a run's blocks can be: labels of K = `num_classes` classes, blocks of at most `block_size` draws, images of
    `ids`, and `planned` draws by role where all images get the same. None is unknown. `rejecting`: label K + k is class
    k, rejected.
    """

    num_classes: int
    rejecting: bool = False
    block_size: int | None = None
    ids: range | None = None
    planned: Mapping[str, int] | None = None

    @property
    def num_labels(self) -> int:
        return 2 * self.num_classes if self.rejecting else self.num_classes

    @classmethod
    def of(cls, identity: Mapping[str, Any], num_classes: int) -> "CountLimits":
        """Those of a sampled run."""
        planned, rejecting = None, identity.get("rejector") is not None
        if identity.get("sampling", "fixed") == "fixed" and isinstance(identity.get("n"), int):
            planned = {"estimation": identity["n"], "selection": identity.get("n0") or 0}
        ids = index_set_of(identity.get("index_set"))
        return cls(num_classes, rejecting, identity.get("block_size"), ids, planned)


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
    yield "labels", _any(row, (labels < 0) | (labels >= limits.num_labels), lengths), f"below {limits.num_labels}"
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

    def __init__(self, limits: CountLimits) -> None:
        self._limits = limits
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
        kept = labels[labels.index.get_level_values("label") < self._limits.num_classes]
        # Predictions have no selection draws.
        top = _most_frequent(kept, estimating=not (made["draws"] > made["used"]).any())
        tops = top.reindex(fine["image_id"]).fillna(ABSTAIN).to_numpy(int)  # without a kept draw there is no class
        keys = pd.MultiIndex.from_arrays([np.full(len(fine), True), fine["image_id"], tops])
        counts, used = kept.reindex(keys).fillna(0).to_numpy(), made["used"].to_numpy()
        predicted, count_top = fine["prediction"].to_numpy(float), fine["count_top"].to_numpy(float)
        checks = {
            "draws": (fine["draws"].to_numpy(float), made["draws"].to_numpy()),
            "n_used": (fine["n_used"].to_numpy(float), used),
            "invalid draws": (np.zeros(len(fine)), made["invalid"].to_numpy()),
            "prediction": (predicted, np.where(predicted < 0, predicted, tops)),
            "count_top": (count_top, np.where(used > 0, counts, count_top)),
        }
        estimated = kept[kept.index.get_level_values("estimating")].droplevel("estimating")
        if self._limits.rejecting and "count_rejected" in fine:
            rejected = used - estimated.groupby(level=0).sum().reindex(fine["image_id"]).fillna(0).to_numpy()
            checks["count_rejected"] = (fine["count_rejected"].to_numpy(float), rejected)
        if {"p_upper", "alpha"} <= {*fine} and fine["p_upper"].notna().any():
            others = estimated[~estimated.index.isin(pd.MultiIndex.from_arrays([fine["image_id"], tops]))]
            checks["p_upper"] = _upper_bounds(fine, others, counts.astype(int), used.astype(int))
        for name, (found, expected) in checks.items():
            bad = found != expected if name != "p_upper" else ~np.isclose(found, expected, 1e-6, 1e-12, equal_nan=True)
            if bad.any():
                row = int(np.argmax(bad))
                image = fine["image_id"].iloc[row]
                return f"has {name} {found[row]:g} of image {image}, expected {expected[row]:g} by its counts"
        return None


def _upper_bounds(
    rows: pd.DataFrame, others: pd.Series, counts: np.ndarray, used: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`p_upper` of `rows`, and what it is by the kept estimation draws of `others`, the classes not selected, by image
    and label; NaN where a row has none. `counts` are those of the selected class, `used` all estimation draws, (N,).
    """
    found, alpha = rows["p_upper"].to_numpy(float), rows["alpha"].to_numpy(float)
    if "sigma_rule" in rows and isinstance(rule := rows["sigma_rule"].iloc[0], str):
        alpha = alpha * class_share(rule)
    share = rows["alpha_share"].to_numpy(float) if "alpha_share" in rows else np.full(len(rows), np.nan)
    top, other = shares_of(share, ~np.isnan(found))
    grouped = others.groupby(level=0)
    is_sum = "noise_bound" in rows and rows["noise_bound"].eq(REJECTION).any()
    largest = (grouped.sum() if is_sum else grouped.max()).reindex(rows["image_id"]).fillna(0).to_numpy(int)
    own, complement = upper_bounds(largest, used, alpha * other), 1 - lower_bounds(counts, used, alpha * top)
    return found, np.where(np.isnan(found), np.nan, np.minimum(own, complement))


def _most_frequent(labels: pd.Series, estimating: bool) -> pd.Series:
    """The most frequent label of each image in one role (of several, the lowest), by image."""
    own = labels[labels.index.get_level_values("estimating") == estimating].reset_index(["estimating", "label"])
    best = own.sort_values("count", ascending=False, kind="stable")
    return best[~best.index.duplicated()]["label"]
