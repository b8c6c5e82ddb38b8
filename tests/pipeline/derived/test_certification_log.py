import os
from datetime import timedelta
from pathlib import Path

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.derived import certification_log
from raysmooth.pipeline.derived.certification_log import (
    DUPLICATE,
    HEADER,
    NEGATIVE,
    NO_END,
    NO_RADIUS,
    NO_TIME,
    OTHER_ABSTENTION,
    TRUNCATED,
    LogLine,
    NoCertificates,
    read_log,
)

HEADING = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
THREE = HEADING + "0\t3\t-1\t0.0\t0\t0:00:13.736080\n20\t7\t7\t0.0734\t1\t15.5\n40\t4\t6\t5e-05\t0\t1 day, 2:03:04\n"


@pytest.fixture
def log(tmp_path):
    """Writes a log of this text and gives its path."""

    def write(text, name="log.tsv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def certificates(read):
    return [(line.image_id, line.label, line.prediction, line.radius) for line in read.lines]


def test_a_log_by_hand(log):
    read = read_log(log(THREE))
    assert read.lines == [
        LogLine(2, 0, 3, -1, 0.0, 13.73608, None),
        LogLine(3, 20, 7, 7, 0.0734, 15.5, None),
        LogLine(4, 40, 4, 6, 5e-05, 86400 + 2 * 3600 + 3 * 60 + 4, None),
    ]
    assert (read.left_out, read.ignored, read.sigma) == ({}, [], None)
    # By sha256sum.
    one_line = log(HEADING + "0\t1\t1\t1\t1\t1\n")
    assert read_log(one_line).sha256 == "46ec65c6ecb98e4ce0406eb0772cab2efc5f10c506ada24397043d6e62e44132"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff", "\n"])
def test_line_ends_marks_and_blank_lines_change_nothing(log, end, mark):
    text = mark + THREE.replace("20\t", "\n20\t").replace("\n", end)
    assert certificates(read_log(log(text))) == certificates(read_log(log(THREE)))


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("15", 15.0),
        ("1.5e1", 15.0),
        ("0:02:31.238689", 151.238689),
        ("00:02:31", 151.0),
        ("26:00:01.5", 26 * 3600 + 1.5),
        ("1 day, 0:00:01", 86401.0),
        ("12 days, 1:00:00", 12 * 86400 + 3600.0),
    ],
)
def test_times(log, time, seconds):
    read = read_log(log(f"{HEADING}0\t1\t1\t0.5\t1\t{time}\n"))
    assert read.lines[0].seconds == pytest.approx(seconds, abs=1e-9)
    assert read.left_out == {}


@pytest.mark.parametrize("time", ["2m31s", "-3", "2:31", "0:61:00", "nan", "1e999", ""])
def test_what_is_no_time_is_left_out_and_said(log, time):
    read = read_log(log(f"{HEADING}0\t1\t1\t0.5\t1\t{time}\n20\t1\t1\t0.5\t1\t3\n"))
    assert [line.seconds for line in read.lines] == [None, 3.0]
    assert read.left_out == {NO_TIME: [2]}


def test_columns_may_be_missing_more_or_in_another_order(log):
    read = read_log(log("Radius\tgap\tidx\tpredict\tlabel\n0.5\tx\t20\t2\t1\n0.25\ty\t40\t1\t1\n"))
    assert certificates(read) == [(20, 1, 2, 0.5), (40, 1, 1, 0.25)]
    assert [line.seconds for line in read.lines] == [None, None]
    assert read.ignored == ["gap"]


@pytest.mark.parametrize(("separator", "name"), [(",", "commas"), (";", "semicolons"), ("  ", "spaces"), ("|", "bars")])
def test_another_separator_is_named(log, separator, name):
    with pytest.raises(
        RaysmoothError, match=f"line 1: the columns are separated by {name}: logs are tab-separated, so"
    ):
        read_log(log(THREE.replace("1 day, ", "").replace("\t", separator)))


