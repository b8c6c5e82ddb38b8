"""A part of the fuzz suite (tests/fuzz, all of it by `make fuzz`), and that the suite finds what it looks for."""

import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from conftest import REPOSITORY
from fuzz import workers
from fuzz.attempt import attempt, build
from fuzz.case import Attempt, Expected, Kind, Outcome, Play
from fuzz.catalogue import KINDS
from fuzz.command import replay
from fuzz.damage import damaged
from fuzz.sandbox import CANARY
from fuzz.values import LONG, SECRET, altered_tree, json_text
from fuzz.workers import Suite

from raysmooth.common.errors import RaysmoothError

CASES = 10
"""Of each kind."""


@contextmanager
def limited_memory() -> Iterator[None]:
    """A file of 60 GB that is read after all fails here, instead of taking the machine's memory."""
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (16 * 2**30, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", KINDS)
def test_malformed_inputs_are_refused_in_one_line_or_read_rightly(name: str, tmp_path: Path) -> None:
    build(KINDS[name], tmp_path / "inputs")
    with limited_memory():
        found = [attempt(name, KINDS[name], number, 0, tmp_path / "inputs", tmp_path) for number in range(CASES)]
    wrong = [one for one in found if one.outcome not in (Outcome.RIGHT, Outcome.REFUSED)]
    assert not wrong, "\n".join(f"{one.outcome} {one.altered} {one.request}: {one.detail}" for one in wrong)
    assert len({one.altered for one in found}) > CASES / 2


def attempted(tmp_path: Path, request: Callable[[], object] | list[str], expected: Expected = Expected.ANY) -> Attempt:
    """What the suite says of a request."""
    kind = Kind("", lambda: None, lambda rng: Play("", request, expected, (".",)))
    build(kind, tmp_path / "inputs")
    return attempt("kind", kind, 0, 0, tmp_path / "inputs", tmp_path)


def raises(error: BaseException) -> Callable[[], object]:
    def request() -> object:
        raise error

    return request


def prints(text: str, file: str = "stdout") -> Callable[[], object]:
    return lambda: print(text, file=getattr(sys, file))


@pytest.mark.parametrize(
    ("request_", "expected", "outcome"),
    [
        (["list", "recipes"], Expected.READ, Outcome.RIGHT),
        (["list", "recipes"], Expected.REFUSED, Outcome.SILENT),
        (["list", "recipe"], Expected.ANY, Outcome.REFUSED),
        (["list", "recipe"], Expected.READ, Outcome.STRICT),
        (["status"], Expected.REFUSED, Outcome.REFUSED),  # a usage error
        (raises(RaysmoothError("no")), Expected.REFUSED, Outcome.REFUSED),
        (raises(ValueError("no")), Expected.ANY, Outcome.TRACEBACK),
        (raises(SystemExit(3)), Expected.ANY, Outcome.TRACEBACK),
        (raises(KeyboardInterrupt()), Expected.ANY, Outcome.TRACEBACK),
        (prints("Traceback (most recent call last)", "stderr"), Expected.ANY, Outcome.TRACEBACK),
        (prints("\x1b[31mred"), Expected.ANY, Outcome.RAW),
        (prints("\u202e", "stderr"), Expected.ANY, Outcome.RAW),
        (prints("a\nFORGED line"), Expected.ANY, Outcome.RAW),
        (prints(f"'{LONG}'"), Expected.ANY, Outcome.RAW),
        (prints(f"'{LONG[:200]}', ÄÖ, 100 %"), Expected.ANY, Outcome.RIGHT),
        (lambda: Path("page.html").write_text("<html><script>FORGED</script>"), Expected.ANY, Outcome.RAW),
        (lambda: Path("table.csv").write_text("a\x07"), Expected.ANY, Outcome.RAW),
        (lambda: Path(CANARY).touch(), Expected.ANY, Outcome.ESCAPED),
        (lambda: Path("../outside/secret").read_text(), Expected.ANY, Outcome.ESCAPED),
        (lambda: Path("../elsewhere").write_text(""), Expected.ANY, Outcome.ESCAPED),
        (lambda: Path("here").write_text(Path(__file__).read_text()), Expected.ANY, Outcome.RIGHT),
        (lambda: Path("../missing").exists(), Expected.ANY, Outcome.RIGHT),
        (lambda: open("/etc/passwd").close(), Expected.ANY, Outcome.ESCAPED),
        (lambda: os.system("true"), Expected.ANY, Outcome.ESCAPED),
        (lambda: subprocess.run(["git", "--version"], capture_output=True, check=True), Expected.ANY, Outcome.RIGHT),
        (lambda: exec(compile("1", "x.py", "exec")), Expected.ANY, Outcome.ESCAPED),
    ],
)  # fmt: skip
def test_the_suite_finds(
    request_: Callable[[], object] | list[str], expected: Expected, outcome: Outcome, tmp_path: Path
) -> None:
    found = attempted(tmp_path, request_, expected)
    assert found.outcome is outcome, found.detail


@pytest.mark.processes
def test_cases_that_hang_or_crash_cost_only_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "HANG_SECONDS", 0.3)
    monkeypatch.setattr(workers, "STUCK_SECONDS", 2.0)
    requests: dict[str, tuple[Callable[[], object], Outcome]] = {
        "right": (lambda: None, Outcome.RIGHT),
        "loops": (_loop, Outcome.HANG),
        "waits": (lambda: time.sleep(60), Outcome.HANG),
        "exits": (lambda: os._exit(7), Outcome.CRASH),
        "aborts": (os.abort, Outcome.CRASH),
        "raises": (raises(ValueError("no")), Outcome.TRACEBACK),
    }
    kinds = {name: _always(name, request) for name, (request, _) in requests.items()}
    kinds["not made, or not judged"] = Kind("", lambda: None, lambda rng: Play("", rng.choice([])))
    requests["not made, or not judged"] = (lambda: None, Outcome.UNMADE)
    suite = Suite(kinds, 0, tmp_path)
    suite.prepare()
    attempts = list(suite.run(iter([(name, number) for number in range(2) for name in kinds]), 2))
    assert Counter(one.kind for one in attempts) == dict.fromkeys(kinds, 2)
    for one in attempts:
        assert (one.outcome, one.altered) == (requests[one.kind][1], one.kind), one
    for one in attempts:
        assert one.kind != "loops" or "_loop" in one.detail, one.detail  # where it was


