import struct
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from certificate_rows import ADAPTIVE, BETTER, DECIDE, DECIDED, DENOISED, PLAIN, A, B, rows_of, run_of, sampled_run

import raysmooth
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.report.report import read_certificates, summarize, write_report

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("dataset", "split", "index_set", "classifier", "denoiser", "objective")),
        *((name, pa.string()) for name in ("noise", "norm")),
        ("sigma", pa.float64()),
        ("n0", pa.int64()),
        ("n", pa.int64()),
        ("alpha", pa.float64()),
        ("images", pa.int64()),
        ("image_id", pa.int64()),
        ("label", pa.int64()),
        ("prediction", pa.int64()),
        ("abstain", pa.bool_()),
        ("correct", pa.bool_()),
        ("radius", pa.float64()),
        ("p_lower", pa.float64()),
        ("count_top", pa.int64()),
        ("seconds", pa.float64()),
        ("status", pa.string()),
        ("error", pa.string()),
    ]
)

"""Columns as they were before runs could be sampled otherwise than fixed."""
NEWER = pa.schema(
    [*SCHEMA, ("sampling", pa.string()), ("decision", pa.string()), ("n_used", pa.int64()), ("draws", pa.int64())]
)


def write_run(out, run_id, outcomes, label=1, parts=2, schema=SCHEMA, **facts):
    rows = rows_of(outcomes, label, **facts)
    folder = out / "certificates" / f"run_id={run_id}"
    folder.mkdir(parents=True)
    for part in range(parts):
        pq.write_table(pa.Table.from_pylist(rows[part::parts], schema), folder / f"part-{part}.parquet")
    return folder


@pytest.fixture
def out(tmp_path):
    """Two runs: one finished, one of which 6 of 8 images are."""
    write_run(tmp_path, A, PLAIN)
    write_run(tmp_path, B, BETTER[:6], **DENOISED)
    return tmp_path


def test_rows_come_back_with_their_run(out):
    rows = read_certificates(out)
    assert rows.groupby("run_id").size().to_dict() == {A: 8, B: 6}
    assert set(SCHEMA.names) < set(rows.columns)


def test_parts_without_types_for_their_nulls_are_read_with_those_that_have_them(tmp_path):
    write_run(tmp_path, A, BETTER, parts=4, schema=None, label=None)
    write_run(tmp_path, B, PLAIN, parts=8, schema=None)  # the last part is an error row alone
    summary = summarize(read_certificates(tmp_path), [0])
    assert list(summary["r=0"]) == [7 / 8, 4 / 8]


def test_summary_by_hand(out):
    summary = summarize(read_certificates(out), [0, 0.25, 0.5])
    assert list(summary["run_id"]) == [A, B]
    assert summary[["r=0", "r=0.25", "r=0.5"]].to_numpy().tolist() == [
        [4 / 8, 3 / 8, 2 / 8],
        [5 / 6, 4 / 6, 3 / 6],
    ]
    np.testing.assert_allclose(summary["ACR"], [(0.5 + 0.25 + 0.8 + 0.1) / 8, (0.6 + 0.3 + 0.8 + 0.1 + 0.75) / 6])
    assert list(summary["abstain"]) == [2 / 8, 1 / 6]
    assert list(summary["errors"]) == [1, 0]
    assert list(summary["rows"]) == [8, 6]
    assert list(summary["images"]) == [8, 8]


def test_runs_are_ordered_by_dataset_classifier_sigma_and_denoiser(tmp_path):
    orders = [("a", "a", 1.0, "none"), ("a", "b", 0.5, "none"), ("a", "b", 0.5, "d"), ("b", "a", 0.1, "none")]
    for i, (dataset, classifier, sigma, denoiser) in enumerate(reversed(orders)):
        outcomes = [(prediction, radius and radius * sigma) for prediction, radius in PLAIN]
        write_run(tmp_path, f"{i}", outcomes, dataset=dataset, classifier=classifier, sigma=sigma, denoiser=denoiser)
    summary = summarize(read_certificates(tmp_path))
    assert list(zip(*(summary[c] for c in ("dataset", "classifier", "sigma", "denoiser")), strict=True)) == orders


@pytest.mark.parametrize(
    ("largest", "radii"),
    [
        (0.8, ["0", "0.25", "0.5", "0.75"]),
        (0.75, ["0", "0.25", "0.5", "0.75"]),
        (0.1, ["0", "0.02", "0.04", "0.06", "0.08", "0.1"]),
        (0.45, ["0", "0.1", "0.2", "0.3", "0.4"]),
        (0.0, ["0", "0.25"]),
        (1.6, ["0", "0.25", "0.5", "0.75", "1", "1.25", "1.5"]),
        (3.2, ["0", "0.5", "1", "1.5", "2", "2.5", "3"]),
    ],
)
def test_default_radii_reach_as_far_as_the_runs(tmp_path, largest, radii):
    write_run(tmp_path, A, [(1, largest), (-1, 0.0), (None, None)], sigma=max(0.25, largest / 3))
    summary = summarize(read_certificates(tmp_path))
    assert [c.removeprefix("r=") for c in summary if c.startswith("r=")] == radii


