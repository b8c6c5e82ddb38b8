import hashlib
import json
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from certificate_rows import BETTER, rows_of
from command import command
from conftest import REPOSITORY

import raysmooth
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.analysis.envelope import envelope
from raysmooth.pipeline.analysis.metrics import certified_accuracy
from raysmooth.pipeline.analysis.run_facts import describe_runs
from raysmooth.pipeline.derived.certification_log import NO_TIME, TRUNCATED
from raysmooth.pipeline.derived.import_settings import ImportSettings
from raysmooth.pipeline.derived.log_import import import_logs
from raysmooth.pipeline.report.captions import caption, run_cells, run_labels
from raysmooth.pipeline.report.report import read_certificates, summarize, write_report
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.parts import own_parts, refuse_foreign_parts
from raysmooth.storage.location import located

COHEN = REPOSITORY.parent / "shared/data/cohen-logs"
LOG = (
    "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
    "0\t3\t-1\t0.0\t0\t0:00:13.5\n20\t7\t7\t0.0734\t1\t0:01:01\n40\t4\t6\t0.5\t0\t0:00:14\n"
)
GIVEN = {"dataset": "cifar10", "classifier": "cifar_resnet110", "sigma": 0.25}
KNOWN = {**GIVEN, "split": "test", "skip": 20, "denoiser": "none", "objective": "gaussian"}
SAMPLED = {"n0": 100, "n": 100_000, "alpha": 0.001}
SCHEMA = PROCEDURES["certify"].schema


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.tsv"
    path.write_text(LOG)
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def imported(logs, out, **settings):
    return import_logs(logs, checked(ImportSettings, {**settings, "out": str(out)}))


def refusal(logs, out, **settings):
    before = sorted(out.rglob("*"))
    with pytest.raises(RaysmoothError) as refused:
        imported(logs, out, **settings)
    assert sorted(out.rglob("*")) == before, "something was written"
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_rows_are_those_of_the_log_and_what_it_does_not_say_is_null(log, out):
    (run,) = imported([log], out, **GIVEN)
    rows = pq.read_table(out / "certificates" / f"run_id={run.run_id}", partitioning=None).to_pylist()
    said = {
        "dataset": "cifar10",
        "classifier": "cifar_resnet110",
        "source": f"imported from {log}",
        "noise": "gaussian",
        "norm": "l2",
        "sigma": 0.25,
        "status": "ok",
    }
    images = [
        {
            "image_id": 0,
            "label": 3,
            "prediction": -1,
            "abstain": True,
            "correct": False,
            "radius": 0.0,
            "seconds": 13.5,
        },
        {
            "image_id": 20,
            "label": 7,
            "prediction": 7,
            "abstain": False,
            "correct": True,
            "radius": 0.0734,
            "seconds": 61,
        },
        {"image_id": 40, "label": 4, "prediction": 6, "abstain": False, "correct": False, "radius": 0.5, "seconds": 14},
    ]
    assert rows == [{**dict.fromkeys(SCHEMA.names), **said, **image} for image in images]
    assert (run.rows, run.new) == (3, True)
    (unknown,) = run.notes
    assert unknown == (
        "unknown: split, index_set, denoiser, objective, n0, n, alpha, images "
        "(supply them with --split, --skip, --denoiser, --objective, --n0, --n, --alpha, --images)"
    )


def test_what_is_given_stands_in_every_row(log, out):
    (run,) = imported([log], out, **KNOWN, **SAMPLED)
    rows = read_certificates(out)
    given = {name: value for name, value in {**KNOWN, **SAMPLED}.items() if name != "skip"}
    facts = {**given, "index_set": "every 20th of 10000 (500 images)", "images": 500}
    assert rows[[*facts]].drop_duplicates().to_dict("records") == [facts]
    assert run.notes == ["unfinished: 3 of 500 images"]


