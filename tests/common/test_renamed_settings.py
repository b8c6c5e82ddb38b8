"""Settings under their former names: refused, with the present name."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import Settings, checked


class Renamed(Settings):
    RENAMED: ClassVar[Mapping[str, str]] = {"by": "search_algorithm"}

    search_algorithm: str = "grid"


def test_a_former_name_is_refused_with_the_present_one(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=r"^unknown setting 'by': it is now called search_algorithm$"):
        checked(Renamed, {"by": "random"})
    file = tmp_path / "settings.yaml"
    file.write_text("by: random\n")
    with pytest.raises(RaysmoothError, match=r"settings\.yaml: unknown setting 'by': it is now called"):
        checked(Renamed, {}, file)


def test_other_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(RaysmoothError, match="unknown setting 'search_algorythm': did you mean 'search_algorithm'"):
        checked(Renamed, {"search_algorythm": "random"})


def test_the_former_names_are_no_settings() -> None:
    assert set(Renamed.model_fields) == {"search_algorithm"}
    assert checked(Renamed, {}).model_dump() == {"search_algorithm": "grid"}
