"""The rows of a recertified run, from the counts of its source."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from raysmooth.pipeline.analysis.columns import text_of
from raysmooth.pipeline.analysis.metrics import FIXED
from raysmooth.pipeline.derived.recertification import Recertification
from raysmooth.pipeline.derived.source_counts import SourceCounts
from raysmooth.pipeline.derived.source_runs import SourceRun
from raysmooth.pipeline.runs.apis.api_facts import name_in_rows
from raysmooth.pipeline.runs.apis.stored_names import stored_names
from raysmooth.pipeline.runs.procedures import PROCEDURES, Whose
from raysmooth.pipeline.store.image_sigmas import read_image_sigmas
from raysmooth.pipeline.store.sigma_rules import is_certified_rule
from raysmooth.storage.location import Where

_CERTIFY = PROCEDURES["certify"]


@dataclass(frozen=True)
class RecertifiedRun(Recertification):
    """The run that a source run and its changes give."""

    def new_rows(self, out: Where, done: Collection[int]) -> list[dict[str, Any]]:
        """Rows of the source's images that are not `done`. Error rows stay error rows. Raises RaysmoothError where the
        stored counts do not match the rows.
        """
        source, names = self.source, _CERTIFY.schema.names
        rows = source.rows[~source.rows["image_id"].isin(done)]
        stored = SourceCounts(out, source, self.n, rows[rows["status"] != "error"])
        facts = {name: self.identity.get(name) for name in names[: names.index("images") + 1]}
        facts |= {"objective": source.manifest["objective"], "sampling": self.identity.get("sampling", FIXED)}
        facts |= self.bound.facts
        if (queries := source.manifest.get("queries")) is not None:
            facts["classifier"] = name_in_rows(
                self.identity["classifier"], queries["label_rule"], queries["query_identity"]
            )
        selected = _selected(source, out)
        new, class_names = [], names_of_classes(source, out)
        for row in rows.to_dict("records"):
            image_id, label = int(row["image_id"]), None if pd.isna(row["label"]) else int(row["label"])
            whose = Whose(text_of(row.get("file")), class_names)
            level = row.get("image_sigma")
            level = None if level is None or pd.isna(level) else float(level)
            own = {**facts, "image_sigma": level}
            if row["status"] == "error":
                new.append(_CERTIFY.error_row(own, image_id, label, row["error"], row["seconds"], whose))
                continue
            counts = stored.of(row)
            within = None if selected is None else selected[image_id]
            certificate = self.certify(counts, level, within)
            top_k = self.certify_top_k(counts, certificate, label, level, within)
            seconds = stored.seconds(row)
            new.append(_CERTIFY.finished_row(own, image_id, label, counts, certificate, seconds, whose, top_k))
        return new


def names_of_classes(source: SourceRun, out: Where) -> Mapping[int, str]:
    """The names of a run's classes by label: those of its data or, of a vision API, those that its answers have."""
    names = stored_names(source.manifest, out)
    if "queries" not in source.manifest:
        return names
    # Where the vocabulary was left behind, rows have some of the names.
    for code, name in (("label", "label_name"), ("prediction", "prediction_name")):
        known = source.rows[source.rows[name].notna() & source.rows[code].notna()]
        names |= {int(label): str(text) for label, text in zip(known[code], known[name], strict=True)}
    return names


def _selected(source: SourceRun, out: Where) -> Mapping[int, float] | None:
    """The radii within which a certified selector gives the same levels, by image id; None for other runs. Raises
    RaysmoothError where its search is not in `out`.
    """
    if not is_certified_rule(source.identity.get("sigma_rule")):
        return None
    return read_image_sigmas(out, source.identity["sigmas_run"]).radii
