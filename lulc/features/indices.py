"""Spectral indices by the names of Awesome Spectral Indices, in lower case, with their sources.

Montero et al. 2023, A standardized catalogue of spectral indices to advance the use of remote
sensing in Earth system research, doi:10.1038/s41597-023-02096-0. Formulas are of the physical
values of bands by common names; constants are those of the catalogue. `nir` is a run's `nir08`
where it has no `nir`; `rededge071`, `rededge075` and `rededge078` are Sentinel-2's B5, B6 and B7.
"""

from __future__ import annotations

from dataclasses import dataclass

_ALTERNATIVES = {"nir": "nir08", "rededge071": "rededge"}
"""Band of a formula → the one that takes its place where a run has not that."""
_NORMALISED = (-1.0, 1.0)


@dataclass(frozen=True)
class Index:
    """A spectral index."""

    title: str
    """What it is called."""
    formula: str
    """Of bands by common names; see `lulc.features.expression`."""
    source: str
    """DOI or address of its publication."""
    range: tuple[float, float] = _NORMALISED
    """Least and greatest value; chips of whole numbers take values beyond for these."""
    of_reflectance: bool = False
    """Whether it asks for reflectance from 0 to 1: other units give another index."""


INDICES: dict[str, Index] = {
    "ndvi": Index(
        "Normalized Difference Vegetation Index",
        "(nir - red) / (nir + red)",
        "https://ntrs.nasa.gov/citations/19740022614",
    ),
    "gndvi": Index(
        "Green Normalized Difference Vegetation Index",
        "(nir - green) / (nir + green)",
        "doi:10.1016/S0034-4257(96)00072-7",
    ),
    "ndrei": Index(
        "Normalized Difference Red Edge Index",
        "(nir - rededge071) / (nir + rededge071)",
        "doi:10.1016/1011-1344(93)06963-4",
    ),
    "ndvi705": Index(
        "Normalized Difference Vegetation Index (705 and 750 nm)",
        "(rededge075 - rededge071) / (rededge075 + rededge071)",
        "doi:10.1016/S0176-1617(11)81633-0",
    ),
    "evi": Index(
        "Enhanced Vegetation Index",
        "2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)",
        "doi:10.1016/S0034-4257(96)00112-5",
        (-2.0, 2.0),
        True,
    ),
    "evi2": Index(
        "Two-Band Enhanced Vegetation Index",
        "2.5 * (nir - red) / (nir + 2.4 * red + 1)",
        "doi:10.1016/j.rse.2008.06.006",
        (-2.0, 2.0),
        True,
    ),
    "savi": Index(
        "Soil-Adjusted Vegetation Index",
        "1.5 * (nir - red) / (nir + red + 0.5)",
        "doi:10.1016/0034-4257(88)90106-X",
        (-1.5, 1.5),
        True,
    ),
    "osavi": Index(
        "Optimized Soil-Adjusted Vegetation Index",
        "(nir - red) / (nir + red + 0.16)",
        "doi:10.1016/0034-4257(95)00186-7",
        _NORMALISED,
        True,
    ),
    "msavi": Index(
        "Modified Soil-Adjusted Vegetation Index",
        "0.5 * (2 * nir + 1 - ((2 * nir + 1) ** 2 - 8 * (nir - red)) ** 0.5)",
        "doi:10.1016/0034-4257(94)90134-1",
        (-2.0, 2.0),
        True,
    ),
    "nirv": Index(
        "Near-Infrared Reflectance of Vegetation",
        "(nir - red) / (nir + red) * nir",
        "doi:10.1126/sciadv.1602244",
        (-2.0, 2.0),
        True,
    ),
    "cig": Index(
        "Chlorophyll Index Green", "nir / green - 1", "doi:10.1078/0176-1617-00887", (-1.0, 31.0)
    ),
    "cire": Index(
        "Chlorophyll Index Red Edge",
        "nir / rededge071 - 1",
        "doi:10.1078/0176-1617-00887",
        (-1.0, 31.0),
    ),
    "psri": Index(
        "Plant Senescing Reflectance Index",
        "(red - blue) / rededge075",
        "doi:10.1034/j.1399-3054.1999.106119.x",
        (-8.0, 8.0),
    ),
    "ngrdi": Index(
        "Normalized Green Red Difference Index",
        "(green - red) / (green + red)",
        "doi:10.1016/0034-4257(79)90013-0",
    ),
    "gli": Index(
        "Green Leaf Index",
        "(2 * green - red - blue) / (2 * green + red + blue)",
        "doi:10.1080/10106040108542184",
    ),
    "ndmi": Index(
        "Normalized Difference Moisture Index",
        "(nir - swir16) / (nir + swir16)",
        "doi:10.1016/S0034-4257(01)00318-2",
    ),
    "msi": Index(
        "Moisture Stress Index", "swir16 / nir", "doi:10.1016/0034-4257(89)90046-1", (0.0, 32.0)
    ),
    "ndwi": Index(
        "Normalized Difference Water Index",
        "(green - nir) / (green + nir)",
        "doi:10.1080/01431169608948714",
    ),
    "mndwi": Index(
        "Modified Normalized Difference Water Index",
        "(green - swir16) / (green + swir16)",
        "doi:10.1080/01431160600589179",
    ),
    "aweinsh": Index(
        "Automated Water Extraction Index",
        "4 * (green - swir16) - 0.25 * nir + 2.75 * swir22",
        "doi:10.1016/j.rse.2013.08.029",
        (-8.0, 8.0),
        True,
    ),
    "aweish": Index(
        "Automated Water Extraction Index with Shadows Elimination",
        "blue + 2.5 * green - 1.5 * (nir + swir16) - 0.25 * swir22",
        "doi:10.1016/j.rse.2013.08.029",
        (-8.0, 8.0),
        True,
    ),
    "ndti": Index(
        "Normalized Difference Turbidity Index",
        "(red - green) / (red + green)",
        "doi:10.1016/j.rse.2006.07.012",
    ),
    "ndsi": Index(
        "Normalized Difference Snow Index",
        "(green - swir16) / (green + swir16)",
        "doi:10.1109/IGARSS.1994.399618",
    ),
    "ndbi": Index(
        "Normalized Difference Built-Up Index",
        "(swir16 - nir) / (swir16 + nir)",
        "doi:10.1080/01431160304987",
    ),
    "ui": Index(
        "Urban Index",
        "(swir22 - nir) / (swir22 + nir)",
        "https://www.isprs.org/proceedings/XXXI/congress/part7/321_XXXI-part7.pdf",
    ),
    "bi": Index(
        "Bare Soil Index (also BSI)",
        "((swir16 + red) - (nir + blue)) / ((swir16 + red) + (nir + blue))",
        "Rikimaru, Roy and Miyatake 2002, Tropical Ecology 43, 39-47",
    ),
    "mbi": Index(
        "Modified Bare Soil Index",
        "(swir16 - swir22 - nir) / (swir16 + swir22 + nir) + 0.5",
        "doi:10.3390/land10030231",
        (-0.5, 1.5),
    ),
    "dbsi": Index(
        "Dry Bareness Index",
        "(swir16 - green) / (swir16 + green) - (nir - red) / (nir + red)",
        "doi:10.3390/land7030081",
        (-2.0, 2.0),
    ),
    "nbr": Index("Normalized Burn Ratio", "(nir - swir22) / (nir + swir22)", "doi:10.3133/ofr0211"),
    "nbr2": Index(
        "Normalized Burn Ratio 2",
        "(swir16 - swir22) / (swir16 + swir22)",
        "https://www.usgs.gov/landsat-missions/landsat-normalized-burn-ratio-2",
    ),
}
"""Name → index."""


def find_band(name: str, bands: tuple[str, ...]) -> str | None:
    """Return the band of a run that a formula's band is; None where the run has none.

    Examples:
        >>> find_band("nir", ("red", "nir08"))
        'nir08'
    """
    return next((band for band in (name, _ALTERNATIVES.get(name)) if band in bands), None)
