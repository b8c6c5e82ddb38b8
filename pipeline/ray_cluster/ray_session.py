"""Ray and idle replicas, kept between the calls of a program: `raysmooth.session`."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from time import monotonic
from typing import Any, Self

import ray
from ray.exceptions import ActorHandleNotFoundError

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.ray_cluster.ray_address import AUTO, LOCAL, Note
from raysmooth.pipeline.ray_cluster.ray_watch import LOOK_SECONDS, RayIsGone, ended_process, watching_ray
from raysmooth.pipeline.ray_cluster.raylet import Raylet

_ASK_SECONDS = 5.0
"""How often a session that waits for the next call tries whether its cluster still answers."""

_ELSEWHERE = 'end the session (session.close()) and open another one: raysmooth.session("local")'
"""How to continue without a cluster that has ended."""

_open: "RaySession | None" = None


class IdleReplicas:
    """Actors that no call uses. `kind` is equal for those that can stand in for each other."""

    def __init__(self) -> None:
        self._idle: list[tuple[Any, Any]] = []

    def __len__(self) -> int:
        return len(self._idle)

    def keep(self, kind: Any, actor: Any) -> None:
        self._idle.append((kind, actor))

    def take(self, kind: Any) -> Any | None:
        """One of that kind, if there is one. Those of other kinds are ended: they hold resources."""
        others = [actor for other, actor in self._idle if other != kind]
        self._idle = [(other, actor) for other, actor in self._idle if other == kind]
        _end(others)
        return self._idle.pop(0)[1] if self._idle else None

    def end(self) -> None:
        """End all of them."""
        actors, self._idle = [actor for _, actor in self._idle], []
        _end(actors)


class RaySession:
    """One for a program, from its start to `close`. `start` starts or joins Ray, and says whether it is a local one;
    where this process is connected already, Ray is not the session's and outlives it.

    Between calls nothing waits for Ray, and Ray would end this process a minute after its own end: the session notices
    that, disconnects, and the next call starts or joins Ray again. It does so too after the program's own
    `ray.shutdown()`; if the program has connected to another Ray since, the session goes on there.
    """

    def __init__(self, start: Callable[[Note], bool], address: str | None, verbose: bool, note: Note) -> None:
        self.address, self.verbose, self.local = address, verbose, False
        self.idle = IdleReplicas()
        self._start, self._owns_ray = start, not ray.is_initialized()
        self._calls, self._lock, self._closed = 0, threading.Lock(), threading.Event()
        if self._owns_ray:
            self.local = start(note)
        self._connection, self._raylet = _connection(), self._watched_raylet()
        threading.Thread(target=self._watch, name="raysmooth: is Ray still there?", daemon=True).start()

    @contextmanager
    def call(self, address: str | None, keeps_replicas: bool, note: Note) -> Iterator[None]:
        """One call's use of Ray. Without `keeps_replicas` idle replicas end first: the call needs their resources.

        Raises RaysmoothError for an `address` that is not the session's, and if Ray ends during the call.
        """
        if address not in (None, self.address) and not (address == LOCAL and self.local):
            raise RaysmoothError(
                f"--address {printable(str(address))}: the open session is on {self.where}: leave the address out, or "
                "end the session first (session.close())"
            )
        with self._lock:
            self._calls += 1
            outermost = self._calls == 1
            if outermost:
                self._leave_if_ended()
            self._reconnect(note)
        try:
            if not keeps_replicas:
                self.idle.end()
            with self._watching() if outermost else nullcontext():
                yield
        except RayIsGone:
            with self._lock:
                self._leave()
            raise
        finally:
            with self._lock:
                self._calls -= 1
                if outermost:
                    self._leave_if_ended()

    def _watching(self) -> AbstractContextManager[None]:
        """A Ray that is not the session's is the program's to watch."""
        if not self._is_on_own_ray():
            return nullcontext()
        if self.local:
            return watching_ray(None)
        return watching_ray(ray.get_runtime_context().gcs_address, remedy=self._remedy)

    @property
    def _remedy(self) -> str:
        """What the person can do whose joined cluster has ended."""
        if self.address in (None, AUTO):
            return "repeat the call to resume"
        return f"repeat the call to resume, once a cluster answers there again, or {_ELSEWHERE}"

    @property
    def where(self) -> str:
        """The address of its Ray, for messages."""
        return "a local Ray" if self.local else (self._owns_ray and self.address) or "this process's Ray"

    def close(self) -> None:
        """End the idle replicas, and Ray if it is the session's."""
        global _open
        self._closed.set()
        self._raylet.leave()
        with self._lock:
            self.idle.end()
            if self._is_on_own_ray():
                ray.shutdown()
        if _open is self:
            _open = None

    def _watch(self) -> None:
        asked, raylet = monotonic(), self._raylet
        while not self._closed.is_set():
            if raylet is not self._raylet:
                raylet.close()
                raylet = self._raylet
            if raylet.ended:
                self._closed.wait(LOOK_SECONDS)
            raylet.wait(self._closed, LOOK_SECONDS)
            with self._lock:
                is_time = self.local or raylet.ended or monotonic() - asked >= _ASK_SECONDS
                if self._calls == 0 and not self._closed.is_set() and is_time:
                    asked = monotonic()
                    self._leave_if_ended()
        raylet.close()

    def _leave_if_ended(self) -> None:
        if self._is_on_own_ray() and (ended_process() if self.local else self._raylet.ended or not _answers()):
            self._leave()

    def _leave(self) -> None:
        self.idle = IdleReplicas()
        ray.shutdown()

    def _watched_raylet(self) -> Raylet:
        """That of a cluster which the session has joined: with it Ray would end the process, at its next word to it."""
        return Raylet(is_watched=self._owns_ray and not self.local)

    def _is_on_own_ray(self) -> bool:
        return self._owns_ray and ray.is_initialized() and _connection() == self._connection

    def _reconnect(self, note: Note) -> None:
        """If this process has left the session's Ray, use the one it is connected to now, or start another."""
        now = _connection()
        if now is not None and now == self._connection:
            return
        self.idle = IdleReplicas()  # Ray knows their actors no more
        if now is None:
            try:
                local = self._start(note)
            except RaysmoothError as refusal:
                raise RaysmoothError(f"the session's Ray has ended, so {_ELSEWHERE}; {refusal}") from refusal
            note(f"raysmooth: the session's Ray has ended: another one {'starts' if local else 'is joined'}")
            self.local, self._owns_ray = local, True
        else:
            note("raysmooth: the session's Ray has ended: this process's own is used from now on")
            self.local = self._owns_ray = False
        self._raylet.leave()
        self._connection, self._raylet = _connection(), self._watched_raylet()


