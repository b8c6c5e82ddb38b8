"""What `raysmooth show` shows is what the run drew, counted and certified; what it cannot show it refuses."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from base_classifiers import Linear
from command import command
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text
from noise_by_hand import normals
from small_runs import CPU, certified

import raysmooth
from raysmooth.actors.models.base_classifier import INVALID
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.weights import save_weights
from raysmooth.actors.noise.role import CERTIFYING, Role
from raysmooth.actors.noise.streams import Gaussian, Stream
from raysmooth.actors.replica.draws import draw
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.pipeline.certification.certificate import lower_bound
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.pictures.image_figure import plot_image
from raysmooth.pipeline.pictures.image_replay import ReplayedImage, replay
from raysmooth.pipeline.pictures.noise_replay import batch_pieces, first_copies
from raysmooth.pipeline.pictures.show import ShowSettings, find_rows, sampled_by, show
from raysmooth.pipeline.runs.draw_plan import DrawPlan
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.row_records import records
from raysmooth.pipeline.runs.stored_run import StoredRun

SCHEMA = PROCEDURES["certify"].schema

DENOISER = "dncnn:channels=1,depth=3,width=4"
DIGITS = {"dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.1, "skip": 3, "max": 8, "seed": 5}
DIGITS |= {"n0": 40, "n": 300, "block_size": 120}


def save_denoiser(path: Path, objective: str = "mse") -> torch.nn.Module:
    """Untrained weights that do something: a new DnCNN returns its input."""
    torch.manual_seed(1)
    network = build_denoiser(Variant.parse(DENOISER))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.6)
    save_weights(path, network, {"architecture": DENOISER, "objective": objective, "noise": "gaussian", "sigma": 0.5})
    return network.eval()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of four runs on the same images, and a denoiser's weights."""
    home = tmp_path_factory.mktemp("shown")
    save_denoiser(home / "mse.safetensors")
    certified(home / "out", **DIGITS)
    certified(home / "out", **DIGITS, denoiser="dncnn", denoiser_weights=str(home / "mse.safetensors"))
    certified(home / "out", **DIGITS | {"sigma": 0.4}, sampling="adaptive", pilot=50)
    certified(home / "out", **DIGITS, sampling="decide", radius=0.1)
    return home


def replays(out: Path, image_id: int, copies: int = 3) -> list[ReplayedImage]:
    rows = records(find_rows(out, image_id))
    runs = [StoredRun.read(out, row["run_id"]) for row in rows]
    dataset = runs[0].open_dataset()
    return [replay(run, row, dataset, copies, trust_code=True) for run, row in zip(runs, rows, strict=True)]


def stored(out: Path, run_id: str, image_id: int, role: str = "estimation") -> pd.DataFrame:
    """The rows of counts, as pandas reads them, in the order of their blocks."""
    rows = pd.read_parquet(out / "runs" / run_id / "counts")
    return rows[(rows.image_id == image_id) & (rows.role == role)].sort_values("block")


def dense(rows: pd.DataFrame) -> np.ndarray:
    counts = np.zeros(10, int)
    for row in rows.itertuples():
        counts[row.labels] += row.counts
    return counts


def words(figure: Figure) -> str:
    return " ".join(word for text in figure.findobj(Text) for word in text.get_text().split())


def test_copies_are_those_that_the_run_drew(home: Path) -> None:
    from sklearn.datasets import load_digits

    clean = load_digits().images[-400:][6] / 16
    for one in replays(home / "out", 6):
        assert np.array_equal(one.clean[0], clean)
        assert one.copies.own
        noise = normals(5, 0 if one.row["n_used"] == 0 else 1, 6, 0, 3 * 64).reshape(3, 8, 8)
        np.testing.assert_allclose(one.copies.noisy[:, 0], clean + one.row["sigma"] * noise, atol=1e-5)


def test_a_run_that_begins_with_a_later_image(tmp_path: Path) -> None:
    run_id = certified(tmp_path, **DIGITS | {"start": 7, "max": 2})
    assert pd.read_parquet(tmp_path / "certificates").image_id.tolist() == [7, 10]
    run = StoredRun.read(tmp_path, run_id)
    assert list(run.image_ids(len(run.open_dataset()))) == [7, 10]
    of_earlier_versions = {name: value for name, value in run.settings.items() if name != "start"}
    assert list(replace(run, settings=of_earlier_versions).image_ids(400)) == [0, 3]