def read_or_none(path):
    """The log, None where it is refused for having no whole line."""
    try:
        return read_log(path)
    except RaysmoothError as refusal:
        if "has no complete line" in str(refusal):
            return None
        raise


@pytest.mark.parametrize(
    "text",
    [
        THREE,
        THREE.replace("\n", "\r\n"),
        # The radius last: 5e-05, cut off, would be the radius 5.
        "idx\tlabel\tpredict\tcorrect\ttime\tradius\n0\t3\t-1\t0\t1\t0.0\n20\t7\t7\t1\t1\t5e-05\n",
        "label\tpredict\tradius\tidx\n3\t3\t0.5\t20\n3\t3\t0.5\t401\n",
        "idx\tlabel\tradius\tpredict\n0\t12\t0.5\t12\n20\t123\t0.5\t1234\n",
        "predict\tidx\tradius\tlabel\n12\t0\t0.5\t12\n123\t20\t0.5\t123\n",
    ],
)
def test_wherever_a_log_is_cut_off_what_is_read_of_it_is_true(log, text):
    whole = read_log(log(text))
    begin = text.index("\n") + 1
    for end in range(begin, len(text)):
        complete = text[:end].replace("\r", "").count("\n") - 1
        read = read_or_none(log(text[:end]))
        if read is None:
            assert complete == 0, f"cut at {end}"
            continue
        assert certificates(read) == certificates(whole)[: len(read.lines)]
        assert len(read.lines) >= complete
        assert all(line.seconds in (None, full.seconds) for line, full in zip(read.lines, whole.lines, strict=False))
        if text[end - 1] not in "\r\n":
            assert list(read.left_out.values()) == [[complete + 2]]


def test_a_line_without_its_end_keeps_what_is_certainly_whole(log):
    read = read_log(log(THREE.removesuffix("\n")))
    assert certificates(read) == certificates(read_log(log(THREE)))
    assert read.lines[-1].seconds is None
    assert read.left_out == {NO_END: [4]}
    for rest in ("1 day, 2:03:04\n", "\t1 day, 2:03:04\n", "5\t0\t1 day, 2:03:04\n"):
        cut = read_log(log(THREE.removesuffix(rest)))
        kept = 3 if rest.startswith("1 day") else 2  # a tab ends the last but one of the fields
        assert (len(cut.lines), cut.left_out) == (kept, {NO_END if kept == 3 else TRUNCATED: [4]})


def test_a_run_that_was_started_again_on_the_same_file(log):
    # It listed image 20 again, with another outcome: the first counts.
    read = read_log(log(THREE + HEADING + "0\t3\t3\t0.2\t1\t1\n20\t7\t-1\t0.0\t0\t2\n60\t1\t1\t0.5\t1\t3\n"))
    assert certificates(read) == [*certificates(read_log(log(THREE))), (60, 1, 1, 0.5)]
    assert read.left_out == {HEADER: [5], DUPLICATE: [6, 7]}


