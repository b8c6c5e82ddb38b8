"""cluster.yaml and clusters/aws/: what a simulated AWS (moto) makes of them."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from cluster_files import Config, read, valid_for_ray
from conftest import REPOSITORY
from moto import mock_aws, settings
from moto.ec2.models.instance_types import InstanceTypeBackend


@pytest.fixture
def empty_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A simulated AWS with the key pair of cluster.yaml."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/YOUR-KEY.pem").write_text("")
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # thousands of images, of which none is used
    # Of hundreds of families the ones that are used: the simulated AWS takes seconds to list them all.
    kinds = InstanceTypeBackend.instance_types
    families = [kind for kind in kinds if kind["InstanceType"].split(".")[0] in ("m7i", "g6", "g5", "p5")]
    monkeypatch.setattr(InstanceTypeBackend, "instance_types", families)
    with mock_aws():
        forget_clients()
        ec2 = boto3.client("ec2", "us-east-1")
        ec2.create_key_pair(KeyName="YOUR-KEY")
        yield ec2


@pytest.fixture
def aws(empty_aws: Any) -> Any:
    """The same with the instance profiles of cluster.yaml."""
    for name in ("raysmooth-head", "raysmooth-worker"):
        boto3.client("iam").create_instance_profile(InstanceProfileName=name)
    return empty_aws


def forget_clients() -> None:
    """Ray caches clients and answers, also of an AWS that has ended and of other credentials."""
    from ray.autoscaler._private.aws import config, utils

    utils.resource_cache.cache_clear()
    utils.client_cache.cache_clear()
    config._get_subnets_or_die.cache_clear()


def launched(config: Config) -> dict[str, Config]:
    """One node of each type as EC2 describes it, after Ray has processed the file."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = valid_for_ray(config)
    config = AWSNodeProvider.bootstrap_config(AWSNodeProvider.fillout_available_node_types_resources(config))
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    ec2 = boto3.client("ec2", config["provider"]["region"])
    found = {}
    for name, node in config["available_node_types"].items():
        # moto does not look image names up; EC2 does.
        (created,) = provider.create_node({**node["node_config"], "ImageId": "ami-12c6146b"}, {"kind": name}, 1)
        (reservation,) = ec2.describe_instances(InstanceIds=[created])["Reservations"]
        found[name] = {**reservation["Instances"][0], "resources": node["resources"], "asked": node["node_config"]}
    return found


def test_aws_takes_every_node_type(aws: Any) -> None:
    nodes = launched(read("aws"))
    assert {name: node["InstanceType"] for name, node in nodes.items()} == {
        "head": "m7i.large",
        "l4-spot": "g6.2xlarge",
        "a10g-spot": "g5.2xlarge",
        "h100": "p5.4xlarge",
    }
    assert {name for name, node in nodes.items() if node.get("InstanceLifecycle") == "spot"} == {"l4-spot", "a10g-spot"}
    assert {name for name, node in nodes.items() if node["resources"].get("GPU") == 1} == {
        "l4-spot",
        "a10g-spot",
        "h100",
    }
    assert nodes["head"]["resources"]["CPU"] == 0
    for name, node in nodes.items():
        assert node["KeyName"] == "YOUR-KEY"
        assert node["IamInstanceProfile"]["Arn"].endswith("raysmooth-head" if name == "head" else "raysmooth-worker")
        assert node["asked"]["MetadataOptions"]["HttpTokens"] == "required"
        assert re.fullmatch(r"resolve:ssm:/aws/service/deeplearning/[\w/.-]+/ami-id", node["asked"]["ImageId"])


def test_aws_allows_only_ssh_from_outside(aws: Any) -> None:
    nodes = launched(read("aws"))
    (group,) = {group["GroupId"] for node in nodes.values() for group in node["SecurityGroups"]}
    (described,) = aws.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert described["GroupName"] == "raysmooth"
    rules = {rule["IpProtocol"]: rule for rule in described["IpPermissions"]}
    assert set(rules) == {"-1", "tcp"}
    # Traffic between nodes...
    assert [pair["GroupId"] for pair in rules["-1"]["UserIdGroupPairs"]] == [group]
    assert not rules["-1"]["IpRanges"]
    # ...and ssh, which needs the key.
    assert (rules["tcp"]["FromPort"], rules["tcp"]["ToPort"]) == (22, 22)


