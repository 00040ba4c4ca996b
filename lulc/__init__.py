"""Land use and land cover maps, and areas one can defend, from archives of scenes.

Runs: `run`, `open_run`, `load_config`. Models: `load_model`. Areas of any class rasters:
`class_areas`, `measure_areas`, `compare_maps`. Accuracy: `draw_sample`, `estimate_areas`. Rasters:
`open_map`, `read`. SQL in a Spark session of one's own: `register`. What they take and give: `Run`,
`Config`, `Selection`, `RegionFile`, `Grid`, `Tiling`, `Legend`, `LandClass`, `Chip`, `Sample`,
`ClassMap`, `Region`. Errors: `errors`. Progress of what takes long: `progress`.

Names are imported when they are first used, so that `import lulc` loads nothing heavy.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