def test_a_header_after_a_truncated_line(log):
    read = read_log(log(THREE + "60\t1\t1\t0.2" + HEADING + "60\t1\t1\t0.25\t1\t3\n"))
    assert certificates(read)[-1] == (60, 1, 1, 0.25)
    assert read.left_out == {HEADER: [5], TRUNCATED: [5]}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("20\t7\t6\t0.5\t1\t1", "line 3: correct is 1, but label 7 and predict 6"),
        ("20\t7\t7\t0.5\t0\t1", "line 3: correct is 0, but label 7 and predict 7"),
        ("20\t7\t-1\t0.0\t1\t1", "line 3: correct is 1, but label 7 and predict -1"),
        ("20\t7\t-1\t0.01\t0\t1", "line 3: an abstention (predict -1) with radius 0.01"),
        ("20\t7\t6\t-0.5\t1\t1", "line 3: correct is 1, but label 7 and predict 6"),
        ("20\t7\t-2\t0.5\t0\t1", "line 3: an abstention (predict -2) with radius 0.5"),
        ("20\t7\t-1\tlarge\t0\t1", "line 3: radius is 'large', not a number"),
        ("20\t7\t7\t\x1b[31m\t1\t1", "line 3: radius is '\\x1b[31m', not a number"),
        ("20\t7\t7\t0.5\t" + "x" * 500 + "\t1", "line 3: correct is '" + "x" * 197 + "...', neither 0 nor 1"),
        ("20\t7\t7\tnan\t1\t1", "line 3: radius is 'nan', not a number"),
        ("20\t7\t7\tinf\t1\t1", "line 3: radius is 'inf', not a number"),
        ("20\t7\t7\t1e999\t1\t1", "line 3: radius is '1e999', not a number"),
        ("20\t7\t7\t\t1\t1", "line 3: radius is '', not a number"),
        ("20\t7\t-3\t0.0\t0\t1", "line 3: predict is '-3', not an integer >= -2"),
        ("20\t-1\t-1\t0.0\t0\t1", "line 3: label is '-1', not an integer >= 0"),
        ("2.5\t7\t7\t0.5\t1\t1", "line 3: idx is '2.5', not an integer >= 0"),
        (f"{2**53}\t7\t7\t0.5\t1\t1", f"line 3: idx is {2**53}, more than {2**53 - 1}"),
        (f"20\t{2**53}\t7\t0.5\t0\t1", f"line 3: label is {2**53}, more than {2**53 - 1}"),
        ("9" * 30 + "\t7\t7\t0.5\t1\t1", "not an integer >= 0"),
        ("20\t7\t7\t0.5\tyes\t1", "line 3: correct is 'yes', neither 0 nor 1"),
        ("20\t7\t7\t0.5\t1", "line 3: 5 fields, but 6 in the header: delete the line if a killed run left it"),
        ("20\t7\t7\t0.520\t7\t7\t0.5\t1\t1", "line 3: 9 fields, but 6 in the header"),
        ("0\t4\t4\t0.5\t1\t1", "line 3: image 0 has label 4, but 3 on line 2"),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_line(log, line, expected):
    path = log(f"{HEADING}0\t3\t3\t0.5\t1\t1\n{line}\n40\t1\t1\t0.5\t1\t1\n")
    with pytest.raises(RaysmoothError) as refused:
        read_log(path)
    assert str(refused.value).startswith(f"{path}, line 3: ")
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"PAR1\xff\xfe\x00", "is not text"),
        (b"remember the milk\n", "line 1: the header lacks idx, label, predict, radius"),
        (THREE.replace("\t", ",").encode(), "line 1: the columns are separated by commas"),
        (b"0\t3\t-1\t0.0\t0\t0:00:13\n", "line 1: the header lacks"),
        (b"idx\tlabel\tpredict\tcorrect\ttime\n0\t1\t1\t1\t1\n", "it is a log of predictions, not of certificates"),
        (b"idx\tlabel\tpredict\tradius\tidx\n", "has the column 'idx' twice"),
        (HEADING.encode(), "has no complete line below its header"),
        (HEADING.encode() + b"0\t3\t-1\t0.0", "has no complete line below its header"),
    ],
)
def test_what_is_no_log_is_refused(log, content, expected):
    path = log(content)
    with pytest.raises(RaysmoothError) as refused:
        read_log(path)
    assert str(refused.value).startswith(str(path))
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_folders_and_missing_files_are_refused(tmp_path):
    with pytest.raises(RaysmoothError, match=r"is a folder: name the logs in it, such as .*/\*\.tsv"):
        read_log(tmp_path)
    with pytest.raises(RaysmoothError, match=r"nowhere\.tsv: No such file or directory: write the path"):
        read_log(tmp_path / "nowhere.tsv")


