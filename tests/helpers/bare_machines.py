"""Machines that lack what this one has, as workers of a standalone cluster.

They share this machine's processors and network and have file systems of their own, made by mounts
in a namespace: that takes root's rights, `unshare` and `ip`, and `debootstrap` for a bare Debian.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pyspark

from lulc.spark import java
from tests.helpers.spark_cluster import Machine
from tests.lint import ROOT

PREFIX = Path("/opt/lulc")
"""Where conf/image/install.sh puts lulc."""

_USER = 185
_CACHE = "/var/cache/uv"
_PASSED = ("SPARK_LOCAL_IP", "SPARK_WORKER_DIR", "SPARK_WORKER_OPTS", "SPARK_NO_DAEMONIZE")


def machine_without_lulc(spot: Path) -> Machine:
    """Return a machine that has Python, Java and Spark, and neither checkout nor environment.

    Args:
        spot: an empty folder, in which these are seen there.
    """
    shown = {
        "python": Path(sys.base_prefix),
        "java": java.find_home(),
        "spark": Path(pyspark.__file__).parent,
    }
    mounts = []
    for name, folder in shown.items():
        (spot / name).mkdir(parents=True)
        mounts.append(f"mount --bind {folder} {spot / name}")
    for folder in (ROOT, Path(sys.prefix), Path.home()):
        mounts.append(f"[ ! -d {folder} ] || mount -t tmpfs none {folder}")
    (spot / "home").mkdir()
    environment = {
        "PATH": f"{spot}/python/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": f"{spot}/python/lib",
        "HOME": f"{spot}/home",
        "JAVA_HOME": f"{spot}/java",
        "SPARK_HOME": f"{spot}/spark",
    }
    return Machine(_namespace(mounts, [], environment), f"{spot}/spark")


def bare_debian(root: Path) -> None:
    """Install a bare Debian in a folder, with a Python 3.12, and run the image's script there.

    Packages are linked from uv's cache, not copied.
    """
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root], check=True)
    shutil.copytree(sys.base_prefix, root / "usr/local", symlinks=True, dirs_exist_ok=True)
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).unlink(missing_ok=True)
    for file in ("/etc/ssl/certs/ca-certificates.crt", "/etc/resolv.conf", "/etc/hosts"):
        (root / file[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / file[1:])
    own = Path("usr/local/share/ca-certificates")
    if (Path("/") / own).is_dir():
        shutil.copytree(Path("/") / own, root / own, dirs_exist_ok=True)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (root / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / "src" / name)
    inside = inside_debian(root, [], user=0).enter
    subprocess.run([*inside, "ldconfig"], check=True)
    subprocess.run([*inside, "/src/conf/image/install.sh"], check=True)


def inside_debian(
    root: Path, shared: list[Path], user: int = _USER, is_offline: bool = False
) -> Machine:
    """Return the machine whose file system `bare_debian` made.

    Args:
        root: its folder.
        shared: folders of this machine that are seen there under the same path.
        user: number of the user that commands run as.
        is_offline: whether it has a loopback network alone.
    """
    uv = [str(Path(sys.executable).with_name("uv")), "cache", "dir"]
    cache = subprocess.run(uv, capture_output=True, text=True, check=True).stdout.strip()
    seen = {cache: _CACHE} | {str(folder): str(folder) for folder in shared}
    mounts = ["ip link set lo up"] if is_offline else []
    mounts += [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    for folder, place in seen.items():
        mounts += [f"mkdir -p {root}{place}", f"mount --bind {folder} {root}{place}"]
    certificates = "/etc/ssl/certs/ca-certificates.crt"
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/home/lulc" if user else "/root",
        "LANG": "C.UTF-8",
        "UV_CACHE_DIR": _CACHE,
        "UV_LINK_MODE": "symlink",
        "SSL_CERT_FILE": certificates,
        "PIP_CERT": certificates,
        "SPARK_HOME": f"{PREFIX}/spark" if user else "",
    }
    change = ["chroot", str(root), "setpriv", f"--reuid={user}", "--regid=0", "--clear-groups"]
    return Machine(_namespace(mounts, change, environment, is_offline), f"{PREFIX}/spark")


def _namespace(
    mounts: list[str], change: list[str], environment: dict[str, str], is_offline: bool = False
) -> tuple[str, ...]:
    # The command that runs another where the mounts are made, and that process alone sees them.
    given = [f"{name}={value}" for name, value in environment.items() if value]
    passed = " ".join(f'{name}="${{{name}:-}}"' for name in _PASSED)
    last = f'exec {shlex.join([*change, "env", "-i", *given])} {passed} "$@"'
    script = "\n".join(["set -eu", "umask 0", "mount --make-rprivate /", *mounts, last])
    network = ["--net"] if is_offline else []
    return ("unshare", "--mount", *network, "sh", "-c", script, "sh")


def packed(pex: Path) -> None:
    """Pack lulc without torch by conf/pack.sh."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "EXTRAS": "spark,hdf4,tracking"}
    subprocess.run([ROOT / "conf" / "pack.sh", pex], env=environment, check=True)
