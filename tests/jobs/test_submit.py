"""`raysmooth submit`: jobs on a real cluster with a token, as a user sees them."""

import http.server
import os
import pty
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from conftest import REPOSITORY, ROOMS
from own_head import Head, clean_environment, own_head
from preloaded import PreloadedCommand
from ray.job_submission import JobStatus, JobSubmissionClient

from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.jobs.dashboard import DEFAULT_ADDRESS, find_dashboard, find_token
from raysmooth.jobs.working_directory import checked_working_directory, packed, refuse_too_large

CERTIFY = (
    "certify --dataset digits --max 6 --sigma 0.25 --n 100 --n0 20 --precision float32 --replicas 1 --batch-size 50"
)
DIGITS = [*CERTIFY.split(), "--classifier", "digits_cnn", "--classifier-weights", "digits.safetensors"]
ENDLESS = [*CERTIFY.split(), "--max", "200", "--classifier", "base_classifiers:Slow:seconds=0.5"]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with own_head(cpus=3) as head:
        yield head


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raysmooth, and a user's weights and classifiers."""
    folder = tmp_path_factory.mktemp("working") / "raysmooth"
    folder.mkdir()
    for room in (*ROOMS, "raysmooth"):  # links as links: they travel as files
        shutil.copytree(REPOSITORY / room, folder / room, True, shutil.ignore_patterns("__pycache__"))
    for file in (REPOSITORY / ".gitignore", REPOSITORY / ".rayignore"):
        shutil.copy(file, folder)
    shutil.copy(REPOSITORY / "tests/support/base_classifiers.py", folder)
    module = build_classifier(Variant.parse("digits_cnn"))
    save_weights(folder / "digits.safetensors", module, {"architecture": "digits_cnn"})
    return folder


def raysmooth(folder: Path, environment: dict[str, str], *arguments: str, seconds: float = 250) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `raysmooth ARGUMENTS`, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "raysmooth", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


def rows(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "certificates").sort_values("image_id", ignore_index=True).drop(columns="seconds")


