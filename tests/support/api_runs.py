"""Certificate rows of small runs of vision APIs, and of a local classifier on the same images."""

from typing import Any

import pandas as pd
from certificate_rows import BETTER, DENOISED, PLAIN, counted, run_of

NAMES = {0: "Animal", 1: "Bird", 2: "Vulture"}
C, D = "c" * 16, "d" * 16


def api_run(run_id: str = C, unanswered: int = 40, reference: bool = True, **facts: Any) -> pd.DataFrame:
    """Eight images, of which one failed; `unanswered` draws of the first two have no label. By the API's own answers
    four are certified as they are answered without noise (0.5, 0.25, 0.8 and 0.1), one as something else.
    """
    known = {"classifier": "aws:region=us-east-1", **DENOISED, "alpha": 0.001, **facts}
    rows = counted(run_of(run_id, PLAIN, **known))
    count = pd.Series([unanswered] * 2 + [0] * (len(rows) - 2), rows.index, dtype="Int64")
    return rows.assign(
        reference=reference,
        rejector="unanswered",
        count_rejected=count.mask(rows["status"] == "error"),
        noise_bound="complement",
        alpha_share=None,
        label_name=rows["label"].map(NAMES),
        prediction_name=rows["prediction"].map(NAMES),
        source=None,
    )


def local_run(run_id: str = D, **facts: Any) -> pd.DataFrame:
    """The same images by a classifier with true labels."""
    rows = counted(run_of(run_id, BETTER, **{**DENOISED, "classifier": "resnet50", **facts}))
    return rows.assign(label=2, reference=None)