def test_an_existing_group_is_not_changed(aws: Any) -> None:
    """To allow ssh from one address alone, create the group first."""
    (vpc,) = aws.describe_vpcs()["Vpcs"]
    made = aws.create_security_group(GroupName="raysmooth", Description="mine", VpcId=vpc["VpcId"])["GroupId"]
    mine = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}]
    aws.authorize_security_group_ingress(GroupId=made, IpPermissions=mine)
    nodes = launched(read("aws"))
    assert {group["GroupId"] for node in nodes.values() for group in node["SecurityGroups"]} == {made}
    (described,) = aws.describe_security_groups(GroupIds=[made])["SecurityGroups"]
    (rule,) = described["IpPermissions"]
    assert rule["IpRanges"] == [{"CidrIp": "192.0.2.1/32"}]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"InstanceType": "g6.2xlrge"}, "g6.2xlrge"),
        ({"InstanceMarketOption": {"MarketType": "spot"}}, "Unknown parameter in input"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSze": 1}}]}, "VolumeSze"),
        ({"IamInstanceProfile": {"Name": "no-such-profile"}}, "no-such-profile"),
    ],
)
def test_aws_does_not_take_broken_nodes(aws: Any, change: Config, expected: str) -> None:
    config = read("aws")
    config["available_node_types"]["l4-spot"]["node_config"].update(change)
    with pytest.raises((Exception, SystemExit), match=expected):
        launched(config)


# clusters/aws/stack.yaml: the bucket, the instance profiles of cluster.yaml, and the policies

STACK = REPOSITORY / "clusters/aws/stack.yaml"
ROLES = {"head": "raysmooth-head", "worker": "raysmooth-worker"}


def create_stack(**parameters: str) -> dict[str, str]:
    """Create the stack in the simulated AWS. Returns its outputs."""
    client = boto3.client("cloudformation", "us-east-1")
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    client.create_stack(
        StackName="raysmooth",
        TemplateBody=STACK.read_text(),
        Parameters=given,
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    (stack,) = client.describe_stacks(StackName="raysmooth")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def policy(arn: str) -> list[Config]:
    document = boto3.client("iam").get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    return document["Statement"]


def widen(arns: list[str], without: str | None = None) -> None:
    """Leave out conditions and resources, which moto does not know of EC2's actions, and the action `without`."""
    iam = boto3.client("iam")
    for arn in arns:
        statements = []
        for statement in policy(arn):
            actions = statement["Action"]
            kept = [each for each in ([actions] if isinstance(actions, str) else actions) if each != without]
            if kept:
                statements.append({"Effect": statement["Effect"], "Action": kept, "Resource": "*"})
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)


def person(policies: list[str]) -> dict[str, str]:
    """The credentials of a new user who has these policies alone."""
    iam = boto3.client("iam")
    iam.create_user(UserName="person")
    for arn in policies:
        iam.attach_user_policy(UserName="person", PolicyArn=arn)
    key = iam.create_access_key(UserName="person")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def machine(role: str) -> dict[str, str]:
    """The credentials that a machine of this role has."""
    arn = boto3.client("iam").get_role(RoleName=role)["Role"]["Arn"]
    given = boto3.client("sts").assume_role(RoleArn=arn, RoleSessionName="machine")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


