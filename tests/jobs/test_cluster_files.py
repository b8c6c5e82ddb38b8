"""cluster.yaml and clusters/: valid without any cloud, pinned, with a token on every node, and closed to the outside.

Each rule is a function that raises AssertionError; beside it are changes of a copy that it must catch.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cluster_files import LAUNCHED, Config, pinned, read, valid_for_ray
from conftest import REPOSITORY
from kuberay_rules import RULES

KUBERAY = REPOSITORY / "clusters/kuberay.yaml"


# Ray's own rules


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_takes_the_files(name: str) -> None:
    prepared = valid_for_ray(read(name))
    assert prepared["cluster_name"] == "raysmooth"
    if name != "local":
        assert {node.get("min_workers", 0) for node in prepared["available_node_types"].values()} == {0}
        assert prepared["idle_timeout_minutes"] == 10


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_does_not_take_broken_files(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match="max_wrkers"):
        valid_for_ray({**read(name), "max_wrkers": 3})
    with pytest.raises(jsonschema.ValidationError, match="is not of type"):
        valid_for_ray({**read(name), "upscaling_speed": "fast"})
    if name != "local":
        with pytest.raises(ValueError, match="head_node_type"):
            valid_for_ray({**read(name), "head_node_type": "haed"})


# A token everywhere, nothing open, everything pinned


def commands(config: Config) -> dict[str, list[str]]:
    return {where: config[f"{where}_start_ray_commands"] for where in ("head", "worker")}


def token_on_every_node(config: Config) -> None:
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for where, lines in commands(config).items():
        starts = [line for line in lines if "ray start" in line]
        assert len(starts) == 1, where
        before, _, _ = starts[0].partition("ray start")
        assert re.search(r"export [^;]*\bRAY_AUTH_MODE=token\b[^;]*;", before), f"{where} starts without a token"


def nothing_open(config: Config) -> None:
    text = yaml.safe_dump(config)
    assert "0.0.0.0" not in text
    assert "::" not in text
    (head,) = (line for line in commands(config)["head"] if "ray start" in line)
    assert "--dashboard-host=127.0.0.1" in head
    assert "--ray-client-server-port" not in head
    assert "IpPermissions" not in text
    assert "docker" not in config
    if config["provider"]["type"] == "local":
        # These hosts have no firewall of ours: services that answer without a token are not started.
        for lines in commands(config).values():
            assert any("RAY_enable_metrics_collection=0" in line for line in lines)
        assert "DASHBOARD_METRIC_PORT=-1 AUTOSCALER_METRIC_PORT=-1" in head


def versions_pinned(config: Config) -> None:
    assert config["file_mounts"]["~/.raysmooth/constraints.txt"] == "./constraints.txt"
    assert config["file_mounts"]["~/.raysmooth/pyproject.toml"] == "./pyproject.toml"
    assert config["file_mounts"]["~/.raysmooth/setup.sh"] == "./clusters/setup.sh"
    for mounted in config["file_mounts"].values():
        assert mounted.startswith("~") or (REPOSITORY / mounted).is_file(), mounted
    (setup,) = config["setup_commands"]
    assert setup.startswith("bash ~/.raysmooth/setup.sh")
    for extra in setup.split()[2:]:
        assert "==" in extra or extra in pinned(), f"{extra} has no version"


def mounts_without(path: str) -> Callable[[Config], None]:
    return lambda config: config["file_mounts"].pop(path)


def replaced(where: str, old: str, new: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        lines = config[where]
        assert any(old in line for line in lines)
        config[where] = [line.replace(old, new) for line in lines]

    return change


@pytest.mark.parametrize("name", LAUNCHED)
@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        (
            token_on_every_node,
            [
                mounts_without("~/.ray/auth_token"),
                replaced("head_start_ray_commands", "RAY_AUTH_MODE=token", ""),
                replaced("worker_start_ray_commands", "RAY_AUTH_MODE=token", ""),
                replaced("worker_start_ray_commands", "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled"),
            ],
        ),
        (
            nothing_open,
            [
                replaced("head_start_ray_commands", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"),
                replaced("head_start_ray_commands", "--dashboard-host=127.0.0.1", ""),
                lambda config: config["provider"].update(security_group={"IpPermissions": [{"FromPort": 8265}]}),
            ],
        ),
        (
            versions_pinned,
            [
                mounts_without("~/.raysmooth/constraints.txt"),
                replaced("setup_commands", "setup.sh", "setup.sh requests-toolbelt"),
                lambda config: config["file_mounts"].update({"~/.raysmooth/setup.sh": "./clusters/set-up.sh"}),
            ],
        ),
    ],
)
def test_rules_that_hold_and_would_notice(
    name: str, rule: Callable[[Config], None], changes: list[Callable[[Config], None]]
) -> None:
    rule(read(name))
    for change in changes:
        broken = read(name)
        change(broken)
        with pytest.raises((AssertionError, KeyError)):
            rule(broken)


def test_versions_are_those_of_the_constraints() -> None:
    from importlib.metadata import version

    assert {name: version(name) for name in ("ray", "torch", "torchvision")} == {
        name: pinned()[name] for name in ("ray", "torch", "torchvision")
    }
    assert "--python 3.11 " in (REPOSITORY / "clusters/setup.sh").read_text()
    assert sys.version_info[:2] == (3, 11)
    (image,) = re.findall(r"^FROM (.*)$", (REPOSITORY / "clusters/Dockerfile").read_text(), re.MULTILINE)
    assert image == f"rayproject/ray:{pinned()['ray']}-py311-gpu"
    job, _ = kuberay()
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pinned()["ray"]


@pytest.mark.processes
def test_set_up_is_done_once_and_again_when_versions_change(tmp_path: Path) -> None:
    """The script itself, with its downloads replaced: the test is about when it installs."""
    here, tools = tmp_path / ".raysmooth", tmp_path / "tools"
    here.mkdir()
    tools.mkdir()
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("secret")
    (tmp_path / ".bashrc").write_text("")
    for name in ("pyproject.toml", "constraints.txt"):
        (here / name).write_bytes((REPOSITORY / name).read_bytes())
    (here / "setup.sh").write_bytes((REPOSITORY / "clusters/setup.sh").read_bytes())
    (tools / "curl").write_text('#!/bin/sh\necho \'mkdir -p "$UV_INSTALL_DIR"; cp "$FAKE_UV" "$UV_INSTALL_DIR/uv"\'\n')
    (tools / "uv").write_text('#!/bin/sh\necho "$@" >> "$HOME/asked"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tools}:/usr/bin:/bin", "FAKE_UV": str(tools / "uv")}

    def set_up() -> int:
        subprocess.run(["bash", str(here / "setup.sh"), "boto3"], env=environment, check=True)
        return len((tmp_path / "asked").read_text().splitlines())

    assert set_up() == 2
    assert "--constraints constraints.txt --requirements pyproject.toml boto3" in (tmp_path / "asked").read_text()
    assert set_up() == 2
    (here / "constraints.txt").write_text("ray==2.61.0\n")
    assert set_up() == 4
    assert (tmp_path / ".bashrc").read_text().count("RAY_AUTH_MODE=token") == 1
    assert (tmp_path / ".ray/auth_token").stat().st_mode & 0o077 == 0


# KubeRay


def kuberay() -> tuple[Config, Config]:
    job, policy = yaml.safe_load_all(KUBERAY.read_text())
    return job, policy


def valid_for_kubernetes(document: Config) -> None:
    jsonschema.Draft202012Validator(RULES[document["kind"]]).validate(document)


def closed_kuberay(job: Config, policy: Config) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert not cluster["headGroupSpec"].get("enableIngress")
    # The policy covers these pods: they reach one another, and pods that submit jobs reach the dashboard.
    labels = policy["spec"]["podSelector"]["matchLabels"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert labels.items() <= group["template"]["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    for rule in policy["spec"]["ingress"]:
        assert all(peer.get("podSelector", {}).get("matchLabels") for peer in rule["from"])
        if rule["from"] != [{"podSelector": {"matchLabels": labels}}]:
            assert [port["port"] for port in rule["ports"]] == [8265]


def scaled_kuberay(job: Config) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"]
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]
        for container in group["template"]["spec"]["containers"]:
            assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert job["spec"]["shutdownAfterJobFinishes"]


def test_the_kuberay_manifest() -> None:
    job, policy = kuberay()
    for document in (job, policy):
        valid_for_kubernetes(document)
    closed_kuberay(job, policy)
    scaled_kuberay(job)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.entrypont", "python"),
        ("spec.rayClusterSpec.authOptions.mode", "tokens"),
        ("spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus", 0),
        ("spec.rayClusterSpec.headGroupSpec.serviceType", "Public"),
        ("spec.rayClusterSpec.workerGroupSpecs.0.maxReplicas", "8"),
        ("spec.rayClusterSpec.workerGroupSpecs.0.template.spec.containers.0.resources.limits.memory", "24Gb"),
        ("spec.rayClusterSpec.workerGroupSpecs.0.template.spec.containers.0.imge", "x"),
    ],
)
def test_the_rules_of_kuberay_notice(path: str, value: Any) -> None:
    job, _ = kuberay()
    with pytest.raises(jsonschema.ValidationError):
        valid_for_kubernetes(changed(job, path, value))


@pytest.mark.parametrize(
    ("of_policy", "path", "value"),
    [
        (False, "spec.rayClusterSpec.authOptions.mode", "disabled"),
        (False, "spec.rayClusterSpec.headGroupSpec.serviceType", "LoadBalancer"),
        (False, "spec.rayClusterSpec.headGroupSpec.enableIngress", True),
        (False, "spec.rayClusterSpec.workerGroupSpecs.0.template.metadata.labels", {"app": "other"}),
        (True, "spec.ingress.0.from.0", {"ipBlock": {"cidr": "10.0.0.0/8"}}),
        (True, "spec.ingress.1.ports.0.port", 8080),
        (True, "spec.ingress.1.from.0", {"namespaceSelector": {}}),
    ],
)
def test_an_open_kuberay_cluster_is_noticed(of_policy: bool, path: str, value: Any) -> None:
    documents = list(kuberay())
    documents[of_policy] = changed(documents[of_policy], path, value)
    with pytest.raises(AssertionError):
        closed_kuberay(*documents)


def changed(document: Config, path: str, value: Any) -> Config:
    """A copy with another value at the path."""
    # A YAML anchor is one object in several places: copy each.
    whole = yaml.safe_load(yaml.dump(document, Dumper=NoAliases))
    *steps, last = path.split(".")
    at: Any = whole
    for step in steps:
        at = at[int(step) if isinstance(at, list) else step]
    at[int(last) if isinstance(at, list) else last] = value
    return whole


class NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, _: Any) -> bool:
        return True


# Settings that a user must edit


def test_comments_stand_only_where_a_person_must_edit() -> None:
    for path in (*LAUNCHED.values(), KUBERAY):
        for line in path.read_text().splitlines():
            if "#" in line:
                assert "# EDIT" in line, f"{path.name}: {line}"
    wanted = {
        "region": "us-east-1",
        "KeyName": "YOUR-KEY",
        "ssh_private_key": "~/.ssh/YOUR-KEY.pem",
        "max_workers": "8",
    }
    text = LAUNCHED["aws"].read_text()
    for key, value in wanted.items():
        assert re.search(rf"{key}: {re.escape(value)} # EDIT", text), key
