"""The manifests are what KubeRay and `ray up` take, ask for what xal's engine needs, and are closed to strangers.

No package brings KubeRay's schema, so the parts in use are written down here, with names and types of its CRD and of
Kubernetes' core/v1; a name that is not listed is refused. The launcher's schema is Ray's own.
"""

import json
import re
import shlex
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xal.campaign.recipe import load
from xal.engine import RayEngine

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
GIB = 2**30
UNITS = {"": 1.0, "m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(m|Mi|Gi)?$")] | int
Resources = dict[Literal["cpu", "memory", "nvidia.com/gpu"], Quantity]
Mode = Literal["ReadWriteMany", "ReadWriteOnce"]


class Requirements(Strict):
    requests: Resources
    limits: Resources


class Capabilities(Strict):
    drop: list[str]


class ContainerSecurity(Strict):
    allowPrivilegeEscalation: Literal[False]
    capabilities: Capabilities


class Seccomp(Strict):
    type: Literal["RuntimeDefault"]


class PodSecurity(Strict):
    runAsNonRoot: Literal[True]
    runAsUser: Annotated[int, Field(ge=1)]
    runAsGroup: int | None = None
    fsGroup: int | None = None
    fsGroupChangePolicy: Literal["OnRootMismatch", "Always"] | None = None
    seccompProfile: Seccomp


class KeyRef(Strict):
    name: str
    key: str
    optional: bool = False


class Source(Strict):
    secretKeyRef: KeyRef


class Env(Strict):
    name: str
    valueFrom: Source


class SecretRef(Strict):
    name: str
    optional: bool = False


class EnvFrom(Strict):
    secretRef: SecretRef


class Port(Strict):
    name: str
    containerPort: int


class HttpGet(Strict):
    path: str
    port: int


class Probe(Strict):
    httpGet: HttpGet
    initialDelaySeconds: int
    periodSeconds: int
    timeoutSeconds: int
    failureThreshold: int


class Mount(Strict):
    name: str
    mountPath: str
    readOnly: bool = False


class Container(Strict):
    name: str
    image: str
    ports: list[Port] = []
    env: list[Env] = []
    envFrom: list[EnvFrom] = []
    resources: Requirements
    securityContext: ContainerSecurity
    readinessProbe: Probe | None = None
    livenessProbe: Probe | None = None
    volumeMounts: list[Mount] = []


class Claim(Strict):
    claimName: str


class ConfigMap(Strict):
    name: str
    optional: bool = False


class Volume(Strict):
    name: str
    persistentVolumeClaim: Claim | None = None
    configMap: ConfigMap | None = None


class Toleration(Strict):
    key: str
    operator: Literal["Exists", "Equal"]
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"]


class PodSpec(Strict):
    securityContext: PodSecurity
    automountServiceAccountToken: bool = True
    restartPolicy: Literal["Never", "OnFailure"] | None = None
    tolerations: list[Toleration] = []
    containers: list[Container]
    volumes: list[Volume] = []


class Template(Strict):
    spec: PodSpec


class Head(Strict):
    serviceType: Literal["ClusterIP"]
    rayStartParams: dict[str, str]
    template: Template


class Workers(Strict):
    groupName: str
    replicas: int
    minReplicas: int
    maxReplicas: int
    rayStartParams: dict[str, str]
    template: Template


class Auth(Strict):
    mode: Literal["token", "disabled"]


class Autoscaler(Strict):
    version: Literal["v1", "v2"]
    idleTimeoutSeconds: int
    resources: Requirements
    securityContext: ContainerSecurity


class ClusterSpec(Strict):
    rayVersion: str
    authOptions: Auth
    enableInTreeAutoscaling: bool
    autoscalerOptions: Autoscaler
    headGroupSpec: Head
    workerGroupSpecs: list[Workers]


class Metadata(Strict):
    name: str