def test_a_column_of_one_sigma_is_the_runs_and_of_several_is_refused(log):
    heading = HEADING.replace("\n", "\tsigma\n")
    read = read_log(log(f"{heading}0\t1\t1\t0.5\t1\t1\t0.25\n20\t1\t1\t0.5\t1\t1\t0.250\n40\t1\t1\t0.5\t1\t1\t0.2"))
    assert (read.sigma, len(read.lines), read.left_out) == (0.25, 3, {NO_END: [4]})
    with pytest.raises(
        RaysmoothError, match=r"line 3: sigma is 0\.3, but 0\.25 on line 2: one run has one smoothed classifier"
    ):
        read_log(log(f"{heading}0\t1\t1\t0.5\t1\t1\t0.25\n20\t1\t1\t0.5\t1\t1\t0.3\n"))


def test_a_radius_in_a_column_of_another_name(log):
    text = "idx\tlabel\tpredict\tRadius\tl1 radius\n0\t1\t1\t0.5\t0.25\n20\t1\t2\t0.75\tx\n"
    with pytest.raises(RaysmoothError, match=r"line 3: radius is 'x', not a number"):
        read_log(log(text), "L1 Radius ")
    read = read_log(log(text.replace("x\n", "0.125\n")), "L1 Radius ")
    assert certificates(read) == [(0, 1, 1, 0.25), (20, 1, 2, 0.125)]
    assert (read.radius_column, read.ignored) == ("l1 radius", ["radius"])
    # Of a line without its end the last field may be cut off: here it is the radius.
    cut = read_log(log(text.replace("x\n", "0.1")), "l1 radius")
    assert (certificates(cut), cut.left_out) == ([(0, 1, 1, 0.25)], {TRUNCATED: [3]})


@pytest.mark.parametrize(
    ("columns", "radius_column", "expected"),
    [
        ("idx label predict certified_radius", "radius", "--radius-column NAME: did you mean 'certified_radius'?"),
        ("idx label predict correct time gap", "radius", "write --radius-column NAME: known: gap"),
        ("idx label predict correct time", "radius", "a log of predictions, not of certificates"),
        ("idx label predict radius", "raduis", "--radius-column raduis: LOG has no such column: did you mean"),
        ("idx label predict radius", "predict", "--radius-column predict: that column is no radius"),
        ("idx label predict \x1b[2Jradius", "radius", "did you mean '\\x1b[2jradius'?"),
        ("label predict", "r", "line 1: the header lacks idx, r: write"),
    ],
)
def test_a_column_that_holds_no_radius_is_refused(log, columns, radius_column, expected):
    path = log("\t".join(columns.split(" ")) + "\n0\t1\t1\t1\t1\n")
    with pytest.raises(RaysmoothError) as refused:
        read_log(path, radius_column)
    assert expected.replace("LOG", str(path)) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_abstentions_as_other_tools_write_them(log):
    lines = ["-2\t0.0", "-1\t-0.3", "-2\t-1", "-1\tnan", "-1\t", "-1\t-inf", "7\t-0.2", "4\t-0.2", "-1\t-0.0"]
    text = HEADING + "".join(f"{image}\t7\t{line}\t0\t1\n" for image, line in enumerate(lines))
    again = "0\t7\t-2\t-1\t0\t1\n"  # a duplicate counts for nothing, and is not named
    read = read_log(log(text + again))
    assert certificates(read) == [(image, 7, -1, 0.0) for image in range(9)]
    assert read.reread == {OTHER_ABSTENTION: [2, 4], NO_RADIUS: [3, 4, 5, 6, 7], NEGATIVE: [8, 9]}
    marked = read_log(log(HEADING + "0\t7\t7\t-0.2\t1\t1\n"))
    assert (certificates(marked), marked.reread) == ([(0, 7, -1, 0.0)], {NEGATIVE: [2]})


def test_a_log_of_a_run_that_has_just_begun_has_an_error_of_its_own(log):
    for begun in ("", HEADING, HEADING + "0\t1\t1"):
        with pytest.raises(NoCertificates):
            read_log(log(begun))
    with pytest.raises(RaysmoothError) as refused:
        read_log(log("idx\n"))
    assert not isinstance(refused.value, NoCertificates)


