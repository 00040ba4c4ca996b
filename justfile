# The menu of a contributor: `just NAME`. `just` itself comes with the development dependencies.

python := ".venv/bin/python"

# Set up .venv with exact versions: everything, and the tools of development
setup:
    python3 -m venv .venv
    {{python}} -m pip install -q uv
    .venv/bin/uv pip install -q -p .venv --compile-bytecode --require-hashes --no-deps -r requirements.txt
    .venv/bin/uv pip install -q -p .venv --no-deps -e .

# Style, import rules, types
check:
    {{python}} -m tests.lint

# Every test
test:
    {{python}} -m pytest

# The quick loop: tests that start no Spark
test-quick:
    {{python}} -m pytest -m "not spark"

# Ratios to bare references, measured in the same run
bench *TOPICS:
    {{python}} -m tests.benchmarks {{TOPICS}}

# The generated pages, then the site in build/site
docs:
    {{python}} docs/generate.py
    .venv/bin/mkdocs build --strict --site-dir build/site

# Make requirements.txt anew from pyproject.toml; versions that fit stay (newer: -P NAME, or --upgrade)
lock *OPTIONS:
    .venv/bin/uv pip compile -q --universal --python-version 3.12 --all-extras --group dev --group docs --generate-hashes --no-annotate {{OPTIONS}} -o requirements.txt pyproject.toml
