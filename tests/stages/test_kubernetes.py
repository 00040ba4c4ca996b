"""`lulc submit --on kubernetes`: what is asked of an API server, and what its answers lead to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import small_world as world
from tests.helpers.kubernetes_api import KubernetesApi, kubernetes_api
from tests.lint import ROOT

SECRET = "a-key-that-nobody-may-see"
_COMMENTED = re.compile(r"^# (spark\.(?:kubernetes|executor)\.\S+ .*)$", re.MULTILINE)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubernetesApi]:
    with kubernetes_api(tmp_path / "api") as running:
        yield running


CLIENT = {
    "spark.submit.deployMode": "client",
    "spark.driver.host": "127.0.0.1",
    "spark.lulc.jobs": f"{ROOT}/jobs",
    "spark.pyspark.python": sys.executable,
    "spark.pyspark.driver.python": sys.executable,
}
"""The driver is a process of this machine, and not of the image."""


def properties(folder: Path, api: KubernetesApi, added: Mapping[str, str]) -> Path:
    """conf/kubernetes.properties with its secrets, GPUs and scratch space switched on."""
    text = _COMMENTED.sub(r"\1", (ROOT / "conf" / "kubernetes.properties").read_text())
    lines = [f"{name} {value}" for name, value in added.items()]
    file = folder / "kubernetes.properties"
    file.write_text("\n".join([text, f"spark.master k8s://{api.address}", *lines]))
    return file


def submitted(file: Path, run: Path, out: Path, stages: str, log: Path) -> subprocess.Popen[bytes]:
    keys = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": SECRET}
    environment = world.environment() | keys | {"SPARK_LOCAL_IP": "127.0.0.1"}
    environment["KUBECONFIG"] = str(file.with_name("none"))
    command = ["lulc", "submit", str(run), "--on", str(file), "--out", str(out)]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*command, "--stages", stages], env=environment, cwd=ROOT, stdout=output, stderr=output
        )


def await_pod(
    api: KubernetesApi, process: subprocess.Popen[bytes], log: Path, role: str
) -> dict[str, Any]:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        for pod in api.objects("pods"):
            if pod["metadata"]["labels"].get("spark-role") == role:
                return pod
        time.sleep(0.3)
    raise AssertionError(f"no {role} was asked for: {log.read_text()}")


def variables(pod: dict[str, Any]) -> dict[str, Any]:
    found = pod["spec"]["containers"][0]["env"]
    return {entry["name"]: entry.get("value") or entry.get("valueFrom") for entry in found}


def all_objects(api: KubernetesApi) -> str:
    kinds = ("pods", "configmaps", "services", "secrets")
    return json.dumps([api.objects(kind) for kind in kinds])


def secret(key: str) -> dict[str, Any]:
    return {"secretKeyRef": {"key": key, "name": "lulc-store"}}


@pytest.fixture
def stop() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Stop what a test submitted, at its end too."""
    started: list[psutil.Process] = []

    def remember(process: subprocess.Popen[bytes]) -> None:
        started.append(psutil.Process(process.pid))

    yield remember
    for parent in started:
        if parent.is_running():
            for process in (*parent.children(recursive=True), parent):
                process.kill()
            parent.wait(timeout=60)


def test_a_driver_is_asked_for_as_the_properties_say(
    api: KubernetesApi, small: world.World, tmp_path: Path, stop: Callable[..., None]
) -> None:
    log = tmp_path / "submit.log"
    file = properties(tmp_path, api, {})
    process = submitted(file, small.run, tmp_path / "out", "tile,predict", log)
    stop(process)
    driver = await_pod(api, process, log, "driver")
    (container,) = driver["spec"]["containers"]
    assert container["image"] == "lulc:latest"
    assert container["resources"]["requests"]["memory"] == "3072Mi"  # 1g and the overhead of 2g
    assert driver["spec"]["serviceAccountName"] == "spark"
    assert any(word.endswith("/opt/lulc/jobs/tile.py") for word in container["args"])
    assert variables(driver)["AWS_SECRET_ACCESS_KEY"] == secret("secret-key")
    api.end(driver, "Failed", 3)
    assert process.wait(timeout=60) == 3
    output = log.read_text()
    assert "stage tile ended with 3" in output
    assert "# predict:" not in output
    (settings,) = api.objects("configmaps")
    assert "spark.kubernetes.container.image=lulc\\:latest" in settings["data"]["spark.properties"]
    assert len(api.objects("services")) == 1
    assert SECRET not in all_objects(api) + output


def test_executors_are_asked_for_with_memory_gpus_and_secrets(
    api: KubernetesApi, small: world.World, done: Path, tmp_path: Path, stop: Callable[..., None]
) -> None:
    log, out = tmp_path / "submit.log", tmp_path / "out"
    shutil.copytree(done, out)
    shutil.rmtree(out / "tables" / "predictions")
    file = properties(tmp_path, api, CLIENT)
    process = submitted(file, small.run, out, "predict", log)
    stop(process)
    executor = await_pod(api, process, log, "executor")
    (container,) = executor["spec"]["containers"]
    asked = re.search(r"spark.executor.memoryOverhead=(\d+)m", log.read_text())
    assert asked
    wanted = f"{1024 + int(asked[1])}Mi"
    assert container["image"] == "lulc:latest"
    assert container["resources"]["limits"] == {"memory": wanted, "nvidia.com/gpu": "1"}
    assert container["resources"]["requests"]["memory"] == wanted
    assert container["resources"]["requests"]["cpu"] == "2"
    assert variables(executor)["AWS_ACCESS_KEY_ID"] == secret("access-key")
    assert variables(executor)["AWS_SECRET_ACCESS_KEY"] == secret("secret-key")
    scratch = {v["name"]: v.get("emptyDir") for v in executor["spec"]["volumes"]}
    assert scratch["spark-local-dir-1"]["sizeLimit"] == "50Gi"
    assert SECRET not in all_objects(api) + log.read_text()