def test_the_parts_are_like_those_of_certify(log, out):
    (run,) = imported([log], out, **GIVEN)
    refuse_foreign_parts(out, "certificates")
    folder = located(out / "certificates" / f"run_id={run.run_id}")
    (part,) = own_parts(folder, SCHEMA, {"run_id": run.run_id, "kind": "certificates"})
    assert part.name.startswith("part-")


def test_the_manifest_records_the_origin_of_the_run(tmp_path, out):
    log = tmp_path / "sigma_0.50.tsv"
    log.write_text(LOG.replace("0:01:01", "a minute") + "60\t1")
    (run,) = imported([log], out, dataset="cifar10", classifier="r")
    manifest = json.loads((out / "runs" / run.run_id / "manifest.json").read_text())
    said = manifest["imported"]
    assert said["file"] == str(log)
    assert said["sha256"] == hashlib.sha256(log.read_bytes()).hexdigest()
    assert said["rows"] == 3
    assert said["left_out"] == {NO_TIME: [3], TRUNCATED: [5]}
    assert "sigma 0.5, from the file name" in said["notes"]
    assert "line 3: time left out, as it is neither seconds nor h:mm:ss" in said["notes"]
    assert manifest["run_id"] == run.run_id
    assert manifest["identity"]["sigma"] == 0.5


def test_the_same_log_again_is_the_same_run(log, out):
    (first,) = imported([log], out, **KNOWN)
    files = [path for path in out.rglob("*") if path.suffix in (".json", ".parquet")]
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in files]
    renamed = log.rename(log.with_name("renamed.tsv"))
    (again,) = imported([renamed], out, **KNOWN)
    assert (again.run_id, again.new) == (first.run_id, False)
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in files] == before
    assert len(files) == 2
    assert len(read_certificates(out)) == 3


def test_an_import_that_was_killed_is_finished_by_the_next(log, out):
    (first,) = imported([log], out, **KNOWN)
    (part,) = (out / "certificates").rglob("*.parquet")
    part.unlink()
    (again,) = imported([log], out, **KNOWN)
    assert (again.run_id, again.new) == (first.run_id, True)
    assert len(read_certificates(out)) == 3


def test_the_same_log_with_other_facts_is_refused(log, out):
    (first,) = imported([log], out, **KNOWN)
    said = refusal([log], out, **KNOWN, **SAMPLED)
    assert f"is already run {first.run_id}, with n0 unknown, n unknown, alpha unknown: remove that run's" in said
    copy = log.with_name("sigma_0.5.tsv")
    copy.write_text(LOG.replace("0.0734", "0.0735"))
    twin = log.with_name("sigma_0.25.tsv")
    twin.write_text(copy.read_text())
    named = {name: value for name, value in KNOWN.items() if name != "sigma"}
    assert ", with sigma 0.5: " in refusal([copy, twin], out, **named)


def test_a_log_that_has_grown_is_a_new_run_and_the_old_one_is_named(log, out):
    (first,) = imported([log], out, **KNOWN)
    log.write_text(LOG + "60\t1\t1\t0.25\t1\t3\n")
    (second,) = imported([log], out, **KNOWN)
    assert second.run_id != first.run_id
    assert f"run {first.run_id} is an earlier version of the same file: remove it if the log has grown" in second.notes


def test_several_logs_are_runs_of_their_own_or_nothing_is_written(tmp_path, out):
    named = {name: value for name, value in KNOWN.items() if name != "sigma"}
    logs = [tmp_path / f"sigma_{sigma}.tsv" for sigma in ("0.12", "1.00")]
    for place, path in enumerate(logs):
        path.write_text(LOG.replace("0.0734", f"0.07{place}"))
    bad = tmp_path / "sigma_0.25.tsv"
    bad.write_text(LOG.replace("7\t7\t0.0734\t1", "7\t8\t0.0734\t1"))
    assert refusal([*logs, bad], out, **named).startswith(f"{bad}, line 3: correct is 1")
    assert not out.exists()
    runs = imported(logs, out, **named)
    assert read_certificates(out).groupby("run_id")["sigma"].first().to_dict() == {
        runs[0].run_id: 0.12,
        runs[1].run_id: 1.0,
    }


