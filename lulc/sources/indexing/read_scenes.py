"""The scenes among items as they were read, a part of them held at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lulc.config import Archive
from lulc.sources.indexing.kept_items import KeptItems
from lulc.sources.indexing.selection import SceneFacts
from lulc.sources.items import READ_ITEM, scenes_of_rows
from lulc.sources.scene import Scene
from lulc.tables import schemas


class ReadScenes:
    """The scenes of the items that a run lists; one that several archives list has several."""

    facts: SceneFacts
    """Of the scenes, in the order of their positions."""
    errors: list[tuple[str, str]]
    """Key and error of each item that is no scene, in order of archive and key."""

    def __init__(self, kept_items: KeptItems, archives: Sequence[Archive]) -> None:
        self._kept, self.facts = kept_items, SceneFacts()
        self._rows = array("q")  # the row of each scene, in the order in which rows are read
        errors: list[tuple[int, str, str]] = []
        first = 0
        for batch, archives_of in kept_items.read(READ_ITEM.names):
            rows = pa.Table.from_batches([batch])
            is_scene = pc.is_null(rows["error"]).to_numpy()
            scenes = scenes_of_rows(rows)
            for row, scene in zip(np.flatnonzero(is_scene).tolist(), scenes, strict=True):
                for archive in archives_of[row]:
                    self.facts.add(scene, archive, archives[archive].unmasked == "allow")
                    self._rows.append(first + row)
            for row in np.flatnonzero(~is_scene).tolist():
                key, error = rows["key"][row].as_py(), rows["error"][row].as_py()
                errors += [(archive, key, error) for archive in archives_of[row]]
            first += len(batch)
        self.errors = [(key, error) for _, key, error in sorted(errors)]

    def scenes(self, numbers: Sequence[int]) -> list[Scene]:
        """Return the scenes of some positions, in their order."""
        rows = [self._rows[number] for number in numbers]
        scenes: dict[int, Scene] = {}
        for taken, batch in self._take(np.unique(np.array(rows, np.int64))):
            table = pa.Table.from_batches([batch])
            scenes |= zip(taken.tolist(), scenes_of_rows(table), strict=True)
        return [scenes[row] for row in rows]

    def batches(self, numbers: np.ndarray) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the scenes table of the scenes of some positions."""
        columns = ["scene_fingerprint" if n == "fingerprint" else n for n in schemas.SCENES.names]
        for _, batch in self._take(np.unique(np.frombuffer(self._rows, np.int64)[numbers])):
            arrays = [batch[name] for name in columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=schemas.SCENES)

    def _take(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        # Some rows with their numbers, ascending.
        first = 0
        for batch, _ in self._kept.read(READ_ITEM.names) if len(rows) else ():
            taken = rows[(rows >= first) & (rows < first + len(batch))]
            if len(taken):
                yield taken, batch.take(pa.array(taken - first))
            first += len(batch)
