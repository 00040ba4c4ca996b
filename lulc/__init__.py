"""Land use / land cover maps, and areas one can defend, from archives of satellite and aerial scenes."""

__version__ = "0.1.0"
