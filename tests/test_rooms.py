"""The house stays readable: imports point one way, raysmooth.py -> commands -> tune -> pipeline -> actors."""

import ast
from pathlib import Path

import pytest
from conftest import REPOSITORY

ROOMS = ["actors", "pipeline", "tune", "commands", "raysmooth"]
"""From the ground up: a room may import itself and those before it."""


def imports(file: Path) -> set[str]:
    """The rooms that a file imports, wherever in it and in whatever way."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.add(node.module or "")
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("import_module", "__import__"):
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return {name.partition(".")[0] for name in found} & set(ROOMS)


def files(room: str) -> list[Path]:
    return [REPOSITORY / "raysmooth.py"] if room == "raysmooth" else sorted((REPOSITORY / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str) -> None:
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    assert len(files(room)) >= 1
    for file in files(room):
        assert imports(file) <= allowed, f"{file.relative_to(REPOSITORY)} imports {imports(file) - allowed}"


def test_the_check_sees_a_wrong_import(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "def f():\n    from raysmooth.tune.training.train import train_classifier\n    import raysmooth.pipeline.store.run_store as s\n"
    )
    assert imports(wrong) == {"tune", "pipeline"}


def test_workers_know_nothing_of_runs_or_files_of_results() -> None:
    for file in files("actors"):
        if file.name in ("object_store.py", "store_urls.py"):  # by way of pyarrow.fs replicas fetch weights
            continue
        source = file.read_text()
        for word in ("pyarrow", "pandas", "typer", "import ray"):
            assert word not in source, f"{file.name} mentions {word}"
