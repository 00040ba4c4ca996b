// Names of regions on the map, where these are wide enough. They are elements of the page: MapLibre
// would ask a server for its letters.

import { element } from "./details.js";
import { SIDE } from "./tiles.js";

const MOST = 20;
const ZOOMS = 4; // after the first that has regions: before, an ordinary one is narrower than a name
const NARROWEST = 30; // pixels of a region that may be wide enough

/** Writes names over a map, and moves them with it. */
export class RegionNames {
  #map;
  #minZoom;
  #list = document.getElementById("names");
  #places = []; // of the elements of the list

  constructor(map, { minZoom }) {
    this.#map = map;
    this.#minZoom = minZoom + ZOOMS;
    map.on("move", () => this.#place());
    map.on("idle", () => this.#choose());
  }

  #choose() {
    this.#list.replaceChildren();
    this.#places = [];
    const pixels = (SIDE * 2 ** this.#map.getZoom()) / 360; // of a degree of longitude
    const taken = [];
    for (const { name, lng, lat, width } of this.#regions()) {
      if (this.#places.length === MOST || width * pixels < NARROWEST) break;
      const text = element("span", {}, name);
      this.#list.append(text);
      const box = boxAround(this.#map.project([lng, lat]), text);
      if (box.right - box.left > width * pixels || taken.some((other) => meet(box, other))) {
        text.remove();
        continue;
      }
      taken.push(box);
      this.#places.push([lng, lat]);
    }
    this.#place();
  }

  /** Returns what the tiles tell of the outlined regions on the screen, the widest first. */
  #regions() {
    if (this.#map.getZoom() < this.#minZoom) return [];
    const features = this.#map.queryRenderedFeatures({ layers: ["regions-fill"] });
    const regions = new Map(features.map(({ properties }) => [properties.number, properties]));
    return [...regions.values()].sort((one, two) => two.width - one.width);
  }

  #place() {
    this.#places.forEach((place, number) => {
      const { x, y } = this.#map.project(place);
      this.#list.children[number].style.translate = `calc(${x}px - 50%) calc(${y}px - 50%)`;
    });
  }
}

function boxAround({ x, y }, { offsetWidth: width, offsetHeight: height }) {
  return { left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 };
}

function meet(one, two) {
  return one.left < two.right && two.left < one.right && one.top < two.bottom && two.top < one.bottom;
}
