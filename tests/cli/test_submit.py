"""What is submitted to a cluster: a command a stage, sized by the plan, with no secret shown."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from lulc.cli import cluster, main, run, spark_submit
from lulc.cost import memory
from lulc.location import parse_location
from lulc.stages import STAGES
from tests.cli.test_runfile import SMALL
from tests.helpers.object_stores import fill_bucket, object_store, store_variables
from tests.lint import ROOT

STANDALONE = ("--on", "spark://host:7077")


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    labels = {"path": "labels.tif"}
    path.write_text(yaml.safe_dump({**SMALL, "labels": labels, "bands": ["red", "nir"]}))
    return path


def commands(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, list[str]]:
    """Stage → the words of its printed command."""
    assert main.main(["submit", *map(str, arguments), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    found = re.findall(r"^# (\w+): .*\n((?:.*\\\n)*.*)$", printed, re.MULTILINE)
    return {stage: command.replace("\\\n", "").split() for stage, command in found}


def settings(command: list[str]) -> dict[str, str]:
    pairs = [word.removeprefix("--conf=") for word in command if word.startswith("--conf=")]
    return dict(pair.split("=", 1) for pair in pairs)


def mib(command: list[str]) -> int:
    return int(settings(command)["spark.executor.memoryOverhead"].removesuffix("m"))


def test_each_stage_is_a_job_with_its_own_memory(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = commands(capsys, run_file, "--out", tmp_path / "out", *STANDALONE)
    assert list(found) == [s for s in STAGES if s not in ("refine", "embed", "polygons", "publish")]
    for stage, command in found.items():
        assert command[0].endswith("pyspark/bin/spark-submit")
        assert f"--properties-file={ROOT}/conf/standalone.properties" in command
        job = command.index(f"{ROOT}/jobs/{stage}.py")
        assert command[job + 1 : job + 3] == [str(run_file), f"--out={tmp_path}/out"]
        assert settings(command)["spark.master"] == "spark://host:7077"
    overheads = {stage: mib(command) for stage, command in found.items()}
    assert overheads["train"] > overheads["predict"] > overheads["index"]
    assert not (tmp_path / "out").exists()


def test_memory_grows_with_the_block_and_the_cache(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = commands(capsys, run_file, "--out", tmp_path, *STANDALONE)
    grown = ("--set", "tiling.block=40", "--set", "train.cache=8g", "--set", "rasters.group=80")
    more = commands(capsys, run_file, "--out", tmp_path, *STANDALONE, *grown)
    grew = {stage for stage in one if mib(more[stage]) > mib(one[stage])}
    assert grew == {"tile", "train", "predict", "rasters"}
    # A fifth more than is planned.
    assert abs(mib(more["train"]) - mib(one["train"]) - 1.2 * 7 * 1024) <= 64


def test_ranks_of_a_training_start_together(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranks = ("--set", "train.ranks=3", "--stages", "train,tile")
    found = commands(capsys, run_file, "--on", "yarn", "--out", tmp_path, *ranks)
    training = settings(found["train"])
    assert training["spark.executor.cores"] == "2"
    assert training["spark.executor.instances"] == "2"
    assert training["spark.dynamicAllocation.enabled"] == "false"
    assert "spark.executor.instances" not in settings(found["tile"])


def test_gpus_go_to_the_stages_that_use_them(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.properties"
    file.write_text(
        "spark.master yarn\nspark.executor.cores = 4\nspark.executor.resource.gpu.amount: 1\n"
    )
    found = commands(capsys, run_file, "--on", file, "--out", tmp_path)
    amounts = {
        stage: (
            settings(command)["spark.executor.resource.gpu.amount"],
            settings(command).get("spark.task.resource.gpu.amount"),
        )
        for stage, command in found.items()
    }
    assert amounts.pop("train") == ("1", "1")
    assert amounts.pop("predict") == ("1", "0.25")
    assert set(amounts.values()) == {("0", None)}
    asked = ("--set", "predict.gpu=0.5", "--stages", "predict")
    predict = commands(capsys, run_file, "--on", file, "--out", tmp_path, *asked)["predict"]
    assert settings(predict)["spark.task.resource.gpu.amount"] == "0.5"


def test_a_setting_that_is_given_stands(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.properties"
    file.write_text("# mine\nspark.master spark://h:1\nspark.executor.memoryOverhead 9g\n")
    run = yaml.safe_load(run_file.read_text())
    run["spark"] = {"conf": {"spark.executor.memory": "7g", "spark.executor.cores": "3"}}
    run_file.write_text(yaml.safe_dump(run))
    found = commands(capsys, run_file, "--on", file, "--out", tmp_path)
    for stage, command in found.items():
        given = settings(command)
        assert not {"spark.executor.memoryOverhead", "spark.executor.memory"} & set(given)
        assert given["spark.executor.cores"] == ("1" if stage == "train" else "3")


def test_kubernetes_takes_its_jobs_and_python_from_the_image(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on = ("--on", "k8s://https://host:6443")
    found = commands(capsys, run_file, "--out", tmp_path, *on)
    for stage, command in found.items():
        assert f"local:///opt/lulc/jobs/{stage}.py" in command
        assert "spark.pyspark.python" not in settings(command)


def test_a_run_file_that_a_pod_is_not_sent_is_told(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for on, is_told in (("k8s://https://host:6443", True), ("yarn", False)):
        arguments = [str(run_file), "--on", on, "--out", str(tmp_path), "--dry-run"]
        assert main.main(["submit", *arguments]) == 0
        warned = f"a pod, which is not sent {run_file}" in capsys.readouterr().err
        assert warned is is_told


def test_a_driver_on_yarn_is_sent_the_run_file(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.properties"
    mode = "spark.master yarn\nspark.submit.deployMode cluster\n"
    file.write_text(f"{mode}spark.files hdfs:///lulc.pex\n")
    found = commands(capsys, run_file, "--on", file, "--out", "s3://b/out", "--stages", "tile")
    assert f"--files={run_file},hdfs:///lulc.pex" in found["tile"]
    job = found["tile"].index(f"{ROOT}/jobs/tile.py")
    assert found["tile"][job + 1 : job + 3] == ["run.yaml", "--out=s3://b/out"]
    assert not [word for word in found["tile"] if "pyspark.driver.python" in word]


def test_a_plan_that_cannot_be_made_is_told(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["submit", str(run_file), "--out", str(tmp_path), *STANDALONE, "--dry-run"]
    assert main.main(arguments) == 0
    assert "no plan can be made here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("driver", "log", "ended", "code", "told"),
    [
        ("here", "", 3, 3, ""),
        ("pod", "pod name: a-driver\\n phase: Succeeded", 0, 0, ""),
        (
            "pod",
            "pod name: a-driver\\n phase: Failed\\n exit code: 4",
            0,
            4,
            "kubectl logs a-driver",
        ),
        ("pod", "", 0, 1, ""),
        ("yarn", "Submitted application_1_2", 0, 0, ""),
        (
            "yarn",
            "Submitted application_1_2\\nUser application exited with status 5",
            1,
            5,
            "yarn logs -applicationId application_1_2",
        ),
        ("yarn", "Exception in thread main", 1, 1, ""),
    ],
)
def test_how_a_driver_elsewhere_ended_is_read_from_spark_submits_log(
    capsys: pytest.CaptureFixture[str],
    driver: spark_submit.Driver,
    log: str,
    ended: int,
    code: int,
    told: str,
) -> None:
    command = ("sh", "-c", f"printf '{log}\\n' >&2; exit {ended}")
    assert spark_submit.run_to_end(command, os.environ, driver) == code
    assert ("own log: " + told in capsys.readouterr().err) is bool(told)


def test_results_in_a_store_that_only_the_cluster_reaches_are_not_in_sight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in store_variables("127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    assert not run._is_in_sight(parse_location("s3://bucket/out"))


def test_no_secret_is_printed(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (
        "tracking.uri=https://me:hunter2@host/mlflow",
        "spark.conf={spark.a.password: hunter2, spark.executorEnv.DB_PASS: hunter2, spark.b: kept}",
    )
    secrets = [f"--set={setting}" for setting in settings]
    arguments = [str(run_file), "--out", str(tmp_path), *STANDALONE, *secrets, "--dry-run"]
    assert main.main(["submit", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "hunter2" not in printed
    assert "host/mlflow" in printed
    assert '"spark.b": "kept"' in printed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--on", "nowhere"), "give kubernetes, standalone, yarn, spark://HOST:7077"),
        (("--on", "my.properties"), "my.properties is not there: correct its name, copy one of"),
        (("--on", "{folder}/two.properties"), "two.properties: spark.executor.cores is 'two'"),
        (("--on", "{folder}/latin.properties"), "latin.properties cannot be read"),
        (("--on", "standalone"), "give its address (--on spark://HOST:7077)"),
        (("--on", "kubernetes"), "give its address (--on k8s://https://HOST:6443)"),
        ((*STANDALONE, "--stages", "tile,till"), "--stages till"),
    ],
)
def test_what_cannot_be_submitted_is_refused(
    run_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    text: str,
) -> None:
    (tmp_path / "two.properties").write_text("spark.master yarn\nspark.executor.cores two\n")
    (tmp_path / "latin.properties").write_bytes("spark.app.name Übersicht".encode("latin-1"))
    given = [argument.format(folder=tmp_path) for argument in arguments]
    assert main.main(["submit", str(run_file), "--out", str(tmp_path), *given]) == 2
    assert text in capsys.readouterr().err


def test_manifests_name_jobs_in_the_order_of_the_stages() -> None:
    application = yaml.safe_load(
        (ROOT / "conf" / "kubernetes" / "sparkapplication.yaml").read_text()
    )["spec"]
    assert (ROOT / "jobs" / Path(application["mainApplicationFile"]).name).is_file()
    assert application["executor"]["env"] == application["driver"]["env"]
    job = json.loads((ROOT / "conf" / "databricks.json").read_text())
    names = [task["task_key"] for task in job["tasks"]]
    assert names == [stage for stage in STAGES if stage in names]
    for before, task in zip([None, *names], job["tasks"], strict=False):
        assert Path(task["spark_python_task"]["python_file"]).name == f"{task['task_key']}.py"
        assert [d["task_key"] for d in task.get("depends_on", [])] == ([before] if before else [])


def test_properties_are_read_as_spark_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "my.properties"
    file.write_text("# a=1\n! b 2\n\nspark.a  x=y z \nspark.b=1\nspark.c : 2\nspark.d\n")
    expected = {"spark.a": "x=y z", "spark.b": "1", "spark.c": "2", "spark.d": ""}
    assert cluster.read_properties(file) == expected


def test_amounts_of_memory_are_those_of_spark() -> None:
    assert memory.parse_memory("512m") == memory.parse_memory("512") == 2**29


def test_a_run_file_in_a_store_is_read_there_by_the_jobs_too(
    run_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "s3://bucket/runs/run.yaml"
    with object_store() as place:
        fill_bucket(place, {"runs/run.yaml": run_file.read_bytes()})
        for name, value in store_variables(place).items():
            monkeypatch.setenv(name, value)
        out = "s3://bucket/out"
        found = commands(capsys, address, "--on", "yarn", "--out", out, "--stages", "tile")
    job = found["tile"].index(f"{ROOT}/jobs/tile.py")
    assert found["tile"][job + 1 : job + 3] == [address, f"--out={out}"]
    assert not any(word.startswith("--files") for word in found["tile"])
