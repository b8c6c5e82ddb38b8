"""Simulated machines: each has its own network, mount and process namespace, home, /tmp and sshd.

They share one kernel and this machine's files, Python among them. A third one, the client, has the other end of the
network, which is connected to nothing else. Without namespaces (or with MACHINES=loopback), the machines are two
addresses of this machine's loopback, with a home and an sshd each.
"""

import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

Machines = tuple["Machine", "Machine", "Machine"]

NAMESPACES = ("10.77.0.1", "10.77.0.2", "10.77.0.3")
LOOPBACK = ("127.0.0.1", "127.0.0.1", "127.0.0.2")
"""Addresses of client, head and worker."""

_BEGIN = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
number=0
for kept in {kept}; do
  number=$((number + 1)); mkdir /mnt/$number; mount --bind "$kept" /mnt/$number
done
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o size=500m tmpfs /dev/shm
number=0
for kept in {kept}; do
  number=$((number + 1)); mkdir -p "$kept"; mount --bind /mnt/$number "$kept"
done
# ssh looks for keys in the home of /etc/passwd, whatever HOME says.
sed 's|^root:\\([^:]*:[^:]*:[^:]*:[^:]*\\):[^:]*:|root:\\1:{home}:|' /etc/passwd > /mnt/passwd
mount --bind /mnt/passwd /etc/passwd
ip link set lo up
touch {home}/.ready
while [ ! -e {home}/.go ]; do sleep 0.05; done
exec {then}
"""

_SSHD = """
HostKey {folder}/host_key
ListenAddress {address}
Port 22
AuthorizedKeysFile {folder}/key.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
MaxStartups 50
SetEnv HOME={home} MACHINE={name} RAY_TMPDIR={temporary}
"""


@dataclass
class Machine:
    """Its processes have its name in the variable MACHINE, and its home. `inner` is the pid of its process 1 in this
    namespace; None without namespaces.
    """

    name: str
    address: str
    home: Path
    inner: int | None
    temporary: Path
    folder: Path = field(default=Path("/"))

    def command(self, words: Sequence[str]) -> list[str]:
        """A command that runs `words` on this machine, in its `folder`, as a user who has logged in."""
        environment = {
            "HOME": str(self.home),
            "MACHINE": self.name,
            "USER": "root",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "RAY_TMPDIR": str(self.temporary),
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        enter = ["env", "-C", str(self.folder)]
        if self.inner is not None:
            enter = [
                "nsenter",
                "--target",
                str(self.inner),
                "--mount",
                "--net",
                "--pid",
                f"--wdns={self.folder}",
                "env",
            ]
        return [*enter, "-i", *(f"{name}={value}" for name, value in environment.items()), *words]

    def run(self, *words: str, seconds: float = 180) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(words), capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
        print(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}")
        return done


def missing_tools() -> list[str]:
    where = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    tools = ("sshd", "ssh-keygen", "rsync", "ip", "ss", "curl", "unshare", "nsenter")
    return [tool for tool in tools if shutil.which(tool, path=where) is None]


def without_namespaces() -> str | None:
    """Why namespaces cannot be used here; None if they can."""
    if os.environ.get("MACHINES") == "loopback":
        return "MACHINES=loopback"
    tried = ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(tried, capture_output=True, text=True)
    return done.stderr.strip() or "unshare fails" if done.returncode else None


@contextmanager
def in_namespaces(folder: Path, kept: Sequence[Path]) -> Iterator[Machines]:
    """Client, head and worker, which see `folder` and the `kept` folders of this machine. They end with the context."""
    _make_keys(folder)
    begun: list[subprocess.Popen[bytes]] = []
    machines: list[Machine] = []
    try:
        for name, address in zip(("client", "head", "worker"), NAMESPACES, strict=True):
            home = _make_home(folder, name, address, Path("/tmp"))
            script = _BEGIN.format(
                kept=" ".join(f"'{path}'" for path in (folder, *kept)),
                home=home,
                then="sleep infinity" if name == "client" else f"/usr/sbin/sshd -D -e -f {folder}/{name}.sshd",
            )
            unshared = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
            process = _begun([*unshared, "bash", "-c", script], folder / f"{name}.log")
            begun.append(process)
            _until((home / ".ready").exists, folder / f"{name}.log")
            inner = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
            machines.append(Machine(name, address, home, int(inner), Path("/tmp")))
        client = machines[0]
        _ip(client, "link", "add", "hub", "type", "bridge")
        _ip(client, "address", "add", f"{client.address}/24", "dev", "hub")
        _ip(client, "link", "set", "hub", "up")
        for machine in machines[1:]:
            there = ["peer", "name", "eth0", "netns", str(machine.inner)]
            _ip(client, "link", "add", machine.name, "type", "veth", *there)
            _ip(client, "link", "set", machine.name, "master", "hub", "up")
            _ip(machine, "address", "add", f"{machine.address}/24", "dev", "eth0")
            _ip(machine, "link", "set", "eth0", "up")
        for machine in machines:
            (machine.home / ".go").touch()
        yield _answering(folder, machines)
    finally:
        # When process 1 of a namespace ends, so do all others, and the links of its network.
        for process in begun:
            process.kill()
            process.wait(10)


@contextmanager
def on_loopback(folder: Path) -> Iterator[Machines]:
    """Client, head and worker by their addresses alone. All their processes end with the context."""
    _make_keys(folder)
    temporary = folder / "t"  # short: Ray's sockets lie below it
    temporary.mkdir()
    begun: list[subprocess.Popen[bytes]] = []
    machines: list[Machine] = []
    # ssh looks for the head's key in the home of /etc/passwd, whatever HOME says.
    key = Path(pwd.getpwuid(os.getuid()).pw_dir) / "ray_bootstrap_key.pem"
    key.symlink_to(folder / "key")
    try:
        for name, address in zip(("client", "head", "worker"), LOOPBACK, strict=True):
            machines.append(Machine(name, address, _make_home(folder, name, address, temporary), None, temporary))
            if name != "client":
                serve = ["/usr/sbin/sshd", "-D", "-e", "-f", f"{folder}/{name}.sshd"]
                begun.append(_begun(serve, folder / f"{name}.log"))
        yield _answering(folder, machines)
    finally:
        for process in begun:
            process.kill()
            process.wait(10)
        key.unlink()
        homes = {str(machine.home) for machine in machines}
        for left in psutil.process_iter():
            with suppress(psutil.Error):
                if left.environ().get("HOME") in homes:
                    left.kill()


def _make_keys(folder: Path) -> None:
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)


def _make_home(folder: Path, name: str, address: str, temporary: Path) -> Path:
    home = folder / name
    home.mkdir()
    given = {"folder": folder, "address": address, "home": home, "name": name, "temporary": temporary}
    (folder / f"{name}.sshd").write_text(_SSHD.format(**given))
    return home


def _begun(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as file:
        return subprocess.Popen(words, stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True)


def _until(true: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def _ip(machine: Machine, *words: str) -> None:
    """`ip` in the machine's network, with pids of this namespace."""
    done = subprocess.run(["nsenter", "--target", str(machine.inner), "--net", "ip", *words], capture_output=True)
    assert done.returncode == 0, (words, done.stderr)


def _answering(folder: Path, machines: Sequence[Machine]) -> Machines:
    """The machines, once they accept logins."""
    client, head, worker = machines
    trusting = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    for machine in (head, worker):
        words = ["ssh", "-i", str(folder / "key"), *trusting, f"root@{machine.address}", "true"]
        _until(lambda words=words: client.run(*words).returncode == 0, folder / f"{machine.name}.log")
    return client, head, worker
