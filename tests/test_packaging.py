"""The distribution: one complete top-level package that gets along with other packages and with a user's modules."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY

import raysmooth
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.variant import Variant

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


def output(*words: str | Path, folder: Path, environment: dict[str, str] | None = None) -> str:
    """Standard output of a program that runs in `folder` and succeeds."""
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(python: Path, *words: str | Path) -> None:
    """Run pip, without an index, on the environment of `python`."""
    quiet = ("--disable-pip-version-check", "--no-input", "--quiet")
    output(sys.executable, "-m", "pip", "--python", python, *quiet, *words, folder=python.parent)


def bare_environment(folder: Path) -> tuple[Path, Path]:
    """An empty virtual environment: its Python and its site-packages."""
    output(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    (packages,) = folder.glob("lib/*/site-packages")
    return folder / "bin/python", packages


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built, by way of the source distribution, from a copy of git's files, with links restored as links."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = output("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=REPOSITORY)
    for name in filter(None, listed.split("\0")):
        if os.path.lexists(file := REPOSITORY / name):
            (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / "clone" / name, follow_symlinks=False)
    assert (folder / "clone/raysmooth/pipeline").is_symlink()
    # setuptools is installed: without isolation nothing is downloaded.
    output(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, folder / "clone", folder=folder)
    assert len([*folder.glob("raysmooth-*.tar.gz")]) == 1
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site-packages of an environment that holds the wheel, without its dependencies."""
    python, packages = bare_environment(tmp_path_factory.mktemp("installed") / "venv")
    pip(python, "install", "--no-deps", "--no-index", wheel)
    return packages


def own_environment(packages: Path, **more: str) -> dict[str, str]:
    """The environment of a process that imports raysmooth from `packages`, not from a checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(packages), **more}


def test_the_wheel_holds_one_package_with_its_data(wheel: Path) -> None:
    version = raysmooth.__version__
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names} == {"raysmooth", f"raysmooth-{version}.dist-info"}
    modules = {
        f"raysmooth/{file.relative_to(REPOSITORY)}".replace("raysmooth/raysmooth/", "raysmooth/")
        for room in ("actors", "common", "pipeline", "storage", "tune", "raysmooth")
        for file in (REPOSITORY / room).rglob("*.py")
    }
    data = {f"raysmooth/experiments/{file.name}" for file in (REPOSITORY / "experiments").glob("*.y*ml")}
    assert modules
    assert data
    data |= {
        "raysmooth/py.typed",
        *(f"raysmooth/pipeline/report/page/{name}" for name in ("page.html.jinja", "sort.js")),
    }
    assert {name for name in names if name.startswith("raysmooth/")} == modules | data


def test_importing_raysmooth_is_light(installed: Path, tmp_path: Path) -> None:
    script = "import sys, raysmooth; print(raysmooth.__file__, {'torch', 'ray', 'pandas', 'typer'} & {*sys.modules})"
    printed = output(sys.executable, "-c", script, folder=tmp_path, environment=own_environment(installed))
    assert printed == f"{installed}/raysmooth/__init__.py set()\n"


def test_user_modules_with_generic_names_do_no_harm(
    installed: Path, ray_cluster: dict[str, str], tmp_path: Path
) -> None:
    """A user's folder holds generic names, which Python finds first."""
    for name in ("commands/__init__.py", "pipeline.py", "tune.py", "actors.py", "common.py", "storage.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise AssertionError('imported')\n")
    save_weights(
        tmp_path / "w.safetensors", build_classifier(Variant.parse("digits_cnn")), {"architecture": "digits_cnn"}
    )
    (tmp_path / "notebook.py").write_text(
        "import raysmooth\n"
        "rows = raysmooth.certify(\n"
        "    dataset='digits', max=2, classifier='digits_cnn', classifier_weights='w.safetensors', sigma=0.25,\n"
        "    n=50, n0=20, precision='float32', compile='off', batch_size=50, replicas=1, progress=False,\n"
        ")\n"
        "assert raysmooth.read_certificates('results').run_id.equals(rows.run_id)\n"
        "print(raysmooth.__file__, len(rows), set(rows.status))\n"
    )
    joined = {name: value for name, value in ray_cluster.items() if name.startswith("RAY_")}
    environment = own_environment(installed, **joined)
    printed = output(sys.executable, "notebook.py", folder=tmp_path, environment=environment)
    assert printed == f"{installed}/raysmooth/__init__.py 2 {{'ok'}}\n"


def small_wheel(folder: Path, name: str) -> Path:
    """A distribution of one top-level package."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": "MINE = True\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        return Path(str(archive.filename))


def test_another_distributions_package_tune_does_no_harm_and_takes_none(wheel: Path, tmp_path: Path) -> None:
    """PyPI has a real `tune`: installed beside a top-level `tune` of ours, it overwrote and then deleted it."""
    python, packages = bare_environment(tmp_path / "venv")
    other = small_wheel(tmp_path, "tune")

    def content(top: str) -> dict[str, bytes]:
        files = (file for file in (packages / top).rglob("*") if file.is_file() and file.suffix != ".pyc")
        return {str(file.relative_to(packages)): file.read_bytes() for file in files}

    pip(python, "install", "--no-deps", "--no-index", wheel)
    ours = content("raysmooth")
    assert "raysmooth/tune/__init__.py" in ours
    pip(python, "install", "--no-deps", "--no-index", other)
    theirs = content("tune")
    assert content("raysmooth") == ours
    names = "import raysmooth, tune; assert tune.MINE and raysmooth.certify"
    output(python, "-c", names, folder=tmp_path, environment={})
    pip(python, "uninstall", "--yes", "tune")
    assert content("raysmooth") == ours
    assert not content("tune")
    pip(python, "install", "--no-deps", "--no-index", other)
    pip(python, "uninstall", "--yes", "raysmooth")
    assert content("tune") == theirs
    assert not content("raysmooth")


def test_the_demo_runs_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    output(
        *(sys.executable, "-m", "raysmooth", "demo", "--smoke", "--address", "local"),
        folder=tmp_path,
        environment=own_environment(installed),
    )
    assert list(tmp_path.rglob("certificates/run_id=*"))
