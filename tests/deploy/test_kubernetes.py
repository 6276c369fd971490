"""The manifests of deploy/kubernetes: valid, confined, and in agreement with the images and the settings."""

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.settings import Settings
from tests.support.fixtures.kustomize import Manifest, customize, documents, render

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
VERSIONS = ("1.29", "1.37")  # of Kubernetes: the oldest that the manifests are for, and the newest known here
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
SHARED_VOLUME = {"resources": ["../cpu"], "components": ["../volume"]}  # as the documentation has it
VARIANTS: dict[str, list[Manifest]] = {
    **{name: render(FOLDER / name) for name in ("cpu", "gpu", "migrate")},
    "volume": customize(SHARED_VOLUME, FOLDER / "cpu"),
}
MANIFESTS = [(variant, manifest) for variant, manifests in VARIANTS.items() for manifest in manifests]
IDS = [f"{variant}-{manifest['kind']}-{manifest['metadata']['name']}" for variant, manifest in MANIFESTS]


def of_kind(variant: str, kind: str) -> dict[str, Manifest]:
    """The manifests of a kind by name."""
    return {one["metadata"]["name"]: one for one in VARIANTS[variant] if one["kind"] == kind}


def pods(*, with_page: bool = True) -> list[Any]:
    """The templates of all pods, with the names of variant and owner."""
    return [
        pytest.param(manifest["spec"]["template"], id=name)
        for name, (_, manifest) in zip(IDS, MANIFESTS, strict=True)
        if manifest["kind"] in ("Deployment", "Job")
        and (with_page or manifest["metadata"]["name"] != "recurra-page")
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("variant", "manifest"), MANIFESTS, ids=IDS)
def test_the_schema_of_kubernetes_accepts_it(variant: str, manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize(
    "change", [{"replicaz": 2}, {"replicas": "two"}, {"selector": None}, {"strategy": {"maxSurge": 1}}]
)
def test_the_schema_refuses_what_is_wrong(change: Manifest) -> None:
    manifest = copy.deepcopy(of_kind("cpu", "Deployment")["recurra-api"])
    manifest["spec"] = {
        key: value for key, value in {**manifest["spec"], **change}.items() if value is not None
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def identity(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def test_kubectl_renders_the_same(tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if not kubectl or kubectl_minor(kubectl) < 21:
        pytest.skip("there is no kubectl of Kubernetes 1.21 or newer, which knows components, here")
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    own = tmp_path / "volume-of-all" / "kustomization.yaml"
    own.parent.mkdir()
    own.write_text(yaml.safe_dump(SHARED_VOLUME))
    for variant in ("cpu", "gpu", "migrate", "volume-of-all"):
        command = [kubectl, "kustomize", str(tmp_path / variant)]
        rendered = list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True).stdout))
        expected = render(tmp_path / variant)
        assert sorted(rendered, key=identity) == sorted(expected, key=identity)


def kubectl_minor(kubectl: str) -> int:
    """The second number of its version."""
    printed = subprocess.run([kubectl, "version", "--client", "-o", "json"], check=True, capture_output=True)
    version: str = json.loads(printed.stdout)["clientVersion"]["gitVersion"]
    return int(version.split(".")[1])


def test_every_file_is_part_of_something() -> None:
    everywhere = [one for _, one in MANIFESTS]
    for path in FOLDER.rglob("*.yaml"):
        if path.name != "kustomization.yaml":
            for document in documents(path):
                name = document["kind"], document["metadata"]["name"]
                assert name in [(one["kind"], one["metadata"]["name"]) for one in everywhere], path


@pytest.mark.parametrize("pod", pods())
def test_a_pod_is_as_confined_as_the_namespace_demands(pod: Manifest) -> None:
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 10001
    assert "useradd --uid 10001 --gid 10001" in (ROOT / "Dockerfile").read_text()
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys() == set()
    assert not any("hostPath" in volume for volume in spec["volumes"])
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("pod", pods())
def test_a_pod_says_what_it_takes(pod: Manifest) -> None:
    (container,) = pod["spec"]["containers"]
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    assert {"cpu", "memory"} <= requests.keys() & limits.keys()
    sizes = [v["emptyDir"]["sizeLimit"] for v in pod["spec"]["volumes"] if "emptyDir" in v]
    assert all(sizes)
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/tmp", "/var/lib/recurra"} <= mounts  # noqa: S108 - the file system is read-only elsewhere
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        v["name"] for v in pod["spec"]["volumes"]
    }