@pytest.mark.parametrize(
    ("name", "sigma"),
    [
        ("sigma_0.25.tsv", 0.25),
        ("sigma_1.00", 1.0),
        ("sigma_1", 1.0),
        ("noise_0.12.txt", 0.12),
        ("resnet-SIGMA=0.5-n=1000.tsv", 0.5),
        ("noise_0.25-sigma_0.25.tsv", 0.25),
        ("resnet110.tsv", None),
        ("sigma_025.tsv", None),
        ("sigma_12.tsv", None),
        ("denoise_0.25.tsv", None),
    ],
)
def test_sigma_from_the_file_name(tmp_path, out, name, sigma):
    log = tmp_path / name
    log.write_text(LOG)
    if sigma is None:
        assert "its file name has no sigma: write --sigma 0.25" in refusal([log], out, dataset="a", classifier="b")
        return
    (run,) = imported([log], out, dataset="a", classifier="b")
    assert read_certificates(out)["sigma"].unique().tolist() == [sigma]
    assert f"sigma {sigma:g}, from the file name" in run.notes


def test_sigma_that_is_given_counts_more_than_a_name_and_less_than_a_column(tmp_path, out):
    log = tmp_path / "noise_0.25-sigma_0.50.tsv"
    log.write_text(LOG)
    assert "its file name has several sigmas: write --sigma" in refusal([log], out, dataset="a", classifier="b")
    (run,) = imported([log], out, dataset="a", classifier="b", sigma=0.5)
    assert not any(note.startswith("sigma") for note in run.notes)
    log.write_text(LOG.replace("0.0734", "0.0735"))
    (run,) = imported([log], out, dataset="a", classifier="b", sigma=0.3)
    assert "sigma 0.3, although its file name has 0.25, 0.5" in run.notes
    log.write_text("idx\tlabel\tpredict\tradius\tsigma\n0\t1\t1\t0.25\t0.75\n")
    assert "its column sigma has 0.75: leave --sigma 0.5 out" in refusal([log], out, **{**GIVEN, "sigma": 0.5})
    imported([log], out, dataset="a", classifier="b")
    assert set(read_certificates(out)["sigma"]) == {0.3, 0.5, 0.75}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dataset": None}, "--dataset is missing: Data set"),
        ({"classifier": None}, "--classifier is missing: Base classifier"),
        ({"sigma": 0.0}, "sigma must be a positive number, not 0"),
        ({"noise": "gausian"}, "unknown noise family 'gausian': did you mean 'gaussian'?"),
        ({"split": "tset"}, "cifar10 has no split 'tset': did you mean 'test'?"),
        ({"split": None}, "--skip 20: the number of images of cifar10 is unknown: write --split test too"),
        ({"dataset": "svhn"}, "--skip 20: the number of images of svhn is unknown: write --dataset-size too"),
        ({"skip": 30}, "line 3: image 20 is not in 'every 30th of 10000 (334 images)': write other --start, --skip"),
        ({"images": 2}, "line 4: image 40 is not in 'every 20th of 10000, 0 to 20 (2 images)'"),
        ({"images": 501}, "--images 501: 'every 20th of 10000 (500 images)' has only 500: write --images 500"),
        ({"skip": None, "images": 2}, "has 3 images: write --images 3 or more"),
        ({"alpha": 1.5}, "--alpha 1.5: input should be less than 1"),
        ({"n0": 10**30}, "input should be less than or equal to 1000000000000000"),
        ({"classifier": "\ud800"}, "--classifier \\ud800: expected a text without control characters"),
        ({"objective": "caf\udce9"}, "--objective caf\\xe9: expected a text without control characters"),
        ({"denoiser": "x" * 201}, "x...: expected a text of at most 200 characters"),
        # The largest radius of 100 draws is 0.25 PhiInv(0.001^(1/100)) = 0.25 * 1.4984... = 0.3745...
        (
            {"n": 100, "alpha": 0.001},
            "line 4: radius 0.5 is more than sigma=0.25, n=100 and alpha=0.001 can give (0.37",
        ),
        # No draws give more than lambda = 0.25 sqrt(3) = 0.4330, and no flag says how many these were.
        ({"noise": "uniform"}, "line 4: radius 0.5 is more than uniform noise of sigma=0.25 can give (0.4330)"),
    ],
)
def test_what_cannot_be_is_refused(log, out, changes, expected):
    settings = {name: value for name, value in {**KNOWN, **changes}.items() if value is not None}
    assert expected in refusal([log], out, **settings)
    assert not out.exists()