def test_a_few_lucky_images_do_not_make_the_default_radii_coarse():
    low, high = [(1, 0.01 * i) for i in range(45)], [(1, 0.04 * i) for i in range(45)]
    lucky = [*high[:-2], (1, 3.8), (1, 3.9)]
    assert radii_of(run_of(A, low), run_of(B, lucky, sigma=1.0)) == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5]
    assert radii_of(run_of(A, low)) == [0, 0.1, 0.2, 0.3, 0.4]


def test_a_heading_never_shows_a_larger_radius_than_was_measured(out):
    assert "r=0.1234567" in summarize(read_certificates(out), [0.1234567])


@pytest.mark.parametrize("radius", [-0.1, float("nan"), float("inf")])
def test_impossible_radii_are_refused(out, radius):
    with pytest.raises(RaysmoothError, match="write finite numbers"):
        summarize(read_certificates(out), [0, radius])


def test_a_report_is_seven_files(out):
    written = write_report(out)
    assert [path.name for path in written] == [
        "table.md",
        "table.tex",
        "table.csv",
        "curves.png",
        "curves.pdf",
        "curves-figure.tex",
        "report.html",
    ]
    assert {path.parent for path in written} == {out / "report"}
    assert written[3].read_bytes().startswith(b"\x89PNG")
    assert written[4].read_bytes().startswith(b"%PDF")
    assert write_report(out) == written  # again, over the first


def test_a_report_can_go_elsewhere(out, tmp_path):
    written = write_report(out, radii=[0.1], out=tmp_path / "paper" / "figures")
    assert {path.parent for path in written} == {tmp_path / "paper" / "figures"}
    assert "r=0.1" in pd.read_csv(written[2])


def refusal(out):
    with pytest.raises(RaysmoothError) as refused:
        read_certificates(out)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_truncated_part_is_named(out):
    part = out / "certificates" / f"run_id={A}" / "part-1.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    assert str(part) in refusal(out)


def test_a_part_corrupt_in_its_middle_is_named(out):
    part = out / "certificates" / f"run_id={A}" / "part-1.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:4] + b"\xff" * 400 + whole[404:])
    assert str(part) in refusal(out)


