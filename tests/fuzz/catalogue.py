"""The kinds of input."""

from collections.abc import Mapping

from fuzz.case import Kind
from fuzz.kinds import (
    api_files,
    class_files,
    class_folders,
    image_files,
    logs,
    mnist_files,
    names,
    numpy_files,
    onnx_files,
    parquet_files,
    results_folders,
    settings_files,
    training_folders,
    weights_files,
)

KINDS: Mapping[str, Kind] = {
    "safetensors": weights_files.SAFETENSORS,
    "checkpoints": weights_files.CHECKPOINTS,
    "onnx": onnx_files.ONNX_FILES,
    "images": image_files.IMAGES,
    "folders": class_folders.FOLDERS,
    "classes": class_files.CLASSES,
    "mnist": mnist_files.MNIST,
    "cifar": mnist_files.CIFAR,
    "arrays": numpy_files.ARRAYS,
    "parquet": parquet_files.PARQUET,
    "results": results_folders.RESULTS,
    "logs": logs.LOGS,
    "settings": settings_files.SETTINGS,
    "trainings": training_folders.TRAININGS,
    "names": names.NAMES,
    "commands": names.COMMAND_LINES,
    "apis": api_files.API_FILES,
}
"""By their names on the command line."""
