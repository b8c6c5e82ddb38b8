"""Names with options, and command lines of odd values."""

from collections.abc import Mapping
from pathlib import Path
from random import Random

from fuzz.case import Kind, Play
from fuzz.kinds.logs import build_logs
from fuzz.kinds.results_folders import OUT, build_results
from fuzz.kinds.weights_files import CLASSIFIER, DENOISER
from fuzz.values import LONG, NUMBERS, OWN, SECRET, TEXTS

CERTIFY: Mapping[str, str] = {
    "--dataset": "digits", "--classifier": CLASSIFIER, "--classifier-weights": "w.safetensors", "--sigma": "0.25",
    "--max": "2",
    "--n": "40", "--n0": "10", "--alpha": "0.1", "--out": "new",
}  # fmt: skip
PREDICT: Mapping[str, str] = {name: value for name, value in CERTIFY.items() if name != "--n0"}
TRAIN: Mapping[str, str] = {
    "--dataset": "digits", "--classifier": CLASSIFIER, "--epochs": "1", "--max": "40", "--out": "t.safetensors",
    "--device": "cpu",
}  # fmt: skip
DENOISE: Mapping[str, str] = {
    "--dataset": "digits", "--denoiser": DENOISER, "--objective": "stab", "--classifier": CLASSIFIER,
    "--classifier-weights":
    "w.safetensors", "--sigma": "0.25", "--recipe": "digits-mse", "--max": "40", "--out": "d2.safetensors",
    "--device": "cpu",
}  # fmt: skip
VARIANTS: Mapping[str, tuple[tuple[str, ...], Mapping[str, str], tuple[str, ...]]] = {
    "--classifier": (("certify",), CERTIFY, (CLASSIFIER, "lenet", "cifar_resnet20", "resnet18", "timm/resnet18",
    "digits_cnn:width=2,num_classes=10")),
    "--denoiser": (("certify",), {**CERTIFY, "--denoiser-weights": "d.safetensors"},
    (DENOISER, "dncnn", "memnet:width=2,memory_blocks=1", "none")),
    "--noise": (("certify",), CERTIFY, ("gaussian", "uniform", "uniform:0.5", "laplace")),
    "--sampling": (("certify",), CERTIFY, ("fixed", "adaptive", "decide", "adaptive:tolerance=2%")),
    "--tolerance": (("certify",), {**CERTIFY, "--sampling": "adaptive"}, ("2%", "0.01", "100%")),
    "--radius": (("certify",), {**CERTIFY, "--sampling": "decide"}, ("0.1", "0.25")),
    "--norm": (("certify",), CERTIFY, ("l2", "linf", "l1")),
    "--precision": (("certify",), CERTIFY, ("auto", "float32", "bfloat16")),
    "--preprocess": (("certify",), CERTIFY, ("none", "imagenet", "0.5/0.2", "0.48,0.45,0.40/0.22,0.22,0.22")),
    "--classifier-weights": (("certify",), CERTIFY, ("w.safetensors", "w.pth#state_dict", "w-{sigma}.safetensors",
    "{sigma:.2f}", "IMAGENET1K_V1")),
    "--sigma": (("certify",), CERTIFY, ("0.25", "0.12,0.25,0.5", "1e-3")),
    "--objective": (("train", "classifier"), {**TRAIN, "--sigma": "0.25"},
    ("clean", "gaussian", "consistency:m=4,lambda=10", "macer:k=2")),
    "--recipe": (("train", "classifier"), TRAIN, ("digits-classifier", "jeong2020-mnist")),
    "--augment": (("train", "classifier"), TRAIN, ("none", "flip", "crop")),
    "--phases": (("train", "classifier"), TRAIN,
    ("adam:epochs=5,learning_rate=1e-3; sgd:epochs=5,learning_rate=1e-4,step_size=2",)),
    "--optimizer": (("train", "classifier"), TRAIN, ("adam", "sgd")),
    "--schedule": (("train", "classifier"), TRAIN, ("step", "cosine")),
    "--init-weights": (("train", "classifier"), TRAIN, ("w.safetensors", "w.pth#state_dict")),
    "--surrogates": (("train", "denoiser"), DENOISE, ("w.safetensors", f"{CLASSIFIER}@w.pth", "out", "out:2")),
}  # fmt: skip
_PIECES = (
    ":",
    "=",
    ",",
    ";",
    "@",
    "#",
    "/",
    "{sigma}",
    "{",
    "}",
    " ",
    "\t",
    "\n",
    "-",
    "+",
    ".",
    "%",
    "e9",
    "width",
    "depth",
    "x",
    "0",
    "9" * 30,
    "é",
    "",
)


def play_name(rng: Random) -> Play:
    flag = rng.choice(sorted(VARIANTS))
    request, values, names = VARIANTS[flag]
    text = _mangled(rng, rng.choice(names))
    return Play(f"{flag} {text[:80]!a}", [*request, *_flags({**values, flag: text})])


def _flags(values: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]