def test_any_flipped_bit_of_the_radii_is_found(tmp_path):
    folder = write_run(tmp_path, A, PLAIN, parts=1)
    (part,) = folder.iterdir()
    table = pq.read_table(part, partitioning=None)
    pq.write_table(table, part, write_page_checksum=True, compression="none", use_dictionary=False)
    whole = part.read_bytes()
    place = whole.index(struct.pack("<2d", 0.5, 0.25))
    assert read_certificates(tmp_path)["radius"][0] == 0.5
    for bit in range(0, 64, 7):
        damaged = bytearray(whole)
        damaged[place + bit // 8] ^= 1 << bit % 8
        part.write_bytes(damaged)
        assert str(part) in refusal(tmp_path)


def test_texts_are_printable_and_short_enough(tmp_path):
    write_run(tmp_path, A, PLAIN, classifier="a\x1b[31m\nred", denoiser="x" * 5000)
    rows = read_certificates(tmp_path)
    assert rows["classifier"].unique().tolist() == [r"a\x1b[31m\nred"]
    assert rows["denoiser"].str.len().max() == 200


def test_a_file_that_is_not_parquet_is_named(out):
    note = out / "certificates" / f"run_id={A}" / "notes.txt"
    note.write_text("remember the milk")
    assert str(note) in refusal(out)


def test_a_parquet_file_of_something_else_is_named(out):
    other = out / "certificates" / f"run_id={A}" / "other.parquet"
    pq.write_table(pa.table({"image_id": [1], "radius": [0.5]}), other)
    assert str(other) in refusal(out)
    assert "it lacks abstain, alpha" in refusal(out)


def test_a_part_whose_columns_have_other_types_is_named(out):
    part = out / "certificates" / f"run_id={B}" / "part-0.parquet"
    table = pq.read_table(part, partitioning=None)
    words = pa.array(["much"] * len(table))
    pq.write_table(table.set_column(table.schema.get_field_index("radius"), "radius", words), part)
    assert str(part) in refusal(out)


def test_a_part_outside_the_run_folders_is_named(out):
    part = out / "certificates" / f"run_id={A}" / "part-0.parquet"
    stray = out / "certificates" / "part-0.parquet"
    part.rename(stray)
    assert str(stray) in refusal(out)


def test_hidden_files_are_ignored(out):
    folder = out / "certificates" / f"run_id={A}"
    for name in (".part-2.parquet.tmp", "_SUCCESS", ".DS_Store"):
        (folder / name).write_text("half")
    assert len(read_certificates(out)) == 14


def test_a_copied_part_is_noticed(out):
    folder = out / "certificates" / f"run_id={A}"
    (folder / "copy.parquet").write_bytes((folder / "part-0.parquet").read_bytes())
    assert f"run_id={A} has two rows of image 0" in refusal(out)


def test_a_missing_folder_is_refused(tmp_path):
    assert "there is no" in refusal(tmp_path)


def test_predictions_alone_are_refused(tmp_path):
    (tmp_path / "predictions" / f"run_id={A}").mkdir(parents=True)
    assert "holds only predictions" in refusal(tmp_path)


def test_an_empty_folder_and_empty_parts_are_refused(tmp_path):
    (tmp_path / "certificates" / f"run_id={A}").mkdir(parents=True)
    assert "has no rows yet" in refusal(tmp_path)
    write_run(tmp_path, B, [], parts=1)
    assert "has no rows yet" in refusal(tmp_path)


def test_older_parts_are_read_with_newer_ones(out):
    write_run(out, "c" * 16, BETTER, schema=NEWER, sampling=ADAPTIVE, draws=900)
    rows = read_certificates(out)
    assert rows.groupby("run_id")["sampling"].unique().map(list).to_dict() == {
        A: ["fixed"],
        B: ["fixed"],
        "c" * 16: [ADAPTIVE],
    }
    assert summarize(rows).set_index("run_id")["draws"].to_dict() == {A: 10_100, B: 10_100, "c" * 16: 900}


def radii_of(*runs):
    return [float(c.removeprefix("r=")) for c in summarize(pd.concat(runs)) if c.startswith("r=")]


def test_default_radii_of_decisions_are_theirs_alone():
    assert radii_of(sampled_run(A, DECIDE, DECIDED)) == [0.3]
    assert radii_of(sampled_run(A, DECIDE, DECIDED), sampled_run(B, "decide:radius=0.125", [(1, 0.125)])) == [
        0.125,
        0.3,
    ]


def test_default_radii_of_decisions_among_others_are_those_of_both():
    decided = sampled_run(A, DECIDE, DECIDED)
    assert radii_of(run_of(B, PLAIN), decided) == [0, 0.25, 0.3, 0.5, 0.75]
    assert radii_of(run_of(B, [(1, 1.6)]), decided) == [0, 0.3, 0.5, 1, 1.5]
    far = sampled_run(A, "decide:radius=2.0", [(1, 2.0)])
    assert radii_of(run_of(B, [(1, 0.3)]), far) == [0, 0.1, 0.2, 0.3, 2]


def test_default_radii_of_adaptive_runs_leave_room_for_their_columns():
    assert radii_of(sampled_run(A, ADAPTIVE, [(1, 1.6)])) == [0, 0.5, 1, 1.5]


def test_a_report_of_all_ways_of_sampling_is_written(tmp_path):
    write_run(tmp_path, A, PLAIN)
    write_run(tmp_path, B, PLAIN, schema=NEWER, sampling=ADAPTIVE, draws=900)
    write_run(tmp_path, "d" * 16, DECIDED, schema=NEWER, sampling=DECIDE, draws=300, decision="undecided")
    assert all(path.stat().st_size for path in write_report(tmp_path))


def test_default_radii_of_linf_are_as_fine_as_its_radii_are_small(tmp_path):
    def columns(*radii, **facts):
        rows = run_of(A, [(1, radius) for radius in radii], **facts)
        return [column for column in summarize(rows).columns if column.startswith("r=")]

    assert columns(0.043, norm="linf") == ["r=0", "r=0.01", "r=0.02", "r=0.03", "r=0.04"]
    assert columns(0.16, 0.02, norm="linf") == ["r=0", "r=0.05", "r=0.1", "r=0.15"]
    assert columns(0.0005, norm="linf") == ["r=0", *(f"r=0.000{i}" for i in range(1, 6))]
    assert columns(0.8, norm="linf") == columns(0.8)
    assert columns(0.043) == columns(0.043, norm="linf")


def test_norms_are_not_mixed_in_a_report(tmp_path):
    write_run(tmp_path, A, PLAIN)
    write_run(tmp_path, B, PLAIN, norm="linf")
    with pytest.raises(
        RaysmoothError, match=r"different norms \(l2, linf\), which tables .*: write --where norm=l2, or"
    ):
        write_report(tmp_path)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (torch.nn.Linear(2, 2), "not an object of type torch.nn.modules.linear.Linear"),
        ("results", "not an object of type str"),
        (pd.DataFrame({"run_id": ["a"]}), "these lack image_id, radius, abstain, correct, status"),
    ],
)
def test_what_are_no_rows_is_named(given: Any, what: str) -> None:
    with pytest.raises(
        RaysmoothError, match=f"^summarize takes the rows of certificates, {what}: give it the data fra"
    ):
        raysmooth.summarize(given)