def _always(name: str, request: Callable[[], object]) -> Kind:
    return Kind("", lambda: None, lambda rng: Play(name, request))


def _loop() -> None:
    while True:
        pass


def test_a_file_outside_may_be_opened_once_it_was_named(tmp_path: Path) -> None:
    def request() -> None:
        print(name, file=sys.stderr)
        Path(SECRET).read_text()

    for name, outcome in ((SECRET, Outcome.RIGHT), ("another", Outcome.ESCAPED)):
        kind = Kind("", lambda: None, lambda rng: Play("", request, named=(SECRET,)))
        build(kind, tmp_path / name[-3:] / "inputs")
        found = attempt("kind", kind, 0, 0, tmp_path / name[-3:] / "inputs", tmp_path / name[-3:])
        assert found.outcome is outcome, found.detail


def test_a_case_is_what_its_number_and_the_seed_say() -> None:
    tree = {"a": [1, 2, {"b": "text"}], "c": None, "d": 0.5}
    alterations = [altered_tree(Random(f"{seed}/{number}"), tree) for seed in (0, 0, 1) for number in range(50)]
    assert repr(alterations[:50]) == repr(alterations[50:100]) != repr(alterations[100:])
    assert tree == {"a": [1, 2, {"b": "text"}], "c": None, "d": 0.5}
    assert len({what for _, what in alterations}) > 60
    kinds = Counter(type(json_text(Random(number), tree)[0]) for number in range(50))
    assert kinds == {bytes: 50}
    assert sum(damaged(Random(number), b"0123456789")[0] != b"0123456789" for number in range(50)) > 45


@pytest.mark.processes
def test_the_command_counts(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.fuzz", "--inputs", "8", "--processes", "2", "--kinds", "cifar"]
    line += ["--findings", str(tmp_path / "findings")]
    ran = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "8 inputs" in ran.stdout


def test_a_finding_can_be_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finding = tmp_path / "finding.json"
    finding.write_text('{"kind": "cifar", "number": 3, "seed": 0}')
    assert replay(finding) == 0
    assert "read all of cifar10" in capsys.readouterr().out
