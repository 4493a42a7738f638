"""Values that cannot be are refused before anything is installed, by a message that names them."""
import tempfile
from pathlib import Path

import yaml

from chart import CHART, HELMS, Loader, Refused, template

GOOD = CHART / "examples" / "trial.yaml"
# What is changed of values that are good, and what the message must have. A key of None is taken away.
BY_SCHEMA = [
    ({"gatway": {}}, "gatway"),
    ({"gateway": {"replica": 2}}, "replica"),
    ({"gateway": {"replicas": 0}}, "replicas"),
    ({"gateway": {"drainSeconds": "20s"}}, "drainSeconds"),
    ({"images": {"server": {"tag": "latest"}}}, "tag"),
    ({"images": {"worker": {"digest": "sha256:short"}}}, "digest"),
    ({"models": [{"name": "gpt2", "volume": "models", "dtype": "int7"}]}, "dtype"),
    ({"models": [{"name": "gpt2", "volume": "models", "ranks": 0}]}, "ranks"),
    ({"models": [{"name": "gpt2", "volume": "models", "residency": "disk"}]}, "residency"),
    ({"models": [{"name": "gpt2", "volume": "models", "path": "/gpt2"}]}, "path"),
    ({"models": [{"name": "gpt2"}]}, "volume"),
    ({"modelVolumes": [{"name": "models"}]}, "modelVolumes"),
    ({"modelVolumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "a"}, "hostPath": {"path": "/a"}}]}, "modelVolumes"),
    ({"workerPools": [{"name": "a-name-that-is-too-long"}]}, "name"),
    ({"workerPools": [{"name": "p", "gpus": {"cuont": 1}}]}, "cuont"),
    ({"workerPools": [{"name": "p", "autoscaling": {"mode": "always"}}]}, "mode"),
    ({"workerPools": [{"name": "p", "image": "registry.example.org/worker:latest"}]}, "image"),
    ({"workerPools": [{"name": "p", "resources": {"limits": {"memory": "lots"}}}]}, "memory"),
    ({"etcd": {"endpoints": ["10.0.0.1:2379"]}}, "endpoints"),
    ({"tls": {"mode": "off"}}, "mode"),
    ({"networkPolicy": {"clients": [{}]}}, "clients"),
    ({"bindAddress": "127.0.0.1"}, "bindAddress"),
    ({"userId": 0}, "userId"),
]
BY_TEMPLATES = [
    ({"tls": {"mode": "none"}, "workerPools": [{"name": "p", "holdsRanks": True}]}, "holdsRanks"),
    ({"models": []}, "models: name at least one model"),
    ({"models": [{"name": "gpt2", "volume": "other"}]}, "which modelVolumes does not have"),
    ({"models": [{"name": "gpt2", "volume": "models"}] * 2}, "named twice"),
    ({"modelVolumes": [{"name": "models", "emptyDir": {"sizeLimit": "1Gi"}}]}, "say with fill"),
    ({"workerPools": [{"name": "p", "models": ["gpt3"]}]}, "none of models"),
    ({"workerPools": [{"name": "p"}, {"name": "p"}]}, 'two are called "p"'),
    (
        {"models": [{"name": "gpt2", "volume": "models", "ranks": 4}], "workerPools": [{"name": "p", "models": ["gpt2"], "gpus": {"count": 2}}]},
        'on 4 ranks, a GPU each, and its workers have 2',
    ),
    ({"workerPools": [{"name": "p", "autoscaling": {"mode": "keda"}}]}, "autoscaling.serverAddress"),
    ({"workerPools": [{"name": "p", "autoscaling": {"mode": "hpa"}}]}, "autoscaling.externalMetric"),
    ({"workerPools": [{"name": "p", "gpus": {"dra": {"deviceClassName": "gpu"}}}]}, "gpus.count 0"),
    ({"etcd": {"trial": {"enabled": False}}}, "etcd.endpoints"),
    ({"etcd": {"endpoints": ["http://e:2379"]}}, "set one of them"),
    ({"etcd": {"trial": {"enabled": False}, "endpoints": ["http://e:1", "https://f:1"]}}, "either all by https"),
    ({"etcd": {"trial": {"enabled": False}, "endpoints": ["https://e:1"]}, "tls": {"mode": "none"}}, "etcd.tlsSecretName"),
    ({"etcd": {"user": "vitrine"}}, "etcd.passwordSecretName"),
    ({"objectStore": {"s3": {"bucket": "b"}}}, "in one place"),
    ({"objectStore": {"persistentVolumeClaim": {"enabled": False}}}, "objectStore: set s3.bucket"),
    ({"objectStore": {"persistentVolumeClaim": {"enabled": False}, "s3": {"bucket": "b", "endpoint": "http://m:9"}}}, "s3.plaintext"),
    ({"tls": {"mode": "secrets"}}, "tls.secrets.scheduler"),
    ({"tls": {"certManager": {"createAuthority": False}}}, "issuerRef.name"),
    ({"gateway": {"tls": {"certManager": {"enabled": True, "issuerRef": {"name": "i"}}}}}, "gateway.publicUrl"),
    ({"ingress": {"enabled": True}}, "ingress.host"),
    ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
    ({"grpcRoute": {"enabled": True}}, "grpcRoute.parentRefs"),
    ({"grpcRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}, "gateway.grpc.enabled"),
]


def what_the_schema_does_not_know_or_take_is_refused_by_its_name():
    for helm in HELMS:
        for change, word in BY_SCHEMA:
            refused(helm, change, word)


def what_does_not_go_together_is_refused_with_what_to_do():
    # These are the templates' own sentences, which no Helm words.
    for change, words in BY_TEMPLATES:
        refused("Helm 4", change, words)


def refused(helm, change, words):
    values = merged(yaml.load(GOOD.read_text(), Loader), change)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        try:
            template(helm, Path(file.name))
        except Refused as refused:
            assert words in str(refused), f"{helm}: {words!r} is not in {refused}"
            return
    raise AssertionError(f"{helm} takes {change}")


def merged(values, change):
    if not isinstance(values, dict) or not isinstance(change, dict):
        return change
    return values | {key: merged(values.get(key), inner) for key, inner in change.items()}


CHECKS = [what_the_schema_does_not_know_or_take_is_refused_by_its_name, what_does_not_go_together_is_refused_with_what_to_do]