def _mangled(rng: Random, text: str) -> str:
    """The text with some of its parts altered."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(text) + 1)
        way = rng.randrange(8)
        if way == 0:
            text = text[:at] + rng.choice(_PIECES) + text[at:]
        elif way == 1:
            text = text[:at] + text[at + 1 :]
        elif way == 2 and "=" in text:
            text = (
                text.rpartition("=")[0] + "=" + rng.choice((*_numbers(), "true", "x", "", "1e3", "0x1", "1_0", "None"))
            )
        elif way == 3:
            option = rng.choice(("width", "depth", "num_classes", "channels", "x", "self", "__class__", "é"))
            text = f"{text}{',' if '=' in text else ':'}{option}={rng.choice(_numbers())}"
        elif way == 4:
            text = rng.choice((*TEXTS, f"{OWN}:make", "os:getcwd", "torch.nn:Identity", "__main__:x"))
        elif way == 5:
            text = text.upper()
        elif way == 6:
            text = text * rng.choice((2, 100))
        else:
            text = rng.choice(_numbers())
    return _harmless(text)


def _harmless(text: str) -> str:
    """What users name on the command line may be imported and opened."""
    return text.replace(OWN, "none").replace(SECRET, "missing").replace("/proc/self/environ", "/proc/version")


def _numbers() -> tuple[str, ...]:
    return (
        *tuple(str(number) for number in NUMBERS if number != 10**400),
        "9" * 5000,
        "-0",
        "١",
        "1e400",
        "∞",
        " 1 ",
        "1,2",
    )


COMMANDS: Mapping[tuple[str, ...], tuple[Mapping[str, str], tuple[str, ...]]] = {
    ("certify",): (CERTIFY, (
        "--skip", "--max", "--resize", "--crop", "--split", "--data-root", "--replicas", "--gpus-per-replica",
        "--cpus-per-replica",
        "--address", "--out", "--max-errors", "--n", "--n0", "--alpha", "--seed", "--block-size", "--batch-size",
        "--compile", "--pilot",
        "--radius", "--tolerance", "--norm", "--sampling", "--dataset", "--config", "--noise",
        "--start", "--classes", "--label-map", "--label-column", "--class-order", "--channels",
    )),
    ("predict",): (PREDICT, ("--n", "--alpha", "--skip", "--max", "--out", "--seed", "--batch-size", "--start",
    "--label-map")),
    ("train", "classifier"): (TRAIN, (
        "--skip", "--max", "--split", "--resize", "--crop", "--loader-workers", "--epochs", "--batch-size",
        "--learning-rate",
        "--step-size", "--gamma", "--weight-decay", "--momentum", "--clip-norm", "--seed", "--threads", "--device",
        "--workers", "--keep",
        "--out", "--sigma", "--precision", "--compile", "--classes", "--class-order", "--channels",
    )),
    ("train", "denoiser"): (DENOISE, ("--sigma", "--seed", "--epochs", "--classifier", "--surrogates", "--out",
    "--objective")),
    ("report", str(OUT)): ({"--where": "dataset=digits"}, (
        "--table", "--where", "--group-by", "--compare", "--familywise", "--radius", "--radii", "--format",
        "--price-per-hour", "--out",
    )),
    ("recertify", str(OUT)): ({}, ("--run", "--alpha", "--n", "--noise-bound", "--familywise", "--norm",
    "--alpha-share", "--rejection", "--top-k", "--envelope", "--worst-sigma", "--data-root")),
    ("export", str(OUT)): ({"--format": "json"}, ("--format", "--run", "--radii", "--out", "--name", "--title")),
    ("status",): ({}, ()),
    ("show", str(OUT)): ({"--copies": "1"}, ("--run", "--copies", "--data-root", "--classifier-weights", "--out",
    "--classifier")),
    ("import", "sigma_0.25.tsv"): ({"--dataset": "cifar10", "--classifier": "x"}, (
        "--dataset", "--split", "--skip", "--images", "--dataset-size", "--classifier", "--denoiser", "--objective",
        "--noise", "--sigma", "--start", "--radius-column",
        "--n0", "--n", "--alpha", "--out",
    )),
    ("gallery",): ({"--dataset": "digits", "--sigma": "0.25", "--denoiser-weights": "d.safetensors"}, (
        "--images", "--sigma", "--denoiser-weights", "--denoiser", "--labels", "--classifier-weights", "--seed",
        "--out", "--max",
    )),
    ("sweep",): ({}, ("--out", "--address", "--time-budget-hours")),
    ("run",): ({}, ("--only", "--out", "--data-root")),
    ("list",): ({}, ()),
}  # fmt: skip
_POSITIONAL = {("status",): 1, ("show", str(OUT)): 1, ("sweep",): 1, ("run",): 1, ("list",): 1}


def play_command(rng: Random) -> Play:
    command = rng.choice(sorted(COMMANDS))
    values, flags = COMMANDS[command]
    given = dict(values)
    for flag in rng.sample(flags, min(len(flags), rng.choice((1, 1, 1, 2, 3)))):
        given[flag] = _value(rng)
    if given.get("--out") in ("/", "~"):  # the user's own choice: results would be written there
        given["--out"] = "new"
    line = [*command, *(_value(rng) for _ in range(_POSITIONAL.get(command, 0))), *_flags(given)]
    if rng.random() < 0.1:
        line.insert(
            rng.randrange(len(line) + 1), rng.choice((*TEXTS[:20], "--", "-", "--help", "--x", "-v", "---", "--n"))
        )
    if "--help" in line:
        line = ["list", "--help"]
    return Play(" ".join(line)[:120].encode("ascii", "backslashreplace").decode(), [_harmless(part) for part in line])


def _value(rng: Random) -> str:
    return rng.choice(
        (*TEXTS, *_numbers(), *_numbers(), LONG, "a\0b", "é" * 300, str(Path("w.safetensors")), "out", "settings.yaml")
    )


def build_names() -> None:
    build_results()
    build_logs()


NAMES = Kind("names with options", build_names, play_name)
COMMAND_LINES = Kind("command lines", build_names, play_command)
