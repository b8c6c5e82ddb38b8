"""docs/vision-apis.md says what there is: APIs with their options, label rules, flags, and the file of a request."""

import re
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

from raysmooth.actors.apis.apis import VISION_APIS, read_api
from raysmooth.actors.apis.http_request import HttpRequest
from raysmooth.common.settings import checked
from raysmooth.pipeline.queries.label_rules import LABEL_RULES, read_label_rule
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.tune.fake_apis.fakes import FAKE_APIS

TEXT = (REPOSITORY / "docs/vision-apis.md").read_text()
NO_SETTINGS = {"--dry-run", "--port"}
"""Flags of commands that no setting is behind."""


def test_each_api_has_an_example_that_can_be_read() -> None:
    shown = re.findall(r"--classifier (\S+)", TEXT)
    for classifier in shown:
        read_api(classifier)
    assert {classifier.partition(":")[0] for classifier in shown} == set(VISION_APIS)
    for options in re.findall(r"`(\w+):(\w+)=", TEXT):
        assert options[0] in {*VISION_APIS, *LABEL_RULES, "nearest", "jpeg", "among"}, options


def test_flags_are_settings_of_certify() -> None:
    settings = {f"--{name.replace('_', '-')}" for name in PROCEDURES["certify"].settings.model_fields}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", TEXT)) <= settings | NO_SETTINGS


def test_label_rules_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    rules = re.findall(r"^\| `([^`]+)` \| ", TEXT.partition("## Labels")[2].partition("## Money")[0], re.MULTILINE)
    assert [read_label_rule(rule).name for rule in rules] == list(LABEL_RULES)


def test_the_file_of_a_request_is_one() -> None:
    (content,) = [block for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if "image_base64" in block]
    request = checked(HttpRequest, yaml.safe_load(content))
    assert request.variables == ["MY_TOKEN"]
    named = set(re.findall(r"^#? ?(\w+):", content, re.MULTILINE))
    assert named == set(HttpRequest.model_fields) - {"method"}
    tags = request.tags({"predictions": [{"classes": ["dog", "cat"], "scores": [0.75, 0.25]}]})
    assert [tag.name for tag in tags] == ["dog", "cat"]
    checked(HttpRequest, yaml.safe_load((REPOSITORY / "examples/black_box/request.yaml").read_text()))


def test_the_fake_that_is_shown_exists() -> None:
    for name in re.findall(r"raysmooth\.tune\.fake_apis (\w+)", TEXT):
        assert name in FAKE_APIS
