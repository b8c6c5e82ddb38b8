"""Imports point one way, from wing to wing, wherever in a module they are."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import REPOSITORY

ORDER: tuple[tuple[str, ...], ...] = (
    ("common",),
    ("storage", "pipeline/progress", "pipeline/ray_cluster"),
    ("actors/apis", "actors/models", "actors/noise", "pipeline/data", "raysmooth/jobs"),
    ("actors/attacks", "actors/compute", "pipeline/certification", "tune/data"),
    ("actors/sigma_search",),
    ("actors/queries", "actors/replica", "tune/fake_apis", "tune/objectives"),
    ("pipeline/pool", "pipeline/store"),
    ("pipeline/queries",),
    ("pipeline/analysis", "pipeline/query_pool", "pipeline/runs", "pipeline/status"),
    ("pipeline/drawing",),
    ("pipeline/derived", "pipeline/dry_run", "pipeline/in_process", "pipeline/report", "tune/recipes"),
    ("pipeline/export", "pipeline/pictures", "tune/training"),
    ("tune/sweeps",),
    ("tune/experiments",),
    ("raysmooth/commands",),
    ("raysmooth",),
)
"""From the ground up: a wing may import itself and the wings of lower floors, never its neighbours on a floor."""

REPORT_NEEDS = {"common", "storage", "pipeline/analysis", "pipeline/report"}
ROOMS = ("actors", "pipeline", "tune")
LARGEST_FOLDER = 20
TESTS_OF_NO_WING = {
    ".": "the project as a whole",
    "fuzz": "malformed inputs of all kinds, by `make fuzz`",
    "fuzz/kinds": "what is malformed, kind by kind",
    "cluster": "simulated machines, by `make test-cluster`",
    "support": "helpers",
}
"""Folders of tests that mirror no wing, and what they are about."""

NO_VARIANT = {"TRAINING_SETTINGS": "repeats the settings in TRAININGS"}
"""Registries to which no one adds an entry alone, and why."""

FLOOR = {wing: floor for floor, wings in enumerate(ORDER, 1) for wing in wings}


def wing_of(path: str) -> str:
    """The wing that holds a module, given as its path below the repository or below raysmooth/."""
    parts = path.split("/")
    if parts[0] in ("common", "storage"):
        return parts[0]
    if parts[0] == "raysmooth":
        return "/".join(parts[:2]) if len(parts) > 1 and parts[1] in ("commands", "jobs") else "raysmooth"
    return "/".join(parts[:2])


@cache
def imports(file: Path) -> set[str]:
    """The wings that a file imports, at the top or inside functions, by any form of import."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("raysmooth."):
            found.add(node.value.partition(":")[0])  # import_module, and modules that commands name
    return {wing for name in found if (wing := _imported_wing(name)) is not None}


def _imported_wing(name: str) -> str | None:
    top, *below = name.split(".")
    assert top not in (*ROOMS, "common", "storage", "commands"), f"{name}: write raysmooth.{name}"
    if top != "raysmooth":
        return None
    if not below or not (REPOSITORY / "raysmooth" / below[0]).is_dir():
        return "raysmooth"
    return wing_of("/".join(["raysmooth", *below] if below[0] in ("commands", "jobs") else below))


def modules() -> Iterator[tuple[str, Path]]:
    """Each module, after its wing."""
    for top in ("common", "storage", *ROOMS, "raysmooth"):
        for file in sorted((REPOSITORY / top).rglob("*.py")):
            if (path := file.relative_to(REPOSITORY).as_posix()) not in {f"{room}/__init__.py" for room in ROOMS}:
                yield wing_of(path), file


def test_a_room_itself_imports_nothing() -> None:
    for room in ROOMS:
        assert not imports(REPOSITORY / room / "__init__.py")


def test_the_order_of_wings_is_that_of_the_folders() -> None:
    for floor, wings in enumerate(ORDER, 1):
        print(f"{floor:2d}  {'  '.join(wings)}")
    assert {wing for wing, _ in modules()} == set(FLOOR)


@pytest.mark.parametrize("wing", FLOOR)
def test_imports_point_one_way(wing: str) -> None:
    files = [file for found, file in modules() if found == wing]
    assert files
    for file in files:
        wrong = {other for other in imports(file) if other != wing and FLOOR[other] >= FLOOR[wing]}
        assert not wrong, f"{file.relative_to(REPOSITORY)} imports {', '.join(sorted(wrong))}"


