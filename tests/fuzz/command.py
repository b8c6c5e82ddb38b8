"""`make fuzz`: runs many cases on all cores, prints how they ended, and keeps what is needed to repeat the defects."""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path

from fuzz.attempt import attempt, build
from fuzz.case import DEFECTS, Attempt, Kind, Outcome
from fuzz.catalogue import KINDS
from fuzz.workers import Suite

MOST_KEPT = 2_000_000
"""Bytes of an input that is kept with its finding."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if there are defects."""
    asked = _parser().parse_args(arguments)
    if unknown := set(asked.kinds.split(",") if asked.kinds else ()) - set(KINDS):
        _parser().error(f"--kinds: there is no {', '.join(sorted(unknown))}, only {', '.join(KINDS)}")
    _import_everything()
    if asked.replay is not None:
        return replay(Path(asked.replay))
    kinds = {name: KINDS[name] for name in asked.kinds.split(",")} if asked.kinds else dict(KINDS)
    findings = Path(asked.findings).resolve()
    shutil.rmtree(findings, ignore_errors=True)
    findings.mkdir(parents=True)
    outcomes: dict[str, Counter[Outcome]] = {name: Counter() for name in kinds}
    with tempfile.TemporaryDirectory(prefix="rf-") as work:
        suite = Suite(kinds, asked.seed, Path(work))
        suite.prepare()
        began = time.monotonic()
        for found in suite.run(_cases(kinds, asked.inputs, asked.seconds, began), asked.processes):
            outcomes[found.kind][found.outcome] += 1
            if found.outcome in DEFECTS:
                _keep(found, asked.seed, findings)
    print(_table(outcomes))
    total = sum(map(Counter.total, outcomes.values()))
    print(f"{total} inputs in {time.monotonic() - began:.0f} s, seed {asked.seed}; defects are kept in {findings}")
    return int(any(counts[outcome] for counts in outcomes.values() for outcome in DEFECTS))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="stop after this time")
    parser.add_argument("--inputs", type=int, help="number of inputs, instead of a time")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", help=f"only these, with commas between: {', '.join(KINDS)}")
    parser.add_argument("--findings", default="fuzz-findings", help="folder for the defects")
    parser.add_argument("--replay", metavar="FILE", help="run the case of a finding again, and print all about it")
    return parser


def _cases(kinds: Mapping[str, Kind], inputs: int | None, seconds: float, began: float) -> Iterator[tuple[str, int]]:
    """Case 0 of each kind, then case 1 of each, and so on."""
    made = 0
    for number in count():
        for name in kinds:
            if made == inputs or (inputs is None and time.monotonic() - began > seconds):
                return
            made += 1
            yield name, number


def _keep(found: Attempt, seed: int, findings: Path) -> None:
    name = f"{found.outcome}-{found.kind}-{found.number}"
    about = {**asdict(found), "seed": seed, "folder": None}
    (findings / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n")
    if found.folder is not None and found.folder.is_dir() and _size(found.folder) < MOST_KEPT:
        shutil.copytree(found.folder, findings / name, symlinks=True, ignore=_not_regular)


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*"))


def _not_regular(folder: str, names: list[str]) -> list[str]:
    """Pipes and sockets cannot be copied."""
    places = {name: Path(folder, name) for name in names}
    return [name for name, file in places.items() if not (file.is_file() or file.is_dir() or file.is_symlink())]


def replay(file: Path) -> int:
    """Run the case of a finding again and print all about it. Exit code 1 if it is a defect."""
    about = json.loads(file.read_text())
    kind, work = KINDS[about["kind"]], Path(tempfile.mkdtemp(prefix="rf-"))
    build(kind, work / "inputs")
    found = attempt(about["kind"], kind, about["number"], about["seed"], work / "inputs", work)
    print(f"{found.altered}\n{found.request}\n{found.outcome} after {found.seconds:.2f} s\n{found.detail}")
    print(f"the input is in {found.folder}", file=sys.stderr)
    return int(found.outcome in DEFECTS)


def _table(outcomes: Mapping[str, Counter[Outcome]]) -> str:
    columns = [Outcome.RIGHT, Outcome.REFUSED, *DEFECTS]
    total: Counter[Outcome] = sum(outcomes.values(), Counter())
    rows = [["kind", "inputs", *columns]]
    for name, counts in (*outcomes.items(), ("all", total)):
        rows.append([name, str(counts.total()), *(str(counts[column]) for column in columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _import_everything() -> None:
    """All that a case may import, once, for all processes."""
    import torch
    import torchvision.datasets
    import torchvision.transforms.functional  # noqa: F401

    import raysmooth.__main__
    import raysmooth.commands.catalogue
    import raysmooth.pipeline.derived.log_import
    import raysmooth.pipeline.derived.recertify
    import raysmooth.pipeline.pictures.gallery
    import raysmooth.pipeline.pictures.show
    import raysmooth.pipeline.report.report
    import raysmooth.pipeline.status.run_status
    import raysmooth.tune.experiments.run_and_report
    import raysmooth.tune.sweeps.sweep
    import raysmooth.tune.training.train  # noqa: F401

    torch.set_num_threads(1)
