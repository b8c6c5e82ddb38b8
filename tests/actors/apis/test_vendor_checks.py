"""What is refused before anything is sent, and signatures, which moto verifies as AWS does."""

import json
import sys
from urllib.request import Request, urlopen

import pytest
from asked_apis import asked
from fake_pictures import plain
from object_store import Server

from raysmooth.actors.apis.answers import Answer
from raysmooth.actors.apis.apis import VISION_APIS, read_api
from raysmooth.actors.apis.failures import ApiFailure
from raysmooth.common.errors import RaysmoothError

LIBRARIES = {
    "google": ("google", "google.cloud.vision", None),
    "aws": ("aws:region=us-east-1", "boto3", None),
    "azure": ("azure", "azure.ai.vision.imageanalysis", "https://example.cognitiveservices.azure.com"),
    "clarifai": ("clarifai", "clarifai_grpc", None),
}


def refusal(classifier: str, endpoint: str | None) -> str:
    _, entry, options = read_api(classifier)
    with pytest.raises(RaysmoothError) as caught:
        entry.check(options, endpoint)
    return str(caught.value)


@pytest.mark.parametrize("api", LIBRARIES)
def test_a_missing_library_is_one_line_with_the_command_that_installs_it(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, module, endpoint = LIBRARIES[api]
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)

    class Missing:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == module or name.startswith(f"{module}."):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    assert refusal(classifier, endpoint).endswith(f"pip install 'raysmooth[{api}]'")


@pytest.mark.parametrize(
    ("classifier", "endpoint", "said"),
    [
        ("google:key_env=NOT_SET", None, "the environment variable NOT_SET is not set"),
        ("clarifai:key_env=NOT_SET", None, "the environment variable NOT_SET is not set"),
        ("azure:key_env=NOT_SET", "https://example.com", "the environment variable NOT_SET is not set"),
        ("azure", None, "azure needs --endpoint https://NAME.cognitiveservices.azure.com"),
        ("azure", "http://127.0.0.1:80", "takes a key alone: write azure:key_env=NAME"),
        ("azure", "http://example.com", "sent in the clear: write https://example.com"),
        ("azure", "http://example.com:8080/vision", "in the clear: write https://example.com:8080/vision"),
        ("google", "example.com", "write it as https://HOST"),
        ("google", "https://me:word@example.com", "has a user, a key or a query in it"),
        ("clarifai", "https://example.com/?key=secret", "has a user, a key or a query in it"),
        ("aws:region=us-east-1", "https://example.com:port", "write https://HOST or https://HOST:PORT"),
        ("google", None, "run `gcloud auth application-default login`"),
        ("aws:region=us-east-1", None, "run `aws configure`"),
        ("aws:region=us-east-11", None, "Rekognition is not in region 'us-east-11': did you mean 'us-east-1'?"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    classifier: str, endpoint: str | None, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("HOME", "CLOUDSDK_CONFIG", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    message = refusal(classifier, endpoint)
    assert said in message
    assert "word" not in message.replace("password", "")
    assert "secret" not in message


def test_a_key_in_place_of_its_variable_gets_nowhere() -> None:
    with pytest.raises(RaysmoothError, match="key_env names an environment variable, in capital letters"):
        read_api("azure:key_env=0a1b2c3d4e5f")


def test_what_decides_the_answers_is_described_without_credentials() -> None:
    for classifier, same in (
        ("google:key_env=ONE,transport=rest", "google:key_env=TWO"),
        ("azure:key_env=ONE", "azure"),
        ("clarifai:key_env=ONE", "clarifai"),
    ):
        described = [
            entry.describe(options, "https://example.com")
            for _, entry, options in (read_api(classifier), read_api(same))
        ]
        assert described[0] == described[1]
        assert "ONE" not in str(described[0])
    for one, other in (
        ("google", "google:model=builtin/latest"),
        ("aws:region=us-east-1", "aws:region=eu-west-1"),
        ("azure", "azure:model_version=2023-10-01"),
        ("clarifai", "clarifai:version_id=aa7f35c01e0642fda5cf400f543e7c40"),
    ):
        described = [entry.describe(options, None) for _, entry, options in (read_api(one), read_api(other))]
        assert described[0] != described[1]


def test_list_prices_and_limits() -> None:
    rates = [read_api(f"aws:region={region}")[1].rate for region in ("us-east-1", "us-west-2", "eu-central-1")]
    assert rates == [50, 50, 5]
    assert VISION_APIS["google"].price_per_1000 == 1.5
    assert VISION_APIS["clarifai"].price_per_1000 is None
    assert (VISION_APIS["aws"].least_side, VISION_APIS["azure"].least_side) == (80, 51)


def test_requests_to_aws_are_signed_as_it_verifies(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rekognition of moto, which answers "Mobile Phone", a kind of "Phone", to every picture that may be sent."""
    import boto3

    users = boto3.client("iam", endpoint_url=server.address, region_name="us-east-1")
    users.create_user(UserName="asks")
    allowed = {"Effect": "Allow", "Action": "rekognition:DetectLabels", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    users.put_user_policy(UserName="asks", PolicyName="asks", PolicyDocument=policy)
    key = users.create_access_key(UserName="asks")["AccessKey"]
    with urlopen(Request(f"{server.address}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})):
        pass  # from now on every signature and every right is verified
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    picture = plain(1, 2, 3, side=80)
    for secret in (key["SecretAccessKey"], "another"):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        (answer,) = asked("aws:region=eu-west-1", server.address, picture)
        if secret == "another":
            assert isinstance(answer, ApiFailure), answer
            assert "does not accept the credentials" in str(answer)
        else:
            assert isinstance(answer, Answer), answer
            assert answer.version == "3.0"
            (phone,) = [tag for tag in answer.tags if tag.name == "Mobile Phone"]
            assert phone.parents == ("Phone",)
            assert 0.99 < phone.score < 1


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://me:pa/s3cret@example.com",
        "me:s3cret@example.com",
        "https://me:s3cret@[example.com",
        "https://me:s3cret@example.com:port",
        "https://example.com:port/?key=s3cret",
        "https://example.com:port/#s3cret",
    ],
)
def test_no_message_about_an_endpoint_has_a_password(endpoint: str) -> None:
    for api in ("google", "clarifai"):
        assert "s3cret" not in refusal(api, endpoint)


def test_a_key_that_no_header_can_hold_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("s3cret\nANOTHER=1", "s3cret\u2028x", "s3cr\u00e9t"):
        monkeypatch.setenv("VISION_KEY", key)
        said = refusal("clarifai:key_env=VISION_KEY", None)
        assert "VISION_KEY has a line break, or another character that no key has" in said
        assert "s3cr" not in said


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_credentials_of_aws_are_read_as_other_keys_are(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "s3cret\nANOTHER=1" if name == variable else "fine")
    said = refusal("aws:region=us-east-1", None)
    assert f"aws: the environment variable {variable} has a line break" in said
    assert "s3cret" not in said