def client(head: Head) -> JobSubmissionClient:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in head.environment.items():
            if name.startswith("RAY_"):
                patch.setenv(name, value)
        token = head.environment["RAY_AUTH_TOKEN"]
        return JobSubmissionClient(head.dashboard, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def local_out(folder: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: dict[str, str]) -> Path:
    """The results of a run without a job."""
    out = tmp_path_factory.mktemp("local")
    process = PreloadedCommand([*DIGITS, "--out", str(out)], ray_cluster, folder)
    _, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors
    return out


@pytest.fixture(scope="module")
def local(local_out: Path) -> pd.DataFrame:
    return rows(local_out)


@pytest.fixture(scope="module")
def watching(local_out: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A command that does not end, and needs no replicas: it watches a run that has stopped before its first row."""
    stopped = tmp_path_factory.mktemp("watched")
    shutil.copytree(local_out / "runs", stopped / "runs")
    return ["status", str(stopped), "--json", "--watch", "0.5"]


def test_a_job_gives_what_a_local_run_gives(head: Head, folder: Path, tmp_path: Path, local: pd.DataFrame) -> None:
    code, out, errors = raysmooth(folder, head.environment, "submit", "--", *DIGITS, "--out", f"{tmp_path}/a b")
    assert code == 0, out + errors
    pd.testing.assert_frame_equal(rows(tmp_path / "a b"), local)
    # The job's log: progress, the table and the place of the rows. Ours: the upload, and the job's name.
    assert "6 of 6 images" in out
    assert f"rows: {tmp_path}/a b/certificates" in out
    assert "Traceback" not in out + errors
    assert [line.split()[0] for line in errors.splitlines()] == [".:", "job"]


def test_rays_own_command_works_too(head: Head, folder: Path, tmp_path: Path, local: pd.DataFrame) -> None:
    words = [
        "ray",
        "job",
        "submit",
        "--working-dir",
        ".",
        "--",
        "python",
        "-m",
        "raysmooth",
        *DIGITS,
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(words, cwd=folder, env=head.environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    pd.testing.assert_frame_equal(rows(tmp_path), local)


def test_the_exit_code_is_the_jobs(head: Head, folder: Path) -> None:
    wrong = ["certify", "--dataset", "digits", "--classifier", "digit_cnn", "--sigma", "0.25", "--out", "/x"]
    code, out, errors = raysmooth(folder, head.environment, "submit", *wrong)
    assert code == 2
    assert "raysmooth: unknown classifier 'digit_cnn': did you mean 'digits_cnn'?" in out
    assert errors.splitlines()[-1].endswith("failed with exit code 2")


def test_no_wait_prints_the_id_and_how_to_follow(head: Head, folder: Path) -> None:
    code, out, errors = raysmooth(folder, head.environment, "submit", "--no-wait", "--", "list", "datasets")
    assert code == 0, errors
    job = out.strip()
    assert out == f"{job}\n"
    assert f"ray job logs --follow {job} --address {head.dashboard}" in errors
    assert f"ray job stop {job} --address {head.dashboard}" in errors
    ray = client(head)
    until(lambda: ray.get_job_status(job) == JobStatus.SUCCEEDED, 250)
    follow = errors.split("follow it: ")[1].splitlines()[0].split()
    said = subprocess.run(follow, env=head.environment, capture_output=True, text=True, timeout=250)
    assert said.returncode == 0, said.stderr
    assert "cifar10-jpeg" in said.stdout


def until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(("answer", "status"), [("s", JobStatus.STOPPED), ("d", JobStatus.RUNNING)])
def test_ctrl_c_asks_whether_to_stop_or_to_detach(
    head: Head, folder: Path, tmp_path: Path, watching: list[str], answer: str, status: JobStatus
) -> None:
    ours, theirs = pty.openpty()
    given = [*ENDLESS, "--out", str(tmp_path)] if answer == "s" else watching
    words = [sys.executable, "-m", "raysmooth", "submit", *given]
    process = subprocess.Popen(
        words,
        cwd=folder,
        env={**head.environment, "TERM": "dumb", "COLUMNS": "200"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # Its own terminal, so that Ctrl-C is a keystroke, as for a person.
        preexec_fn=lambda: (signal.signal(signal.SIGINT, signal.SIG_DFL), os.login_tty(theirs)),
    )
    os.close(theirs)
    screen = ""

    def see(text: str, times: int = 1) -> None:
        nonlocal screen
        deadline = time.monotonic() + 120
        while screen.count(text) < times:
            assert time.monotonic() < deadline, screen
            if select.select([ours], [], [], 0.5)[0]:
                screen += os.read(ours, 10_000).decode()

    ray = client(head)
    job = ""
    try:
        see("job raysubmit_")
        see("\n")
        if answer == "s":
            until(lambda: bool(list(tmp_path.glob("runs/*/manifest.json"))), 120)
        else:
            see("run_id")
        job = next(word for word in screen.split() if word.startswith("raysubmit_"))
        os.write(ours, b"\x03")
        see("stop the job, or detach? [s/d] ")
        os.write(ours, b"what?\n")
        see("[s/d] ", times=2)
        os.write(ours, f"{answer}\n".encode())
        see("stopped; finished work is kept" if answer == "s" else "is still running")
        assert process.wait(250) == 130
        assert "Traceback" not in screen
        assert screen.count("interrupted;") <= (answer == "s")  # by the job, in its log
        assert ray.get_job_status(job) == status
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
        if job and ray.get_job_status(job) == JobStatus.RUNNING:
            ray.stop_job(job)
            until(lambda: ray.get_job_status(job).is_terminal(), 120)


class Relay:
    """A relay to a dashboard, whose connections can be cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self.port))
            self._open += [here, there]
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    @property
    def is_in_use(self) -> bool:
        return len(self._open) >= 2

    def cut(self) -> int:
        """End all connections, and return how many sockets they had."""
        cut, self._open = self._open, []
        for one in cut:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                one.close()
        return len(cut)

    def close(self) -> None:
        self._listener.close()
        self.cut()


