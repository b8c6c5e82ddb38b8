"""Settings read from keywords, flags and YAML files, and the options of NAME:option=value."""

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from pathlib import Path, PurePath
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from raysmooth.common.errors import RaysmoothError, described, nearest, printable
from raysmooth.common.model_files import with_weights_named
from raysmooth.common.numbers import divided_by_zero, with_fractions
from raysmooth.common.registry import Registry
from raysmooth.common.settings_file import read_yaml
from raysmooth.common.spelling import keys_of
from raysmooth.common.variant import Variant, is_own_code

AnySettings = TypeVar("AnySettings", bound=BaseModel)
AnyOptions = TypeVar("AnyOptions", bound="Options")


class Settings(BaseModel):
    """Base class of all settings: unknown keys are refused, values are frozen, and a number may be written as a
    fraction, "64/255", and a network in a file of another tool as "hf:FOLDER" (`with_weights_named`). The docstring of
    the class that defines a field starts with its heading in the command line's help.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Former names of settings and their present ones. A former name is refused with the present one."""

    COMMON: ClassVar[Collection[str]] = ()
    """Settings of this class alone that most people need, which a help shows first."""

    KEYS_ONLY: ClassVar[bool] = False
    """Whether they are the keys of a file alone, and no command has flags for them."""

    @model_validator(mode="before")
    @classmethod
    def _read_texts(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return with_weights_named(numbers_read(cls, values), tuple(cls.model_fields))


def numbers_read(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with numbers in place of fractions where `model` has fields of numbers."""
    fields = model.model_fields
    numeric = {name for name in values if name in fields and _takes_numbers(fields[name])}
    return {name: with_fractions(value) if name in numeric else value for name, value in values.items()}


def _takes_numbers(field: FieldInfo) -> bool:
    parts = set(_parts(field.annotation))
    return float in parts and str not in parts


def split_list(text: str, separator: str = ",") -> list[str]:
    """The parts of "0.12, 0.25", without blanks; empty parts are left out."""
    return [part.strip() for part in text.split(separator) if part.strip()]


def _list_at(separator: str) -> BeforeValidator:
    def listed(value: Any) -> Any:
        if isinstance(value, str):
            parts = split_list(value, separator)
            if separator == "," and parts and len(parts) <= value.count(","):
                raise PydanticCustomError("hole", "nothing stands before or after a comma: leave that comma out")
            return parts
        return [value] if isinstance(value, int | float) else value

    return BeforeValidator(listed)


CommaList = _list_at(",")
"""Annotation of a list field that accepts '0.12,0.25' and 0.25 as well as [0.12, 0.25], but not '0.12,,0.25'."""

SemicolonList = _list_at(";")
"""As `CommaList`, for parts that may hold commas."""


def _auto_on_off(value: Any) -> str:
    if isinstance(value, bool):  # how YAML reads on and off without quotes
        return "on" if value else "off"
    if value not in ("auto", "on", "off"):
        raise PydanticCustomError("auto_on_off", "write auto, on or off")
    return str(value)


AutoOnOff = Annotated[Literal["auto", "on", "off"], BeforeValidator(_auto_on_off)]
"""The type of a switch that can be left to raysmooth."""


def name_in(registry: Registry[Any]) -> BeforeValidator:
    """Annotation of a text field that names one of the registry's entries; an unknown name raises RaysmoothError."""

    def check(value: Any) -> str:
        if _holds_object(value):
            raise PydanticCustomError("name", "write a name")
        _ = registry[str(value)]
        return str(value)

    return BeforeValidator(check)


TRUST_CODE = "trust_code"
"""Name of the setting that allows files to name code of the user's own. No file can give it."""


def trust_code_field() -> Any:
    """The setting TRUST_CODE. It decides nothing about results, so no manifest, card or hash has it."""
    return Field(
        False,
        description="Import classifiers of your own (MODULE:CALLABLE) that a file names too, not only those named on "
        "the command line.",
        exclude=True,
    )


def user_settings(model: type[AnySettings], values: Mapping[str, Any], config: str | Path | None = None) -> AnySettings:
    """`checked`, for values that the user gave in this call: code that they name is trusted, that of the file is not,
    unless the values have TRUST_CODE.
    """
    written = read_yaml(config) if config is not None else {}
    if TRUST_CODE in model.model_fields and TRUST_CODE not in values:
        named = {key: value for key, value in written.items() if key not in values}
        values = {**values, TRUST_CODE: not any(_own_code(named))}
    return _checked(model, values, written, config)


_CODE_SETTINGS = ("classifier", "surrogates")


def _own_code(written: Any, key: str = "") -> Iterator[str]:
    """The texts in settings, however deep, that name code of the user's own."""
    if isinstance(written, Mapping):
        for name, value in written.items():
            # A domain, such as {choice: [...]}, belongs to the setting around it.
            yield from _own_code(value, key if key in _CODE_SETTINGS else str(name).replace("-", "_"))
    elif isinstance(written, list):
        for value in written:
            yield from _own_code(value, key)
    elif isinstance(written, str) and key == "classifier":
        yield from filter(is_own_code, [written])
    elif isinstance(written, str) and key == "surrogates":
        # An element of a list is one surrogate, whose options may have commas between; a text may be several.
        yield from filter(is_own_code, (part.rpartition("@")[0] for part in (written, *split_list(written))))


def checked(model: type[AnySettings], values: Mapping[str, Any], config: str | Path | None = None) -> AnySettings:
    """`model` from the YAML file `config`, if any, overridden by `values`.

    Raises RaysmoothError, in one line, for an unknown key (with the nearest known one), a value out of range, or one
    that is missing.
    """
    return _checked(model, values, read_yaml(config) if config is not None else {}, config)


def _checked(
    model: type[AnySettings], values: Mapping[str, Any], written: Mapping[str, Any], config: str | Path | None
) -> AnySettings:
    """`checked`, with the content of the file."""
    if TRUST_CODE in written:
        raise RaysmoothError(f"{config}: {TRUST_CODE}: a file cannot say that it is trusted: write --trust-code")
    merged = {**written, **values}
    where = f"{printable(str(config))}: " if config is not None else ""
    keys_only = getattr(model, "KEYS_ONLY", False)

    def named(key: str) -> str:
        """The setting as it was written: on the command line, or in the file."""
        return f"{where}{key}" if config is not None and key not in values else f"--{key.replace('_', '-')}"

    for key in merged:
        if key not in model.model_fields:
            there = where if key not in values else ""
            raise RaysmoothError(f"{there}unknown setting '{printable(key)}': {_instead(model, key)}")
        parts = set(_parts(model.model_fields[key].annotation))
        if _holds_truth(merged[key]) and parts & {int, float} and bool not in parts:  # pydantic would take it as 1
            shown = printable(str(merged[key]).lower())
            raise RaysmoothError(f"{named(key)} {shown}: write a number (YAML reads yes as true)")
    try:
        with keys_of(config, values, None if keys_only else written, whole=keys_only):
            return model.model_validate(merged)
    except ValidationError as error:
        errors = error.errors()
        first = next((e for e in errors if e["type"] != "missing"), errors[0])  # an invalid value before a missing one
        field = str(first["loc"][0]) if first["loc"] else "settings"
        is_none = first["input"] is None and len(first["loc"]) == 1
        if first["type"] == "missing" or (is_none and model.model_fields[field].is_required()):
            description = (model.model_fields[field].description or "").rstrip(".")
            raise RaysmoothError(f"{named(field)} is missing: {description}") from None
        value = first["input"]
        if isinstance(value, str) and (above := divided_by_zero(value)) is not None:
            raise RaysmoothError(f"{named(field)} {printable(value)}: {above} divided by 0 is no number") from None
        if _holds_object(value):
            raise RaysmoothError(f"{named(field)} is {described(value)}: {_named(field, value)}") from None
        reason = first["msg"].replace("Value error, ", "Expected ")
        reason = reason[0].lower() + reason[1:]
        raise RaysmoothError(f"{named(field)} {printable(str(value))}: {reason}") from None


def _holds_object(value: Any) -> bool:
    """Whether a value is an object of a program, which no flag or file can hold, or a list or mapping of such."""
    if isinstance(value, Mapping):
        return any(_holds_object(inner) for inner in value.values())
    if isinstance(value, list | tuple | set):
        return any(_holds_object(inner) for inner in value)
    return not isinstance(value, str | bytes | int | float | PurePath | date | None)


def _holds_truth(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(isinstance(one, bool) for one in value))


def _named(field: str, value: Any) -> str:
    """What to write instead of an object."""
    if field not in _CODE_SETTINGS:
        return "write a text, a number or a list of them, as on the command line"
    weights = "@weights.safetensors" if field == "surrogates" else ""
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "<")
    if "<" not in name and module.partition(".")[0] not in ("__main__", "builtins", "torch"):
        return f"replicas are other processes, which import it by its name: write {field}='{module}:{name}{weights}'"
    return (
        "replicas are other processes, which import it by its name: put a function that returns it into a file "
        f"my_models.py and write {field}='my_models:make{weights}'"
    )


def _instead(model: type[BaseModel], key: str) -> str:
    """What to write instead of the unknown `key`."""
    if issubclass(model, Settings) and key in model.RENAMED:
        return f"it is now called {model.RENAMED[key]}"
    return nearest(key, model.model_fields)


class Options:
    """Base of the options of a variant: a frozen pydantic dataclass with one field per option.

    Values are not converted, except whole numbers where a number is asked for. A field `lambda_` is written "lambda".
    Raises RaysmoothError, in one line, for a value that does not fit its field, and for one that is missing.
    """

    __pydantic_config__ = ConfigDict(
        strict=True, allow_inf_nan=False, populate_by_name=True, alias_generator=lambda name: name.rstrip("_")
    )

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_one_line(cls, values: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        try:
            return handler(values)
        except ValidationError as error:
            errors = error.errors()
        first = next((e for e in errors if e["type"] != "missing"), errors[0])
        known, place = option_fields(cls), first["loc"][0]
        name = list(known)[place] if isinstance(place, int) else place.rstrip("_")
        examples = known[name].examples
        allowed = f"write {name}={examples[0]}" if examples else f"write {_allowed(known[name])}"
        if first["type"] == "missing":
            description = known[name].description
            raise RaysmoothError(f"option {name} is missing: {allowed}{f' ({description})' if description else ''}")
        raise RaysmoothError(f"option {name}={first['input']}: {allowed}")


def option_fields(model: type[Options]) -> dict[str, FieldInfo]:
    """The fields of `model` by the names that users write."""
    fields: dict[str, FieldInfo] = getattr(model, "__pydantic_fields__", {})
    return {name.rstrip("_"): field for name, field in fields.items()}


def read_options(model: type[AnyOptions], written: Variant, what: str, **fixed: Any) -> AnyOptions:
    """The options of `written` as a `model`; `fixed` are fields that cannot be written as options.

    `what` names the kind of variant in messages ("scheduler"). Raises RaysmoothError for an unknown option, with the
    nearest known one, and for a value that `model` refuses.
    """
    known = [name for name in option_fields(model) if name not in fixed]
    for key, _ in written.options:
        if key not in known:
            instead = nearest(key, known) if known else f"it takes none, write {written.name}"
            raise RaysmoothError(f"{what} '{written.name}' has no option '{key}': {instead}")
    try:
        return model(**dict(written.options), **fixed)
    except RaysmoothError as refusal:
        raise RaysmoothError(f"{what} '{written}': {refusal}") from None


_KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "a word"}
_BOUNDS = {"gt": " above {:g}", "ge": ", {:g} or more", "lt": " below {:g}", "le": ", at most {:g}"}


def _allowed(field: FieldInfo) -> str:
    """What a value of the field may be, such as "a whole number, 1 or more"."""
    parts = [*_parts(field.annotation), *field.metadata]
    kind = next((words for kind, words in _KINDS.items() if kind in parts), "another value")
    bounds = (
        words.format(bound)
        for name, words in _BOUNDS.items()
        for constraint in parts
        if (bound := getattr(constraint, name, None)) is not None
    )
    return kind + "".join(bounds)


def _parts(annotation: Any) -> Iterator[Any]:
    """The types and constraints that an annotation is made of."""
    if isinstance(annotation, FieldInfo):
        yield from annotation.metadata
    elif arguments := get_args(annotation):
        for argument in arguments:
            yield from _parts(argument)
    else:
        yield annotation