def test_a_wrong_import_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "def f():\n"
        "    from raysmooth.tune.training.train import train_classifier\n"
        "    import raysmooth.pipeline.store.run_store as s\n"
        "    from raysmooth.pipeline import pool\n"
        "    import_module('raysmooth.commands.app')\n"
        "    import raysmooth\n"
    )
    expected = {"tune/training", "pipeline/store", "pipeline/pool", "raysmooth/commands", "raysmooth"}
    assert imports(wrong) == expected
    assert all(FLOOR[other] >= FLOOR["actors/replica"] for other in expected)


@pytest.mark.parametrize("line", ["import pipeline.pool", "from tune import sweeps", "import common.errors as e"])
def test_short_names_are_refused(tmp_path: Path, line: str) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(line)
    with pytest.raises(AssertionError, match=r"write raysmooth\."):
        imports(wrong)


def test_tests_and_benchmarks_use_no_short_names() -> None:
    for folder in ("tests", "benchmarks"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            if file.name != "test_rooms.py":
                imports(file)


def test_the_report_needs_nothing_of_a_run() -> None:
    for wing, file in modules():
        if wing == "pipeline/report":
            assert imports(file) <= REPORT_NEEDS, file


def registries() -> Iterator[tuple[str, str, str]]:
    """The wing, the name and the module (as "tune/data/augment") of each registry with entries for users to add to."""
    for wing, file in modules():
        for node in ast.parse(file.read_text()).body:
            target, value = getattr(node, "target", None), getattr(node, "value", None)
            if not (isinstance(value, ast.Call) and isinstance(target, ast.Name)) or target.id in NO_VARIANT:
                continue
            if ast.unparse(value.func) == "Registry":
                yield wing, target.id, file.relative_to(REPOSITORY).with_suffix("").as_posix()


def sign(wing: str) -> str:
    """The docstring of a wing."""
    return ast.get_docstring(ast.parse((REPOSITORY / wing / "__init__.py").read_text())) or ""


def test_every_wing_has_a_sign_that_says_more_than_its_idea() -> None:
    for wing in FLOOR:
        assert sign(wing), f"{wing}/__init__.py has no docstring"
        assert "\n\n" in sign(wing), f"{wing}/__init__.py: say who imports it, and where a new variant goes"


def test_signs_name_the_registries_of_their_wings() -> None:
    found = list(registries())
    assert len(found) > 25
    for wing, name, _ in found:
        assert f"`{name}`" in sign(wing), f"{wing}/__init__.py: say what a new entry of {name} is"


def test_tests_mirror_the_wings() -> None:
    tests = REPOSITORY / "tests"
    folders = {file.parent.relative_to(tests).as_posix() for file in tests.rglob("*.py")} - set(TESTS_OF_NO_WING)
    wings = {folder if folder in FLOOR else f"raysmooth/{folder}" for folder in folders}
    assert wings == set(FLOOR) - {"raysmooth"}


def test_rooms_hold_wings_and_no_loose_modules() -> None:
    for room in ROOMS:
        assert [file.name for file in (REPOSITORY / room).glob("*.py")] == ["__init__.py"]


def test_no_folder_is_crowded() -> None:
    for _, file in modules():
        held = [one for one in file.parent.glob("*.py") if one.name != "__init__.py"]
        assert len(held) <= LARGEST_FOLDER, f"{file.parent} holds {len(held)} modules"


def test_common_holds_only_what_everything_shares() -> None:
    held = {file.stem for file in (REPOSITORY / "common").glob("*.py")} - {"__init__"}
    expected = {"errors", "registry", "variant", "settings", "settings_file", "model_files"}
    assert held == expected | {"limits", "numbers", "late_imports", "hashing", "spelling", "streams", "warning"}


def test_test_files_have_different_names() -> None:
    """Pytest imports each by its name alone."""
    names = [file.name for file in (REPOSITORY / "tests").rglob("test_*.py")]
    assert len(names) > 100
    assert [name for name in set(names) if names.count(name) > 1] == []


def test_links_lead_to_the_rooms() -> None:
    for room in ("common", "storage", *ROOMS, "experiments"):
        link = REPOSITORY / "raysmooth" / room
        assert link.is_symlink()
        assert link.resolve() == REPOSITORY / room


def test_workers_know_nothing_of_runs_or_files_of_results() -> None:
    for wing, file in modules():
        if wing.startswith("actors/"):
            source = file.read_text()
            for word in ("pyarrow", "pandas", "typer"):
                assert word not in source, f"{file.name} mentions {word}"
            assert not re.search(r"^\s*(import|from) ray\b(?!smooth)", source, re.M), f"{file.name} imports Ray"
