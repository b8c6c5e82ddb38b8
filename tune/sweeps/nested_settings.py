"""The groups of settings within a sweep file, and how nested settings are read."""

from collections.abc import Mapping
from typing import Any

from pydantic import BeforeValidator, Field

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.settings import Settings, checked
from raysmooth.common.settings_file import by_name


class ValidationSettings(Settings):
    """How trials are judged while they train: on held-out images of the training split, never on test images."""

    every: int = Field(1, description="Epochs between validations; the last epoch is always validated.", ge=1)
    images: int = Field(50, description="Held-out images to certify.", ge=1)
    n0: int = Field(100, description="Selection draws per image.", ge=1)
    n: int = Field(1000, description="Estimation draws per image.", ge=1)
    alpha: float = Field(0.001, description="Failure probability of each certificate (per image).", gt=0, lt=1)


class PlateauSettings(Settings):
    """When a trial's metric has stopped changing."""

    results: int = Field(4, description="Number of most recent validations to compare.", ge=2)
    std: float = Field(0.005, description="End a trial when their standard deviation is below this.", gt=0)
    grace: int = Field(4, description="Validations before a trial may end this way.", ge=1)


class WarmStartSettings(Settings):
    """The training whose weights all trials start from: done once for each network and noise, before the trials."""

    objective: str = Field("mse", description="Objective of the warm start.")
    recipe: str | None = Field(None, description="Recipe of the warm start. Default: as in train.")
    epochs: int | None = Field(None, description="Epochs of the warm start. Default: the recipe's.", ge=1)
    seed: int = Field(0, description="Seed of the warm start.", ge=0, lt=2**63)


def nested(model: type[Settings]) -> BeforeValidator:
    """Annotation of a field that holds settings of class `model`: errors in them are refused in one line too."""

    def check(value: Any) -> Any:
        return checked(model, mapping(value)) if isinstance(value, Mapping) else value

    return BeforeValidator(check)


def mapping(value: Any) -> dict[str, Any]:
    """A YAML mapping as settings by name; raises RaysmoothError for any other value."""
    if not isinstance(value, Mapping):
        found = printable(repr(value))
        raise RaysmoothError(f"expected 'key: value' lines, found {found}: see the bundled experiments")
    return by_name(value)
