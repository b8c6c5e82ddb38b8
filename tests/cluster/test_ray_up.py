"""`ray up clusters/local.yaml` on two machines with sshd, as README has it: up, a job on both, down."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import REPOSITORY
from machines import (
    LOOPBACK,
    NAMESPACES,
    Machine,
    Machines,
    in_namespaces,
    missing_tools,
    on_loopback,
    without_namespaces,
)

pytestmark = pytest.mark.processes

TOKEN = "a-token-of-the-tests-alone-0123456789"
DASHBOARD_HOST = "127.0.0.1"
DASHBOARD = f"http://{DASHBOARD_HOST}:8265"

CLASSIFIER = '''"""A user's own classifier, which notes the machine on which it runs."""

import os
from pathlib import Path

import torch
from base_classifiers import Slow


class Noted(Slow):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        (Path(os.environ.get("NOTES", "{notes}")) / os.environ.get("MACHINE", "elsewhere")).touch()
        return super().forward(batch)
'''

CERTIFY = "certify --dataset digits --max 40 --sigma 0.25 --n 400 --n0 40 --batch-size 40 --block-size 80"
QUICK, SLOW = (
    [*CERTIFY.split(), "--precision", "float32", "--classifier", f"noted:Noted:seconds={seconds}"]
    for seconds in (0, 0.2)
)


@pytest.fixture(scope="module")
def reason() -> str | None:
    """Why the machines are not namespaces; None if they are. Prints it."""
    missing = missing_tools()
    if missing or os.geteuid() != 0:
        pytest.fail(f"run make test-cluster as root, it installs what is missing: {', '.join(missing)}")
    reason = without_namespaces()
    kind = f"loopback ({reason})" if reason else "network, mount and process namespaces, joined by veth pairs"
    print(f"\nmachines: {kind}")
    return reason


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="rs-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def checkout(folder: Path, reason: str | None) -> Path:
    """The files as shipped, with only hosts, user and key of clusters/local.yaml replaced, and a classifier."""
    checkout = folder / "raysmooth"
    hidden = shutil.ignore_patterns(
        ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", "fuzz-findings"
    )
    shutil.copytree(REPOSITORY, checkout, ignore=hidden)
    file = checkout / "clusters/local.yaml"
    text = file.read_text()
    _, head, worker = LOOPBACK if reason else NAMESPACES
    for shipped, ours in (
        ("head_ip: 10.0.0.1 # EDIT", f"head_ip: {head}"),
        ("worker_ips: [10.0.0.2, 10.0.0.3] # EDIT", f"worker_ips: [{worker}]"),
        ("ssh_user: ubuntu # EDIT", "ssh_user: root"),
        ("ssh_private_key: ~/.ssh/id_ed25519 # EDIT", f"ssh_private_key: {folder}/key"),
    ):
        assert text.count(shipped) == 1
        text = text.replace(shipped, ours)
    assert "EDIT" not in text
    if reason:
        # Processes are not apart there: this would end every Ray of this machine.
        text = text.replace("  - ray stop\n", "")
    file.write_text(text)
    (folder / "notes").mkdir()
    shutil.copy(REPOSITORY / "tests/support/base_classifiers.py", checkout)
    (checkout / "noted.py").write_text(CLASSIFIER.format(notes=folder / "notes"))
    return checkout


@pytest.fixture(scope="module")
def machines(folder: Path, checkout: Path, reason: str | None) -> Iterator[Machines]:
    venv, python = Path(sys.prefix), Path(sys.base_prefix)
    below_tmp = [path for path in (venv, python) if path.is_relative_to("/tmp") and path != Path("/tmp")]
    with on_loopback(folder) if reason else in_namespaces(folder, below_tmp) as (client, head, worker):
        (client.home / ".ray").mkdir()
        (client.home / ".ray/auth_token").write_text(TOKEN)
        for machine in (head, worker):
            set_up_before(machine)
        yield replace(client, folder=checkout), head, worker


def set_up_before(machine: Machine) -> None:
    """Make it a machine that clusters/setup.sh has set up before, with this Python, as it cannot download anything."""
    here = machine.home / ".raysmooth"
    here.mkdir()
    (here / "venv").symlink_to(sys.prefix)
    files = ("pyproject.toml", "constraints.txt", "clusters/setup.sh")
    whole = b"".join((REPOSITORY / name).read_bytes() for name in files)
    (here / "installed").write_text(f"{hashlib.sha256(whole).hexdigest()}  -\n")


@pytest.fixture(scope="module")
def up(machines: Machines) -> Iterator[Machines]:
    """The cluster, and its dashboard at the client, by `ray dashboard`."""
    client, _, _ = machines
    began = time.monotonic()
    done = client.run("ray", "up", "clusters/local.yaml", "-y", "--no-config-cache", "--disable-usage-stats")
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"ray up: {time.monotonic() - began:.1f} s")
    until_cpus(client, 2 * (os.cpu_count() or 1))
    print(f"both machines: {time.monotonic() - began:.1f} s after ray up")
    if client.address == DASHBOARD_HOST:  # it is there already
        yield machines
        return
    tunnel = subprocess.Popen(
        client.command(["ray", "dashboard", "--no-config-cache", "clusters/local.yaml"]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 60
        while fetched(client, f"{DASHBOARD}/api/version", TOKEN) != 200:
            assert tunnel.poll() is None, tunnel.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield machines
    finally:
        tunnel.kill()
        tunnel.wait()


def until_cpus(client: Machine, cpus: int) -> None:
    asked = "import ray; ray.init(address='auto', logging_level='ERROR'); print('CPUS', ray.cluster_resources()['CPU'])"
    deadline = time.monotonic() + 150
    while True:
        said = client.run("ray", "exec", "--no-config-cache", "clusters/local.yaml", f'python -c "{asked}"').stdout
        if f"CPUS {cpus}.0" in said:
            return
        assert time.monotonic() < deadline, said


def fetched(machine: Machine, url: str, token: str | None = None) -> int:
    """The HTTP status of `url` on the machine; 0 if it does not answer."""
    bearer = ["-H", f"Authorization: Bearer {token}"] if token else []
    words = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", *bearer, url]
    return int(subprocess.run(machine.command(words), capture_output=True, text=True).stdout or 0)


def rows(out: Path) -> pd.DataFrame:
    read = pd.read_parquet(out / "certificates").sort_values("image_id", ignore_index=True)
    # The classifier's name says how slow it is, so it is in the run's id.
    return read.drop(columns=["seconds", "classifier", "run_id"])


@pytest.fixture(scope="module")
def local(folder: Path, checkout: Path) -> pd.DataFrame:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    out = folder / "local"
    (folder / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "raysmooth", *QUICK, "--replicas", "1", "--out", str(out), "--address", "local"],
        cwd=checkout,
        env={**environment, "NOTES": str(folder / "elsewhere"), "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return rows(out)


def test_a_job_uses_both_machines_and_gives_what_a_local_run_gives(
    up: Machines, folder: Path, local: pd.DataFrame
) -> None:
    client, _, _ = up
    replicas = ["--replicas", str(2 * (os.cpu_count() or 1))]
    began = time.monotonic()
    words = ["ray", "job", "submit", "--address", DASHBOARD, "--working-dir", ".", "--", "python", "-m", "raysmooth"]
    done = client.run(*words, *SLOW, *replicas, "--out", str(folder / "ray-job"))
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"ray job submit: {time.monotonic() - began:.1f} s")
    pd.testing.assert_frame_equal(rows(folder / "ray-job"), local)
    assert {note.name for note in (folder / "notes").iterdir()} == {"head", "worker"}


def test_raysmooth_submit_does_too(up: Machines, folder: Path, local: pd.DataFrame) -> None:
    client, _, _ = up
    done = client.run("python", "-m", "raysmooth", "submit", "--", *QUICK, "--out", str(folder / "submitted"))
    assert done.returncode == 0, done.stdout + done.stderr
    pd.testing.assert_frame_equal(rows(folder / "submitted"), local)


def test_nothing_answers_without_the_token(up: Machines) -> None:
    client, head, worker = up
    assert fetched(client, f"{DASHBOARD}/api/version") == 401
    assert fetched(client, f"{DASHBOARD}/api/jobs/", "another") == 403
    if client.address == head.address:
        pytest.skip("on loopback all ports are this machine's own")
    for machine in (head, worker):
        listening = machine.run("ss", "-Hltn").stdout.splitlines()
        local = {line.split()[3].rpartition(":")[::2] for line in listening}
        reachable = {int(port) for host, port in local if not host.startswith(("127.", "[::1]"))}
        assert 22 in reachable
        assert 8265 not in reachable
        for port in sorted(reachable - {22}):
            # (Health checks are open to all: they answer "success".)
            for path in ("metrics", "api/version", "api/job_agent/jobs/", ""):
                status = fetched(client, f"http://{machine.address}:{port}/{path}")
                assert status in (0, 401, 403, 404, 405), f"{machine.name}:{port}/{path} answers {status}"


def test_only_the_owner_can_read_the_token(up: Machines) -> None:
    for machine in up[1:]:
        token = machine.home / ".ray/auth_token"
        assert token.read_text() == TOKEN
        assert token.stat().st_mode & 0o077 == 0


def test_down(up: Machines) -> None:
    """The last test of this module, as there is no head afterwards."""
    client, head, _ = up
    if head.inner is None:
        pytest.skip("on loopback ray down would end every Ray of this machine")
    done = client.run("ray", "down", "-y", "clusters/local.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    processes = head.run("ps", "-eo", "args").stdout
    assert "gcs_server" not in processes
    assert "raylet" not in processes
    assert fetched(client, f"{DASHBOARD}/api/version", TOKEN) == 0