def test_noise_of_colour_images_is_made_pixel_by_pixel() -> None:
    image = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    drawn = first_copies(image, Gaussian(0.25), CPU, seed=7, role=Role.SELECTION, image_id=2, copies=2)
    noise = normals(7, 0, 2, 0, 2 * 60).reshape(2, 4, 5, 3).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(drawn.numpy(), image + 0.25 * noise, atol=1e-5)


@pytest.mark.parametrize("image_id", [0, 6, 15])
def test_all_answers_of_the_first_block_are_its_counts(home: Path, image_id: int) -> None:
    linear = Linear()
    for one in replays(home / "out", image_id, copies=10_000):
        role = one.copies.role.name.lower()
        first = stored(home / "out", one.row["run_id"], image_id, role).iloc[:1]
        assert len(one.copies.answers) == first.draws.item()
        assert np.bincount(one.copies.answers, minlength=10).tolist() == dense(first).tolist()
        if one.row["denoiser"] == "none":
            assert one.copies.denoised is one.copies.bare_answers is None
            assert one.copies.answers == linear(torch.from_numpy(one.copies.noisy)).argmax(dim=1).tolist()
            assert one.clean_answer == linear(torch.from_numpy(one.clean)[None]).argmax()


def test_denoised_copies_and_what_the_classifier_says_without_the_denoiser(home: Path) -> None:
    network, linear = save_denoiser(home / "again.safetensors"), Linear()
    (one,) = [one for one in replays(home / "out", 3, copies=30) if one.row["denoiser"] != "none"]
    noisy = torch.from_numpy(one.copies.noisy)
    with torch.no_grad():
        denoised = network(noisy)
    np.testing.assert_allclose(one.copies.denoised, denoised.numpy(), atol=1e-5)
    assert one.copies.answers == linear(denoised).argmax(dim=1).tolist()
    assert one.copies.bare_answers == linear(noisy).argmax(dim=1).tolist()
    assert one.copies.answers != one.copies.bare_answers


def test_counts_are_all_that_the_row_rests_on(home: Path) -> None:
    for image_id in (0, 9):
        for one in replays(home / "out", image_id):
            for role in ("selection", "estimation"):
                rows = stored(home / "out", one.row["run_id"], image_id, role)
                if len(rows):
                    assert one.counts[Role[role.upper()]].counts.tolist() == dense(rows).tolist()
                else:
                    assert Role[role.upper()] not in one.counts


def test_the_figure_says_what_is_certified(home: Path) -> None:
    shown = replays(home / "out", 9)
    figure = plot_image(shown)
    text = words(figure)
    assert len(shown) == 4
    for one in shown:
        if not one.row["abstain"]:
            within = f"within l2 distance {np.floor(one.row['radius'] * 1000) / 1000:.3f}"
            assert f"With probability at least 0.999 the smoothed classifier predicts {one.row['prediction']}" in text
            assert within in text
    assert any(not one.row["abstain"] for one in shown)
    assert "no denoiser" in text
    assert "MSE denoiser" in text
    for strip, one in zip(figure.subfigs, shown, strict=False):
        (bars,) = [axes for axes in strip.axes if axes.patches]
        pictures = [axes for axes in strip.axes if axes.images]
        assert len(pictures) == (4 if one.copies.denoised is None else 7)
        total = {role: found.counts.sum() for role, found in one.counts.items()}
        for container in bars.containers:
            role = Role[container.get_label().partition(":")[0].upper()]
            widths = [bar.get_width() for bar in container]
            assert sum(widths) == pytest.approx(1)
            named = [label.get_text().split()[0] for label in bars.get_yticklabels()[:-1]]
            expected = [one.counts[role].counts[int(name)] / total[role] for name in named]
            assert widths[:-1] == pytest.approx(expected)
        assert f"{one.row['label']} (label)" in [label.get_text() for label in bars.get_yticklabels()]
        under = Counter(axes.get_xlabel().split()[0] for axes in pictures[-3:])
        assert under == Counter(str(answer) for answer in one.copies.answers)


PICTURES = [(0.2, 1), (0.9, 9), (b"\x89PNG not really", 2), (0.4, 10), (0.05, 2), (0.3, None)]


def test_error_rows_are_shown_as_what_they_are(tmp_path: Path, picture_file: Any) -> None:
    data = {"dataset": "parquet", "data_root": picture_file(PICTURES), "classifier": "base_classifiers:Fragile"}
    certified(tmp_path / "out", **data, sigma=0.02, n0=10, n=50)
    dazzled, corrupt, outside, dark, unlabelled = (replays(tmp_path / "out", image_id)[0] for image_id in range(1, 6))
    assert dazzled.copies.answers == [INVALID] * 3
    text = words(plot_image([dazzled]))
    assert (
        "No certificate: no valid answer (logits NaN or infinite, or a label outside the classes) in 60 of 60" in text
    )
    assert text.count("no answer") >= 4  # below each copy, and the bar
    for one, reason in ((corrupt, "image"), (outside, "label 10 is outside"), (dark, "too dark")):
        assert one.copies is None
        assert reason in words(plot_image([one]))
    assert corrupt.clean is None
    assert dark.clean is not None
    assert "there is no label to compare with" in words(plot_image([unlabelled]))


