"""The procedures of Cohen et al. 2019, CERTIFY and PREDICT: the sampling rule of each, and the columns of its rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from raysmooth.actors.models.rejectors import NO_REJECTOR
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.registry import Registry
from raysmooth.pipeline.certification.certificate import ABSTAIN, Certificate, Prediction, refuse_hopeless_predict
from raysmooth.pipeline.certification.chosen_bound import ChosenBound
from raysmooth.pipeline.certification.sampling_methods import (
    SAMPLINGS,
    bound_of,
    describe_sampling,
    refuse_hopeless,
    sampling_rule,
)
from raysmooth.pipeline.certification.sampling_rule import Counts, FixedPrediction, SamplingRule
from raysmooth.pipeline.certification.top_k import TopKCertificate
from raysmooth.pipeline.runs.settings import CertifySettings, PredictSettings, SamplingSettings
from raysmooth.pipeline.store.manifest import ROW_FOLDERS

WHOSE = (("file", pa.string()), ("label_name", pa.string()), ("prediction_name", pa.string()))
"""Columns that say whose row it is, for the reader: they decide nothing, and parts of earlier versions lack them."""


@dataclass(frozen=True)
class Whose:
    """The `file` of a row's image, and the names of its run's classes by label, as far as they are known."""

    file: str | None = None
    class_names: Mapping[int, str] = field(default_factory=dict)

    def columns(self, label: int | None, prediction: int | None = None) -> dict[str, str | None]:
        """Those of WHOSE."""
        names = self.class_names
        return {
            "file": self.file,
            "label_name": None if label is None else names.get(label),
            "prediction_name": None if prediction is None else names.get(prediction),
        }


UNKNOWN = Whose()

_COUNTS = (("n0", pa.int64()), ("n", pa.int64()), ("alpha", pa.float64()))

TOP_K = (
    ("prediction_top_k", pa.int64()),
    ("radius_top_k", pa.float64()),
    ("count_label", pa.int64()),
    ("label_radius_top_k", pa.float64()),
)
"""Columns of top-k certificates: all null in a run without `top_k`."""

BOUND = (("noise_bound", pa.string()), ("alpha_share", pa.float64()))
"""Columns of the bound that a run's certificates use."""