def test_radii_that_were_rounded_up_are_no_contradiction(log, out):
    # All of 100,000 draws at alpha 0.001 give 0.25 * 3.81145... = 0.95286..., which is printed as 0.953.
    log.write_text(LOG.replace("0.5", "0.953"))
    imported([log], out, **KNOWN, **SAMPLED)
    log.write_text(LOG.replace("0.5", "0.978"))
    assert "can give (0.9529): one of the three is wrong" in refusal([log], out, **KNOWN, **SAMPLED)


def test_a_radius_that_no_number_of_draws_gives_is_refused_though_their_number_is_unknown(log, out):
    # The largest probability below 1 is 1 - 2^-53, whose quantile is 8.2095: 0.25 * 8.20953... = 2.05238...
    log.write_text(LOG.replace("0.5", "2.05"))
    imported([log], out, **KNOWN)
    log.write_text(LOG.replace("0.5", "7.5"))
    expected = "radius 7.5 is more than gaussian noise of sigma=0.25 can give (2.0524): write the --noise and --sigma"
    assert expected in refusal([log], out, **KNOWN)


def test_rounded_radii_are_capped_at_the_largest_of_the_setting(log, out):
    # All of 100,000 draws at alpha 0.001 give a radius between 0.952864 and 0.952865, which is logged as 0.953.
    log.write_text(LOG.replace("0.5", "0.953"))
    (run,) = imported([log], out, **KNOWN, **SAMPLED)
    assert "line 4: rounded up, capped at 0.9528, the largest radius of this setting" in run.notes
    rows = read_certificates(out)
    assert rows["radius"][:2].tolist() == [0.0, 0.0734]
    assert 0.952864 < rows["radius"][2] < 0.952865
    assert rows["source"].unique().tolist() == [f"imported from {log}, radii capped"]
    assert "(possibly rounded up), those above the largest of their setting capped at it" in title(out)


def test_what_is_not_known_caps_nothing(log, out, tmp_path):
    log.write_text(LOG.replace("0.5", "0.953"))
    imported([log], out, **KNOWN, n=100_000)
    assert read_certificates(out)["radius"].max() == 0.953
    assert "capped" not in title(out)
    # A log without such radii is the same run as before there was a cap: its run id is that of its facts alone.
    log.write_text(LOG)
    (run,) = imported([log], tmp_path / "other", **KNOWN, **SAMPLED)
    manifest = json.loads((tmp_path / "other/runs" / run.run_id / "manifest.json").read_text())
    assert not {"radii", "radius_column"} & set(manifest["identity"])


def test_a_log_with_radii_in_two_columns_is_two_runs(log, out):
    log.write_text("idx\tlabel\tpredict\tradius\tl1\n0\t1\t1\t0.5\t0.25\n")
    imported([log], out, **GIVEN)
    (run,) = imported([log], out, **GIVEN, radius_column="l1")
    rows = read_certificates(out)
    assert rows.set_index("run_id")["radius"][run.run_id] == 0.25
    assert sorted(rows["source"]) == [f"imported from {log}", f"imported from {log}, radius column l1"]
    assert labels(out) == ["denoiser unknown, log.tsv", "denoiser unknown, log.tsv (l1)"]


