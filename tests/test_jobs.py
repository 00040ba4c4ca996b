"""Jobs for spark-submit: importable, a specification each, the same as the verb of their name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from lulc.cli import main as cli
from lulc.spark import pipeline
from lulc.spark.context import StageContext, StageResult
from lulc.stages import STAGES
from tests.cli.test_runfile import SMALL
from tests.helpers.synthetic_scenes import UTM33, write_raster
from tests.lint import ROOT

JOBS = ROOT / "jobs"


def load(stage: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"job_{stage}", JOBS / f"{stage}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def test_there_is_a_job_for_every_stage() -> None:
    assert {path.stem for path in JOBS.glob("*.py")} == set(STAGES)


def test_to_import_jobs_runs_nothing() -> None:
    code = f"""if True:
        import importlib, sys
        sys.path.insert(0, {str(JOBS)!r})
        assert all(importlib.import_module(name).main for name in {list(STAGES)})
        print(sorted({{"torch", "pyspark", "mlflow"}} & set(sys.modules)))
    """
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_says_what_it_needs(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    job = load(stage)
    lines = (job.__doc__ or "").splitlines()
    assert [line.split(":")[0] for line in lines[2:]] == [
        "Reads",
        "Writes",
        "Unit",
        "Memory",
        "Submit",
    ]
    assert f"jobs/{stage}.py RUN.yaml --out DIR" in lines[-1]
    with pytest.raises(SystemExit) as stopped:
        job.main(["--help"])
    assert stopped.value.code == 0
    assert "--retry-bad" in capsys.readouterr().out


@pytest.mark.parametrize("stage", STAGES)
def test_a_jobs_mistakes_have_the_exit_code_of_the_verb(
    stage: str, run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert load(stage).main([str(tmp_path / "absent.yaml"), "--out", out]) == 2
    assert "lulc init" in capsys.readouterr().err
    assert load(stage).main([str(run_file), "--out", out, "--set", "trian.epochs=1"]) == 2
    assert "did you mean 'train'" in capsys.readouterr().err


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_ends_where_its_verb_does(
    stage: str,
    run_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls: list[tuple[Any, ...]] = []

    def run_stages(context: StageContext, stages: Any) -> list[StageResult]:
        context.check_lease()
        calls.append((context.config, context.out, tuple(stages), context.selection))
        return [StageResult(name, done=3) for name in stages]

    monkeypatch.setattr(pipeline, "run_stages", run_stages)
    write_raster(tmp_path / "l.tif", np.ones(UTM33.shape, np.uint8), UTM33)
    arguments = [str(run_file), "--out", str(tmp_path / "out"), "--set", "labels.path=l.tif"]
    arguments += ["--bbox", "5,6,7,8", "--where", "cloud < 20", "--max-bad", "5%", "--json"]
    codes = [load(stage).main(arguments), cli.main([stage, *arguments])]
    by_job, by_verb = calls
    assert by_job == by_verb
    assert codes == [0, 0]
    config, _, stages, selection = by_job
    assert (config.max_bad, stages) == ("5%", (stage,))
    assert (selection.bbox, selection.where) == ((5.0, 6.0, 7.0, 8.0), "cloud < 20")
    printed = capsys.readouterr().out
    assert printed[: len(printed) // 2] == printed[len(printed) // 2 :]
    assert f'"stage": "{stage}"' in printed