def test_a_cut_connection_loses_and_repeats_nothing_of_the_log(head: Head, folder: Path, tmp_path: Path) -> None:
    relay = Relay(int(head.dashboard.rpartition(":")[2]))
    words = [sys.executable, "-m", "raysmooth", "submit", "--address", relay.address, "--", *ENDLESS, "--max", "12"]
    process = subprocess.Popen(
        [*words, "--out", str(tmp_path)],
        cwd=folder,
        env=head.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: bool(list(tmp_path.glob("runs/*/manifest.json"))) or process.poll() is not None, 120)
        cuts = 0
        for _ in range(3):  # each time that the job is being followed again
            until(lambda: relay.is_in_use or process.poll() is not None, 120)
            cuts += relay.cut() >= 2
        assert cuts >= 1
        out, errors = process.communicate(timeout=250)
        assert process.returncode == 0, out + errors
        job = errors.split("job ")[1].split()[0]
        assert out == client(head).get_job_logs(job)
        assert "12 of 12 images" in out
    finally:
        process.kill()
        relay.close()


def test_without_a_terminal_ctrl_c_detaches(head: Head, folder: Path, watching: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "raysmooth", "submit", *watching],
        cwd=folder,
        env=head.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert any("run_id" in line for line in process.stdout)  # the job's own output
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=250)
    ray = client(head)
    job = errors.split("job ")[1].split()[0]
    try:
        assert process.returncode == 130, errors
        assert f"job {job} is still running" in errors
        assert "Traceback" not in errors
        assert ray.get_job_status(job) == JobStatus.RUNNING
    finally:
        ray.stop_job(job)
        until(lambda: ray.get_job_status(job).is_terminal(), 120)


def test_a_missing_and_a_wrong_token(head: Head, folder: Path, tmp_path: Path) -> None:
    user = clean_environment(tmp_path)
    given = ["submit", "--address", head.dashboard, "--", "list", "datasets"]
    code, _, errors = raysmooth(folder, user, *given)
    assert (code, errors.count("\n")) == (2, 1)
    assert f"the cluster at {head.dashboard} requires a token, and none was found: set RAY_AUTH_TOKEN" in errors
    code, _, errors = raysmooth(folder, user | {"RAY_AUTH_TOKEN": "of-another-cluster"}, *given)
    assert (code, errors.count("\n")) == (2, 1)
    assert "rejects the token of RAY_AUTH_TOKEN: it is another cluster's" in errors
    # The token's usual file, without RAY_AUTH_MODE, which Ray's own client needs.
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text(head.environment["RAY_AUTH_TOKEN"] + "\n")
    code, out, errors = raysmooth(folder, user, *given)
    assert code == 0, errors
    assert "cifar10-jpeg" in out


def test_tokens_are_found_where_ray_finds_them(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("at home\n")
    (tmp_path / "file").write_text("in a file\n")
    home = {"HOME": str(tmp_path)}
    named = {**home, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "file")}
    for environment, secret in (
        (home, "at home"),
        (named, "in a file"),
        ({**named, "RAY_AUTH_TOKEN": "itself"}, "itself"),
    ):
        token = find_token(environment)
        assert token is not None
        assert token.secret == secret
        assert secret not in repr(token)
    assert find_token({**named, "RAY_AUTH_MODE": "disabled"}) is None
    assert find_token({"HOME": str(tmp_path / "empty")}) is None
    with pytest.raises(RaysmoothError, match="No such file or directory: name the file of the token"):
        find_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")})
    (tmp_path / "file").write_text("\n")
    with pytest.raises(RaysmoothError, match="the file is empty"):
        find_token(named)


class StandIn(http.server.BaseHTTPRequestHandler):
    """Answers as a dashboard does, and remembers the requests."""

    asked: ClassVar[list[str]] = []
    answer = b'{"ray_version": "2.60.0"}'

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    do_PUT = do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def stand_in() -> Iterator[str]:
    StandIn.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.processes
