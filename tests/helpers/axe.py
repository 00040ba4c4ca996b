"""axe-core, which finds what keeps people from using a page; from npm, once for a user."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.helpers.browser import Page
from tests.helpers.cache import CACHE

_AXE = "axe-core@4.14.1"


def find_violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong on a page: the rule, and the elements that break it."""
    script = CACHE / "axe/node_modules/axe-core/axe.min.js"
    if not script.exists():
        folder = str(CACHE / "axe")
        install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, _AXE]
        subprocess.run(install, check=True, capture_output=True, timeout=600)
    page.run(script.read_text() + ";0")
    results: list[dict[str, Any]] = page.run("axe.run().then((found) => found.violations)")
    return [f"{rule['id']}: {[node['target'] for node in rule['nodes']]}" for rule in results]