def test_a_recertified_row_shows_the_draws_of_its_source_that_it_rests_on(home: Path, tmp_path: Path) -> None:
    rows = find_rows(home / "out", 9)
    source = rows[(rows.denoiser == "none") & (rows.sampling == "fixed")].iloc[0]
    again = records(rows[rows.run_id == source.run_id])[0]
    again |= {"source": f"recertified from {source.run_id}", "n": 120, "n_used": 120, "draws": 160}
    p_lower = lower_bound(115, 120, again["alpha"])
    again |= {"count_top": 115, "p_lower": p_lower, "radius": Gaussian(again["sigma"]).radius(p_lower)}
    folder = tmp_path / "out/certificates/run_id=0123456789abcdef"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([{k: v for k, v in again.items() if k != "run_id"}]), folder / "part-0.parquet")
    (tmp_path / "out/runs").symlink_to(home / "out/runs")
    file = show(ShowSettings(results=str(tmp_path / "out"), image_id=9, trust_code=True))
    assert file.path.exists()
    (line,) = file.lines
    assert "image 9" in line
    row = records(find_rows(tmp_path / "out", 9))[0]
    run = StoredRun.read(tmp_path / "out", source.run_id)
    one = replay(run, row, run.open_dataset(), 3, trust_code=True)
    assert (
        one.counts[Role.ESTIMATION].counts.tolist() == dense(stored(home / "out", source.run_id, 9).iloc[:1]).tolist()
    )
    assert one.counts[Role.SELECTION].counts.sum() == 40


def refusal(results: Path, image_id: int, **options: Any) -> str:
    with pytest.raises(RaysmoothError) as refused:
        show(ShowSettings(results=str(results), image_id=image_id, trust_code=True, **options))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_is_not_there_is_refused_with_what_is(home: Path) -> None:
    out = home / "out"
    (first, *_) = ids = sorted(path.name for path in (out / "runs").iterdir())
    assert refusal(out, 10) == f"no run in {out} has a certificate of image 10: the nearest are 6, 9, 12"
    assert f"run {first} does not have a certificate of image 400: the nearest are 15, 18, 21" in refusal(
        out, 400, run=first[:6]
    )
    assert f"--run zzz: there is no such run: known: {', '.join(ids)}" in refusal(out, 9, run="zzz")
    assert "write a name that ends in .png or .pdf" in refusal(out, 9, out="image.txt")
    assert "weights file nowhere.safetensors does not exist" in refusal(out, 9, denoiser_weights="nowhere.safetensors")
    save_weights(home / "other.safetensors", build_denoiser(Variant.parse(DENOISER)), {"architecture": DENOISER})
    other = refusal(out, 9, denoiser_weights=str(home / "other.safetensors"))
    assert "the denoiser's weights on " in other
    assert "are not those that this run began with" in other
    assert "there is no " in refusal(home / "nothing", 9)


def test_a_file_that_derived_runs_have_from_their_source_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_denoiser(tmp_path / "mse.safetensors")
    certified(tmp_path / "out", **DIGITS, denoiser="dncnn", denoiser_weights=str(tmp_path / "mse.safetensors"))
    recertify(tmp_path / "out", alpha=0.05)
    recertify(tmp_path / "out", alpha=0.01)
    capsys.readouterr()
    assert len(show(ShowSettings(results=str(tmp_path / "out"), image_id=9, trust_code=True)).lines) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f": its denoiser weights are read from {tmp_path}/mse.safetensors, as its manifest says")


def test_an_imported_run_is_refused_and_left_out_beside_others(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = find_rows(home / "out", 9)
    imported = records(rows)[0] | {"source": "imported from sigma_0.25.tsv"}
    del imported["run_id"]
    for name in ("aaaa000000000000", "bbbb000000000000"):
        (folder := out / f"certificates/run_id={name}").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([imported]), folder / "part-0.parquet")
    assert "was imported from sigma_0.25.tsv: it has no counts" in refusal(out, 9)
    own = records(rows)[1]
    (folder := out / f"certificates/run_id={own.pop('run_id')}").mkdir()
    pq.write_table(pa.Table.from_pylist([own]), folder / "part-0.parquet")
    assert len(find_rows(out, 9)) == 1
    assert "without it nothing can be drawn again" in refusal(out, 9)  # runs/ was not copied
    run = find_rows(out, 9).run_id.iloc[0]
    (out / "runs" / run).mkdir(parents=True)
    (out / "runs" / run / "manifest.json").symlink_to(home / "out/runs" / run / "manifest.json")
    assert f"the counts of image 9 are not in {out / 'runs' / run / 'counts'}" in refusal(out, 9)


