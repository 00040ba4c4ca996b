// Lines around regions: dark ones with a white border, which are seen on colours of any kind.

const BORDER = { "line-color": "#ffffff" };
const LINE = { "line-color": "#20262a" };
const OF_LEVEL = ["regions-fill", "regions-border", "regions-line"];
const OF_CHOSEN = ["chosen-border", "chosen-line"];

/** Returns the layers of a style that draw regions of a view. */
export function outlineLayers({ minZoom }, view) {
  const { level, chosen } = filtersOf(view);
  // Of small regions the lines are thin, or they would cover what they enclose.
  const growing = (width) => ["interpolate", ["linear"], ["zoom"], minZoom, width / 2, minZoom + 3, width];
  const layer = (id, filter, type, paint) =>
    ({ id, type, source: "regions", "source-layer": "regions", filter, paint });
  return [
    layer("regions-fill", level, "fill", { "fill-opacity": 0 }),
    layer("regions-border", level, "line", { ...BORDER, "line-width": growing(3), "line-opacity": 0.6 }),
    layer("regions-line", level, "line", { ...LINE, "line-width": growing(1.2) }),
    layer("chosen-border", chosen, "line", { ...BORDER, "line-width": 7 }),
    layer("chosen-line", chosen, "line", { ...LINE, "line-width": 3.5 }),
  ];
}

/** Draws the regions of another view. */
export function filterOutlines(map, view) {
  const { level, chosen } = filtersOf(view);
  for (const id of OF_LEVEL) map.setFilter(id, level);
  for (const id of OF_CHOSEN) map.setFilter(id, chosen);
}

function filtersOf({ level, region }) {
  return { level: ["==", ["get", "level"], level], chosen: ["==", ["get", "number"], region ?? -1] };
}
