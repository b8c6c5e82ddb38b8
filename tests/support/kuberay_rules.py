"""JSON schemas of the keys in clusters/kuberay.yaml: a RayJob by KubeRay's CRD, and a NetworkPolicy by Kubernetes.
Unknown keys are errors, as the API server would drop them silently.
"""

from typing import Any


def of(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def many(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


TEXT, TRUTH, ANY = {"type": "string"}, {"type": "boolean"}, {"type": "object"}
WHOLE = {"type": "integer", "format": "int32"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITIES = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9.]+(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}],
    },
}
METADATA = of({"name": TEXT, "namespace": TEXT, "labels": TEXTS, "annotations": TEXTS})
CONTAINER = of(
    {
        "name": TEXT,
        "image": TEXT,
        "env": many(of({"name": TEXT, "value": TEXT, "valueFrom": ANY}, "name")),
        "ports": many(of({"containerPort": WHOLE, "name": TEXT}, "containerPort")),
        "resources": of({"requests": QUANTITIES, "limits": QUANTITIES}),
        "volumeMounts": many(of({"name": TEXT, "mountPath": TEXT, "readOnly": TRUTH}, "name", "mountPath")),
    },
    "name",
)
TOLERATION = of(
    {
        "key": TEXT,
        "operator": {"enum": ["Exists", "Equal"]},
        "value": TEXT,
        "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
    }
)
POD = of(
    {
        "metadata": METADATA,
        "spec": of(
            {
                "containers": many(CONTAINER),
                "serviceAccountName": TEXT,
                "tolerations": many(TOLERATION),
                "nodeSelector": TEXTS,
                "volumes": many(ANY),
            },
            "containers",
        ),
    }
)
HEAD = of(
    {
        "template": POD,
        "rayStartParams": TEXTS,
        "headService": ANY,
        "enableIngress": TRUTH,
        "serviceType": {"enum": ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]},
        "resources": TEXTS,
        "labels": TEXTS,
    },
    "template",
)
WORKERS = of(
    {
        "groupName": TEXT,
        "replicas": WHOLE,
        "minReplicas": WHOLE,
        "maxReplicas": WHOLE,
        "numOfHosts": WHOLE,
        "idleTimeoutSeconds": WHOLE,
        "rayStartParams": TEXTS,
        "template": POD,
        "scaleStrategy": ANY,
        "suspend": TRUTH,
        "resources": TEXTS,
        "labels": TEXTS,
    },
    "groupName",
    "maxReplicas",
    "minReplicas",
    "template",
)
AUTOSCALER = of(
    {
        "idleTimeoutSeconds": WHOLE,
        "upscalingMode": {"enum": ["Default", "Aggressive", "Conservative"]},
        "version": {"enum": ["v1", "v2"]},
        "resources": of({"requests": QUANTITIES, "limits": QUANTITIES}),
        "image": TEXT,
        "imagePullPolicy": TEXT,
    }
)
CLUSTER = of(
    {
        "rayVersion": TEXT,
        "authOptions": of({"mode": {"enum": ["disabled", "token"]}, "secretName": TEXT, "enableK8sTokenAuth": TRUTH}),
        "enableInTreeAutoscaling": TRUTH,
        "autoscalerOptions": AUTOSCALER,
        "headGroupSpec": HEAD,
        "workerGroupSpecs": many(WORKERS),
        "gcsFaultToleranceOptions": ANY,
        "headServiceAnnotations": TEXTS,
        "managedBy": TEXT,
        "suspend": TRUTH,
    },
    "headGroupSpec",
)
RAY_JOB = of(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": METADATA,
        "spec": of(
            {
                "entrypoint": TEXT,
                "runtimeEnvYAML": TEXT,
                "jobId": TEXT,
                "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
                "shutdownAfterJobFinishes": TRUTH,
                "ttlSecondsAfterFinished": WHOLE,
                "activeDeadlineSeconds": WHOLE,
                "backoffLimit": WHOLE,
                "rayClusterSpec": CLUSTER,
                "submitterPodTemplate": POD,
                "suspend": TRUTH,
            }
        ),
    },
    "apiVersion",
    "kind",
    "metadata",
    "spec",
)
SELECTOR = of({"matchLabels": TEXTS, "matchExpressions": many(ANY)})
NETWORK_POLICY = of(
    {
        "apiVersion": {"const": "networking.k8s.io/v1"},
        "kind": {"const": "NetworkPolicy"},
        "metadata": METADATA,
        "spec": of(
            {
                "podSelector": SELECTOR,
                "policyTypes": many({"enum": ["Ingress", "Egress"]}),
                "ingress": many(
                    of(
                        {
                            "from": many(of({"podSelector": SELECTOR, "namespaceSelector": SELECTOR, "ipBlock": ANY})),
                            "ports": many(of({"protocol": {"enum": ["TCP", "UDP", "SCTP"]}, "port": WHOLE})),
                        }
                    )
                ),
            },
            "podSelector",
        ),
    },
    "apiVersion",
    "kind",
    "metadata",
    "spec",
)
RULES = {"RayJob": RAY_JOB, "NetworkPolicy": NETWORK_POLICY}
