"""A run of a classifier in a folder of Hugging Face, on replicas."""

from pathlib import Path

import pytest
from digits_runs import run
from hf_folders import make_folder


def test_replicas_load_the_folder_below_the_working_directory(
    one_pool: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    processor = {"image_processor_type": "ViTImageProcessor", "size": 32, "image_mean": 0.5, "image_std": 0.5}
    names = dict(enumerate("abcdefghij"))
    make_folder(tmp_path / "vit", processor=processor, num_channels=1, num_labels=10, id2label=names)
    rows = run(tmp_path / "out", classifier="hf:vit", max=3, n=100)
    assert (rows.status == "ok").all()
    assert (rows.classifier == "hf").all()
    assert (rows.input_size == "bilinear:32x32").all()
    assert [names[label] for label in rows.label] == rows.label_name.tolist()
