"""Progress goes to the logger `lulc`: silent for a library user, shown by the command line."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from lulc import progress


def test_a_library_user_sees_nothing_unless_he_asks() -> None:
    code = """if True:
        import logging, sys
        from lulc import progress

        progress.say("first")
        with progress.bar(4, "tiles") as show:
            show(4, 0)
        logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
        progress.say("second")
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "lulc second\n")


def test_the_console_shows_plain_lines_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.console(), progress.console():
        progress.say("90 % of {x} %s")
        with progress.bar(40, "tiles") as show:
            for done in range(41):
                show(done, 1)
    progress.say("unseen")
    first, *steps = capsys.readouterr().err.splitlines()
    assert first == "90 % of {x} %s"
    assert len(steps) == 20
    assert steps[0].startswith("tiles: 2 of 40 (5 %), 1 failed attempts, about ")
    assert steps[-1] == "tiles: 40 of 40 (100 %), 1 failed attempts, about 0 s left"


def test_the_console_leaves_the_logger_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("lulc")
    before = (logger.level, logger.propagate, list(logger.handlers))
    with pytest.raises(KeyError), progress.console():
        raise KeyError
    assert (logger.level, logger.propagate, logger.handlers) == before
    with caplog.at_level(logging.INFO, "lulc"):
        progress.say("seen")
    assert caplog.messages == ["seen"]
