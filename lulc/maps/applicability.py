"""How many tiles of a map are unlike what the model learned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from lulc.location import Location
from lulc.tables import store


def count_far_tiles(distances: Iterable[float | None], limit: float) -> dict[str, Any]:
    """Return what the footer of a file of predictions says of its tiles' distances.

    Args:
        distances: of `training_distance`, one a tile.
        limit: the distance above which a tile is far from what the model learned from.
    """
    known = [distance for distance in distances if distance is not None]
    far = sum(distance > limit for distance in known)
    return {"tiles": len(known), "far_tiles": far, "farthest": max(known, default=None)}


def describe_far_tiles(footers: Sequence[Mapping[str, Any]], limit: float) -> str:
    """Return a warning of tiles that are unlike what the model learned from; empty without any.

    Args:
        footers: of files of predictions, with what `count_far_tiles` returns.
        limit: as for it.
    """
    far = sum(footer.get("far_tiles", 0) for footer in footers)
    if not far:
        return ""
    tiles = sum(footer.get("tiles", 0) for footer in footers)
    farthest = max(footer.get("farthest") or 0.0 for footer in footers)
    return (
        f"WARNING: {far:,} of {tiles:,} tiles looked at are unlike what the model learned from, up "
        f"to {farthest:.1f} standard deviations away (more than {limit:g}; column "
        "training_distance of predictions)"
    )


def far_tiles_of_run(out: Location, limit: float) -> dict[str, Any] | None:
    """Return `count_far_tiles` of a run's predictions; None where no distance is known.

    Args:
        out: the output location.
        limit: as for `count_far_tiles`.
    """
    if "training_distance" not in store.schema_of(out, "predictions").names:
        return None
    distances = store.read_table(out, "predictions", ["training_distance"])["training_distance"]
    counts = count_far_tiles(pc.drop_null(distances).to_pylist(), limit)
    return counts if counts["tiles"] else None
