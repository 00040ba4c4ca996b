"""Pictures of a run, which show themselves in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lulc.errors import InputError
from lulc.tables import layout
from lulc.tables.store import table_folder

NAMES = ("map", "chips", "samples", "examples", "confusion")


@dataclass(frozen=True)
class Picture:
    """A picture as PNG."""

    png: bytes

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file and return its path."""
        Path(path).write_bytes(self.png)
        return Path(path)

    def _repr_png_(self) -> bytes:
        return self.png


def draw_picture(name: str, out: Path, checkpoint: Path | None) -> Picture:
    """Return a picture of a run.

    Args:
        name: map, chips, samples, examples or confusion.
        out: the run's output folder.
        checkpoint: the folder of its training, for the last two.

    Raises:
        InputError: the run has nothing to show in it.
    """
    if name == "chips":
        from lulc.report.chips import draw_chips

        return Picture(draw_chips(table_folder(out, "chips")))
    if name == "samples":
        from lulc.report.samples import draw_samples

        return Picture(draw_samples(table_folder(out, "samples")))
    files = {"map": out / layout.MAP_PICTURE}
    if checkpoint:
        files |= {n: checkpoint / f"{n}.png" for n in ("examples", "confusion")}
    file = files.get(name)
    if file is None:
        raise InputError(f"picture {name!r} is none of {', '.join(NAMES)}")
    if not file.exists():
        raise InputError(f"{out} has no picture {name!r}: carry out the run first")
    return Picture(file.read_bytes())
