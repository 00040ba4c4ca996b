-- Deforestation by district and year, with 95 % intervals:
--
--   lulc sql OUT -f examples/deforestation.sql --bind forest=forest --bind level=district
--
-- `forest` is the name of a class, `level` the level of the regions; OUT has two or more periods.

-- 1. What the maps show. Errors of both maps count in it, and there is no interval.
WITH became AS (
  SELECT
    name AS district,
    period_from,
    period_to,
    sum(area_m2) FILTER (WHERE from_class = :forest) AS before_m2,
    coalesce(sum(area_m2) FILTER (WHERE from_class = :forest AND to_class <> :forest), 0) AS lost_m2,
    coalesce(sum(area_m2) FILTER (WHERE from_class <> :forest AND to_class = :forest), 0) AS gained_m2
  FROM transitions
  WHERE level = :level
  GROUP BY region_id, name, period_from, period_to
)

SELECT
  district,
  period_from,
  period_to,
  round(before_m2 / 1e6, 4) AS forest_km2,
  round(lost_m2 / 1e6, 4) AS lost_km2,
  round(100 * lost_m2 / before_m2, 2) AS lost_percent,
  -- of periods that are named after years
  round(lost_m2 / (try_cast(period_to AS int) - try_cast(period_from AS int)) / 1e6, 4)
    AS lost_km2_a_year,
  round(gained_m2 / 1e6, 4) AS gained_km2
FROM became
ORDER BY lost_m2 DESC, district, period_from;

-- 2. What interpreted points say: the forest of one period less that of the next, each estimated
-- from a sample of its own (`lulc design` on the rasters of a period, then `lulc evaluate
-- --reference POINTS --regions DISTRICTS --out OUT`). The samples are drawn independently, so that
-- their variances add up.
WITH forest AS (
  SELECT
    region_id,
    period,
    estimate,
    standard_error,
    lead(period) OVER by_time AS next_period,
    lead(estimate) OVER by_time AS next_estimate,
    lead(standard_error) OVER by_time AS next_error
  FROM estimates
  WHERE measure = 'area_m2' AND class_name = :forest AND region_id IS NOT NULL
  WINDOW by_time AS (PARTITION BY region_id ORDER BY period)
),

net AS (
  SELECT
    *,
    estimate - next_estimate AS loss_m2,
    sqrt(pow(standard_error, 2) + pow(next_error, 2)) AS error_m2
  FROM forest
  WHERE next_period IS NOT NULL
)

SELECT
  regions.name AS district,
  period AS period_from,
  next_period AS period_to,
  round(loss_m2 / 1e6, 4) AS net_loss_km2,
  round((loss_m2 - 1.96 * error_m2) / 1e6, 4) AS low_95_km2,
  round((loss_m2 + 1.96 * error_m2) / 1e6, 4) AS high_95_km2,
  CASE
    WHEN loss_m2 - 1.96 * error_m2 > 0 THEN 'loss'
    WHEN loss_m2 + 1.96 * error_m2 < 0 THEN 'gain'
    ELSE 'not certain'
  END AS finding
FROM net
JOIN regions ON regions.region_id = net.region_id AND regions.level = :level
ORDER BY loss_m2 DESC, district, period;
