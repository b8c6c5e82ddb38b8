"""Fake APIs over HTTP: in a thread of the tests' process, and as a process of their own."""

import base64
import json
import signal
import subprocess
import sys
from http.client import RemoteDisconnected
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from fake_pictures import plain

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import running

RED = plain(255, 0, 0)


def post(url: str, body: bytes, key: str = "fake-key", kind: str = "image/png") -> bytes:
    with urlopen(Request(url, body, {"X-Api-Key": key, "Content-Type": kind}), timeout=10) as answer:
        return bytes(answer.read())


def test_bytes_and_json_get_the_same_answer() -> None:
    with running("http") as fake:
        answer = json.loads(post(fake.address.endpoint, RED))
        assert answer["labels"][0]["label"] == "red"
        assert len(answer["labels"]) == 9
        body = json.dumps({"image": base64.b64encode(RED).decode()}).encode()
        assert json.loads(post(fake.address.endpoint, body, kind="application/json")) == answer
        scores = json.loads(post(fake.address.endpoint.replace("classify", "scores"), RED))
        assert max(scores, key=scores.get) == "red"
        with urlopen(fake.address.bill) as bill:
            assert json.load(bill) == fake.bill
        assert (fake.bill["billed"], fake.bill["distinct"]) == (3, 1)


def test_troubles_are_statuses() -> None:
    with running("http", Conduct(throttle=1.0, retry_after=2.5)) as fake:
        with pytest.raises(HTTPError) as caught:
            post(fake.address.endpoint, RED)
        assert (caught.value.code, caught.value.headers["Retry-After"]) == (429, "2.5")
        with pytest.raises(HTTPError) as caught:
            post(fake.address.endpoint, RED, key="another")
        assert caught.value.code == 401
    with running("http", Conduct(reset=1.0)) as fake, pytest.raises((RemoteDisconnected, ConnectionError)):
        post(fake.address.endpoint, RED)
    with running("http", Conduct(rubbish=1.0)) as fake:
        assert post(fake.address.endpoint, RED) == b"<html>It works!</html>"


def test_an_unknown_fake_and_a_taken_port_are_errors_at_once() -> None:
    with pytest.raises(RaysmoothError, match="unknown fake API 'htp': did you mean 'http'"), running("htp"):
        pass
    with running("http") as fake:
        port = int(fake.address.bill.split(":")[2].partition("/")[0])
        with pytest.raises(OSError, match="address"), running("http", port=port):
            pass


@pytest.mark.processes
def test_a_process_serves_until_sigterm() -> None:
    command = [sys.executable, "-m", "raysmooth.tune.fake_apis", "http:limit=1000,key=secret"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())
        assert address["environment"] == {"FAKE_API_KEY": "secret"}
        assert json.loads(post(address["endpoint"], RED, key="secret"))["labels"][0]["label"] == "red"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.processes
def test_a_process_refuses_what_does_not_fit_in_one_line() -> None:
    command = [sys.executable, "-m", "raysmooth.tune.fake_apis", "http:throtle=1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "fake API 'http' has no option 'throtle': did you mean 'throttle'?" in ended.stderr
