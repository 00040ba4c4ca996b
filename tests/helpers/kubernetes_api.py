"""A Kubernetes API server on this machine that keeps what it is sent, and has no nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.helpers import jvm

JARS = (
    "io.fabric8:kubernetes-server-mock:7.1.0",  # of the release of Spark's own client
    "io.fabric8:mockwebserver:7.1.0",
    "io.fabric8:zjsonpatch:7.1.0",
    "io.vertx:vertx-web:4.5.12",
    "io.vertx:vertx-bridge-common:4.5.12",
)


_APPLYING = """
import io.fabric8.kubernetes.client.server.mock.KubernetesCrudDispatcher;
import io.fabric8.mockwebserver.dsl.HttpMethod;
import io.fabric8.mockwebserver.http.MockResponse;
import io.fabric8.mockwebserver.http.RecordedRequest;

public class Applying extends KubernetesCrudDispatcher {
    public MockResponse handlePatch(RecordedRequest patch) {
        String kind = patch.getHeader("content-type");
        if (kind == null || !kind.startsWith("application/apply-patch")) {
            return super.handlePatch(patch);
        }
        String folder = patch.getPath().replaceFirst("/[^/]*$", "");
        return handleCreate(new RecordedRequest(
            patch.getHttpVersion(), HttpMethod.POST, folder, patch.getHeaders(), patch.getBody()));
    }
}
"""
"""Applies what is not there yet, as an API server does, which the mock server leaves out."""


@dataclass(frozen=True)
class KubernetesApi:
    """A running API server at `http://host:port`."""

    address: str

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Return the objects of a kind, such as `pods`, of the default namespace."""
        place = f"{self.address}/api/v1/namespaces/default/{kind}"
        found: list[dict[str, Any]] = requests.get(place, timeout=30).json()["items"]
        return found

    def end(self, pod: dict[str, Any], phase: str, exit_code: int) -> None:
        """Let a pod's container end, as a node would tell it."""
        (container,) = pod["spec"]["containers"]
        ended = {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed"}
        told = {
            "name": container["name"],
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        status = {"phase": phase, "containerStatuses": [told]}
        place = f"namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        requests.put(
            f"{self.address}/api/v1/{place}/status",
            data=json.dumps(pod | {"status": status}),
            headers={"content-type": "application/json"},
            timeout=30,
        ).raise_for_status()


@contextmanager
def kubernetes_api(folder: Path) -> Iterator[KubernetesApi]:
    """Run an API server until the block ends; its log goes to a folder."""
    with jvm.started(jvm.fetch_jars(JARS), folder) as view:
        mock = view.io.fabric8.kubernetes.client.server.mock
        web = view.io.fabric8.mockwebserver
        compiler = view.org.codehaus.janino.SimpleCompiler()
        compiler.cook(_APPLYING)
        applying = compiler.getClassLoader().loadClass("Applying")
        server = mock.KubernetesMockServer(
            web.Context(),
            web.MockWebServer(),
            view.java.util.HashMap(),
            applying.newInstance(),
            False,
        )
        server.init(view.java.net.InetAddress.getByName("127.0.0.1"), 0)
        try:
            yield KubernetesApi(f"http://127.0.0.1:{server.getPort()}")
        finally:
            server.destroy()
