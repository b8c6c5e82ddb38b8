"""`raysmooth report` as a person meets it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import command
from conftest import REPOSITORY
from scipy.stats import norm

from raysmooth.commands import experiments
from raysmooth.commands import report as report_module
from raysmooth.commands.catalogue import CATALOGUE
from raysmooth.pipeline.certification.certificate import lower_bound
from raysmooth.pipeline.report.figures.figure_text import WIDTHS
from raysmooth.pipeline.report.report import write_report
from raysmooth.pipeline.report.tables.catalogue import TABLES
from raysmooth.pipeline.report.tables.formats import FORMATS

A, B, C = "aaaa0000", "abbb1111", "cccc2222"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Three runs: two sigmas without a denoiser, one behind one; radii grow to about 0.4, 0.8 and 0.9."""
    bounds = np.array([lower_bound(count, 1000, 0.001) for count in range(1001)])
    for run, sigma, denoiser, reach in ((A, 0.25, "none", 0.4), (B, 0.5, "none", 0.8), (C, 0.5, "dncnn", 0.9)):
        facts = {
            "dataset": "digits", "split": "test", "index_set": "all 20 images", "classifier": "digits_cnn",
            "denoiser": denoiser, "objective": "clean" if denoiser == "none" else "mse", "noise": "gaussian",
            "norm": "l2", "sigma": sigma, "sampling": "fixed", "n0": 100, "n": 1000, "alpha": 0.001, "images": 20,
        }  # fmt: skip
        counts = [int(np.argmax(bounds > norm.cdf(reach * image / 20 / sigma))) for image in range(20)]
        rows = [
            {
                **facts, "image_id": image, "label": image % 10, "prediction": image % 10, "abstain": False,
                "correct": True, "radius": sigma * norm.ppf(bounds[count]), "p_lower": bounds[count],
                "count_top": count, "n_used": 1000, "draws": 1100, "seconds": 0.5, "status": "ok", "error": None,
            }
            for image, count in enumerate(counts)
        ]  # fmt: skip
        folder = tmp_path / "certificates" / f"run_id={run}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / "part-0.parquet")
    return tmp_path


def report(capsys: pytest.CaptureFixture[str], out: Path, *flags: str) -> tuple[str, str]:
    code, printed, notes = command(capsys, "report", str(out), *flags)
    assert code == 0, notes
    return printed, notes


