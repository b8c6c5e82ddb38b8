"""The base of all settings, and how they are read from keywords, flags and YAML files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from raysmooth.common.errors import RaysmoothError, nearest, one_line

AnySettings = TypeVar("AnySettings", bound=BaseModel)


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values do not change. The docstring of the class that defines a
    field begins with the heading under which the command line's help shows it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def split_at_commas(text: str) -> list[str]:
    """The parts of "0.12, 0.25", without blanks; empty parts are left out."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return split_at_commas(value)
    return [value] if isinstance(value, int | float) else value


CommaList = BeforeValidator(_listed)
"""Annotation of a list field that takes '0.12,0.25' and 0.25 as well as [0.12, 0.25]."""


def checked(model: type[AnySettings], values: Mapping[str, Any], config: str | Path | None = None) -> AnySettings:
    """`model` from the YAML file `config`, if any, overridden by `values`; raises RaysmoothError, in one line, for an unknown
    key (with the nearest right one), a value out of range, or one that is missing.
    """
    merged = {**(read_yaml(config) if config is not None else {}), **values}
    where = f"{config}: " if config is not None else ""
    for key in merged:
        if key not in model.model_fields:
            raise RaysmoothError(f"{where}unknown setting '{key}': {nearest(key, model.model_fields)}")
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        errors = error.errors()
        first = next((e for e in errors if e["type"] != "missing"), errors[0])  # a wrong value before a missing one
        field = str(first["loc"][0]) if first["loc"] else "settings"
        flag = f"--{field.replace('_', '-')}"
        if first["type"] == "missing":
            description = (model.model_fields[field].description or "").rstrip(".")
            raise RaysmoothError(f"{where}{flag} is missing: {description}") from None
        reason = first["msg"][0].lower() + first["msg"][1:]
        raise RaysmoothError(f"{where}{flag} {first['input']}: {reason}") from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file; raises RaysmoothError, naming it, for one that is missing or no such thing."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise RaysmoothError(f"--config {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RaysmoothError(f"--config {path} is not YAML: {one_line(error, whole=True)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RaysmoothError(f"--config {path}: expected 'setting: value' lines, found a {type(content).__name__}")
    return {str(key).replace("-", "_"): value for key, value in content.items()}