@pytest.mark.usefixtures("without_figures")
def test_logs_of_one_name_are_distinguished_by_their_folders(tmp_path, out, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs = ["a/x/n.tsv", "a/y/n.tsv", "b/y/n.tsv", "b/m.tsv"]
    for number, name in enumerate(logs):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(LOG.replace("0.0734", f"0.0{number}"))
    imported(logs, out, **KNOWN)
    rows = read_certificates(out)
    cells = run_cells(describe_runs(rows))
    assert cells["log"].tolist() == ["x/n.tsv", "a/y/n.tsv", "m.tsv", "b/y/n.tsv"]
    assert "run" not in cells
    assert sorted(labels(out)) == [
        f"gaussian classifier, {name} (unfinished: 3 of 500)" for name in ["a/y/n.tsv", "b/y/n.tsv", "m.tsv", "x/n.tsv"]
    ]
    write_report(out, [0.5])
    assert "x/n.tsv" in printed(out)
    # Two versions of one file differ by their run ids only.
    (tmp_path / "b/m.tsv").write_text(LOG.replace("0.0734", "0.09"))
    imported(["b/m.tsv"], out, **KNOWN)
    cells = run_cells(describe_runs(read_certificates(out)))
    assert cells["log"].tolist().count("m.tsv") == 2
    assert cells["run"].is_unique


def test_logs_of_which_one_column_says_enough_have_no_names(tmp_path, out):
    for sigma in ("0.25", "0.5"):
        (tmp_path / f"sigma_{sigma}.tsv").write_text(LOG.replace("0.0734", f"0.0{len(sigma)}"))
    imported(sorted(tmp_path.glob("*.tsv")), out, dataset="a", classifier="b")
    assert "log" not in run_cells(describe_runs(read_certificates(out)))


def test_a_log_without_certificates_is_left_out_of_many(tmp_path, log, out):
    begun = tmp_path / "begun.tsv"
    begun.write_text(LOG.splitlines(keepends=True)[0])
    notes = []
    runs = import_logs([begun, log], checked(ImportSettings, {**KNOWN, "out": str(out)}), notes.append)
    assert [run.path for run in runs] == [log]
    assert notes == [
        f"left out: {begun} has no complete line below its header: import it after the first image is certified"
    ]
    with pytest.warns(UserWarning, match=r"left out: .*begun\.tsv"):
        imported([begun, log], out, **KNOWN)
    assert "begun.tsv has no complete line" in refusal([log, begun], out, **KNOWN, strict=True)
    assert "begun.tsv has no complete line" in refusal([begun, begun], out, **KNOWN)
    log.write_text("nothing\n")
    assert "the header lacks" in refusal([begun, log], out, **KNOWN)


@pytest.mark.usefixtures("without_figures")
def test_names_and_columns_that_others_gave_are_printable_everywhere(capsys, tmp_path, out):
    logs = [tmp_path / os.fsdecode(name) for name in (b"\x1b[31m\n.tsv", b"caf\xe9.tsv", b"<b>&.tsv")]
    for number, log in enumerate(logs):
        header, *lines = LOG.replace("0.0734", f"0.0{number}").splitlines()
        log.write_text("\n".join([f"{header}\tsp\x1b[2Ja\u202ece", *(f"{line}\tx" for line in lines), ""]))
    flags = "--dataset cifar10 --split test --skip 20 --classifier r --denoiser none --sigma 0.25"
    code, shown, said = command(capsys, "import", *map(str, logs), *flags.split(), "--out", str(out))
    assert code == 0, said
    code, reported, _ = command(capsys, "report", str(out), "--format", "markdown")
    assert code == 0
    files = [path.read_text() for path in (out / "report").iterdir() if path.suffix in (".md", ".tex", ".csv", ".html")]
    manifests = [path.read_text() for path in out.glob("runs/*/manifest.json")]
    assert (len(files), len(manifests)) == (4, 3)
    for text in (shown, said, reported, *files, *manifests):
        assert not [c for c in text if not (c.isprintable() or c in "\n\t")]
    assert "\\x1b[31m\\n.tsv" in shown
    assert "caf\\xe9.tsv" in shown
    assert "columns left out: sp\\x1b[2ja\\u202ece" in said
    html = (out / "report/report.html").read_text()
    assert "<b>&.tsv" not in html
    assert "&lt;b&gt;&amp;.tsv" in html


def test_an_index_set_of_any_data_set_and_a_run_that_stopped_early(log, out):
    svhn = {**GIVEN, "dataset": "svhn", "skip": 20, "dataset_size": 26_032}
    imported([log], out, **svhn)
    assert read_certificates(out)["index_set"].unique().tolist() == ["every 20th of 26032 (1302 images)"]
    log.write_text(LOG.replace("0.5", "0.75"))
    (run,) = imported([log], out, **svhn, images=3)
    rows = read_certificates(out).query("run_id == @run.run_id")
    assert rows["index_set"].unique().tolist() == ["every 20th of 26032, 0 to 40 (3 images)"]
    assert not any(note.startswith("unfinished") for note in run.notes)


def test_a_log_that_begins_with_a_later_image(log, out):
    log.write_text(LOG.replace("\n0\t", "\n500\t").replace("\n20\t", "\n501\t").replace("\n40\t", "\n502\t"))
    settings = {**KNOWN, "skip": None, "start": 500}
    assert imported([log], out, **settings, images=500)[0].notes[0] == "unfinished: 3 of 500 images"
    assert read_certificates(out)["index_set"].unique().tolist() == ["every image of 10000, 500 to 999 (500 images)"]
    said = refusal([log], out, **{**settings, "start": 501}, images=500)
    assert "line 2: image 500 is not in 'every image of 10000, 501 to 1000 (500 images)': write other --start" in said
    assert "--start 500: the number of images of svhn is unknown" in refusal(
        [log], out, **settings | {"dataset": "svhn"}
    )
    assert "only 300: write --images 300" in refusal([log], out, **settings | {"start": 9_700, "images": 500})


def test_a_corrupt_part_in_the_results_is_refused_and_left(log, out):
    corrupt = out / "certificates/run_id=abc/part-0.parquet"
    corrupt.parent.mkdir(parents=True)
    corrupt.write_bytes(b"PAR1 half")
    assert f"{corrupt} is corrupt" in refusal([log], out, **KNOWN)


# Downstream


def own_run(out):
    """A run of our own beside the imported ones, on the same images, fixed and with draws."""
    known = {"dataset": "cifar10", "split": "test", "classifier": "cifar_resnet110", "objective": "gaussian"}
    known |= {"index_set": "every 20th of 10000 (500 images)", "images": 500, "draws": 10_100}
    folder = out / "certificates" / f"run_id={'f' * 16}"
    folder.mkdir(parents=True)
    rows = [{**row, "image_id": 20 * place} for place, row in enumerate(rows_of(BETTER[:3], **known))]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "part-0.parquet")