def test_failed_images_are_said_beside_the_table(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    (part,) = out.glob(f"certificates/run_id={A}/*.parquet")
    rows = pd.read_parquet(part)
    late = rows["image_id"] >= 8
    rows["status"] = rows["status"].mask(late, "error")
    rows["error"] = rows["error"].astype(object).mask(late, "too dark")
    for column in ("prediction", "abstain", "correct", "radius", "p_lower", "count_top", "n_used", "draws"):
        rows[column] = rows[column].astype(object).mask(late, None)
    rows.to_parquet(part)
    _, notes = report(capsys, out)
    assert "raysmooth: FAILED: 12 of 20 images failed: too dark; the first: image 8" in notes


def files(out: Path) -> set[str]:
    return {path.name for path in (out / "report").iterdir()}


USUAL = {"table.md", "table.tex", "table.csv", "curves.png", "curves.pdf", "curves-figure.tex", "report.html"}


def test_tables_are_printed_and_written(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    printed, _ = report(capsys, out, "--table", "envelope", "--table", "cost", "--price-per-hour", "3")
    assert printed.index("Best of sigma") < printed.index("price/1000")
    assert files(out) == {f"{name}.{kind}" for name in ("envelope", "cost") for kind in ("md", "tex", "csv")} | {
        "report.html"
    }


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("form", "headings"),
    [("text", ["Runs", "Envelope", "Cost"]), ("markdown", ["## Runs", "## Envelope", "## Cost"]),
     ("latex", ["% Runs", "% Envelope", "% Cost"]), ("csv", ["# Runs", "# Envelope", "# Cost"])],
)  # fmt: skip
def test_a_list_of_tables_is_printed_below_headings(
    capsys: pytest.CaptureFixture[str], out: Path, form: str, headings: list[str]
) -> None:
    several = ["--table", "runs, envelope", "--table", "cost,runs", "--price-per-hour", "3", "--format", form]
    lines = report(capsys, out, *several)[0].splitlines()
    assert [line for line in lines if line in headings] == headings
    assert {"table.md", "envelope.md", "cost.md"} <= files(out)
    assert headings[0] not in report(capsys, out, "--table", "runs", "--format", form)[0].splitlines()


@pytest.mark.usefixtures("without_figures")
def test_the_same_lists_from_python(out: Path) -> None:
    write_report(out, [0.5], tables="envelope,cost", price_per_hour=3)
    assert files(out) == {f"{name}.{kind}" for name in ("envelope", "cost") for kind in ("md", "tex", "csv")} | {
        "report.html"
    }


def test_all_tables_with_their_figures(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    """Dollars in names are no formulas."""
    for part in out.glob("certificates/*/*.parquet"):
        table = pq.read_table(part, partitioning=None)
        names = pa.array([r"net$\x$"] * len(table))
        pq.write_table(table.set_column(table.schema.get_field_index("classifier"), "classifier", names), part)
    report(capsys, out, "--table", "all")
    figures = {f"{name}.{kind}" for name in ("curves-by-sigma", "radii", "p-lower") for kind in ("png", "pdf")}
    assert files(out) >= USUAL | figures | {
        f"{name}.csv" for name in TABLES if name not in ("runs", "rejection", "sigmas", "steps", "top-k", "errors")
    }


def test_runs_are_chosen(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    printed, _ = report(capsys, out, "--where", "sigma=0.5", "--where", "denoiser=none", "--format", "csv")
    assert printed.splitlines()[1].split(",")[0] == B
    assert len(printed.splitlines()) == 2
    assert files(out) == USUAL


@pytest.mark.usefixtures("without_figures")
def test_groups_bring_the_envelope(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    printed, _ = report(capsys, out, "--group-by", "classifier", "--radii", "0.5")
    assert "digits_cnn  40.0 (100.0)" in printed  # of 20 images with radii up to 0.855 eight reach 0.5
    assert "envelope.csv" in files(out)


@pytest.mark.usefixtures("without_figures")
def test_intervals_are_printed_where_asked_for(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    assert " to " not in report(capsys, out)[0].split("──")[-1]
    assert " to " in report(capsys, out, "--intervals")[0].split("──")[-1]
    assert "95 %" in report(capsys, out, "--format", "markdown")[0]


@pytest.mark.usefixtures("without_figures")
def test_two_runs_are_compared(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    printed, _ = report(capsys, out, "--compare", "aa,ab", "--radius", "0.3")
    # Of radii 0.02 i and 0.04 i those from 0.3 on: images 15 to 19, and 8 to 19.
    assert "Only A certifies 0, only B 7" in " ".join(printed.split())
    assert "at radius r" not in printed
    assert files(out) == USUAL - {"curves.png", "curves.pdf", "curves-figure.tex"} | {
        "comparison.md",
        "comparison.tex",
        "comparison.csv",
    }
    assert pd.read_csv(out / "report" / "comparison.csv")["image_id"].tolist() == list(range(8, 15))
    assert "Comparison" in (out / "report" / "report.html").read_text()


@pytest.mark.usefixtures("without_figures")
def test_answers_at_one_radius_hold_at_once(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    printed, _ = report(capsys, out, "--familywise", "0.05", "--radius", "0.2", "--where", "sigma=0.25")
    # Radii are 0.02 i or a little more: ten reach 0.2. p0 is Phi(0.8) = 0.788; the next image has 804 of 1,000 draws,
    # which are no evidence against it (784 were expected).
    assert printed.rpartition("\n\n")[0].split()[-4:] == ["20", "10", "10", "10"]
    assert len(pd.read_csv(out / "report" / "familywise.csv")) == 20
    assert 'id="familywise"' in (out / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("flags", "refusal"),
    [
        (["--figure-width", "colum"], "unknown figure width 'colum': did you mean 'column'? (known: column, page)"),
        (["--table", "envelop"], "unknown table 'envelop': did you mean 'envelope'?"),
        (["--table", "runs,envelop"], "unknown table 'envelop': did you mean 'envelope'?"),
        (["--table", ","], "unknown table ','"),
        (["--where", "sigma=2"], "--where sigma=2: none of these runs has that sigma"),
        (["--where", "denoiserr=none"], "did you mean 'denoiser'?"),
        (["--group-by", "sigm"], "--group-by sigm: runs have no such column: did you mean 'sigma'?"),
        (["--compare", "aa"], "--compare aa: write two run ids with a comma between"),
        (["--compare", "aa,cc"], "--compare needs a radius to compare at: write --radius 0.5"),
        (["--compare", "a,cc", "--radius", "1"], "--compare a: 2 run ids begin with it"),
        (["--compare", "dd,cc", "--radius", "1"], "--compare dd: there is no such run"),
        (["--radius", "1"], "--radius belongs to --compare RUN,RUN or --familywise DELTA"),
        (["--familywise", "0.05"], "--familywise needs the radius of its answers: write --radius 0.5"),
        (["--familywise", "5", "--radius", "1"], "delta 5: write a probability of being wrong"),
        (["--price-per-hour", "-1"], "--price-per-hour -1: write the price of one replica for an hour"),
        (["--price-per-hour", "inf"], "--price-per-hour inf: write the price of one replica for an hour"),
        (["--folder", "paper"], "--folder is now --out: write --out paper"),
        (["--table", "pa"], "unknown table 'pa': did you mean 'p-lower'?"),
        (["--table", "sure"], "unknown table 'sure': did you mean 'wrong-certificates'?"),
        (["--radii", "0,x"], "--radii 0,x: write numbers with commas between"),
        (["--radii", ","], "--radii ,: write numbers with commas between"),
        (["--group-by", ""], "--group-by : runs have no such column"),
        (["--radii", "-1"], "radius -1.0 for the report: write finite numbers >= 0"),
        (["--out", "/proc/nowhere"], "/proc/nowhere"),
        (["--out", "/proc"], "--out /proc/table.md: No such file or directory: write a folder that is"),
    ],
)
def test_refusals_are_one_line(capsys: pytest.CaptureFixture[str], out: Path, flags: list[str], refusal: str) -> None:
    code, _, notes = command(capsys, "report", str(out), *flags)
    assert (code, notes.count("\n")) == (2, 1), notes
    assert refusal in notes


@pytest.mark.parametrize("name", ["table.md", "curves.pdf", "report.html"])
def test_a_file_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str], out: Path, name: str) -> None:
    (out / "report" / name / "in the way").mkdir(parents=True)
    code, _, notes = command(capsys, "report", str(out))
    assert (code, notes.count("\n")) == (2, 1)
    assert f"--out {out / 'report' / name}: Is a directory" in notes
    assert not list((out / "report").glob(".*"))


@pytest.mark.usefixtures("without_figures")
def test_nothing_and_mixtures_are_refused(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    part = out / "certificates" / f"run_id={C}" / "part-0.parquet"
    table = pq.read_table(part, partitioning=None)
    for column, refusal in (("norm", "different norms (l2, linf)"), ("dataset", "")):
        other = table.set_column(table.schema.get_field_index(column), column, pa.array(["linf"] * len(table)))
        pq.write_table(other, part)
        code, printed, notes = command(capsys, "report", str(out))
        assert (code == 2 and refusal in notes and notes.count("\n") == 1) if refusal else code == 0
    # Two data sets stand in one table, each line with its own, but not in one line.
    assert "dataset" in printed
    code, _, notes = command(capsys, "report", str(out), "--table", "envelope", "--group-by", "classifier")
    assert (code, notes.count("\n")) == (2, 1)
    assert "no envelope over runs of more than one dataset (digits, linf)" in notes
    pq.write_table(table.drop_columns(["radius"]), part)
    code, _, notes = command(capsys, "report", str(out))
    assert (code, notes.count("\n")) == (2, 1)
    assert "it lacks radius" in notes


def test_the_help_names_all_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(TABLES) == report_module.TABLES
    assert tuple(FORMATS) == report_module.FORMATS
    assert [*CATALOGUE] == [*experiments.LISTS]
    assert [width.partition(" ")[0] for width in report_module.WIDTHS] == list(WIDTHS)
    code, printed, _ = command(capsys, "certify", "--help")
    assert code == 0
    assert "--sigma" in printed
    assert "--dry-run" in printed


@pytest.mark.processes
@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"], ["report", "OUT"]])
def test_what_needs_no_network_starts_without_torch(out: Path, arguments: list[str]) -> None:
    arguments = [str(out) if argument == "OUT" else argument for argument in arguments]
    program = (
        "import sys, raysmooth\n"
        f"sys.argv = ['raysmooth', *{arguments!r}]\n"
        "from raysmooth.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print(sorted({'torch', 'ray', 'statsmodels', 'scipy.stats', 'sklearn'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_an_out_that_cannot_be_written_is_refused_before_anything_is_printed(
    capsys: pytest.CaptureFixture[str], out: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("a file")
    code, printed, err = command(capsys, "report", str(out), "--out", str(tmp_path / "notes.txt"))
    assert (code, printed) == (2, "")
    assert "notes.txt: File exists: write a folder that is writable" in err
