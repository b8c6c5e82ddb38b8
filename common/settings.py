"""The base class of all settings, and reading them from keywords, flags and YAML files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from raysmooth.common.errors import RaysmoothError, nearest, one_line

AnySettings = TypeVar("AnySettings", bound=BaseModel)


class Settings(BaseModel):
    """Base class of all settings: unknown keys are refused, values are frozen. The docstring of the class that defines
    a field starts with its heading in the command line's help.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _split_at_commas(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | float) else value


CommaList = BeforeValidator(_split_at_commas)
"""Annotation of a list field that accepts '0.12,0.25' and 0.25 as well as [0.12, 0.25]."""


def checked(model: type[AnySettings], values: Mapping[str, Any], config: str | Path | None = None) -> AnySettings:
    """`model` from the YAML file `config`, if any, overridden by `values`.

    Raises RaysmoothError for an unknown key (with the nearest known one), an invalid value, or a missing one.
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
        first = next((e for e in errors if e["type"] != "missing"), errors[0])  # an invalid value before a missing one
        field = str(first["loc"][0]) if first["loc"] else "settings"
        flag = f"--{field.replace('_', '-')}"
        if first["type"] == "missing":
            description = (model.model_fields[field].description or "").rstrip(".")
            raise RaysmoothError(f"{where}{flag} is missing: {description}") from None
        reason = first["msg"][0].lower() + first["msg"][1:]
        raise RaysmoothError(f"{where}{flag} {first['input']}: {reason}") from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file; raises RaysmoothError, naming the file, if it is missing or not YAML settings."""
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
