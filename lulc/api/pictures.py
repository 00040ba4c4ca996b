"""Pictures of a run."""

from __future__ import annotations

from lulc.errors import InputError
from lulc.location import Location
from lulc.raster.show import Picture
from lulc.tables import layout
from lulc.tables.store import table_folder

NAMES = ("map", "chips", "samples", "examples", "confusion")
OF_TRAINING = ("examples", "confusion")
"""The pictures that a training draws."""


def draw_picture(name: str, out: Location, checkpoint: Location | None) -> Picture:
    """Return a picture of a run.

    Args:
        name: map, chips, samples, examples or confusion.
        out: the run's output folder.
        checkpoint: the folder of its training, for the last two.

    Raises:
        InputError: the run has nothing to show in it, or there is no such picture.
    """
    if name == "chips":
        from lulc.report.chips import draw_chips

        return Picture(draw_chips(table_folder(out, "chips")))
    if name == "samples":
        from lulc.report.samples import draw_samples

        return Picture(draw_samples(table_folder(out, "samples")))
    files = {"map": out / layout.MAP_PICTURE}
    if checkpoint:
        files |= {picture: checkpoint / f"{picture}.png" for picture in OF_TRAINING}
    file = files.get(name)
    if file is None:
        raise InputError(f"picture {name!r} is none of {', '.join(NAMES)}")
    if not file.exists():
        raise InputError(f"{out} has no picture {name!r}: carry out the run first")
    return Picture(file.read_bytes())