def test_envelopes_and_memories_are_left_out_beside_others(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second = records(find_rows(home / "out", 9))[:2]
    runs = f"{first['run_id']},{second['run_id']}"
    joined = {"source": f"envelope of {runs}", "sigma_rule": "envelope of 0.1, 0.2", "sigma": None}
    joined |= {"p_lower": None, "count_top": None, "radius": 0.0, "prediction": -1, "abstain": True, "correct": False}
    derived = {"aaaa000000000000": {"source": f"memory of {first['run_id']}"}, "bbbb000000000000": joined}
    for name, facts in derived.items():
        row = {**first, **facts, "prediction_name": None}
        del row["run_id"]
        (folder := out / f"certificates/run_id={name}").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([row], SCHEMA), folder / "part-0.parquet")
    expected = f"run {{}} ({{}}) has no draws of its own to show: write --run {first['run_id']}, its source"
    for name, facts in derived.items():
        assert refusal(out, 9, run=name) == expected.format(name, facts["source"])
    own = {name: value for name, value in first.items() if name != "run_id"}
    (folder := out / f"certificates/run_id={first['run_id']}").mkdir()
    pq.write_table(pa.Table.from_pylist([own], SCHEMA), folder / "part-0.parquet")
    assert find_rows(out, 9).run_id.tolist() == [first["run_id"]]


def test_data_that_moved_are_found_and_data_that_changed_are_refused(tmp_path: Path, picture_file: Any) -> None:
    path = Path(picture_file([(0.2, 1), (0.3, 3), (0.5, 5)]))
    data = {"dataset": "parquet", "data_root": str(path), "classifier": "base_classifiers:Linear"}
    certified(tmp_path / "out", **data, sigma=0.25, n0=10, n=50)
    path.rename(tmp_path / "moved.parquet")
    assert "does not exist" in refusal(tmp_path / "out", 1)
    assert show(
        ShowSettings(
            results=str(tmp_path / "out"), image_id=1, data_root=str(tmp_path / "moved.parquet"), trust_code=True
        )
    )
    picture_file([(0.2, 1), (0.3, 3), (0.6, 5)])  # another image than the one asked for
    assert "is not the data that run" in refusal(tmp_path / "out", 1)


def test_noise_of_another_version_is_not_called_the_runs_own(home: Path) -> None:
    row = records(find_rows(home / "out", 9))[0]
    run = StoredRun.read(home / "out", row["run_id"])
    identity = run.identity
    for changed, own in (({}, True), ({"scheme": 4}, False), ({"device": "cuda NVIDIA H200"}, False)):
        run = replace(run, identity={**identity, **changed})
        one = replay(run, row, run.open_dataset(), 3, trust_code=True)
        assert one.copies.own == own
        assert ("the noise is not the run's own" in words(plot_image([one]))) == (not own)


class Recorded(Gaussian):
    """Records the pieces in which noise is requested from each stream."""

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        object.__setattr__(self, "pieces", {})

    def add_(self, stream: Stream, out: torch.Tensor, image: torch.Tensor) -> None:
        self.pieces.setdefault((id(stream)), []).append(len(out))  # type: ignore[attr-defined]
        out.zero_()


@examples(60)
@given(
    first=st.fixed_dictionaries({Role.SELECTION: st.integers(1, 30), Role.ESTIMATION: st.integers(1, 90)}),
    block_size=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    data=st.data(),
)
def test_pieces_are_those_in_which_a_replica_fills_its_batches(
    first: dict[Role, int], block_size: int, batch_size: int, data: st.DataObject
) -> None:
    plan, ids = DrawPlan(first, block_size, batch_size), range(0, 12, 2)
    image_id, role = data.draw(st.sampled_from(ids)), data.draw(st.sampled_from(CERTIFYING))

    class Zeros:
        num_classes = num_labels = 2

        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(batch), dtype=torch.int64)

    classify = Zeros()
    images = {i: np.zeros((1, 1, 1), np.float32) for i in ids}
    for shard in plan.shards(ids):
        for unit in plan.first_units(0, shard):
            places = [(block.image_id, block.index) for block in unit.blocks]
            if unit.role == role and (image_id, 0) in places:
                noise, place = Recorded(1.0), places.index((image_id, 0))
                draw(unit, images, classify, noise, seed=0, batch_size=batch_size, device=CPU)
                expected = list(noise.pieces.values())[place]  # streams are begun in the order of blocks
                draws = unit.blocks[place].draws
    assert list(batch_pieces(plan, ids, image_id, role, draws)) == expected
    assert sum(expected) == draws