def test_too_large_a_folder_is_refused_before_any_upload(stand_in: str, tmp_path: Path) -> None:
    sizes = {"a.pt": 40, "b.pt": 60, "data/c.bin": 500, ".venv/d": 500}
    for name, size in sizes.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * 2**20)  # sparse: it takes no disk space
    (tmp_path / "raysmooth").mkdir()
    (tmp_path / "raysmooth/__main__.py").write_text("")
    (tmp_path / ".rayignore").write_text("/data/\n")
    given = ["submit", "--address", stand_in, "--working-dir", str(tmp_path), "--", "list", "datasets"]
    code, out, errors = raysmooth(REPOSITORY, clean_environment(tmp_path), *given)
    assert (code, out, errors.count("\n")) == (2, "", 1), errors
    assert "100.0 MiB would be uploaded, Ray takes 100: name in .rayignore" in errors
    assert "the largest: b.pt (60.0 MiB), a.pt (40.0 MiB), " in errors
    assert "c.bin" not in errors
    assert StandIn.asked == ["GET /api/version"]
    with (tmp_path / "b.pt").open("wb") as file:
        file.truncate(59 * 2**20)
    refuse_too_large(tmp_path, packed(tmp_path))


@pytest.mark.parametrize(
    ("file", "hides"),
    [("json.py", "json"), ("torch/__init__.py", "torch"), ("yaml.py", "yaml"), ("test.py", None), ("json/x.py", None),
     ("my/json.py", None), ("models.py", None)],
)  # fmt: skip
def test_a_folder_whose_modules_would_hide_others_is_refused(tmp_path: Path, file: str, hides: str | None) -> None:
    for name in ("raysmooth/__main__.py", file):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    if hides is None:
        assert set(checked_working_directory(str(tmp_path)).files) == {"raysmooth/__main__.py", file}
        return
    reason = rf"{file} would be imported in the job instead of the real '{hides}': rename it, "
    with pytest.raises(RaysmoothError, match=reason):
        checked_working_directory(str(tmp_path))
    (tmp_path / ".rayignore").write_text(f"/{file}\n")
    checked_working_directory(str(tmp_path))


def test_the_counted_files_are_those_that_ray_packs(tmp_path: Path) -> None:
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import create_package

    kept = [
        "raysmooth/__main__.py",
        "weights/größe.pt",
        "deep/er/x.py",
        "deep/kept.log",
        ".gitignore",
        "deep/.rayignore",
    ]
    left = [".git/x", ".venv/x", "results/a.parquet", "a.log", "deep/y.tmp", "deep/__pycache__/x.pyc"]
    for name in (*kept, *left):
        (tmp_path / "w" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "w" / name).write_text(name * 50)
    (tmp_path / "w/empty").mkdir()
    (tmp_path / "w/.gitignore").write_text("/results/\n*.log\n!kept.log\n")
    (tmp_path / "w/deep/.rayignore").write_text("*.tmp\n")
    excludes = get_runtime_env_default_excludes()
    create_package(str(tmp_path / "w"), tmp_path / "w.zip", include_gitignore=True, excludes=excludes)
    with zipfile.ZipFile(tmp_path / "w.zip") as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    what = packed(tmp_path / "w")
    assert set(what.files) == names == set(kept)
    # Only empty folders are not counted.
    assert 0 <= (tmp_path / "w.zip").stat().st_size - what.bytes <= 200


def test_a_clone_is_packed_with_each_file_once(folder: Path, tmp_path: Path) -> None:
    """Links to the rooms become files below raysmooth/; the rooms beside it stay here."""
    from ray._private.runtime_env.packaging import create_package

    assert all((folder / "raysmooth" / room).is_symlink() for room in ROOMS)
    create_package(str(folder), tmp_path / "clone.zip", include_gitignore=True, excludes=[])
    with zipfile.ZipFile(tmp_path / "clone.zip") as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        assert all(not stat.S_ISLNK(info.external_attr >> 16) for info in archive.infolist())
    expected = {
        f"raysmooth/{file.relative_to(folder).as_posix()}"
        for room in ROOMS
        for file in (folder / room).rglob("*")
        if file.suffix in (".py", ".yaml", ".jinja")
    }
    assert expected
    assert expected <= set(names) == set(packed(folder).files)
    assert len(names) == len(set(names))
    # `run experiments/X.yaml` and `sweep experiments/X.yaml` name files of the clone's own folder.
    assert not {name for name in names if name.partition("/")[0] in set(ROOMS) - {"experiments"}}


