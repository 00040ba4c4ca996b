"""Verbs that answer until they are stopped: serve and view; and the end of a demo at a terminal.

A service is ended by Ctrl-C or SIGTERM, which `lulc.cli.main` makes a KeyboardInterrupt. It has
done its work then: its exit code is 0.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lulc import errors
from lulc.cli.output import print_json, print_results

if TYPE_CHECKING:
    from lulc.config import Config
    from lulc.location import Location

_TOKEN = "LULC_SERVE_TOKEN"
_KEYSTORE_PASSWORD = "LULC_KEYSTORE_PASSWORD"
_SHORTEST_TOKEN = 16


def serve_tables(args: argparse.Namespace) -> int:
    """Serve a run's tables over JDBC until Ctrl-C or SIGTERM.

    Returns:
        0 when it is stopped.
    """
    import threading

    from lulc.spark.queries import serve

    endpoint = serve.Endpoint(
        _server_token(args.token_file),
        args.port,
        args.host,
        args.keystore,
        os.environ.get(_KEYSTORE_PASSWORD, ""),
    )
    with _until_stopped():
        serve.serve(args.out, endpoint, threading.Event().wait, args.debug)
    return 0


@errors.extras_named()
def view_map(args: argparse.Namespace) -> int:
    """Show a run's maps in a browser until Ctrl-C or SIGTERM, or write the page to a folder.

    Returns:
        0 when it is stopped.
    """
    import tempfile

    from lulc.api.run import open_run
    from lulc.explorer.export import export_site
    from lulc.explorer.site import open_site

    run, true_colours = open_run(args.out), args.true_colours
    if args.export is None:

        def show(address: str) -> None:
            if args.json:
                print_json({"address": address})
            else:
                print(f"{address} shows {run.name}: open it in a browser; Ctrl-C ends")

        serve_page(run.config, run.out, args.port, show, true_colours)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        site = open_site(run.config, run.out, Path(scratch), true_colours)
        tiles = export_site(site, args.export)
    if args.json:
        print_json({"folder": str(args.export), "tiles": tiles})
    else:
        print(f"the page is in {args.export} ({tiles:,} tiles): any web server shows it")
    return 0


def serve_page(
    config: Config,
    out: Location,
    port: int,
    show: Callable[[str], None],
    true_colours: bool = False,
) -> None:
    """Show a run's maps in a browser until Ctrl-C or SIGTERM.

    Args:
        config: the run.
        out: its output location.
        port: of this machine, 0 any that is free.
        show: is called with the page's address once it answers.
        true_colours: whether the run's chips can be shown below its maps.

    Raises:
        ModuleNotFoundError: the page's files are not installed.
        InputError: the run has no map, or true colours are wanted that its chips do not have.
        SetupError: the port is taken.
    """
    import tempfile

    from lulc.explorer.server import address_of, open_server
    from lulc.explorer.site import open_site

    # What is being made for a browser when the service is stopped is left to the system.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        _until_stopped(),
    ):
        site = open_site(config, out, Path(scratch), true_colours)
        with open_server(site, port) as server:
            show(address_of(server))
            sys.stdout.flush()
            server.serve_forever()


def end_demo(config: Config, out: Location, results: Sequence[tuple[str, str]]) -> None:
    """Print what a demo made, and show its map in a browser until Ctrl-C where someone can end it.

    Args:
        config: the demo's run.
        out: its output location.
        results: (name, path or command) of what a user opens; `explorer` is a command.
    """
    is_watched = sys.stdin.isatty() and sys.stdout.isatty()
    if not is_watched or find_spec("maplibre") is None:
        print_results(results)
        return
    lines = dict(results)
    command = lines.pop("explorer")
    print_results(list(lines.items()))

    def show(address: str) -> None:
        print_results([("explorer", f"{address} until Ctrl-C; later: {command}")])

    serve_page(config, out, 0, show)


@contextlib.contextmanager
def _until_stopped() -> Iterator[None]:
    # Told at once: it takes a moment until the program has ended.
    try:
        yield
    except KeyboardInterrupt:
        print("lulc: stopped", file=sys.stderr, flush=True)


def _server_token(file: Path | None) -> str:
    # Given in a file or the environment, else made up and shown to a person: never to a log.
    if file is None and _TOKEN not in os.environ:
        import secrets

        if not sys.stderr.isatty():
            raise errors.UsageError(
                f"no terminal shows a new token: give {_TOKEN} in the environment, "
                "or --token-file FILE"
            )
        token = secrets.token_urlsafe(24)
        print(f"token of this server: {token}", file=sys.stderr)
        return token
    try:
        token = os.environ[_TOKEN] if file is None else file.read_text()
    except OSError as error:
        raise errors.UsageError(f"{file} cannot be read: {error.strerror}") from error
    if len(token.strip()) < _SHORTEST_TOKEN:
        raise errors.UsageError(
            f"the token in {file or _TOKEN} is short: give {_SHORTEST_TOKEN} characters or more"
        )
    return token.strip()