@contextmanager
def acting_as(credentials: dict[str, str]) -> Iterator[None]:
    """Every call is made with these credentials, and moto refuses what their policies do not allow."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials.items():
            patch.setenv(name, value)
        patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        forget_clients()
        yield
    forget_clients()


def start_and_end_a_cluster(credentials: dict[str, dict[str, str]]) -> None:
    """`ray up` by a person, a worker that the head's autoscaler starts and ends, and `ray down`.

    Raises AWS's refusals.
    """
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = valid_for_ray(read("aws"))
    image = {"ImageId": "ami-12c6146b"}  # moto does not look image names up

    def started(provider: AWSNodeProvider, kind: str) -> str:
        asked = {**config["available_node_types"][kind]["node_config"], **image}
        (created,) = provider.create_node(asked, {"ray-node-type": kind}, 1)
        assert provider.non_terminated_nodes({"ray-node-type": kind}) == [created]
        provider.set_node_tags(created, {"ray-node-status": "up-to-date"})
        return created

    def provider() -> AWSNodeProvider:
        return AWSNodeProvider(config["provider"], config["cluster_name"])

    with acting_as(credentials["person"]):
        config = AWSNodeProvider.bootstrap_config(AWSNodeProvider.fillout_available_node_types_resources(config))
        head = started(provider(), "head")
    with acting_as(credentials["head"]):
        autoscaler = provider()
        autoscaler.terminate_nodes([started(autoscaler, "l4-spot")])
    with acting_as(credentials["person"]):
        ending = provider()
        ending.non_terminated_nodes({})
        ending.terminate_node(head)
    with acting_as(credentials["worker"]), pytest.raises(ClientError, match="AccessDenied"):
        boto3.client("ec2", "us-east-1").describe_instances()
    with acting_as(credentials["worker"]):
        files = boto3.client("s3", "us-east-1")
        files.put_object(Bucket="results", Key="part", Body=b"rows")
        assert files.get_object(Bucket="results", Key="part")["Body"].read() == b"rows"
        with pytest.raises(ClientError, match="AccessDenied"):
            boto3.client("iam").list_users()


def credentials_of_all(outputs: dict[str, str]) -> dict[str, dict[str, str]]:
    people = person(outputs["PoliciesForPeople"].split())
    return {"person": people, **{kind: machine(role) for kind, role in ROLES.items()}}


def test_the_stack_is_enough_for_a_cluster(empty_aws: Any) -> None:
    outputs = create_stack(Bucket="results")
    assert outputs["Results"] == "s3://results"
    widen(outputs["PoliciesForPeople"].split())
    start_and_end_a_cluster(credentials_of_all(outputs))


@pytest.mark.parametrize(
    "action",
    ["ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances", "ec2:DescribeInstances",
     "ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress", "s3:PutObject"],
)  # fmt: skip
def test_without_one_of_its_actions_the_stack_is_not_enough(
    empty_aws: Any, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = create_stack(Bucket="results")
    widen(outputs["PoliciesForPeople"].split(), without=action)
    with pytest.raises(Exception, match=r"AccessDenied|cli_logger.abort") as refused:  # Ray prints some refusals
        start_and_end_a_cluster(credentials_of_all(outputs))
    said = f"{refused.value}{capsys.readouterr().out}"
    named = "PutObject operation: Access Denied" if action == "s3:PutObject" else f"not authorized to perform: {action}"
    assert named in said


def test_the_stack_takes_a_bucket_that_exists(empty_aws: Any) -> None:
    boto3.client("s3", "us-east-1").create_bucket(Bucket="mine")
    create_stack(Bucket="mine", CreateBucket="no")
    assert [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]] == ["mine"]


def test_the_stack_opens_nothing_else(empty_aws: Any) -> None:
    outputs = create_stack(Bucket="results")
    for arn in outputs["PoliciesForPeople"].split():
        for statement in policy(arn):
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                assert "*" not in action
                looks = re.match(r"ec2:Describe|servicequotas:", action)
                assert looks or statement["Resource"] != "*", action
                if action in (
                    "ec2:TerminateInstances",
                    "iam:PassRole",
                    "iam:CreateServiceLinkedRole",
                    "ec2:CreateTags",
                ):
                    assert statement["Condition"], action
    bucket = read_template()["Resources"]["ResultsBucket"]
    assert bucket["DeletionPolicy"] == "Retain"
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}


def test_the_stack_fits_cluster_yaml() -> None:
    """Names and types, and the tag by which machines of this cluster are known."""
    config, stack = read("aws"), read_template()
    nodes = config["available_node_types"]
    types = stack["Parameters"]["InstanceTypes"]["Default"].split(",")
    assert sorted(types) == sorted({node["node_config"]["InstanceType"] for node in nodes.values()})
    assert stack["Parameters"]["ClusterName"]["Default"] == config["cluster_name"]
    profiles = {node["node_config"]["IamInstanceProfile"]["Name"] for node in nodes.values()}
    assert profiles == set(ROLES.values())
    assert profiles == {
        each["Properties"]["InstanceProfileName"]
        for each in stack["Resources"].values()
        if each["Type"] == "AWS::IAM::InstanceProfile"
    }


def test_machines_carry_the_clusters_tag_when_they_start(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policies tell the machines of this cluster by it."""
    asked: list[Config] = []
    real = BaseClient._make_api_call

    def noted(self: Any, operation: str, words: Config) -> Any:
        if operation == "RunInstances":
            asked.append(words)
        return real(self, operation, words)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    launched(read("aws"))
    assert len(asked) == 4
    for words in asked:
        (tags,) = [each["Tags"] for each in words["TagSpecifications"] if each["ResourceType"] == "instance"]
        assert {"Key": "ray-cluster-name", "Value": "raysmooth"} in tags


def read_template() -> Config:
    """The template, with the functions of CloudFormation as they are written."""

    class Template(yaml.SafeLoader):
        pass

    Template.add_multi_constructor("!", lambda loader, suffix, node: suffix)
    return yaml.load(STACK.read_text(), Template)


def test_cloudformation_takes_the_template() -> None:
    """By AWS's own linter, which knows all resources, properties and actions."""
    from cfnlint import ManualArgs, lint_file

    assert lint_file(STACK, config=ManualArgs(include_checks=["I"], ignore_checks=["I3042"])) == []