@pytest.mark.parametrize("pod", pods())
def test_a_pod_runs_what_compose_runs(pod: Manifest) -> None:
    (container,) = pod["spec"]["containers"]
    service = COMPOSE[pod["metadata"]["labels"][COMPONENT]]
    assert container["args"] == service["command"]
    assert "command" not in container  # the image's entry point is the program
    assert container["image"] == f"{service['image']}:{project_version()}"
    if container["name"] in ("train", "serve"):
        check = {"command": service["healthcheck"]["test"][1:]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["exec"] == check
        grace = int(service["stop_grace_period"].removesuffix("s"))
        assert pod["spec"]["terminationGracePeriodSeconds"] >= grace
        liveness = container["livenessProbe"]
        assert (
            liveness["periodSeconds"] * liveness["failureThreshold"] >= 1800
        )  # longer than outages of a database


def project_version() -> str:
    """The version in pyproject.toml."""
    match = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert match
    return match[1]


SETTINGS = {f"RECURRA_{field.upper()}" for field in Settings.model_fields}


@pytest.mark.parametrize("pod", pods(with_page=False))
def test_a_pod_gets_settings_that_exist(pod: Manifest) -> None:
    (container,) = pod["spec"]["containers"]
    assert {"configMapRef": {"name": "recurra"}} in container["envFrom"]
    config = of_kind("cpu", "ConfigMap")["recurra"]["data"]
    assert {key for key in config if not key.startswith("AWS_")} <= SETTINGS
    Settings(**{key.removeprefix("RECURRA_").lower(): value for key, value in config.items()})
    secrets = [mount for mount in container["volumeMounts"] if mount["name"] == "servers"]
    assert {mount["subPath"] for mount in secrets} == {"recurra_database_url", "recurra_redis_url"}
    for mount in secrets:  # a mount of the folder would hide those of others below /run/secrets
        assert mount["mountPath"] == f"/run/secrets/{mount['subPath']}"
        assert mount["subPath"].upper() in SETTINGS


@pytest.mark.parametrize("variant", ["cpu", "gpu", "volume"])
def test_the_page_knows_the_api_and_no_secret(variant: str) -> None:
    spec = of_kind(variant, "Deployment")["recurra-page"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "recurra-page"}}]
    assert "env" not in container
    assert [next(iter(volume.keys() - {"name"})) for volume in spec["volumes"]] == ["emptyDir"] * 2
    config = of_kind(variant, "ConfigMap")["recurra-page"]["data"]
    own = config.keys() - {"RECURRA_URL", "RECURRA_PUBLIC_URL", "TMPDIR"}  # of the command, and of Python
    assert own <= SETTINGS
    assert own < COMPOSE["page"]["environment"].keys()
    (port,) = of_kind(variant, "Service")["recurra-api"]["spec"]["ports"]
    assert config["RECURRA_URL"] == f"http://recurra-api:{port['port']}"
    assert "recurra-api" in of_kind(variant, "ConfigMap")["recurra"]["data"]["RECURRA_ALLOWED_HOSTS"]
    assert config["TMPDIR"] in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_selectors_select_what_they_are_for(variant: str) -> None:
    deployments = of_kind(variant, "Deployment")
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in deployments.values()]
    for name, one in deployments.items():
        template = one["spec"]["template"]
        assert (
            one["spec"]["selector"]["matchLabels"]
            == template["metadata"]["labels"]
            == one["metadata"]["labels"]
        )
        assert name == f"recurra-{template['metadata']['labels'][COMPONENT]}"
        for spread in template["spec"]["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"] == template["metadata"]["labels"]
    api = {NAME: "recurra", COMPONENT: "api"}
    assert len({one[COMPONENT] for one in labels}) == len(labels)
    assert of_kind(variant, "Service")["recurra-api"]["spec"]["selector"] == api
    assert of_kind(variant, "PodDisruptionBudget")["recurra-api"]["spec"]["selector"]["matchLabels"] == api
    closed, *opened = (one["spec"] for one in of_kind(variant, "NetworkPolicy").values())
    assert closed["podSelector"]["matchLabels"] == {NAME: "recurra"}
    assert "ingress" not in closed
    page = {NAME: "recurra", COMPONENT: "page"}
    assert of_kind(variant, "Service")["recurra-page"]["spec"]["selector"] == page
    assert [one["podSelector"]["matchLabels"] for one in opened] == [api, page]


@pytest.mark.parametrize("name", ["recurra-api", "recurra-page"])
def test_the_service_leads_to_the_port_that_is_listened_on(name: str) -> None:
    (container,) = of_kind("cpu", "Deployment")[name]["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert str(port["containerPort"]) in container["args"]
    (service_port,) = of_kind("cpu", "Service")[name]["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": port["name"]}


def test_workers_have_gpus_all_or_none_each_role_once() -> None:
    for variant, gpus in (("cpu", None), ("gpu", 1)):
        deployments = of_kind(variant, "Deployment").items()
        workers = [one for name, one in deployments if name not in ("recurra-api", "recurra-page")]
        containers = [one["spec"]["template"]["spec"]["containers"][0] for one in workers]
        assert sorted(container["name"] for container in containers) == ["serve", "train"]
        assert [container["resources"]["limits"].get("nvidia.com/gpu") for container in containers] == [
            gpus
        ] * 2
        if gpus:  # a new pod gets the card of the old one
            assert {one["spec"]["strategy"]["rollingUpdate"]["maxSurge"] for one in workers} == {0}


def test_a_volume_takes_the_place_of_the_store() -> None:
    claim = of_kind("volume", "PersistentVolumeClaim")["recurra-data"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert of_kind("volume", "ConfigMap")["recurra"]["data"]["RECURRA_STORAGE_URL"].startswith(
        "file:///var/lib/recurra/"
    )
    for name, deployment in of_kind("volume", "Deployment").items():
        if name == "recurra-page":  # which needs nothing of it
            continue
        (data,) = [v for v in deployment["spec"]["template"]["spec"]["volumes"] if v["name"] == "data"]
        assert data["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}


def test_nothing_secret_is_in_a_file() -> None:
    assert [one for _, one in MANIFESTS if one["kind"] == "Secret"] == []
    for path in FOLDER.rglob("*"):
        assert not path.is_file() or not re.search(r"://[^/\s]*:[^/\s]*@", path.read_text())