def open_session() -> RaySession | None:
    """The session of this program, if one is open."""
    return _open


class Session:
    """What `raysmooth.session` returns: a context, or to be closed by `close`. Leaving the context ends the session if
    it began with this object. A program has one session: further objects stand for the open one, and closing any of
    them closes it.
    """

    def __init__(self, start: Callable[[Note], bool], address: str | None, verbose: bool, note: Note) -> None:
        global _open
        self._began = _open is None
        if _open is None:
            _open = RaySession(start, address, verbose, note)
        elif address not in (None, _open.address):
            raise RaysmoothError(
                f"a session is open on {_open.where}: end it first (session.close()), or leave the address out"
            )
        self._session = _open

    def close(self) -> None:
        """End the replicas, and the Ray that the session has started. It is no error to close it twice."""
        if open_session() is self._session:
            self._session.close()

    def __enter__(self) -> Self:
        if open_session() is not self._session:
            raise RaysmoothError("this session is closed: call raysmooth.session() again")
        return self

    def __exit__(self, *_: object) -> None:
        if self._began:
            self.close()

    def __repr__(self) -> str:
        if open_session() is not self._session:
            return "<raysmooth session: closed>"
        return f"<raysmooth session on {self._session.where}, {len(self._session.idle)} idle replicas>"


def _connection() -> tuple[str, str] | None:
    """What no other connection of this process to a Ray has: the names of Ray's session and of the job there."""
    if not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    return context.get_session_name(), context.get_job_id()


def _answers() -> bool:
    """Whether the head of the cluster that this process has joined still listens."""
    host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
    for _ in range(2):
        with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=_ASK_SECONDS):
            return True
    return False


def _end(actors: list[Any]) -> None:
    for actor in actors if ray.is_initialized() else ():
        with suppress(ActorHandleNotFoundError):  # of a Ray that this process has left: it has ended with that one
            ray.kill(actor)
