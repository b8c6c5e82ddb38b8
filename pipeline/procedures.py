"""The two procedures of Cohen et al. 2019 as rows of a table: what each draws, and what it concludes of the counts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from actors.noise import NoiseFamily, Role
from actors.table import Table
from pipeline.certificate import ABSTAIN, certify_counts, predict_counts
from pipeline.plan import DrawPlan
from pipeline.settings import CertifySettings, PredictSettings, SamplingSettings

Counts = Mapping[Role, np.ndarray]
"""Label counts of one image by role, each int64 (num_classes,)."""


@dataclass(frozen=True)
class Procedure:
    """`folder` under <out> is where its rows go, `draws` says how many draws an image needs in each role, `decided_by`
    names the settings that decide its statement (they are columns of every row), and `conclude` makes the statement:
    the columns `concluded` plus `prediction`.
    """

    name: str
    folder: str
    settings: type[SamplingSettings]
    draws: Callable[[Any], dict[Role, int]]
    decided_by: tuple[str, ...]
    concluded: tuple[tuple[str, pa.DataType], ...]
    conclude: Callable[[Counts, NoiseFamily, float], dict[str, Any]]

    def plan(self, settings: SamplingSettings) -> DrawPlan:
        return DrawPlan(self.draws(settings), settings.block_size)

    @property
    def schema(self) -> pa.Schema:
        """Columns of a row, in order. Null is 'unknown': label and correct without labels, the conclusion of an error
        row. `prediction` -1 is an abstention. `images` is the size of the run's index set.
        """
        decided = [(name, pa.float64() if name == "alpha" else pa.int64()) for name in self.decided_by]
        columns = [
            *((name, pa.string()) for name in ("dataset", "split", "index_set", "classifier", "denoiser", "objective")),
            *((name, pa.string()) for name in ("noise", "norm")),
            ("sigma", pa.float64()),
            *decided,
            ("images", pa.int64()),
            ("image_id", pa.int64()),
            ("label", pa.int64()),
            ("prediction", pa.int64()),
            ("abstain", pa.bool_()),
            ("correct", pa.bool_()),
            *self.concluded,
            ("seconds", pa.float64()),
            ("status", pa.string()),
            ("error", pa.string()),
        ]
        return pa.schema(columns)

    def finished_row(
        self,
        facts: Mapping[str, Any],
        image_id: int,
        label: int | None,
        counts: Counts,
        noise: NoiseFamily,
        seconds: float,
    ) -> dict[str, Any]:
        conclusion = self.conclude(counts, noise, facts["alpha"])
        prediction = conclusion["prediction"]
        return {
            **facts,
            **conclusion,
            "image_id": image_id,
            "label": label,
            "abstain": prediction == ABSTAIN,
            "correct": None if label is None else prediction == label,
            "seconds": seconds,
            "status": "ok",
            "error": None,
        }

    def error_row(
        self, facts: Mapping[str, Any], image_id: int, label: int | None, reason: str, seconds: float
    ) -> dict[str, Any]:
        return {
            **dict.fromkeys(self.schema.names),
            **facts,
            "image_id": image_id,
            "label": label,
            "abstain": False,
            "correct": False,
            "seconds": seconds,
            "status": "error",
            "error": reason,
        }


def _certify(counts: Counts, noise: NoiseFamily, alpha: float) -> dict[str, Any]:
    return vars(certify_counts(counts[Role.SELECTION], counts[Role.ESTIMATION], noise, alpha))


def _predict(counts: Counts, noise: NoiseFamily, alpha: float) -> dict[str, Any]:
    return vars(predict_counts(counts[Role.ESTIMATION], alpha))


PROCEDURES: Table[Procedure] = Table(
    "procedure",
    {
        "certify": Procedure(
            name="certify",
            folder="certificates",
            settings=CertifySettings,
            draws=lambda s: {Role.SELECTION: s.n0, Role.ESTIMATION: s.n},
            decided_by=("n0", "n", "alpha"),
            concluded=(("radius", pa.float64()), ("p_lower", pa.float64()), ("count_top", pa.int64())),
            conclude=_certify,
        ),
        "predict": Procedure(
            name="predict",
            folder="predictions",
            settings=PredictSettings,
            draws=lambda s: {Role.ESTIMATION: s.n},
            decided_by=("n", "alpha"),
            concluded=(("p_value", pa.float64()), ("count_top", pa.int64())),
            conclude=_predict,
        ),
    },
)