class RayCluster(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: ClusterSpec


class JobSpec(Strict):
    entrypoint: str
    entrypointNumCpus: float
    submissionMode: Literal["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: int
    backoffLimit: int
    submitterPodTemplate: Template
    rayClusterSpec: ClusterSpec


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: JobSpec


class Storage(Strict):
    requests: dict[Literal["storage"], Quantity]


class ClaimSpec(Strict):
    accessModes: list[Mode]
    resources: Storage


class PersistentVolumeClaim(Strict):
    apiVersion: Literal["v1"]
    kind: Literal["PersistentVolumeClaim"]
    metadata: Metadata
    spec: ClaimSpec


def read(name: str) -> Any:
    return yaml.safe_load((CLUSTER / name).read_text())


def amount(quantity: str | int) -> float:
    """CPUs, bytes or cards."""
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", str(quantity)).groups()
    return float(number) * UNITS[unit]


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", path.read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def cluster() -> ClusterSpec:
    return RayCluster.model_validate(read("raycluster.yaml")).spec


@pytest.fixture(scope="module")
def job() -> JobSpec:
    return RayJob.model_validate(read("rayjob.yaml")).spec


def ray_pods(cluster: ClusterSpec) -> list[tuple[dict[str, str], PodSpec]]:
    return [(group.rayStartParams, group.template.spec) for group in [cluster.headGroupSpec, *cluster.workerGroupSpecs]]


def refusal(change) -> str:
    manifest = read("raycluster.yaml")
    change(manifest["spec"])
    with pytest.raises(ValidationError) as caught:
        RayCluster.model_validate(manifest)
    return str(caught.value)


def test_the_schema_refuses_misspelt_fields_and_open_services():
    assert "authOption\n" in refusal(lambda spec: spec.update(authOption={"mode": "token"}))
    assert "minReplica\n" in refusal(lambda spec: spec["workerGroupSpecs"][0].update(minReplica=1))
    assert "ClusterIP" in refusal(lambda spec: spec["headGroupSpec"].update(serviceType="LoadBalancer"))
    assert "rayStartParams.num-cpus" in refusal(
        lambda spec: spec["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0})
    )
    head = read("raycluster.yaml")["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    del head["resources"]["limits"]
    with pytest.raises(ValidationError, match="limits"):
        Container.model_validate(head)


def test_the_job_has_the_clusters_spec():
    assert read("rayjob.yaml")["spec"]["rayClusterSpec"] == read("raycluster.yaml")["spec"]


def test_ray_is_the_installed_one_behind_a_token(cluster: ClusterSpec):
    assert cluster.rayVersion == version("ray")
    assert cluster.authOptions.mode == "token"


def test_nothing_is_served_outside_the_cluster():
    for path in CLUSTER.glob("*.yaml"):
        assert not re.search(r"LoadBalancer|NodePort|Ingress|hostNetwork|hostPort|0\.0\.0\.0", path.read_text()), path


def test_it_scales_between_bounds_and_keeps_the_head_free(cluster: ClusterSpec):
    assert cluster.enableInTreeAutoscaling
    assert cluster.headGroupSpec.rayStartParams["num-cpus"] == "0"
    assert [group.groupName for group in cluster.workerGroupSpecs] == ["cpu", "gpu"]
    for group in cluster.workerGroupSpecs:
        assert 0 <= group.minReplicas <= group.replicas <= group.maxReplicas
        assert group.maxReplicas > 0


def test_requests_are_limits(cluster: ClusterSpec):
    """Ray takes its CPUs and memory from the limits; what is promised must be what the node reserves."""
    for _, pod in ray_pods(cluster):
        (container,) = pod.containers
        assert container.resources.requests == container.resources.limits
        assert {"cpu", "memory"} <= container.resources.requests.keys()
    assert cluster.autoscalerOptions.resources.requests == cluster.autoscalerOptions.resources.limits


def test_what_always_runs_holds_the_engines_defaults(cluster: ClusterSpec, job: JobSpec):
    """`RaySession.parallel_slots` for one campaign, beside the job's own process; torch gets 4 GiB beside the store."""
    engine = RayEngine()
    needed = 2 + engine.actors * engine.actor_cpus + engine.train_workers * engine.train_cpus + job.entrypointNumCpus
    always = sum(
        group.minReplicas * amount(group.template.spec.containers[0].resources.requests["cpu"])
        for group in cluster.workerGroupSpecs
    )
    assert always >= needed
    for params, pod in ray_pods(cluster):
        store = int(params["object-store-memory"])
        assert store >= engine.object_store_mb * 2**20
        assert amount(pod.containers[0].resources.requests["memory"]) - store >= 4 * GIB


def test_gpu_nodes_have_a_card_and_are_tolerated(cluster: ClusterSpec):
    cpu, gpu = (group.template.spec for group in cluster.workerGroupSpecs)
    assert amount(gpu.containers[0].resources.requests["nvidia.com/gpu"]) >= 1
    assert "nvidia.com/gpu" not in cpu.containers[0].resources.requests
    assert [(toleration.key, toleration.effect) for toleration in gpu.tolerations] == [("nvidia.com/gpu", "NoSchedule")]


def test_health_is_asked_where_ray_answers_without_a_token(cluster: ClusterSpec):
    agent = Path(find_spec("ray").origin).parent / "dashboard" / "http_server_agent.py"
    public = re.search(r"PUBLIC_EXACT_PATHS = \[(.*?)\]", agent.read_text(), re.DOTALL).group(1)
    for params, pod in ray_pods(cluster):
        for probe in (pod.containers[0].readinessProbe, pod.containers[0].livenessProbe):
            assert probe is not None
            assert f'"{probe.httpGet.path}"' in public
            assert str(probe.httpGet.port) == params["dashboard-agent-listen-port"]
        assert pod.containers[0].livenessProbe.failureThreshold > pod.containers[0].readinessProbe.failureThreshold


def test_workers_hold_no_key_of_kubernetes(cluster: ClusterSpec, job: JobSpec):
    pods = [group.template.spec for group in cluster.workerGroupSpecs] + [job.submitterPodTemplate.spec]
    assert not any(pod.automountServiceAccountToken for pod in pods)
    assert all(container.securityContext.capabilities.drop == ["ALL"] for pod in pods for container in pod.containers)


def test_secrets_are_references_and_storage_is_shared(cluster: ClusterSpec):
    claim = PersistentVolumeClaim.model_validate(read("storage.yaml"))
    assert claim.spec.accessModes == ["ReadWriteMany"]
    for _, pod in ray_pods(cluster):
        (container,) = pod.containers
        secrets = {env.name: env.valueFrom.secretKeyRef for env in container.env}
        assert secrets.keys() == {"XAL_LEDGER", "PGPASSWORD"}
        assert all(ref.name == "xal-ledger" and ref.optional for ref in secrets.values())
        volumes = {volume.name: volume for volume in pod.volumes}
        assert {mount.mountPath: mount.name for mount in container.volumeMounts} == {
            "/runs": "runs",
            "/recipes": "recipes",
        }
        assert volumes["runs"].persistentVolumeClaim == Claim(claimName=claim.metadata.name)
        assert volumes["recipes"].configMap is not None


def test_the_job_runs_a_recipe_that_joins_the_cluster(job: JobSpec):
    command, verb, recipe, *options = shlex.split(job.entrypoint)
    given = {"--out": "", "--set": []}
    for name, value in zip(options[::2], options[1::2], strict=True):
        given[name] = [*given["--set"], value] if name == "--set" else value
    assert (command, verb, Path(recipe).parent.as_posix()) == ("xal", "run", "/recipes")
    assert given["--out"].startswith("/runs/")
    loaded = load(ROOT / "pipelines" / Path(recipe).name, given["--set"])
    assert loaded.engine == RayEngine(address="auto", wait_s=900)
    assert job.shutdownAfterJobFinishes and job.ttlSecondsAfterFinished > 0
    assert job.backoffLimit > 0
    assert job.submitterPodTemplate.spec.restartPolicy == "Never"


def test_images_are_one(cluster: ClusterSpec, job: JobSpec):
    pods = [pod for _, pod in ray_pods(cluster)] + [job.submitterPodTemplate.spec]
    assert {container.image for pod in pods for container in pod.containers} == {"xal:latest"}
    assert "-t xal:latest" in (CLUSTER / "Containerfile").read_text()


def test_the_launcher_is_valid_to_ray_and_starts_ray_behind_a_token():
    schema = json.loads((Path(find_spec("ray").origin).parent / "autoscaler" / "ray-schema.json").read_text())
    launcher = read("launcher.yaml")
    jsonschema.validate(launcher, schema)
    with pytest.raises(jsonschema.ValidationError, match="head_start_ray_command"):
        jsonschema.validate({**launcher, "head_start_ray_command": []}, schema)
    starts = [
        [command for command in launcher[f"{node}_start_ray_commands"] if "ray start" in command]
        for node in ("head", "worker")
    ]
    assert [len(commands) for commands in starts] == [1, 1]
    for (command,) in starts:
        assert "export RAY_AUTH_MODE=token" in command.split("ray start")[0]
    assert "--dashboard-host=127.0.0.1" in starts[0][0]
    assert launcher["max_workers"] == len(launcher["provider"]["worker_ips"])
    assert list(launcher["file_mounts"].values()).count("~/.ray/auth_token") == 1


def test_the_image_installs_locked_packages_as_nobody():
    text = (CLUSTER / "Containerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"(?:pip|uv pip) install [^&\n]*", text)
    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes" in install or install.rstrip().endswith("--no-deps --no-build-isolation .")
    assert "-r requirements.lock" in text
    assert not re.search(r"https?://|index-url|\bextra-index", text)
    assert re.findall(r"^FROM (.*)$", text, re.MULTILINE) == ["python:3.11-slim"]
    assert "RAY_AUTH_MODE=token" in text
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1] == "1000:1000"


def test_the_lock_holds_what_a_cluster_needs():
    """Jobs API and probes (aiohttp), the ledger (psycopg), s3:// and gs://, and uv to install by."""
    locked = pins(ROOT / "requirements.lock")
    assert locked["ray"] == version("ray")
    assert {"aiohttp", "opencensus", "psycopg", "s3fs", "gcsfs", "uv"} <= locked.keys()
