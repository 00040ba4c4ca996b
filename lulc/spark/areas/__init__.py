"""Areas in Spark: of classes by region, by cell, and of rasters made elsewhere."""
