"""The names that users can choose from: all entries of the registries, as tables."""

from collections.abc import Callable
from typing import Any, TypeAlias

from rich import filesize

from raysmooth.actors.apis.apis import VISION_APIS
from raysmooth.actors.models.classifiers import CLASSIFIERS
from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.actors.models.rejectors import REJECTORS
from raysmooth.actors.sigma_search.searches import SEARCHES
from raysmooth.common.model_files import MODEL_FILES
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Settings, option_fields
from raysmooth.pipeline.data.datasets import DATASETS
from raysmooth.pipeline.queries.label_rules import LABEL_RULES
from raysmooth.tune.data.augment import AUGMENTATIONS
from raysmooth.tune.experiments.settings import FOLDER, is_sweep, read_experiment
from raysmooth.tune.experiments.stage_kinds import STAGE_KINDS
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.objectives.objective import ObjectiveEntry
from raysmooth.tune.objectives.rejector_objectives import REJECTOR_OBJECTIVES
from raysmooth.tune.recipes.phases import described
from raysmooth.tune.recipes.recipes import RECIPES
from raysmooth.tune.sweeps.metrics import METRICS, AtRadius
from raysmooth.tune.sweeps.nested_settings import PlateauSettings, ValidationSettings, WarmStartSettings
from raysmooth.tune.sweeps.schedulers import SCHEDULERS
from raysmooth.tune.sweeps.settings import SweepSettings

CLIENTS = ("google", "aws", "azure", "clarifai", "openai")
"""Vision APIs whose own clients are installed with the extra of that name."""

Listing: TypeAlias = list[dict[str, Any]]
"""The rows of a list, by column; all have the same columns, the name first, and those last that a narrow terminal can
leave out.
"""


def _datasets() -> Listing:
    return [{"dataset": n, "what": e.summary, "splits": " ".join(e.splits)} for n, e in DATASETS.items()]


def _classifiers() -> Listing:
    rows: Listing = [{"classifier": n, "what": e.summary, "preprocess": e.preprocess} for n, e in CLASSIFIERS.items()]
    others = {
        "any torchvision model": "by its name, such as resnet50",
        "timm/NAME": "any model of timm",
        **{f"{n}:{e.what}": e.summary for n, e in MODEL_FILES.items() if "classifier" in e.roles},
        "MODULE:CALLABLE": "your own: a function that returns it, or a callable from pixels to logits",
    }
    return [*rows, *({"classifier": n, "what": what, "preprocess": ""} for n, what in others.items())]


def _denoisers() -> Listing:
    files = {f"{n}:{e.what}": e.summary for n, e in MODEL_FILES.items() if "denoiser" in e.roles}
    named = {n: e.summary for n, e in DENOISERS.items()}
    return [{"denoiser": n, "what": what} for n, what in {**named, **files}.items()]


def _rejectors() -> Listing:
    return [{"rejector": n, "rejects where": e.summary} for n, e in REJECTORS.items()]


def _label_rules() -> Listing:
    return [{"label rule": entry.written, "what": entry.summary} for entry in LABEL_RULES.values()]


def _searches() -> Listing:
    rows: Listing = []
    for name, entry in SEARCHES.items():
        options = ", ".join(
            f"{option}={'?' if field.default is None else field.default}"
            for option, field in option_fields(entry.options).items()
        )
        rows.append({"search": name, "what": entry.summary.partition("; options")[0], "options": options})
    return rows


def _objectives() -> Listing:
    rows: Listing = []
    registries: dict[str, Registry[ObjectiveEntry]] = {
        "classifier": CLASSIFIER_OBJECTIVES,
        "denoiser": DENOISER_OBJECTIVES,
        "rejector": REJECTOR_OBJECTIVES,
    }
    for of, registry in registries.items():
        for name, entry in registry.items():
            options = ", ".join(f"{name}={'?' if value is None else value}" for name, value in entry.defaults.items())
            rows.append(
                {"objective": name, "of a": of, "what": entry.summary, "options": options, "source": entry.source}
            )
    return rows


def _recipes() -> Listing:
    return [
        {
            "recipe": name,
            "phases": "; ".join(map(described, recipe.phases)),
            "batch": recipe.batch_size,
            "decay": f"{recipe.weight_decay:g}",
            "momentum": recipe.momentum,
            "augment": recipe.augment,
            "source": recipe.source,
        }
        for name, recipe in RECIPES.items()
    ]


def _augmentations() -> Listing:
    return [{"augment": name, "what": entry.summary} for name, entry in AUGMENTATIONS.items()]


def _metrics() -> Listing:
    return [
        {"metric": f"{n}:radius=0.5" if e.options is AtRadius else n, "what": e.summary, "best": e.mode}
        for n, e in METRICS.items()
    ]


def _schedulers() -> Listing:
    rows: Listing = []
    for name, entry in SCHEDULERS.items():
        options = ", ".join(f"{option}={field.default}" for option, field in option_fields(entry.options).items())
        rows.append({"scheduler": name, "what": entry.summary, "options": options})
    return rows


def _sweep() -> Listing:
    rows: Listing = []
    nested: tuple[tuple[str, type[Settings]], ...] = (
        ("", SweepSettings), ("validation", ValidationSettings), ("plateau", PlateauSettings),
        ("warm_start", WarmStartSettings),
    )  # fmt: skip
    for outer, model in nested:
        for name, field in model.model_fields.items():
            default = "" if field.default_factory or field.default in (None, [], {}) else f" Default: {field.default}."
            what = f"{field.description}{' Required.' if field.is_required() else default}"
            rows.append({"key": f"{outer}: {name}" if outer else name, "what": what})
    return rows


def _experiments() -> Listing:
    rows: Listing = []
    for file in sorted(FOLDER.glob("*.yaml"), key=lambda file: file.stem):
        settings = None if is_sweep(file) else read_experiment(file)
        title = "a sweep" if settings is None else f"{settings.paper.reference}: {settings.title}"
        rows.append({"experiment": file.stem, "what": title})
    return rows


def _stages() -> Listing:
    return [{"stage": name, "what": entry.summary} for name, entry in STAGE_KINDS.items()]


def _apis() -> Listing:
    rows: Listing = []
    for name, entry in VISION_APIS.items():
        options = ", ".join(
            f"{option}=?" if field.is_required() else option if field.default is None else f"{option}={field.default}"
            for option, field in option_fields(entry.options).items()
        )
        limits = [
            f"pictures from {entry.least_side} px a side" if entry.least_side else "",
            f"up to {filesize.decimal(entry.most_bytes)}" if entry.most_bytes else "",
        ]
        extra = f"raysmooth[{name}]" if name in CLIENTS else "-"
        price = "?" if entry.price_per_1000 is None else f"${entry.price_per_1000:.2f}"
        rows.append(
            {
                "api": name,
                "what": entry.summary,
                "$/1,000": price,
                "rate": "-" if entry.rate is None else f"{entry.rate:g}/s",
                "limits": ", ".join(filter(None, limits)) or "-",
                "install": extra,
                "options": options,
            }
        )
    return rows


CATALOGUE: Registry[Callable[[], Listing]] = Registry(
    "list",
    {
        "datasets": _datasets,
        "classifiers": _classifiers,
        "denoisers": _denoisers,
        "rejectors": _rejectors,
        "apis": _apis,
        "label-rules": _label_rules,
        "searches": _searches,
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
