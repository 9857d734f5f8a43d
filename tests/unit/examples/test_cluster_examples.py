"""The example files for clusters, each checked as far as can be without the cluster it is for."""

import json
import os
import re
import shutil
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
import yaml

from quickalign.platform import config as configs
from quickalign.platform.config import Config

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "cluster"
ROOT = EXAMPLES.parents[1]
POD_KINDS = ("Deployment", "StatefulSet")


def text(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


def settings(written: str, folder: Path) -> Config:
    if "executor" not in Config.model_fields:
        pytest.skip("this version has no executor to choose")
    (folder / "config.toml").write_text(written)
    return configs.load(folder)


# Kubernetes


@pytest.fixture(scope="module")
def manifests() -> list[dict]:
    return list(yaml.safe_load_all(text("kuberay.yaml")))


def pods(manifests: list[dict]) -> dict[str, dict]:
    """The pod templates by the name of whatever makes them."""
    found = {one["metadata"]["name"]: one["spec"]["template"] for one in manifests if one["kind"] in POD_KINDS}
    ray = one_of(manifests, "RayCluster")["spec"]
    found["ray-head"] = ray["headGroupSpec"]["template"]
    return found | {f"ray-{group['groupName']}": group["template"] for group in ray["workerGroupSpecs"]}


def one_of(manifests: list[dict], kind: str) -> dict:
    [found] = [one for one in manifests if one["kind"] == kind]
    return found


def test_every_object_is_whole_and_in_one_namespace(manifests):
    assert {one["metadata"]["namespace"] for one in manifests} == {"quickalign"}
    assert len({(one["kind"], one["metadata"]["name"]) for one in manifests}) == len(manifests)
    assert all(one["apiVersion"] and one.get("spec", one.get("data")) for one in manifests)


def test_what_makes_pods_finds_them_and_services_do_too(manifests):
    labels = [template["metadata"]["labels"] for template in pods(manifests).values()]
    for one in manifests:
        if one["kind"] in POD_KINDS:
            assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]
        if one["kind"] == "Service":
            [template] = [
                pod for pod in pods(manifests).values() if one["spec"]["selector"] == pod["metadata"]["labels"]
            ]
            ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports
        if one["kind"] == "NetworkPolicy":
            chosen = [one["spec"]["podSelector"], *(peer["podSelector"] for peer in one["spec"]["ingress"][0]["from"])]
            assert all(selector["matchLabels"] in labels for selector in chosen)


