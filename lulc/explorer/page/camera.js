// Where the map looks: at the part of it that the panel and the details do not cover.

export const NARROW = window.matchMedia("(max-width: 900px)");
const MOST_ZOOM = 16; // to which a region is shown
const LEAST_HEIGHT = 80; // pixels of the map that are left free, however much is written over it
const boxOf = (id) => document.getElementById(id).getBoundingClientRect(); // 0 while it is hidden

/** Returns how much of the map is covered from each side, in pixels. */
export function padding() {
  const [panel, details] = [boxOf("panel"), boxOf("details")];
  if (!NARROW.matches) return { top: 30, bottom: 50, left: panel.right + 18, right: 60 + details.width };
  const top = panel.bottom + 12;
  const bottom = Math.min(40 + details.height, Math.max(0, innerHeight - top - LEAST_HEIGHT));
  return { top, bottom, left: 12, right: 12 };
}

/** Moves the map so that all of a region is seen. */
export function showRegion(map, bounds) {
  const camera = map.cameraForBounds(bounds, { padding: padding(), maxZoom: MOST_ZOOM });
  if (camera) map.easeTo({ ...camera, duration: 500 });
}

/** Moves the map no more than is needed to see a place that was clicked, and its region, if any. */
export function showPlace(map, place, bounds) {
  const free = padding();
  if (bounds) {
    const turn = 360 * Math.round((place.lng - (bounds[0] + bounds[2]) / 2) / 360);
    const [west, south, east, north] = bounds;
    const turned = [west + turn, south, east + turn, north];
    if (isFree(map, turned, free)) return;
    const zoom = map.getZoom();
    const camera = map.cameraForBounds(turned, { padding: free, maxZoom: zoom });
    // Of a region that is far larger than the screen, what was looked at stays.
    if (camera && camera.zoom >= zoom - 1) {
      map.easeTo({ ...camera, duration: 300 });
      return;
    }
  }
  const { left, top, bottom } = boxOf("details");
  const { x, y } = map.project(place);
  if (x < left || y < top || y > bottom) return;
  const offset = NARROW.matches ? [0, y - (free.top + top) / 2] : [x - (free.left + left) / 2, 0];
  map.panBy(offset, { duration: 300 });
}

function isFree(map, [west, south, east, north], free) {
  const { clientWidth, clientHeight } = map.getContainer();
  const [first, last] = [map.project([west, north]), map.project([east, south])];
  return first.x >= free.left && first.y >= free.top
    && last.x <= clientWidth - free.right && last.y <= clientHeight - free.bottom;
}
