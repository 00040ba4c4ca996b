"""SQL statements that a query may be, and such that it may not; a small run to ask them of."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import shapely

from lulc.tables import schemas, store

ALLOWED = (
    "SELECT * FROM class_areas",
    "TABLE regions",
    "FROM class_areas |> WHERE area_m2 > 5 |> SELECT class_name",
    "WITH big AS (SELECT * FROM class_areas WHERE area_m2 > 5) SELECT * FROM big JOIN regions"
    " USING (region_id) WHERE region_id IN (SELECT region_id FROM regions)",
    "SELECT a.class_name, ST_AreaSpheroid(r.geometry), ST_AsText(ST_Union_Aggr(r.geometry))"
    " FROM class_areas a JOIN regions r USING (region_id) GROUP BY ALL",
    "SELECT /*+ BROADCAST(a) */ 1 FROM regions a JOIN regions b"
    " ON ST_Intersects(a.geometry, b.geometry)",
    "SELECT class_name, rank() OVER (ORDER BY area_m2), sum(area_m2) OVER () FROM class_areas",
    "SELECT * FROM class_areas PIVOT (sum(area_m2) FOR class_name IN ('water', 'trees'))",
    "SELECT class_name FROM class_areas LATERAL VIEW explode(array(1, 2)) x AS n"
    " UNION SELECT 'other' EXCEPT SELECT 'water' ORDER BY 1 LIMIT 2 OFFSET 1",
    "SELECT count(*), percentile(area_m2, 0.5), approx_count_distinct(class_name),"
    " max_by(class_name, area_m2) FROM class_areas GROUP BY ROLLUP (region_id) HAVING count(*) > 0",
    "SELECT transform(array(1), x -> x + 1), from_json('{\"a\": 1}', 'a INT'), url_encode('a b'),"
    " date_format(current_timestamp(), 'y'), CAST('1' AS INT), try_divide(1, 0), current_user()",
    "SELECT (SELECT max(area_m2) FROM class_areas), EXISTS (SELECT 1 FROM regions)",
    "SELECT * FROM class_areas, LATERAL (SELECT area_m2 / 1e6 AS km2)",
    "SELECT * FROM range(3)",
    "SELECT * FROM VALUES (1, 'a'), (2, 'b') AS t(n, s)",
    "SELECT * FROM class_areas TABLESAMPLE (50 PERCENT)",
    "SHOW TABLES",
    "SHOW VIEWS",
    "SHOW COLUMNS IN class_areas",
    "SHOW FUNCTIONS LIKE 'st_area*'",
    "SHOW DATABASES",
    "DESCRIBE class_areas",
    "DESCRIBE TABLE EXTENDED regions",
    "DESCRIBE class_areas area_m2",
    "DESCRIBE FUNCTION st_area",
    "DESCRIBE QUERY SELECT * FROM regions",
    "EXPLAIN EXTENDED SELECT * FROM regions",
    "CREATE OR REPLACE TEMPORARY VIEW mine AS SELECT * FROM class_areas",
    "SELECT * FROM mine",
    "DROP VIEW mine",
    "USE default",
    "SET spark.sql.session.timeZone",
    "SET TIME ZONE 'UTC'",
    "SET spark.sql.shuffle.partitions = 4",
    "SELECT /*+ REPARTITION(10) */ * FROM range(0, 9, 1, 2)",
)

_GETENV = "('java.lang.System', 'getenv', 'HOME')"


def refused(folder: Path) -> list[str]:
    """Return statements that a query may not be; those that write would write into a folder."""
    file, made = folder / "secret.csv", folder / "made"
    return [
        # Java, however it is written and wherever it stands.
        f"SELECT reflect{_GETENV}",
        f"SELECT `reflect`{_GETENV}",
        f"SELECT try_reflect{_GETENV}",
        f"/* SELECT 1 */ sElEcT\n\tJaVa_MeThOd {_GETENV} -- SELECT 1",
        f"SELECT builtin.reflect{_GETENV}",
        f"SELECT system.builtin.reflect{_GETENV}",
        f"SELECT IDENTIFIER('refl' || 'ect'){_GETENV}",
        f"SELECT 1 UNION ALL SELECT reflect{_GETENV}",
        f"SELECT (SELECT reflect{_GETENV})",
        f"WITH a AS (SELECT reflect{_GETENV} AS x) SELECT * FROM a",
        f"SELECT * FROM regions WHERE name IN (SELECT reflect{_GETENV})",
        f"SELECT * FROM regions ORDER BY reflect{_GETENV}",
        f"SELECT count(*) FILTER (WHERE reflect{_GETENV} = '') FROM regions",
        f"SELECT transform(array(1), x -> reflect{_GETENV})",
        f"SELECT * FROM VALUES (reflect{_GETENV})",
        f"SELECT * FROM regions LATERAL VIEW reflect{_GETENV} x",
        f"SELECT * FROM regions, LATERAL (SELECT reflect{_GETENV})",
        f"SELECT * FROM reflect{_GETENV}",
        f"SELECT /*+ REPARTITION(2) */ reflect{_GETENV} FROM regions",
        f"FROM regions |> EXTEND reflect{_GETENV} AS x",
        f"EXPLAIN SELECT reflect{_GETENV}",
        f"DESCRIBE QUERY SELECT reflect{_GETENV} AS x",
        f"CREATE TEMPORARY VIEW v AS SELECT reflect{_GETENV} AS x",
        f"CREATE TEMPORARY FUNCTION f() RETURNS STRING RETURN reflect{_GETENV}",
        "CREATE TEMPORARY FUNCTION f AS 'java.lang.System'",
        "CREATE FUNCTION f AS 'java.lang.System'",
        "EXECUTE IMMEDIATE 'SELECT 1'",
        "DECLARE x = 1",
        "CALL lulc.system.rollback('a', 1)",
        "SELECT TRANSFORM (name) USING 'cat' FROM regions",
        # Files.
        f"SELECT * FROM csv.`{file}`",
        f"SELECT * FROM `CSV`.`{file}`",
        f"SELECT * FROM json.`{file}`",
        f"SELECT * FROM text.`{file}` WITH (wholetext = true)",
        f"SELECT * FROM binaryFile.`{file}`",
        f"SELECT * FROM parquet.`{folder}/out/tables/regions`",
        f"SELECT * FROM IDENTIFIER('csv.`{file}`')",
        f"SELECT 1 UNION SELECT value FROM text.`{file}`",
        f"SELECT * FROM regions WHERE name NOT IN (SELECT value FROM text.`{file}`)",
        f"WITH a AS (SELECT * FROM text.`{file}`) SELECT * FROM a",
        f"EXPLAIN SELECT * FROM text.`{file}`",
        f"DESCRIBE text.`{file}`",
        f"CREATE TEMPORARY VIEW v AS SELECT * FROM text.`{file}`",
        f"CREATE TEMPORARY VIEW v USING csv OPTIONS (path '{file}')",
        f"CREATE TABLE t USING csv LOCATION '{file}'",
        f"SELECT from_xml('<a/>', 'a INT', map('rowValidationXSDPath', '{file}'))",
        f"SELECT xpath_string('<!DOCTYPE a SYSTEM \"file:{file}\"><a/>', 'a')",
        f"SELECT ST_GeomFromGML('<!DOCTYPE a [<!ENTITY e SYSTEM \"file:{file}\">]><a>&e;</a>')",
        "SELECT ST_GeomFromKML('<Point/>')",
        "SELECT RS_FromGeoTiff(X'00')",
        "SELECT * FROM VALUES (RS_AsBase64(RS_MakeEmptyRaster(1, 4, 4, 0, 0, 1)))",
        "SELECT ExpandAddress('1 High Street')",
        # Writes.
        f"INSERT OVERWRITE DIRECTORY '{made}' USING csv SELECT * FROM class_areas",
        f"INSERT OVERWRITE LOCAL DIRECTORY '{made}' STORED AS TEXTFILE SELECT 1",
        f"FROM regions INSERT OVERWRITE DIRECTORY '{made}' USING csv SELECT name",
        f"WITH a AS (SELECT 1) INSERT OVERWRITE DIRECTORY '{made}' USING csv SELECT * FROM a",
        f"EXPLAIN INSERT OVERWRITE DIRECTORY '{made}' USING csv SELECT 1",
        f"CREATE TABLE t USING csv LOCATION '{made}' AS SELECT 1",
        "CREATE TABLE t (n INT) USING parquet",
        "INSERT INTO class_areas SELECT * FROM class_areas",
        "DELETE FROM regions",
        "UPDATE regions SET name = ''",
        "MERGE INTO regions USING class_areas a ON false WHEN NOT MATCHED THEN INSERT *",
        "TRUNCATE TABLE regions",
        f"LOAD DATA LOCAL INPATH '{file}' INTO TABLE regions",
        "DROP TABLE regions",
        "ALTER VIEW regions AS SELECT 1",
        f"CREATE DATABASE d LOCATION '{made}'",
        "DROP DATABASE default CASCADE",
        "ANALYZE TABLE regions COMPUTE STATISTICS",
        # What other clients see.
        "CREATE VIEW v AS SELECT 1 AS n",
        "CREATE GLOBAL TEMPORARY VIEW v AS SELECT 1 AS n",
        "CACHE TABLE regions",
        "UNCACHE TABLE regions",
        "CLEAR CACHE",
        "REFRESH TABLE regions",
        "REFRESH '/'",
        # Settings, other catalogues and JARs.
        "SET",
        "SET -v",
        "SET spark.sql.runSQLOnFiles = true",
        "SET `spark.sql.variable.substitute` = true",
        "SET spark.hadoop.fs.s3a.secret.key",
        "RESET",
        "RESET spark.sql.runSQLOnFiles",
        "USE lake",
        "USE spark_catalog",
        "SET CATALOG spark_catalog",
        "SHOW TABLES IN lake.maps",
        "SHOW VIEWS IN global_temp",
        "SHOW COLUMNS IN regions FROM lake",
        f"ADD JAR {file}",
        f"ADD FILE {file}",
        f"ADD ARCHIVE {file}",
        "LIST JARS",
        "LIST FILES",
        "SHOW CREATE TABLE regions",
        "SHOW TBLPROPERTIES regions",
        "SHOW TABLE EXTENDED LIKE 'regions'",
        "DESCRIBE DATABASE EXTENDED default",
        "SELECT * FROM regions VERSION AS OF 1",
        # More partitions than the driver keeps.
        "SELECT * FROM range(0, 10, 1, 2000000000)",
        "SELECT * FROM regions WHERE name IN (SELECT id FROM range(0, 10, 1, 10001))",
        "SELECT /*+ REPARTITION(2000000) */ * FROM regions",
        "SELECT /*+ REPARTITION(2000000, name) */ * FROM regions",
        "SELECT /*+ REPARTITION_BY_RANGE(2000000, name) */ * FROM regions",
        "SELECT /*+ REBALANCE(2000000) */ * FROM regions",
        "SET spark.sql.shuffle.partitions = 2000000000",
        "SET Spark.SQL.Shuffle.Partitions = 10001",
    ]


def make_run(folder: Path) -> Path:
    """Make the tables of a small run in a folder, and beside them a file that is no table.

    Returns:
        The output folder.
    """
    out = folder / "out"
    geometry = shapely.to_wkb(shapely.box(1, 41, 2, 42))
    region = {"region_id": "1", "level": "country", "name": "East"}
    classes = [
        region | {"period": "2023", "class_id": code, "class_name": name, "area_m2": area}
        for code, name, area in ((1, "water", 4.0), (2, "trees", 9.0))
    ]
    for name, rows in (("regions", [region | {"geometry": geometry}]), ("class_areas", classes)):
        store.write_table(out, name, pa.Table.from_pylist(rows, schemas.ALL[name]))
    (folder / "secret.csv").write_text("who,what\nme,hidden\n")
    return out