def test_the_command_prints_the_certificate_and_writes_the_file(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = str(home / "out")
    code, printed, err = command(capsys, "show", out, "9", "--classifier", "base_classifiers:Linear")
    assert code == 0, err
    assert printed.count("\n") == 4
    assert f"written: {home / 'out/report/image-9.png'}" in err
    assert (home / "out/report/image-9.png").read_bytes().startswith(b"\x89PNG")
    run = find_rows(out, 9).run_id.iloc[0]
    code, printed, err = command(
        capsys, "show", out, "9", "--run", run, "--out", str(tmp_path / "a/b.pdf"), "--copies", "5", "--trust-code"
    )
    assert (code, printed.count("\n")) == (0, 1), err
    assert (tmp_path / "a/b.pdf").read_bytes().startswith(b"%PDF")
    assert raysmooth.show(out, 9, run=run, out=str(tmp_path / "c.png"), trust_code=True) == tmp_path / "c.png"
    code, printed, err = command(capsys, "show", out, "9", "--to", "c.png")
    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert "--to is now --out: write --out c.png" in err
    code, printed, err = command(capsys, "show", out, "9", "--copies", "7")
    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert "--copies 7: input should be less than or equal to 6" in err


def test_a_run_with_code_that_may_not_be_imported_is_left_out_beside_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"dataset": "digits", "sigma": 0.1, "max": 2, "n0": 10, "n": 60, "alpha": 0.1}
    save_weights(tmp_path / "w.safetensors", build_classifier(Variant.parse("digits_cnn:width=2")), {})
    out, network = tmp_path / "out", {"classifier_weights": str(tmp_path / "w.safetensors")}
    code = certified(out, **settings, classifier="base_classifiers:Linear")
    only, printed, err = command(capsys, "show", str(out), "1")
    assert (only, printed, "is code, of the module 'base_classifiers'" in err) == (2, "", True)
    certified(out, **settings, **network, classifier="digits_cnn:width=2")
    both, printed, err = command(capsys, "show", str(out), "1")
    assert (both, printed.count("\n")) == (0, 1), err
    assert f"raysmooth: run {code} is left out: classifier 'base_classifiers:Linear' is code" in err
    assert command(capsys, "show", str(out), "1", "--trust-code")[1].count("\n") == 2


def test_an_image_with_a_rejector_and_recertified_without_it(tmp_path: Path) -> None:
    out, image_id = tmp_path / "out", 12
    certified(out, **DIGITS, rejector="confidence:threshold=0.9", alpha=0.01)
    recertify(out, rejection="off")
    rows = records(find_rows(out, image_id))
    run = StoredRun.read(out, sampled_by(rows[0]))
    dataset = run.open_dataset()
    off, with_rejection = (replay(run, row, dataset, 6, trust_code=True) for row in rows)
    assert [row["rejector"] for row in rows] == [None, "confidence:threshold=0.9"]
    assert (off.num_classes, with_rejection.num_classes) == (None, 10)
    kept, rejected = with_rejection.kept(Role.ESTIMATION), with_rejection.rejected(Role.ESTIMATION)
    assert (kept + rejected).tolist() == off.kept(Role.ESTIMATION).tolist()
    assert rejected.sum() == with_rejection.row["count_rejected"] > 0
    assert kept.sum() > 0
    assert off.kept(Role.ESTIMATION)[off.row["prediction"]] == off.row["count_top"]
    assert off.rejected(Role.ESTIMATION).sum() == 0
    confidence = Linear()(torch.from_numpy(with_rejection.copies.noisy)).softmax(dim=1).max(dim=1).values
    assert [answer >= 10 for answer in with_rejection.copies.answers] == (confidence < 0.9).tolist()
    assert [answer % 10 for answer in with_rejection.copies.answers] == off.copies.answers
    text = words(plot_image([off, with_rejection]))
    assert f"{int(rejected.sum()):,} of them rejected (hatched)" in text
    assert "recertified, no denoiser, no rejector" in text
    assert "no denoiser, rejector confidence" in text