@dataclass(frozen=True)
class Procedure:
    """A procedure writes its rows to `folder` under <out>. Four functions of its settings: `rule`, with the noise,
    makes the sampling rule; `refuse`, too, raises RaysmoothError if every image could only abstain; `sampling` names
    the sampling method; `share` is the fraction of its most draws that an image needs by experience. `decided_by` are
    the settings that decide the statement (columns of every row), and `bound` gives the bound that certificates use;
    `concluded` are the statement's columns besides `prediction`.
    """

    name: str
    folder: str
    settings: type[SamplingSettings]
    rule: Callable[[Any, NoiseFamily], SamplingRule]
    refuse: Callable[[Any, NoiseFamily], object]
    sampling: Callable[[Any], str]
    share: Callable[[Any], float]
    decided_by: tuple[tuple[str, pa.DataType], ...]
    concluded: tuple[tuple[str, pa.DataType], ...]
    bound: Callable[[Any], ChosenBound] | None = None

    @property
    def schema(self) -> pa.Schema:
        """Columns of a row, in order. `source`: where rows come from if they were not sampled by this run ("imported
        from FILE" or "recertified from RUN"), otherwise null. `prediction` -1 is an abstention. `images` is the size of
        the run's index set, `n_used` the number of estimation draws (at most n), `draws` that of all draws of the
        image. Null is 'unknown': label and correct without labels, the conclusion of an error row. A null `p_upper`,
        the bound on every other class's probability, means 1 - p_lower; a null `alpha_share`, that pA's bound has all
        of alpha. `reference`: whether `label` is a vision API's own for the image without noise; null for other
        classifiers. `count_rejected` is null without a rejector. `sigma_rule` says how each image's own level,
        `image_sigma`, was found; null if all draws have `sigma`. `worst_radius`, of an envelope only, is the radius
        that any choice among its levels has. `file` is the image's path below the data root, or what the data set has
        instead; `label_name` and `prediction_name` are the names that the run's data gives those classes: null where it
        names none. `top_k` is the k of the columns TOP_K (`certification.top_k.TopKCertificate`); null without --top-k.
        """
        columns = [
            *((name, pa.string()) for name in ("dataset", "split", "index_set", "classifier", "denoiser", "objective")),
            *((f"{part}_fingerprint", pa.string()) for part in ("classifier", "denoiser")),
            *((name, pa.string()) for name in ("rejector", "rejector_fingerprint", "input_size")),
            ("source", pa.string()),
            ("reference", pa.bool_()),
            *((name, pa.string()) for name in ("noise", "norm")),
            ("sigma", pa.float64()),
            ("sampling", pa.string()),
            ("sigma_rule", pa.string()),
            *self.decided_by,
            *(BOUND if self.bound is not None else ()),
            ("images", pa.int64()),
            ("image_id", pa.int64()),
            ("image_sigma", pa.float64()),
            ("label", pa.int64()),
            ("prediction", pa.int64()),
            ("abstain", pa.bool_()),
            ("correct", pa.bool_()),
            *WHOSE,
            *self.concluded,
            ("n_used", pa.int64()),
            ("draws", pa.int64()),
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
        concluded: Certificate | Prediction,
        seconds: float,
        whose: Whose = UNKNOWN,
        top_k: TopKCertificate | None = None,
    ) -> dict[str, Any]:
        """The row of an image: what was `concluded` from its `counts`, which took `seconds` to draw."""
        conclusion = vars(concluded)
        prediction = conclusion["prediction"]
        return {
            **dict.fromkeys(self.schema.names),
            **facts,
            **conclusion,
            **({} if top_k is None else vars(top_k)),
            "image_id": image_id,
            "label": label,
            **whose.columns(label, prediction),
            "abstain": prediction == ABSTAIN,
            "correct": None if label is None else prediction == label,
            "n_used": int(counts[Role.ESTIMATION].sum()) if Role.ESTIMATION in counts else 0,
            "draws": sum(int(role_counts.sum()) for role_counts in counts.values()),
            "seconds": seconds,
            "status": "ok",
        }

    def error_row(
        self,
        facts: Mapping[str, Any],
        image_id: int,
        label: int | None,
        reason: str,
        seconds: float,
        whose: Whose = UNKNOWN,
    ) -> dict[str, Any]:
        return {
            **dict.fromkeys(self.schema.names),
            **facts,
            "image_id": image_id,
            "label": label,
            **whose.columns(label),
            "abstain": False,
            "correct": False,
            "seconds": seconds,
            "status": "error",
            "error": reason,
        }


PROCEDURES: Registry[Procedure] = Registry(
    "procedure",
    {
        "certify": Procedure(
            name="certify",
            folder=ROW_FOLDERS["certify"],
            settings=CertifySettings,
            rule=sampling_rule,
            refuse=refuse_hopeless,
            sampling=describe_sampling,
            share=lambda settings: SAMPLINGS[settings.sampling].share,
            decided_by=(*_COUNTS, ("top_k", pa.int64())),
            concluded=(
                ("radius", pa.float64()),
                ("worst_radius", pa.float64()),
                ("p_lower", pa.float64()),
                ("p_upper", pa.float64()),
                ("count_top", pa.int64()),
                ("count_rejected", pa.int64()),
                ("decision", pa.string()),
                *TOP_K,
            ),
            bound=bound_of,
        ),
        "predict": Procedure(
            name="predict",
            folder=ROW_FOLDERS["predict"],
            settings=PredictSettings,
            rule=lambda settings, noise: FixedPrediction(settings.n, settings.alpha, settings.rejector != NO_REJECTOR),
            refuse=lambda settings, noise: refuse_hopeless_predict(settings.n, settings.alpha),
            sampling=lambda settings: "fixed",
            share=lambda settings: 1.0,
            decided_by=_COUNTS[1:],
            concluded=(("p_value", pa.float64()), ("count_top", pa.int64()), ("count_rejected", pa.int64())),
        ),
    },
)
