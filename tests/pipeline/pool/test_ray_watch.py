"""The end of the local Ray is noticed. (tests/commands/test_killed.py kills a real one.)"""

import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.pool import ray_watch
from raysmooth.pipeline.pool.ray_watch import watching_local_ray


@dataclass
class Node:
    """What Ray knows of the processes that it has started."""

    dead: list[tuple[str, SimpleNamespace]] = field(default_factory=list)

    def dead_processes(self) -> list[tuple[str, SimpleNamespace]]:
        return self.dead


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node()
    monkeypatch.setattr("ray._private.worker._global_node", node)
    monkeypatch.setattr(ray_watch, "LOOK_SECONDS", 0.01)
    return node


@pytest.mark.parametrize("kind", ["raylet", "gcs_server"])
def test_a_wait_ends_when_ray_is_gone(node: Node, kind: str) -> None:
    node.dead.append((kind, SimpleNamespace(pid=7)))
    reason = rf"^stopped: the local Ray is gone \({kind}, process 7, has ended\)"
    with pytest.raises(RaysmoothError, match=reason), watching_local_ray():
        time.sleep(200)


def test_ray_can_do_without_its_other_processes(node: Node) -> None:
    node.dead.append(("log_monitor", SimpleNamespace(pid=7)))
    with watching_local_ray():
        time.sleep(0.1)


def test_other_ends_are_as_they_were(node: Node) -> None:
    for error in (KeyboardInterrupt(), RaysmoothError("full")):
        with pytest.raises(type(error)) as raised, watching_local_ray():
            raise error
        assert raised.value is error
