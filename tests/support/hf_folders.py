"""Tiny random networks in folders as Hugging Face transformers writes them."""

import json
from pathlib import Path
from typing import Any

import torch

CLASSES = ("airplane", "cat", "dog")
SHAPE = {"num_channels": 3, "num_labels": len(CLASSES), "id2label": dict(enumerate(CLASSES))}


def make_folder(folder: Path, kind: str = "vit", seed: int = 0, processor: Any = "own", **changes: Any) -> Path:
    """A folder with a tiny network of a kind, "vit", "resnet" or "convnext", for inputs of 32 x 32; `processor`: the
    settings of its images, those of the kind by default, None for none.
    """
    import transformers as hf

    torch.manual_seed(seed)
    common = {**SHAPE, **changes}
    if kind == "vit":
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
        network = hf.ViTForImageClassification(hf.ViTConfig(image_size=32, patch_size=8, **sizes, **common))
        own = hf.ViTImageProcessor(size={"height": 32, "width": 32})
    elif kind == "resnet":
        sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
        network = hf.ResNetForImageClassification(hf.ResNetConfig(**sizes, **common))
        own = hf.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875, resample=3)
    else:
        network = hf.ConvNextForImageClassification(
            hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, **common)
        )
        own = hf.ConvNextImageProcessor(size={"shortest_edge": 384}, resample=2)
    for parameter in network.parameters():  # initial weights are so small that all logits are alike
        torch.nn.init.normal_(parameter, std=0.3)
    network.eval().save_pretrained(folder)
    if processor == "own":
        own.save_pretrained(folder)
    elif processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def changed(folder: Path, name: str = "config.json", **changes: Any) -> Path:
    """The folder, with entries of one of its settings changed; None takes one away."""
    settings = json.loads((folder / name).read_text())
    settings = {key: value for key, value in {**settings, **changes}.items() if value is not None}
    (folder / name).write_text(json.dumps(settings))
    return folder
