"""Folders of results: manifests, progress records, rows, counts, and what lies where they should be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from small_runs import certified

from fuzz.case import Expected, Kind, Play, Request
from fuzz.damage import damage, replaced_by_other
from fuzz.kinds.logs import LOG, build_logs
from fuzz.kinds.weights_files import CLASSIFIER, NETWORK, build_weights
from fuzz.values import NUMBERS, OWN, SECRET, TEXTS, altered_tree, json_text, odd_value, shown
from raysmooth.common.settings import checked
from raysmooth.pipeline.derived.import_settings import ImportSettings
from raysmooth.pipeline.derived.log_import import import_logs
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.store.parts import part_files
from raysmooth.pipeline.store.writer_process import WriterProcess
from raysmooth.storage.location import located

OUT = Path("out")
SETTINGS = {
    "dataset": "digits", "classifier": CLASSIFIER, "classifier_weights": str(NETWORK), "sigma": 0.25, "max": 3,
    "n0": 10,
    "n": 60, "alpha": 0.1, "block_size": 20,
}  # fmt: skip


def build_results() -> None:
    """A run, the same recertified, both as remembered, and a log imported."""
    build_weights()
    build_logs()
    run = certified(OUT, **SETTINGS)
    (again,) = recertify(str(OUT), alpha=0.05)["run_id"].unique()
    recertify(str(OUT), [run, again], memory=True)
    import_logs(
        [LOG], checked(ImportSettings, {"dataset": "cifar10", "classifier": "x", "sigma": 0.25, "out": str(OUT)})
    )


def _sampled() -> str:
    """The id of the run that was drawn."""
    (folder,) = [folder for folder in (OUT / "runs").iterdir() if any((folder / "counts").glob("*.parquet"))]
    return folder.name


def _resumed() -> object:
    """Certify with the same settings"""
    return certified(OUT, **SETTINGS)


_FLAGS = {"--alpha": "0.01", "--n": "40", "--familywise": "0.1", "--noise-bound": "runner-up", "--top-k": "2"}


def _requests(rng: Random, runs: str) -> tuple[Request, ...]:
    change = rng.choice(sorted(_FLAGS))
    table = rng.choice(
        ("runs", "all", "radii", "cost", "classes", "envelope", "p-lower", "wrong-certificates", "errors")
    )
    certify = [part for name, value in SETTINGS.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return (
        ["report", str(OUT), "--table", table, "--where", "dataset=digits"],
        ["report", str(OUT), "--where", "dataset=digits", "--format", rng.choice(("text", "markdown", "latex", "csv"))],
        ["export", str(OUT), "--format", rng.choice(("locuslab", "sok", "json", "model-card")), "--radii", "0.1"],
        ["status", str(OUT)], ["status", str(OUT), "--json"],
        ["recertify", str(OUT), change, _FLAGS[change]], ["recertify", str(OUT), "--alpha", "0.05"],
        ["show", str(OUT), "0", "--copies", "1"],
        _resumed, _resumed,
        ["certify", *certify, "--out", str(OUT)],
        ["import", str(LOG), "--dataset", "cifar10", "--classifier", "x", "--sigma", "0.25", "--out", str(OUT)],
        ["recertify", str(OUT), "--memory"],
        ["recertify", str(OUT), rng.choice(("--envelope", "--worst-sigma")), runs],
        ["recertify", str(OUT), "--memory", "--run", runs],
    )  # fmt: skip


def play_results(rng: Random) -> Play:
    runs = rng.sample(sorted(folder.name for folder in (OUT / "runs").iterdir()), 2)
    altered, wrong = rng.choice(_ALTERATIONS)(rng)
    requests = _requests(rng, ",".join(runs))
    place = rng.randrange(len(requests))
    readers = {
        "report": (0, 1),
        "status": (2, 3),
        "recertify": (4, 5),
        "recount": (4,),
        "show": (6,),
        "resume": (7, 8),
        "certify": (9,),
    }
    refused = any(place in readers[name] for name in wrong)
    expected = Expected.REFUSED if refused else Expected.ANY
    return Play(altered, requests[place], expected, (f"{OUT}/report",), (SECRET, "/etc/passwd"))


Alteration = Callable[[Random], tuple[str, tuple[str, ...]]]
"""Returns what was done, and the readers that must refuse it."""

_COUNT_READERS = ("recertify", "resume")
"""Of the manifest. "recount" is recertify where it has not written the rows before, so that it reads the counts."""
_NONE: tuple[str, ...] = ()


def _manifest(rng: Random) -> tuple[str, tuple[str, ...]]:
    """Of any run; where the identity differs, it is not that of the run id."""
    run = rng.choice((_sampled(), _sampled(), *sorted(folder.name for folder in (OUT / "runs").iterdir())))
    file = OUT / "runs" / run / "manifest.json"
    before = json.loads(file.read_text())
    within: tuple[Any, ...] = rng.choice(((), ("identity",), ("identity",), ("settings",), ("framing",)))
    within = within if not within or (isinstance(before.get(within[0]), dict) and before[within[0]]) else ()
    altered, what = altered_tree(rng, before, within)
    text, how = json_text(rng, altered)
    file.write_bytes(text)
    wrong = _COUNT_READERS if within == ("identity",) and not how and run == _sampled() else _NONE
    if within == ("identity",) and altered.get("identity") == before["identity"]:
        wrong = _NONE
    return f"manifest of {run[:4]}: {what} {how}", wrong


def _own_code(rng: Random) -> tuple[str, tuple[str, ...]]:
    file = OUT / "runs" / _sampled() / "manifest.json"
    manifest = json.loads(file.read_text())
    where = rng.choice(("identity", "settings"))
    manifest[where]["classifier"] = f"{OWN}:make"
    file.write_text(json.dumps(manifest))
    return f"{where} names code", _NONE


def _paths(rng: Random) -> tuple[str, tuple[str, ...]]:
    """A manifest that names files outside."""
    file = OUT / "runs" / _sampled() / "manifest.json"
    manifest = json.loads(file.read_text())
    name = rng.choice(("classifier_weights", "data_root", "denoiser_weights"))
    manifest["settings"][name] = rng.choice(
        (SECRET, "/etc/passwd", "/dev/zero", "/proc/self/environ", "a\0b", "s3://bucket/x")
    )
    file.write_text(json.dumps(manifest))
    return f"{name} is {manifest['settings'][name]!r}", _NONE


def _progress(rng: Random) -> tuple[str, tuple[str, ...]]:
    file = OUT / "runs" / _sampled() / "progress.json"
    writer = {"host": "x", "pid": 1, "boot": "b", "space": "n", "started": 1}
    record = {
        "session": "a", "phase": "drawing", "images": 1, "errors": 0, "draws": 70, "seconds": 1.0,
        "seconds_before": 0.0,
        "replicas": 1, "deaths": 0, "writer": writer, "why": None, "error": None,
    }  # fmt: skip
    if rng.random() < 0.5:
        record["writer"] = vars(WriterProcess.here())
    altered, what = altered_tree(rng, record)
    text, how = json_text(rng, altered)
    file.write_bytes(text)
    return f"progress: {what} {how}", _NONE


def _rewritten(file: Path, table: pa.Table) -> None:
    """As `write_part`, with the metadata of the part."""
    metadata = pq.read_schema(file).metadata
    pq.write_table(table.replace_schema_metadata(metadata), file, write_page_checksum=True)


def _part(kind: str) -> Path:
    folder = OUT / "runs" / _sampled() / "counts" if kind == "counts" else OUT / "certificates" / f"run_id={_sampled()}"
    return part_files(located(folder))[0].local


def _rows(rng: Random) -> tuple[str, tuple[str, ...]]:
    """One value of a row that its counts contradict, or that no row can have."""
    file = _part("rows")
    rows = pq.read_table(file)
    values = rows.to_pylist()
    row = rng.choice(values)
    wrong: tuple[tuple[str, Any], ...] = (
        ("radius", -1.0), ("radius", float("nan")), ("radius", float("inf")), ("radius", 3.0), ("image_id", 399),
        ("image_id", -1),
        ("image_id", 10**9), ("prediction", 99), ("prediction", -7), ("label", 99), ("label", -1), ("n_used", -5),
        ("n_used", 10**9),
        ("count_top", 10**6), ("count_top", -1), ("p_lower", 2.0), ("p_lower", -1.0), ("draws", -5), ("status", "fine"),
        ("sigma", 1.0), ("alpha", 0.5), ("n", 10**6), ("n0", 1), ("images", 2), ("seconds", -1.0),
        ("seconds", float("nan")),
    )  # fmt: skip
    texts = tuple(
        (name, text)
        for name in ("status", "error", "source", "classifier", "dataset", "objective")
        for text in TEXTS
        if "\ud800" not in text
    )
    name, value = rng.choice(wrong) if rng.random() < 0.7 else rng.choice(texts)
    if name not in row or row[name] == value:
        return "nothing", _NONE
    row[name] = value
    _rewritten(file, pa.Table.from_pylist(values, rows.schema))
    refusers = (
        ("report", "resume", "recertify") if (name, value) in wrong and name not in ("label", "seconds") else _NONE
    )
    return f"rows: {name} = {shown(value)}", refusers


def _counts(rng: Random) -> tuple[str, tuple[str, ...]]:
    """One value of the counts that cannot be."""
    file = _part("counts")
    rows = pq.read_table(file)
    values = rows.to_pylist()
    row = rng.choice(values)
    wrong: tuple[tuple[str, Any], ...] = (
        ("image_id", 399), ("image_id", -1), ("role", "pilot"), ("role", ""), ("role", None), ("block", -1),
        ("block", 10**6),
        ("draws", -1), ("draws", 10**6), ("draws", None), ("labels", [99]), ("labels", [-1]), ("labels", []),
        ("labels", None),
        ("labels", [0, 0]), ("counts", [1]), ("counts", [-5]), ("counts", [10**6]), ("counts", None), ("counts", []),
        ("invalid", -1), ("invalid", 10**6), ("seconds", -1.0), ("seconds", float("nan")),
    )  # fmt: skip
    name, value = rng.choice(wrong)
    row[name] = value
    _rewritten(file, pa.Table.from_pylist(values, rows.schema))
    return f"counts: {name} = {shown(value)}", _NONE if name == "seconds" else ("recount",)


def _columns(rng: Random) -> tuple[str, tuple[str, ...]]:
    """Columns that are missing, renamed or of another type."""
    kind = rng.choice(("counts", "rows"))
    file = _part(kind)
    table = pq.read_table(file)
    name = rng.choice(table.schema.names)
    place = table.schema.get_field_index(name)
    way = rng.randrange(4)
    if way == 0:
        table = table.drop_columns(name)
    elif way == 1:
        table = table.rename_columns([f"{n}_" if n == name else n for n in table.schema.names])
    elif way == 2:
        new = rng.choice(
            (
                pa.array(["x"] * len(table)),
                pa.nulls(len(table)),
                pa.array([[1]] * len(table)),
                pa.array([1.5] * len(table)),
            )
        )
        table = table.set_column(place, name, new)
    else:
        table = table.append_column(name, table[name])
    _rewritten(file, table)
    return f"{kind}: column {name}, way {way}", ("resume",) + (("recount",) if kind == "counts" else ())


def _copies(rng: Random) -> tuple[str, tuple[str, ...]]:
    """Parts twice, of other runs, in other places."""
    kind = rng.choice(("counts", "rows"))
    file = _part(kind)
    way = rng.randrange(6)
    if way == 0:
        shutil.copy(file, file.with_name("part-00000000-00009.parquet"))
        return f"{kind}: a part twice", ("resume",) if kind == "rows" else ("recount",)
    if way == 1:
        file.rename(
            file.with_name(
                rng.choice(
                    (
                        "x.parquet",
                        "part-.parquet",
                        "part-a-b.parquet",
                        "part-\x1b[31m-1.parquet",
                        "part-a\nFORGED-1.parquet",
                    )
                )
            )
        )
        return f"{kind}: a part renamed", _NONE
    if way == 2:
        other = _part("rows" if kind == "counts" else "counts")
        shutil.copy(other, file.with_name("part-00000000-00009.parquet"))
        return f"{kind}: a part of another kind", ("resume",)
    if way == 3:
        file.unlink()
        return f"{kind}: no parts", _NONE
    if way == 4:
        metadata = {b"raysmooth": json_text(rng, odd_value(rng))[0]}
        pq.write_table(pq.read_table(file).replace_schema_metadata(metadata), file, write_page_checksum=True)
        return f"{kind}: other origin", ("resume",)
    place = (
        OUT
        / rng.choice(("certificates", "runs"))
        / rng.choice(("run_id=\x1b[31m", "run_id=a\nFORGED", "run_id=", "x", "run_id=" + "Q" * 240))
    )
    shutil.copytree(file.parent, place)
    return f"{kind}: copied to {place.name!r}", _NONE


def _bytes(rng: Random) -> tuple[str, tuple[str, ...]]:
    kind = rng.choice(("counts", "rows"))
    return f"{kind}: {damage(rng, _part(kind))}", _NONE


def _other(rng: Random) -> tuple[str, tuple[str, ...]]:
    home = OUT / "runs" / _sampled()
    (home / "progress.json").write_text("{}")
    (home / ".lock").write_text("")
    names = ("manifest.json", "progress.json", ".lock")
    file = rng.choice((*(home / name for name in names), _part("counts"), _part("rows")))
    return replaced_by_other(rng, file), _NONE


def _folders(rng: Random) -> tuple[str, tuple[str, ...]]:
    """Files in place of folders, links, folders of odd names."""
    place = rng.choice(
        (OUT, OUT / "runs", OUT / "certificates", OUT / "runs" / _sampled(), OUT / "runs" / _sampled() / "counts")
    )
    way = rng.randrange(5)
    if way == 0:
        shutil.rmtree(place)
        place.write_bytes(b"x")
    elif way == 1:
        shutil.rmtree(place)
        place.symlink_to(place.name)
    elif way == 2:
        (place / "loop").symlink_to("..") if place.is_dir() else None
    elif way == 3:
        place.rename(place.with_name(rng.choice(("x" * 250, "a\nFORGED", "\x1b[31m", "\udcff"))))
    else:
        shutil.rmtree(place)
    return f"folder {place}, way {way}", _NONE


def _numbers(rng: Random) -> tuple[str, tuple[str, ...]]:
    """A number of the manifest that is far from what it can be."""
    file = OUT / "runs" / _sampled() / "manifest.json"
    manifest = json.loads(file.read_text())
    holder, names = rng.choice(
        ((manifest, ("num_classes",)), (manifest["settings"], ("max", "skip", "n", "n0", "block_size", "batch_size")),
         (manifest["identity"], ("images", "n", "n0", "alpha", "sigma", "block_size", "batch_size", "seed")))
    )  # fmt: skip
    name = rng.choice(names)
    before = json.dumps(manifest)
    holder[name] = rng.choice((*NUMBERS, None, "1", [1]))
    file.write_text(json.dumps(manifest))
    changed = before != json.dumps(manifest)
    return f"{name} = {shown(holder[name])}", _COUNT_READERS if holder is manifest["identity"] and changed else _NONE


_ALTERATIONS: tuple[Alteration, ...] = (
    _manifest, _manifest, _manifest, _numbers, _own_code, _paths, _progress, _rows, _rows, _counts, _counts, _columns,
    _copies,
    _bytes, _bytes, _other, _folders,
)  # fmt: skip

RESULTS = Kind("folders of results", build_results, play_results)