def test_every_volume_and_secret_is_one_that_there_is(manifests):
    claims = {one["metadata"]["name"] for one in manifests if one["kind"] == "PersistentVolumeClaim"}
    configs_ = {one["metadata"]["name"] for one in manifests if one["kind"] == "ConfigMap"}
    # the first is made by hand, as the file's head says; the second by KubeRay, under the cluster's name
    secrets = {"quickalign-database", one_of(manifests, "RayCluster")["metadata"]["name"]}
    assert "create secret generic quickalign-database" in text("kuberay.yaml")
    templates = {one["metadata"]["name"] for one in one_of(manifests, "StatefulSet")["spec"]["volumeClaimTemplates"]}
    for name, template in pods(manifests).items():
        spec = template["spec"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        there = set(volumes) | (templates if "postgres" in name else set())
        for volume in volumes.values():
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in claims | {None}
            assert volume.get("configMap", {}).get("name") in configs_ | {None}
            assert volume.get("secret", {}).get("secretName") in secrets | {None}
        for container in (*spec["containers"], *spec.get("initContainers", [])):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= there
            for variable in container.get("env", []):
                assert variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name") in secrets | {None}


def test_no_pod_is_root_or_may_become_it(manifests):
    for template in pods(manifests).values():
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        for container in (*template["spec"]["containers"], *template["spec"].get("initContainers", [])):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_servers_and_nodes_see_one_home_and_ray_wants_a_token(manifests):
    found = pods(manifests)
    for name in ("quickalign-server", "ray-head", "ray-gpu"):
        [container] = found[name]["spec"]["containers"]
        assert "/state" in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert one_of(manifests, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteMany"]
    assert one_of(manifests, "RayCluster")["spec"]["authOptions"] == {"mode": "token"}


def test_probes_ask_for_paths_that_need_no_token(manifests):
    from quickalign.api.security import OPEN

    [server] = pods(manifests)["quickalign-server"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["httpGet"]["path"] in OPEN


def test_the_settings_in_the_config_map_are_settings(manifests, tmp_path):
    found = settings(one_of(manifests, "ConfigMap")["data"]["config.toml"], tmp_path)
    [server] = pods(manifests)["quickalign-server"]["spec"]["containers"]
    assert found.port == server["ports"][0]["containerPort"]
    assert "--insecure-http" in server["command"]


# `ray up`


def test_the_cluster_file_is_what_ray_s_schema_allows():
    if find_spec("ray") is None:
        pytest.skip("the extra `ray` is not installed")
    [place] = find_spec("ray").submodule_search_locations
    schema = json.loads((Path(place) / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load(text("ray-cluster.yaml")), schema)


def test_the_cluster_file_counts_its_machines_and_names_the_token_by_its_path_only():
    cluster = yaml.safe_load(text("ray-cluster.yaml"))
    assert cluster["max_workers"] == len(cluster["provider"]["worker_ips"])
    for name in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = cluster[name][-1]
        assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/" in start
        assert "RAY_AUTH_TOKEN=" not in start
        assert subprocess.run(["bash", "-n", "-c", start], check=False).returncode == 0


# Slurm


@pytest.fixture
def allocation(tmp_path):
    """Programs of Slurm, Ray and quickalign that only write down what they were asked."""
    programs = tmp_path / "bin"
    programs.mkdir()
    said = tmp_path / "said"
    fakes = {
        "scontrol": "printf 'node1\\nnode2\\n'",
        "srun": 'case "$*" in *hostname*) echo "10.0.0.7 fe80::1";; *) exec "$@";; esac',
        "ray": f'printf "%s\\n" "$@" "$RAY_AUTH_MODE" "$RAY_AUTH_TOKEN_PATH" >{said}',
        "python": "printf 0123456789abcdef",
        "quickalign": "exit 99",
    }
    for name, script in fakes.items():
        (programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "QUICKALIGN_HOME": str(tmp_path / "home"),
        "QUICKALIGN_DATABASE_URL": "postgresql://me@host/name",
        "QUICKALIGN_VENV": str(tmp_path),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_JOB_ID": "7",
    }
    return environment, tmp_path / "home", said


def submit(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(EXAMPLES / "slurm.sbatch")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_the_slurm_script_starts_ray_everywhere_and_the_server_on_its_head(allocation):
    environment, home, said = allocation
    done = submit(environment)
    assert done.returncode == 0, done.stderr
    asked = said.read_text().splitlines()
    assert asked[:3] == ["symmetric-run", "--address", "10.0.0.7:6379"]
    assert asked[asked.index("--min-nodes") + 1] == "2"
    assert asked[asked.index("--") + 1 :][1:4] == ["server", "run", "--database-url"]
    token = home / "ray-token"
    assert asked[-2:] == ["token", str(token)]
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() == "0123456789abcdef"
    token.write_text("mine")
    submit(environment)
    assert token.read_text() == "mine", "a token that is there stays"


@pytest.mark.parametrize("missing", ["QUICKALIGN_HOME", "QUICKALIGN_DATABASE_URL"])
def test_the_slurm_script_says_what_it_needs(allocation, missing):
    environment = {name: value for name, value in allocation[0].items() if name != missing}
    done = submit(environment)
    assert done.returncode != 0
    assert missing in done.stderr


# Compose, its image and its balancer


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load(text("compose.yaml"))


def test_compose_names_only_what_there_is(compose):
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert set(service.get("networks", ())) <= set(compose["networks"])
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or source == "./tls" or (EXAMPLES / source).exists()
        for needed in service.get("depends_on", {}).items():
            assert needed[1]["condition"] != "service_healthy" or "healthcheck" in services[needed[0]]
    assert [name for name, service in services.items() if "ports" in service] == ["balancer"]


def test_compose_has_two_servers_of_one_home_and_one_database(compose):
    services = compose["services"]
    assert services["server-a"] == services["server-b"]
    assert "state:/state" in services["server-a"]["volumes"]
    for name in ("ray-head", "ray-worker"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert "state:/state" in services[name]["volumes"]


def test_the_image_is_made_of_files_that_there_are():
    for sources in re.findall(r"^COPY (.+) \S+$", text("Dockerfile"), re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())


def test_the_settings_beside_it_are_settings(tmp_path, compose):
    found = settings(text("config.toml"), tmp_path)
    assert f"server-a:{found.port}" in text("nginx.conf")
    assert found.public_url is not None
    assert found.public_url.removeprefix("https://") in text("nginx.conf")


def test_the_balancer_passes_on_what_streams_need():
    written = text("nginx.conf")
    for line in ("proxy_buffering off;", "proxy_request_buffering off;", "proxy_read_timeout 3600s;"):
        assert line in written
    assert "proxy_set_header Host $host;" in written
    most = Config().max_upload_bytes // (1 << 30)
    assert f"client_max_body_size {most}g;" in written
    assert written.count("{") == written.count("}")


def test_nginx_itself_takes_the_balancer_s_file(tmp_path):
    program = shutil.which("nginx")
    if program is None or shutil.which("openssl") is None:
        pytest.skip("there is no nginx, or no openssl to make it a certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=align.example.org",
         "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    written = text("nginx.conf").replace("/etc/nginx/tls", str(tmp_path))
    written = re.sub(r"server-[ab]:", "127.0.0.1:", written)  # names that only the network of compose knows
    file = tmp_path / "nginx.conf"
    aside = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    inside = "".join(f"{name}_temp_path {tmp_path}/{name};\n" for name in aside)
    written = written.replace("http {", f"http {{\naccess_log off;\n{inside}", 1)
    file.write_text(f"pid {tmp_path}/pid;\nerror_log {tmp_path}/errors;\n{written}")
    done = subprocess.run([program, "-t", "-c", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