def test_ignored_files_are_not_packed(tmp_path: Path) -> None:
    for name in (".gitignore", ".rayignore"):
        shutil.copy(REPOSITORY / name, tmp_path)
    stay = ["results/runs/x/manifest.json", "demo/a.png", "data/cifar10/x", ".venv/bin/python", ".git/HEAD",
            "tests/x.py", "pipeline/x.py", "docs/demo.png", ".mypy_cache/x", "raysmooth.egg-info/x"]  # fmt: skip
    for name in ("raysmooth/x.py", "raysmooth/pipeline/x.py", "my_models.py", "weights.pt", *stay):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert set(packed(tmp_path).files) == {
        ".gitignore", ".rayignore", "raysmooth/x.py", "raysmooth/pipeline/x.py", "my_models.py", "weights.pt",
    }  # fmt: skip


@pytest.mark.processes
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["certfy", "--out", "/x"], "submit: no command 'certfy': did you mean 'certify'?"),
        (["submit", "--", "list"], "submit: no command 'submit'"),
        (["certify", "--out", "here"], "--out here: a job's own folder is lost with the cluster: write a URL such as"),
        (["run", "digits", "--out=here"], "--out here: a job's own folder"),
        (["certify", "--dataset", "digits"], "--out results: a job's own folder"),
    ],
)
def test_jobs_that_cannot_work_are_refused_at_once(tmp_path: Path, given: list[str], expected: str) -> None:
    code, out, errors = raysmooth(REPOSITORY, clean_environment(tmp_path), "submit", "--", *given)
    assert (code, out, errors.count("\n")) == (2, "", 1), errors
    assert expected in errors


@pytest.mark.processes
def test_folders_that_do_not_exist_or_lack_raysmooth(stand_in: str, tmp_path: Path) -> None:
    for given, expected in ((str(tmp_path), "has no raysmooth/__main__.py"), (f"{tmp_path}/none", "is not a folder")):
        words = ["submit", "--address", stand_in, "--working-dir", given, "--", "list", "datasets"]
        code, _, errors = raysmooth(REPOSITORY, clean_environment(tmp_path), *words)
        assert (code, errors.count("\n")) == (2, 1), errors
        assert expected in errors


def test_addresses(stand_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    no_token = {"RAY_AUTH_MODE": "disabled"}
    assert find_dashboard(f"{stand_in}/", no_token).address == stand_in
    assert find_dashboard(stand_in.removeprefix("http://"), no_token).address == stand_in
    assert find_dashboard(None, {**no_token, "RAY_ADDRESS": stand_in}).address == stand_in
    both = {**no_token, "RAY_API_SERVER_ADDRESS": stand_in, "RAY_ADDRESS": "http://127.0.0.1:9"}
    assert find_dashboard(None, both).address == stand_in
    for given, environment, expected in (
        (
            "http://127.0.0.1:9",
            both,
            r"no Ray dashboard answers at http://127.0.0.1:9 \(Connection refused\): run `ray dash",
        ),
        ("auto", both, f"--address auto: write the dashboard's address, such as {DEFAULT_ADDRESS}"),
        ("ray://head:10001", both, "--address ray://head:10001: write the dashboard's address"),
        (None, {**no_token, "RAY_ADDRESS": "10.0.0.1:6379"}, "RAY_ADDRESS=10.0.0.1:6379: that port is for nodes"),
    ):
        with pytest.raises(RaysmoothError, match=expected):
            find_dashboard(given, environment)
    for answer in (b"<html>", b"[]", b"{}"):
        monkeypatch.setattr(StandIn, "answer", answer)
        with pytest.raises(RaysmoothError, match="answers, but is not a Ray dashboard"):
            find_dashboard(stand_in, no_token)


def test_a_server_that_accepts_and_never_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raysmooth.jobs.dashboard._ANSWER_SECONDS", 0.3)
    refused = pytest.raises(RaysmoothError, match=r"no Ray dashboard answers at .* \(timed out\)")
    with socket.create_server(("127.0.0.1", 0)) as silent, refused:
        find_dashboard(f"http://127.0.0.1:{silent.getsockname()[1]}", {"RAY_AUTH_MODE": "disabled"})