def printed(out):
    """Everything that a report says in words."""
    files = {path.name: path for path in write_report(out)}
    return files["table.md"].read_text() + files["table.tex"].read_text() + "\n".join(labels(out)) + title(out)


def labels(out):
    return run_labels(describe_runs(read_certificates(out)))


def title(out):
    return str(caption(describe_runs(read_certificates(out))))


def assert_no_null_is_shown(text):
    for null in ("nan", "None", "<NA>", "NaT", ".0 of", "0.0,"):
        assert null not in text.replace("0.0 ", ""), null


def test_a_report_of_logs_that_say_little(log, out):
    imported([log], out, **GIVEN)
    text = printed(out)
    assert (out / "report" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert_no_null_is_shown(text)
    assert title(out) == (
        "cifar10, split unknown, index set unknown, classifier cifar_resnet110, gaussian noise, l2 norm, sigma 0.25, "
        "n0 unknown, n unknown, alpha unknown: each certificate holds with probability at least 1 - alpha, "
        "imported radii as in their logs (possibly rounded up)"
    )
    assert labels(out) == ["denoiser unknown"]
    assert "| unknown    | unknown     |" in text
    assert "No image failed" not in text  # the log does not tell
    summary = summarize(read_certificates(out)).iloc[0]
    assert (summary["rows"], summary["images"]) == (3, 3)
    assert np.isnan(summary["draws"])


@pytest.mark.usefixtures("without_figures")
def test_a_report_of_imported_runs_beside_our_own(log, out):
    imported([log], out, **KNOWN)
    own_run(out)
    text = printed(out)
    assert_no_null_is_shown(text)
    heading, _, imported_row, own_row = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (heading, imported_row, own_row)]
    assert cells[0][:5] == ["n0", "n", "alpha", "source", "denoiser"]
    assert sorted(row[:6] for row in cells[1:]) == [
        ["-", "-", "-", "imported", "none", "gaussian"],
        ["100", "10000", "0.001", "own", "none", "gaussian"],
    ]
    assert "3 of 500" in text
    assert "at least 1 - alpha (unknown for some), imported radii as" in title(out)
    assert sorted(labels(out)) == [
        "imported, gaussian classifier (unfinished: 3 of 500)",
        "n0=100, n=10000, alpha=0.001, gaussian classifier (unfinished: 3 of 500)",
    ]