def test_only_regular_files_of_a_log_s_size_are_read(tmp_path, log, monkeypatch):
    os.mkfifo(tmp_path / "pipe.tsv")
    with pytest.raises(RaysmoothError, match=r"pipe\.tsv is not a regular file"):
        read_log(tmp_path / "pipe.tsv")
    monkeypatch.setattr(certification_log, "LARGEST", 40)
    with pytest.raises(RaysmoothError, match=r"has \d+ bytes, which no log has \(40 at most\)"):
        read_log(log(THREE))
    with pytest.raises(RaysmoothError, match=r"^'a\\x00.tsv': control characters in a path"):
        read_log("a\0.tsv")


LABELS = st.integers(0, 999)
RADII = st.floats(0, 100, allow_nan=False)


@st.composite
def outcomes(draw):
    """(label, prediction, radius, seconds) of an image."""
    label = draw(LABELS)
    prediction = draw(st.one_of(st.just(-1), st.just(label), LABELS))
    microseconds = draw(st.integers(0, 300_000_000_000))
    return label, prediction, 0.0 if prediction == -1 else draw(RADII), microseconds / 1e6


@st.composite
def logs(draw):
    """A log's text, what it says, and how many lines a kill tore."""
    rows = draw(st.lists(outcomes(), min_size=1, max_size=8))
    ids = draw(st.lists(st.integers(0, 50_000), min_size=len(rows), max_size=len(rows), unique=True))
    columns = ["idx", "label", "predict", "radius"]
    columns += draw(st.lists(st.sampled_from(["correct", "time", "gap", "proxy"]), unique=True))
    columns = draw(st.permutations(columns))
    clock = draw(st.booleans())
    number = draw(st.sampled_from(["{!r}", "{:.17e}", "{:.17g}"]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = []
    for image_id, (label, prediction, radius, seconds) in zip(ids, rows, strict=True):
        fields = {
            "idx": image_id,
            "label": label,
            "predict": prediction,
            "radius": number.format(radius),
            "correct": int(prediction == label),
            "time": str(timedelta(seconds=seconds)) if clock else repr(seconds),
            "gap": draw(st.sampled_from(["", "0.5", "much"])),
            "proxy": "1",
        }
        lines.append("\t".join(str(fields[column]) for column in columns))
    header, cut = "\t".join(columns), ""
    text = [header, *lines]
    if draw(st.booleans()):  # started again: the header again, and images that were there
        text += [header, *draw(st.lists(st.sampled_from(lines), max_size=3))]
    if draw(st.booleans()):  # killed in the midst of a further line, which lacks a column or more
        cut = "\t".join(["7"] * (len(columns) - 1))[: draw(st.integers(1, 2 * len(columns) - 3))]
    return end.join([*text, cut]), list(zip(ids, rows, strict=True)), "time" in columns, bool(cut)


@examples(150)
@given(logs())
def test_whatever_was_written_is_read_back(tmp_path_factory, written):
    text, rows, timed, cut = written
    path = tmp_path_factory.mktemp("logs") / "log.tsv"
    path.write_bytes(text.encode())
    read = read_log(path)
    assert certificates(read) == [(image_id, *row[:3]) for image_id, row in rows]
    for line, (_, row) in zip(read.lines, rows, strict=True):
        assert line.seconds == (pytest.approx(row[3], abs=1e-6) if timed else None)
    assert (TRUNCATED in read.left_out) == cut
    assert NO_END not in read.left_out
    assert NO_TIME not in read.left_out


@pytest.mark.parametrize("method", ["is_dir", "read_bytes"])  # the log's folder, and the log itself
def test_a_log_that_this_user_may_not_read_is_named(log, monkeypatch, method):
    path = log(THREE)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, method, refuse)
    with pytest.raises(RaysmoothError, match=r"log\.tsv cannot be read \(permission denied\): make it readable$"):
        read_log(path)
