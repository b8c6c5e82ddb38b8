"""{sigma} in paths of weights."""

import os
from pathlib import Path

import pytest

from raysmooth.actors.models.weight_paths import has_sigma, path_at
from raysmooth.common.errors import RaysmoothError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def there(*files: str) -> None:
    for file in files:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_bytes(b"w")


@pytest.mark.parametrize(
    ("file", "sigma"),
    [("noise_0.12/d.pth", 0.12), ("noise_0.50/d.pth", 0.5), ("noise_1.00/d.pth", 1.0), ("noise_1/d.pth", 1.0),
     ("noise_1.0/d.pth", 1.0), ("noise_0.250/d.pth", 0.25), ("noise_0.5/d.pth", 0.5)],
)  # fmt: skip
def test_the_spelling_is_that_of_the_file(file: str, sigma: float) -> None:
    there(file)
    assert path_at("noise_{sigma}/d.pth", sigma) == file


def test_no_file_of_another_level_is_taken() -> None:
    """Rounded, 0.12 would be 0.1 and 64/255 would be 0.25 or 0.251."""
    there("noise_0.1/d.pth", "noise_0.25/d.pth", "noise_0.251/d.pth")
    assert path_at("noise_{sigma}/d.pth", 0.12) == "noise_0.12/d.pth"
    assert path_at("noise_{sigma}/d.pth", 64 / 255) == "noise_0.25098/d.pth"
    assert path_at("noise_{sigma:.3f}/d.pth", 64 / 255) == "noise_0.251/d.pth"


def test_a_format_is_kept_and_a_path_without_sigma_too() -> None:
    there("d_0.5.pth")
    assert path_at("d_{sigma:.2f}.pth", 0.5) == "d_0.50.pth"
    assert path_at("a.pth", 0.5) == "a.pth"
    assert path_at("{sigma}/d_{sigma}.pth", 0.25) == "0.25/d_0.25.pth"
    assert [has_sigma(path) for path in ("a{sigma}", "a{sigma:.3f}", "sigma")] == [True, True, False]


def test_without_a_file_and_in_a_url_it_is_the_shortest() -> None:
    assert path_at("d_{sigma}.pth", 0.5) == "d_0.5.pth"
    assert path_at("s3://bucket/d_{sigma}.pth", 1.0) == "s3://bucket/d_1.pth"


def test_two_files_are_refused_with_what_to_write() -> None:
    there("d_0.5.pth", "d_0.50.pth")
    with pytest.raises(RaysmoothError) as refusal:
        path_at("d_{sigma}.pth", 0.5)
    assert "at sigma 0.5 is more than one file: write {sigma:g} for d_0.5.pth or {sigma:.2f} for d_0.50.pth" in str(
        refusal.value
    )
    os.unlink("d_0.50.pth")
    os.symlink("d_0.5.pth", "d_0.50.pth")
    assert path_at("d_{sigma}.pth", 0.5) in ("d_0.5.pth", "d_0.50.pth")


@pytest.mark.parametrize("form", ["x", "d", "99999999.2f", ".999999f", ">9"])
def test_other_formats_are_refused(form: str) -> None:
    with pytest.raises(RaysmoothError, match=r"write \{sigma\} or a format of numbers, such as \{sigma:.2f\}"):
        path_at(f"d_{{sigma:{form}}}.pth", 0.5)
