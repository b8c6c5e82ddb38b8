"""What there is to choose from: every row of the tables, for a person who asks."""

from collections.abc import Callable

import pandas as pd

from raysmooth.actors.models.classifiers import CLASSIFIERS
from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Settings, option_fields
from raysmooth.pipeline.data.datasets import DATASETS
from raysmooth.tune.data.augment import AUGMENTATIONS
from raysmooth.tune.experiments.settings import FOLDER, is_sweep, read_experiment
from raysmooth.tune.experiments.stage_kinds import STAGE_KINDS
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.objectives.objective import ObjectiveEntry
from raysmooth.tune.recipes.phases import Phase
from raysmooth.tune.recipes.recipes import RECIPES
from raysmooth.tune.sweeps.metrics import METRICS, AtRadius
from raysmooth.tune.sweeps.nested_settings import PlateauSettings, ValidationSettings, WarmStartSettings
from raysmooth.tune.sweeps.schedulers import SCHEDULERS
from raysmooth.tune.sweeps.settings import SweepSettings


def _datasets() -> pd.DataFrame:
    return pd.DataFrame([{"dataset": n, "splits": " ".join(r.splits), "what": r.summary} for n, r in DATASETS.items()])


def _classifiers() -> pd.DataFrame:
    rows = [{"classifier": n, "preprocess": r.preprocess, "what": r.summary} for n, r in CLASSIFIERS.items()]
    others = ("any torchvision model", "timm/NAME", "MODULE:CALLABLE")
    return pd.DataFrame([*rows, *({"classifier": other, "preprocess": "", "what": ""} for other in others)])


def _denoisers() -> pd.DataFrame:
    return pd.DataFrame([{"denoiser": n, "what": r.summary} for n, r in DENOISERS.items()])


def _objectives() -> pd.DataFrame:
    rows = []
    tables: dict[str, Registry[ObjectiveEntry]] = {"classifier": CLASSIFIER_OBJECTIVES, "denoiser": DENOISER_OBJECTIVES}
    for of, table in tables.items():
        for name, row in table.items():
            options = ", ".join(f"{name}={'?' if value is None else value}" for name, value in row.defaults.items())
            rows.append({"of a": of, "objective": name, "options": options, "what": row.summary, "source": row.source})
    return pd.DataFrame(rows)


def _recipes() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "recipe": name,
                "phases": "; ".join(_phase(phase) for phase in recipe.phases),
                "batch": recipe.batch_size,
                "decay": f"{recipe.weight_decay:g}",
                "momentum": recipe.momentum,
                "augment": recipe.augment,
                "source": recipe.source,
            }
            for name, recipe in RECIPES.items()
        ]
    )


def _phase(phase: Phase) -> str:
    falls = "" if phase.step_size is None else f" (x{phase.gamma:g} every {phase.step_size:g})"
    return f"{phase.epochs} epochs {phase.optimizer} {phase.learning_rate:g}{falls}"


def _augmentations() -> pd.DataFrame:
    return pd.DataFrame([{"augment": name, "what": row.summary} for name, row in AUGMENTATIONS.items()])


def _metrics() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"metric": f"{n}:radius=0.5" if r.options is AtRadius else n, "best": r.mode, "what": r.summary}
            for n, r in METRICS.items()
        ]
    )


def _schedulers() -> pd.DataFrame:
    rows = []
    for name, row in SCHEDULERS.items():
        options = ", ".join(f"{option}={field.default}" for option, field in option_fields(row.options).items())
        rows.append({"scheduler": name, "options": options, "what": row.summary})
    return pd.DataFrame(rows)


def _sweep() -> pd.DataFrame:
    rows = []
    nested: tuple[tuple[str, type[Settings]], ...] = (
        ("", SweepSettings), ("validation", ValidationSettings), ("plateau", PlateauSettings),
        ("warm_start", WarmStartSettings),
    )  # fmt: skip
    for outer, model in nested:
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else ("" if field.default in (None, [], {}) else field.default)
            if field.default_factory is not None:
                default = ""
            rows.append({"key": f"{outer}: {name}" if outer else name, "default": default, "what": field.description})
    return pd.DataFrame(rows)


def _experiments() -> pd.DataFrame:
    rows = []
    for file in sorted(FOLDER.glob("*.yaml"), key=lambda file: file.stem):
        told = None if is_sweep(file) else read_experiment(file)
        title = "a sweep" if told is None else f"{told.paper.reference}: {told.title}"
        rows.append({"experiment": file.stem, "what": title})
    return pd.DataFrame(rows)


def _stages() -> pd.DataFrame:
    return pd.DataFrame([{"stage": name, "what": row.summary} for name, row in STAGE_KINDS.items()])


CATALOGUE: Registry[Callable[[], pd.DataFrame]] = Registry(
    "list",
    {
        "datasets": _datasets,
        "classifiers": _classifiers,
        "denoisers": _denoisers,
        "objectives": _objectives,
        "recipes": _recipes,
        "augmentations": _augmentations,
        "metrics": _metrics,
        "schedulers": _schedulers,
        "sweep": _sweep,
        "experiments": _experiments,
        "stages": _stages,
    },
)
