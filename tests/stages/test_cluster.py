"""The same run by spark-submit on a local standalone cluster of a master and two workers."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import short_jvms
from tests.helpers import small_world as world
from tests.helpers.spark_cluster import standalone
from tests.lint import ROOT

JOBS = ("index", "tile", "predict", "rasters")


def test_the_submitted_stages_make_the_same_rasters(
    small: world.World, done: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    world.copy_model(done, out)
    with standalone(tmp_path / "cluster") as cluster:
        for job in JOBS:
            # The first is a bare spark-submit, which finds Sedona's JARs by
            # itself; the others get them as README describes.
            properties = ["--properties-file", ROOT / "conf" / "standalone.properties"]
            command = [
                "spark-submit",
                *("--master", cluster.address, "--executor-memory", "700m"),
                *("--conf", "spark.driver.host=127.0.0.1"),
                *("--conf", f"spark.executor.extraJavaOptions={short_jvms.of_this_process()}"),
                *([] if job == JOBS[0] else properties),
                *(ROOT / "jobs" / f"{job}.py", small.run, "--out", out),
            ]
            ran = world.run_command(*command)
            assert ran.returncode == 0, ran.stderr
    rasters = world.files(done, "rasters/**/*.tif")
    assert rasters
    assert world.files(out, "rasters/**/*.tif") == rasters
    assert world.files(out, "tables/predictions/*/*.parquet") == world.files(
        done, "tables/predictions/*/*.parquet"
    )
