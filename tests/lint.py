"""python -m tests.lint: style, import rules between rooms and types; exit code 1 on any finding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("lint-imports",),
    ("mypy",),
)


def main() -> int:
    """1 when a check fails, else 0; each prints its own findings."""
    scripts = Path(sys.executable).parent
    failed = [
        " ".join(c)
        for c in CHECKS
        if subprocess.run([scripts / c[0], *c[1:]], cwd=ROOT, check=False).returncode
    ]
    print(f"failed: {', '.join(failed)}" if failed else "all checks pass")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
