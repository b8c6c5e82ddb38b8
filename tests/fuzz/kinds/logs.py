"""Certification logs of other tools, as text."""

from pathlib import Path
from random import Random

from fuzz.case import Expected, Kind, Play
from fuzz.damage import damage, replaced_by_other
from fuzz.values import NUMBERS, TEXTS

LOG = Path("sigma_0.25.tsv")
HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime"
LINES = [
    "0\t3\t3\t0.412\t1\t0:00:15.211", "20\t7\t7\t0.105\t1\t0:00:15.001", "40\t1\t-1\t0.0\t0\t0:00:14.9",
    "60\t2\t5\t0.33\t0\t15.2",
]  # fmt: skip


def build_logs() -> None:
    LOG.write_text("\n".join([HEADER, *LINES, ""]))


def play_log(rng: Random) -> Play:
    altered, expected = _altered(rng)
    flags = ["--dataset", "cifar10", "--classifier", "cifar_resnet110", "--out", "out"]
    more = rng.choice(
        ([], ["--split", "test", "--skip", "20"], ["--n", "100000", "--alpha", "0.001"], ["--noise", "uniform"])
    )
    if more:
        expected = expected if expected is Expected.REFUSED else Expected.ANY
    return Play(altered, ["import", str(LOG), *flags, *more], expected, ("out/report",))


def _altered(rng: Random) -> tuple[str, Expected]:
    header, lines = HEADER.split("\t"), [line.split("\t") for line in LINES]
    end = "\n"
    expected = Expected.ANY
    way = rng.randrange(15)
    row, column = rng.choice(lines), rng.randrange(len(header))
    if way == 0:
        row[column] = rng.choice(
            (*TEXTS, *map(str, (n for n in NUMBERS if n != 10**400)), "9" * 5000, "0x10", "1_000", "١", "½")
        )
        what = f"{header[column]} = {row[column]!a:.60}"
    elif way == 1:
        del row[column]
        what, expected = "a field missing", Expected.REFUSED
    elif way == 2:
        row.insert(column, "x")
        what, expected = "a field too many", Expected.REFUSED
    elif way == 3:
        what = f"column {header[column]} renamed"
        header[column] = rng.choice((*TEXTS, header[column].upper(), f" {header[column]} "))
    elif way == 4:
        order = rng.sample(range(len(header)), len(header))
        header, lines = [header[i] for i in order], [[line[i] for i in order] for line in lines]
        what, expected = "columns in another order", Expected.READ
    elif way == 5:
        end = rng.choice(("\r\n", "\r", "\n\n", "\v", "\u2028"))
        what = f"lines that end with {end!r}"
        expected = Expected.READ if end in ("\r\n", "\r", "\n\n") else Expected.REFUSED
    elif way == 6:
        lines.append(["0", "4", "4", "0.1", "1", "1.0"])
        what, expected = "an image with two labels", Expected.REFUSED
    elif way == 7:
        column, value = rng.choice(
            ((3, "-0.5"), (3, "nan"), (3, "inf"), (3, "7.5"), (2, "-2"), (0, "-1"), (1, "-3"), (4, "2"))
        )
        row[column] = value
        is_abstention = value in ("-0.5", "-2") or (value == "nan" and row[2] == "-1")  # abstentions of other tools
        what, expected = f"{header[column]} = {value}", Expected.ANY if is_abstention else Expected.REFUSED
    elif way == 8:
        row[4] = "0" if row[4] == "1" else "1"
        what, expected = "correct is not what label and predict say", Expected.REFUSED
    elif way == 9:
        lines = []
        what, expected = "only a header", Expected.REFUSED
    elif way == 10:
        header.append(rng.choice((*TEXTS[:20], "sigma", "idx", "time")).replace("\ud800", ""))
        lines = [[*line, rng.choice(("0.25", "0.5", "x", "\x1b[31m", "Q" * 5000))] for line in lines]
        what = f"one column more: {header[-1]!a:.40}"
    elif way == 11:
        lines = lines * 3
        what, expected = "each line three times", Expected.READ
    else:
        what = ""
    content = end.join("\t".join(line) for line in [header, *lines]) + end
    encoding, name = rng.choice(
        (*(("utf-8", ""),) * 12, ("utf-16", " UTF-16"), ("utf-8-sig", " with a BOM"), ("utf-32", " UTF-32"))
    )
    LOG.write_bytes(content.encode(encoding, errors="surrogatepass"))
    if name and expected is Expected.READ:
        expected = Expected.ANY
    if way == 12 or way == 13:
        return f"{damage(rng, LOG)}{name}", Expected.ANY
    if way == 14:
        return replaced_by_other(rng, LOG), Expected.REFUSED
    return f"{what}{name}", expected


LOGS = Kind("certification logs", build_logs, play_log)
