"""Machines that are not there: a network, mount and process namespace each, with a home, a /tmp and an sshd of its own.

They share one kernel and this machine's files, Python among them. A third, the client, has the network's other end;
the network leads nowhere else, and nobody outside has an address in it.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CLIENT, HEAD, WORKER = "10.77.0.1", "10.77.0.2", "10.77.0.3"

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
mkdir -p {home}
mount --bind {own_home} {home}
sed 's|^root:\\([^:]*:[^:]*:[^:]*:[^:]*\\):[^:]*:|root:\\1:{home}:|' /etc/passwd > /mnt/passwd
mount --bind /mnt/passwd /etc/passwd
ip link set lo up
touch {own_home}/.ready
while [ ! -e {own_home}/.go ]; do sleep 0.05; done
{then}
"""

_SSHD = """
HostKey {folder}/host_key
ListenAddress {address}
Port 22
AuthorizedKeysFile {home}/.ssh/authorized_keys
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
MaxStartups 50
"""


@dataclass
class Machine:
    """`home` is where it sees its home; `own_home` is the same folder, seen from here."""

    name: str
    address: str
    own_home: Path
    home: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def inner(self) -> int:
        """The process that is number 1 inside, by its number here."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def command(self, words: Sequence[str]) -> list[str]:
        """The words of a command that runs `words` on this machine, as somebody who has just logged in."""
        environment = {
            "HOME": str(self.home),
            "USER": "root",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": "",
        }
        enter = ["nsenter", "--target", str(self.inner), "--mount", "--net", "--pid", f"--wdns={self.wd}"]
        return [*enter, "env", "-i", *(f"{name}={value}" for name, value in environment.items()), *words]

    wd: Path = Path("/")

    def run(self, *words: str, seconds: float = 180) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(words), capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
        print(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}")
        return done


def why_not() -> str | None:
    """Why there can be no such machines here; None if there can."""
    for tool in ("sshd", "rsync", "ip", "unshare", "nsenter"):
        if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            return f"{tool} is missing: make test-cluster installs it"
    tried = ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(tried, capture_output=True, text=True)
    return f"no namespaces: {done.stderr.strip()}" if done.returncode else None


@contextmanager
def network(folder: Path, kept: Sequence[Path]) -> Iterator[tuple[Machine, Machine, Machine]]:
    """Client, head and worker, which see `folder` and the `kept` ones of this machine. All ends with the context."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key")], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    machines: list[Machine] = []
    try:
        for name, address in (("client", CLIENT), ("head", HEAD), ("worker", WORKER)):
            machines.append(_started(folder, kept, name, address))
        client = machines[0]
        _ip(client, "link", "add", "hub", "type", "bridge")
        _ip(client, "address", "add", f"{CLIENT}/24", "dev", "hub")
        _ip(client, "link", "set", "hub", "up")
        for machine in machines[1:]:
            there = ["peer", "name", "eth0", "netns", str(machine.inner)]
            _ip(client, "link", "add", machine.name, "type", "veth", *there)
            _ip(client, "link", "set", machine.name, "master", "hub", "up")
            _ip(machine, "address", "add", f"{machine.address}/24", "dev", "eth0")
            _ip(machine, "link", "set", "eth0", "up")
        for machine in machines:
            (machine.own_home / ".go").touch()
        for machine in machines[1:]:
            _await_sshd(client, machine)
        yield machines[0], machines[1], machines[2]
    finally:
        # Number 1 of a process namespace takes all others along, and the last of a network takes its links.
        for machine in machines:
            machine.process.send_signal(signal.SIGKILL)
            machine.process.wait(10)


def _started(folder: Path, kept: Sequence[Path], name: str, address: str) -> Machine:
    own_home, home = folder / name, folder / "home"
    (own_home / ".ssh").mkdir(parents=True)
    shutil.copy(folder / "key.pub", own_home / ".ssh/authorized_keys")
    (own_home / ".ssh/config").write_text("Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n")
    (folder / f"{name}.sshd").write_text(_SSHD.format(folder=folder, address=address, home=home))
    serve = f"exec /usr/sbin/sshd -D -e -f {folder}/{name}.sshd"
    script = _BEGIN.format(
        kept=" ".join(f"'{path}'" for path in (folder, *kept)),
        home=home,
        own_home=own_home,
        then=serve if name != "client" else "exec sleep infinity",
    )
    log = (folder / f"{name}.log").open("w")
    unshared = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script]
    process = subprocess.Popen(unshared, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 20
    while not (own_home / ".ready").exists():
        assert process.poll() is None, (folder / f"{name}.log").read_text()
        assert time.monotonic() < deadline, (folder / f"{name}.log").read_text()
        time.sleep(0.05)
    return Machine(name, address, own_home, home, process)


def _ip(machine: Machine, *words: str) -> None:
    """`ip` in the machine's network, with process numbers as they are here."""
    done = subprocess.run(["nsenter", "--target", str(machine.inner), "--net", "ip", *words], capture_output=True)
    assert done.returncode == 0, (words, done.stderr)


def _await_sshd(client: Machine, machine: Machine) -> None:
    key = str(client.own_home.parent / "key")
    deadline = time.monotonic() + 20
    while client.run("ssh", "-i", key, f"root@{machine.address}", "true", seconds=30).returncode:
        assert time.monotonic() < deadline, (machine.own_home.parent / f"{machine.name}.log").read_text()
        time.sleep(0.2)
