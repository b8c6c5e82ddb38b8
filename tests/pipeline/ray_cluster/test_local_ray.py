"""The folder and the token of a local Ray. (tests/commands/test_killed.py starts one where TMPDIR is long.)"""

import os
import stat
from pathlib import Path

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.ray_cluster.local_ray import LONGEST_FOLDER, ray_folder, settle_folder, settle_token

SHORT, LONG = "/x" * (LONGEST_FOLDER // 2), "/x" * (LONGEST_FOLDER // 2) + "/yy"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that what is set within is unset afterwards
        monkeypatch.delenv(name)


def test_a_socket_in_the_longest_folder_can_be_made() -> None:
    socket = f"{SHORT}/ray/session_2026-01-31_23-59-59_123456_4194304/sockets/plasma_store"
    assert LONGEST_FOLDER - 1 <= len(SHORT) <= LONGEST_FOLDER
    assert len(socket) <= 107


def test_the_folder_is_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ray_folder() == Path("/tmp")
    monkeypatch.setenv("TMPDIR", "/scratch")
    assert ray_folder() == Path("/scratch")
    monkeypatch.setenv("RAY_TMPDIR", "/ssd")
    assert ray_folder() == Path("/ssd")


def test_a_long_folder_gets_a_short_one_of_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", SHORT)
    settle_folder()
    assert "RAY_TMPDIR" not in os.environ
    monkeypatch.setenv("TMPDIR", LONG)
    settle_folder()
    folder = Path(os.environ["RAY_TMPDIR"])
    assert len(str(folder)) < LONGEST_FOLDER
    assert folder.stat().st_uid == os.getuid()
    assert not folder.stat().st_mode & 0o022
    settle_folder()
    assert os.environ["RAY_TMPDIR"] == str(folder)


def test_what_cannot_be_cured_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", LONG)
    with pytest.raises(RaysmoothError, match=rf"^RAY_TMPDIR has {len(LONG)} characters, .* leave {LONGEST_FOLDER}: "):
        settle_folder()
    monkeypatch.setenv("RAY_TMPDIR", "")
    monkeypatch.setenv("TMPDIR", LONG)
    monkeypatch.setattr(os, "mkdir", lambda *_: (_ for _ in ()).throw(OSError("read-only")))
    with pytest.raises(RaysmoothError, match=r"^TMPDIR has .*: set RAY_TMPDIR to a shorter folder"):
        settle_folder()


def test_the_token_is_readable_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settle_token()
    token = tmp_path / ".ray/auth_token"
    made = token.read_text()
    assert len(made) == 64
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    token.chmod(0o644)
    settle_token()
    assert (token.read_text(), stat.S_IMODE(token.stat().st_mode)) == (made, 0o600)
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_without_a_home_the_token_is_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "a file"))
    settle_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_another_choice_of_the_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    settle_token()
    assert not (tmp_path / ".ray").exists()


def test_a_token_of_another_user_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could join the Ray that starts with it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    settle_token()
    token, notes = tmp_path / ".ray/auth_token", list[str]()
    token.chmod(0o644)
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    settle_token(notes.append)
    (line,) = notes
    assert line.startswith(f"raysmooth: warning: {token} is another user's, ")
    assert stat.S_IMODE(token.stat().st_mode) == 0o644
