"""What a caller asks of an experiment, from Python or from the command line."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExperimentRequest:
    """`experiment` is a YAML file or the name of a bundled experiment; `only`, a stage to run alone; `smoke`, a quick
    test of all stages instead. `out` and `data_root` replace the file's; `address` is the Ray cluster to join;
    `trust_code` allows classifiers of the user's own that the file names.
    """

    experiment: str | Path
    only: str | None = None
    smoke: bool = False
    out: str | None = None
    data_root: str | None = None
    address: str | None = None
    trust_code: bool = False
