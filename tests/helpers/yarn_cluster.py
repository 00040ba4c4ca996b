"""A YARN cluster on this machine: a resource manager and two node managers in one JVM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lulc.spark import java
from tests.helpers import jvm
from tests.helpers.small_world import environment

JARS = (
    "org.apache.hadoop:hadoop-client-minicluster:3.4.1",  # of the release of Spark's own Hadoop
    # What that JAR of tests is compiled against.
    "junit:junit:4.13.2",
    "javax.xml.bind:jaxb-api:2.3.1",
    "org.bouncycastle:bcpkix-jdk18on:1.80",
    "org.bouncycastle:bcprov-jdk18on:1.80",
    "org.bouncycastle:bcutil-jdk18on:1.80.2",
)

_NODES = 2
_SETTINGS = {
    "fs.defaultFS": "file:///",
    "yarn.scheduler.capacity.root.queues": "default",
    "yarn.scheduler.capacity.root.default.capacity": "100",
    "yarn.scheduler.capacity.maximum-am-resource-percent": "1.0",
    "yarn.scheduler.minimum-allocation-mb": "128",
    "yarn.minicluster.yarn.nodemanager.resource.memory-mb": "8192",
    # A container that takes more memory than it asked for is killed, and soon.
    "yarn.minicluster.control-resource-monitoring": "true",
    "yarn.nodemanager.container-monitor.interval-ms": "500",
    "yarn.nodemanager.resource.memory.enforced": "false",  # otherwise that is left to cgroups
    "yarn.nodemanager.vmem-check-enabled": "false",
    # A developer's disk may be fuller than a node's ought to be.
    "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "100",
}


@dataclass(frozen=True)
class YarnCluster:
    """A running cluster: its settings for clients, and its folder, with the containers' logs."""

    conf: Path
    folder: Path

    def environment(self) -> dict[str, str]:
        """Return the environment of a client of the cluster."""
        return environment() | {"HADOOP_CONF_DIR": str(self.conf), "SPARK_LOCAL_IP": "127.0.0.1"}

    def logs(self) -> str:
        """Return what the containers wrote, the end of each."""
        files = sorted(self.folder.glob("**/container_*/std*"))
        return "\n".join(f"{file}\n{file.read_text()[-40_000:]}" for file in files)


@contextmanager
def yarn(folder: Path) -> Iterator[YarnCluster]:
    """Run a cluster of two nodes until the block ends, all its files in an empty folder."""
    conf_folder = folder / "conf"
    conf_folder.mkdir(parents=True)
    options = ("--add-opens=java.base/java.lang=ALL-UNNAMED", "-Xmx512m")
    with jvm.started(jvm.fetch_jars(JARS), folder, *options) as view:
        conf = view.org.apache.hadoop.yarn.conf.YarnConfiguration()
        home = {"yarn.nodemanager.admin-env": f"JAVA_HOME={java.find_home()}"}
        for name, value in (_SETTINGS | home).items():
            conf.set(name, value)
        cluster = view.org.apache.hadoop.yarn.server.MiniYARNCluster("lulc", _NODES, 1, 1)
        cluster.init(conf)
        cluster.start()
        assert cluster.waitForNodeManagersToConnect(60_000)
        for name in ("core-site.xml", "yarn-site.xml"):
            with_addresses = view.java.io.FileOutputStream(str(conf_folder / name))
            cluster.getConfig().writeXml(with_addresses)
            with_addresses.close()
        # It takes half a minute to stop in order: its JVM is killed.
        yield YarnCluster(conf_folder, folder)