def test_equal_runs_are_distinguished_by_their_origin(log, out):
    imported([log], out, **KNOWN, n0=100, n=10_000, alpha=0.001)
    own_run(out)
    assert sorted(labels(out)) == [
        "gaussian classifier (unfinished: 3 of 500)",
        "imported, gaussian classifier (unfinished: 3 of 500)",
    ]
    assert "at least 0.999, and with probability 0.999 at most 4 of a run's 500 are wrong, imported radii" in title(out)
    summary = summarize(read_certificates(out))
    assert summary["draws"].tolist() == [10_100, 10_100]


def test_the_command_imports_and_shows_then_finds_nothing_to_do(capsys, log, out):
    flags = "--dataset cifar10 --split test --skip 20 --classifier cifar_resnet110 --denoiser none --sigma 0.25"
    code, shown, said = command(capsys, "import", str(log), *flags.split(), "--out", str(out))
    assert code == 0
    assert "3 of 500" in shown
    assert f"{log}: 3 rows, imported as run " in said
    assert "unknown: objective, n0, n, alpha (supply them with --objective, --n0, --n, --alpha)" in said
    code, again, said = command(capsys, "import", str(log), *flags.split(), "--out", str(out))
    assert (code, again) == (0, shown)
    assert "already imported as run " in said
    code, reported, _ = command(capsys, "report", str(out))
    assert (code, reported.strip()) == (0, shown.strip())


def test_the_command_refuses_in_one_line(capsys, tmp_path, log, out):
    code, shown, said = command(capsys, "import", str(tmp_path), "--dataset=a", "--classifier=b")
    assert (code, shown, said.count("\n")) == (2, "", 1)
    assert said.startswith(f"raysmooth: {tmp_path} is a folder")
    code, shown, said = command(capsys, "import", str(log), "--dataset=a", "--classifier=b", "--out", str(out))
    assert (code, shown, said.count("\n")) == (2, "", 1)
    assert "write --sigma 0.25" in said


def test_the_same_from_python(log, out):
    rows = raysmooth.import_logs([log, log], **KNOWN, out=str(out))
    assert rows["image_id"].tolist() == [0, 20, 40]
    pd.testing.assert_series_equal(rows["radius"], pd.Series([0.0, 0.0734, 0.5], name="radius"))
    with pytest.raises(RaysmoothError, match="no log to import"):
        raysmooth.import_logs([], **KNOWN, out=str(out))


# The published logs of Cohen et al. 2019

PUBLISHED = {
    "cifar10": (
        {"split": "test", "skip": 20, "classifier": "cifar_resnet110"},
        [0.25, 0.5, 0.75, 1.0, 1.25, 1.5],
        [0.60, 0.43, 0.32, 0.23, 0.17, 0.14],
        [0.25, 0.25, 0.50, 0.50, 1.00, 1.00],
    ),
    "imagenet": (
        {"split": "val", "skip": 100, "classifier": "resnet50"},
        [0.5, 1.0, 1.5, 2.0, 2.5, 3.0],
        [0.49, 0.37, 0.29, 0.19, 0.15, 0.12],
        [0.25, 0.50, 0.50, 1.00, 1.00, 1.00],
    ),
}


