"""The recipe and the options of a training: from the settings, else from the published source."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.common.variant import Option
from raysmooth.pipeline.data.dataset import Dataset
from raysmooth.pipeline.data.datasets import DATASETS, UnreadableImage
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.tune.objectives.objective import ObjectiveEntry, with_defaults
from raysmooth.tune.recipes.general import ImageSet, general_recipe
from raysmooth.tune.recipes.phases import Phase, parse_phases
from raysmooth.tune.recipes.recipe import Recipe
from raysmooth.tune.recipes.recipes import (
    IN_EPOCHS,
    RECIPES,
    made_for,
    published_options,
    recipe_named,
    stretched_option,
)
from raysmooth.tune.recipes.settings import TrainingDataSettings, TrainingSettings

_ANY = ImageSet(0, 1, 1)
"""In place of images that are not known yet. General recipes are alike in all that a setting may not fit."""


@dataclass(frozen=True)
class NamedRecipe:
    """An entry of `RECIPES`, with the values of the settings in place of its own. `why` it was chosen; None for one
    that the settings name.
    """

    name: str
    recipe: Recipe
    why: str | None = None

    @property
    def note(self) -> str | None:
        """What to say of a recipe that the settings do not name."""
        if self.why is None:
            return None
        return f"recipe {self.name}: {self.recipe}; {self.why}; --recipe takes another (raysmooth list recipes)"

    @property
    def short_note(self) -> str | None:
        """As `note`, without the values, which the trials of a sweep may vary."""
        return None if self.why is None else f"recipe {self.name}: {self.why}; 'recipe: NAME' takes another"


def images_of(settings: TrainingDataSettings, dataset: Dataset) -> ImageSet:
    """The images of `dataset` that a training with these settings uses. Raises RaysmoothError if the first of them
    cannot be read.
    """
    ids = IndexSet(len(dataset), settings.skip, settings.max).ids
    try:
        height, width = dataset.values(ids[0]).shape[1:]
    except UnreadableImage as error:
        raise RaysmoothError(
            f"{settings.dataset} {settings.split}: {error}; training needs every image: remove or replace it"
        ) from error
    return ImageSet(len(ids), height, width)


def choose_recipe(
    settings: TrainingSettings, objective: str, images: Callable[[], ImageSet] | None = None
) -> NamedRecipe:
    """The recipe that the settings name, else the one that is made for the data set and the objective of this name,
    else the general one for `images`, which are asked for only then. Without `images`, that one may differ in epochs,
    batch size and augmentation from the one that a training will use.

    Raises RaysmoothError for an unknown recipe or data set, and for values of one phase if the recipe has several.
    """
    _ = DATASETS[settings.dataset]  # an unknown one is refused as unknown, not as without a recipe
    name, why = settings.recipe, None
    if name is None:
        name, why = made_for(settings.dataset, objective), f"the one made for {objective} on {settings.dataset}"
    if name is None:
        given = _ANY if images is None else images()
        name = general_recipe(objective, given)
        why = f"chosen for {given}, as none is made for {objective} on {settings.dataset}"
    recipe = recipe_named(name, settings.dataset, objective)
    if settings.phases is not None:
        recipe = replace(recipe, phases=parse_phases(settings.phases))
    if settings.epochs is not None:
        recipe = recipe.stretched(settings.epochs)
    own_phase = {
        field.name: value
        for field in fields(Phase)
        if field.name != "epochs" and (value := getattr(settings, field.name, None)) is not None
    }
    if own_phase and len(recipe.phases) > 1:
        flag = next(iter(own_phase)).replace("_", "-")
        raise RaysmoothError(
            f"--{flag}: recipe {name} has {len(recipe.phases)} phases: write them as --phases "
            "'adam:epochs=50,learning_rate=1e-3; sgd:epochs=550,learning_rate=1e-4,step_size=100', say"
        )
    own = {
        field.name: value
        for field in fields(Recipe)
        if field.name != "phases" and (value := getattr(settings, field.name, None)) is not None
    }
    _refuse_idle(own_phase, own, recipe)
    # All at once: a recipe with only some of the values, such as nesterov without momentum, might be refused.
    own["phases"] = tuple(replace(phase, **own_phase) for phase in recipe.phases)
    return NamedRecipe(name, replace(recipe, **own), why)


def objective_text(
    written: str, registry: Registry[ObjectiveEntry[Any]], named: NamedRecipe, sigma: float | None
) -> str:
    """The canonical text of the objective `written`. Options that it leaves out are the published ones at this sigma;
    failing those, warm-ups are the defaults in proportion to the recipe's epochs.
    """
    name = written.partition(":")[0].strip()
    entry, epochs = registry[name], named.recipe.epochs
    known: dict[str, Option] = published_options(named.name, name, sigma, epochs)
    for option in IN_EPOCHS:
        default = entry.defaults.get(option)
        if default is not None and option not in known and epochs != RECIPES[named.name].epochs:
            known[option] = stretched_option(named.name, float(default), epochs)
    return with_defaults(written, known)


def _refuse_idle(own_phase: dict[str, Any], own: dict[str, Any], recipe: Recipe) -> None:
    """Raises RaysmoothError for a value that the recipe's optimizers and schedules do not use."""
    phases = [replace(phase, **own_phase) for phase in recipe.phases]
    if "momentum" in own and not any(phase.optimizer in ("sgd", "nesterov") for phase in phases):
        raise RaysmoothError(f"--momentum is for SGD, this recipe uses {phases[0].optimizer}: leave it out")
    if own_phase.keys() & {"step_size", "gamma"} and phases[0].schedule != "step":
        raise RaysmoothError(
            f"--step-size and --gamma are for the step schedule, this recipe uses {phases[0].schedule}: leave them out"
        )
    if "gamma" in own_phase and phases[0].step_size is None:
        raise RaysmoothError("--gamma is the factor of a drop, and this recipe has no drops: write --step-size too")