@pytest.mark.shared_data
@pytest.mark.skipif(not COHEN.is_dir(), reason="no folder shared/data beside the checkout")
class TestPublishedLogs:
    @pytest.mark.parametrize("dataset", PUBLISHED)
    def test_the_best_over_sigma_is_what_the_authors_print(self, out, dataset):
        given, radii, best, marked = PUBLISHED[dataset]
        imported(sorted((COHEN / dataset).glob("*.tsv")), out, dataset=dataset, **given)
        rows = read_certificates(out)
        by_sigma = {sigma: certified_accuracy(run, radii) for sigma, run in rows.groupby("sigma")}
        table = pd.DataFrame(by_sigma, radii)
        assert table.max(axis=1).round(2).tolist() == best
        assert table.idxmax(axis=1).tolist() == marked
        winners = envelope(summarize(rows, [0, *radii]), ["dataset"]).query("radius > 0")
        assert winners["share"].round(2).tolist() == best
        assert winners["sigma"].tolist() == marked
        assert winners["at_zero"].tolist() == [certified_accuracy(rows[rows["sigma"] == s], [0])[0] for s in marked]

    @pytest.mark.usefixtures("without_figures")
    def test_the_log_that_is_incomplete_is_marked_so(self, out):
        given, *_ = PUBLISHED["imagenet"]
        logs = sorted((COHEN / "imagenet").glob("*.tsv"))
        runs = imported(logs, out, dataset="imagenet", **given, denoiser="none", objective="gaussian")
        assert ["unfinished: 427 of 500 images" in run.notes for run in runs] == [True, False, False]
        summary = summarize(read_certificates(out), [0.5]).set_index("sigma")
        assert summary["rows"].tolist() == [427, 500, 500]
        # By awk '$5 == 1 && $4 >= 0.5'.
        assert summary.loc[0.25, "r=0.5"] == 211 / 427
        assert "427 of 500" in printed(out)
        assert labels(out)[0] == "gaussian classifier, sigma 0.25 (unfinished: 427 of 500)"

    def test_the_alpha_that_goes_with_them(self, out):
        """Radii of three logs are those of alpha 0.01, not of 0.001: a claim that the log contradicts is refused."""
        given, *_ = PUBLISHED["cifar10"]
        log = COHEN / "cifar10/sigma_0.25.tsv"
        claimed = {"dataset": "cifar10", **given, "n": 100_000}
        assert "radius 0.978 is more than sigma=0.25, n=100000 and alpha=0.001 can give (0.9529)" in refusal(
            [log], out, **claimed, alpha=0.001
        )
        imported([log], out, **claimed, alpha=0.01)
        imported([COHEN / "cifar10/sigma_0.12.tsv"], out, **claimed, alpha=0.001)
        assert "of a run's 500 are wrong, imported" in title(out)


def test_a_data_set_almost_of_ours_is_taken_as_a_name_which_is_said(log, out):
    said = []
    settings = checked(ImportSettings, {**GIVEN, "dataset": "cifar1", "out": str(out)})
    import_logs([log], settings, said.append)
    assert [line.partition(":")[0] for line in said] == [
        "--dataset cifar1 is taken as a name, as raysmooth reads no such data set"
    ]
    import_logs([log], checked(ImportSettings, {**GIVEN, "dataset": "svhn", "out": str(out / "2")}), said.append)
    assert len(said) == 1


def test_the_status_of_imported_runs_has_whole_numbers_of_draws(capsys, log, tmp_path, out):
    other = tmp_path / "other.tsv"
    other.write_text(LOG.replace("0.0734", "0.07"))
    imported([log], out, **GIVEN, n=1000)
    imported([other], out, **GIVEN)
    code, printed, _ = command(capsys, "status", str(out))
    assert code == 0
    assert "n=1000" in printed
    assert "1000.0" not in printed
