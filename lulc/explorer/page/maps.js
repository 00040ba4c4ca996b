// The two maps of the page: one that is always there, and one over it that shows another period on
// the right of a line.

import { CLASSES, COLOURS } from "./kinds.js";
import { filterOutlines, outlineLayers } from "./outlines.js";
import { Archive } from "./pmtiles.js";
import { SIDE, TileStore } from "./tiles.js";

const DARK = window.matchMedia("(prefers-color-scheme: dark)");

/** Makes `lulc://` and `regions://` addresses of tiles known to MapLibre. */
export function addTiles(description) {
  const store = new TileStore(description.layers);
  maplibregl.addProtocol("lulc", async ({ url }) => {
    const [name, zoom, x, y, hidden] = url.slice("lulc://".length).split("/");
    const values = hidden ? hidden.split(".").map(Number) : [];
    return { data: await store.picture(name, Number(zoom), Number(x), Number(y), values) };
  });
  const regions = new Archive("regions.pmtiles");
  maplibregl.addProtocol("regions", async ({ url }) => {
    const [zoom, x, y] = url.slice("regions://".length).split("/").map(Number);
    return { data: (await regions.tile(zoom, x, y)) ?? new ArrayBuffer(0) };
  });
  return store;
}

/**
 * What a map shows.
 * @typedef {object} View
 * @property {object} layer the layer of the description
 * @property {object} [background] the layer below it
 * @property {number} opacity of the layer, in per cent
 * @property {number[]} hidden classes that are transparent
 * @property {string} level of the regions that are outlined, empty for none
 * @property {number} [region] the one that is outlined strongly
 */

const drawing = new Set();

function setDrawing(map, isDrawing) {
  if (isDrawing) drawing.add(map);
  else drawing.delete(map);
  document.documentElement.dataset.drawn = String(drawing.size === 0);
}

/** One map with all layers of a description, of which one is shown at a time. */
export class LayerMap {
  #description;
  #hidden;

  /** Makes a map that shows a view from its first picture on. */
  constructor(container, label, description, camera, view) {
    this.#description = description;
    this.#hidden = view.hidden.join(".");
    this.map = new maplibregl.Map({
      container,
      style: makeStyle(description, view),
      maxPitch: 0,
      dragRotate: false,
      pitchWithRotate: false,
      renderWorldCopies: true,
      attributionControl: false,
      maxZoom: Math.max(...description.layers.map((layer) => layer.maxZoom)) + 4,
      ...camera,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    setDrawing(this.map, true);
    this.map.on("render", () => setDrawing(this.map, true));
    this.map.on("idle", () => setDrawing(this.map, false));
    this.ready = new Promise((resolve) => this.map.once("style.load", resolve));
    DARK.addEventListener("change", () => {
      this.map.setPaintProperty("ground", "background-color", groundColour());
    });
    const keys = "arrow keys move it, plus and minus zoom, Enter tells what lies in its middle";
    this.map.getCanvas().setAttribute("aria-label", `${label}: ${keys}`);
  }

  /** Shows a view, and nothing else. */
  show(view) {
    for (const { name } of this.#description.layers) {
      this.map.setLayoutProperty(name, "visibility", visibility(name, view));
    }
    this.map.setPaintProperty(view.layer.name, "raster-opacity", view.opacity / 100);
    this.#hide(view.hidden.join("."));
    if (this.#description.regions) filterOutlines(this.map, view);
  }

  #hide(hidden) {
    if (hidden === this.#hidden) return;
    this.#hidden = hidden;
    for (const { name, kind } of this.#description.layers) {
      if (kind === CLASSES) this.map.getSource(name).setTiles([tileAddress(name, hidden)]);
    }
  }

  /** Returns the number of the region of the outlined level at a point of the screen, if any. */
  regionAt(point) {
    if (!this.#description.regions) return undefined;
    const features = this.map.queryRenderedFeatures(point, { layers: ["regions-fill"] });
    return features[0]?.properties.number;
  }
}

/** Lets two maps follow each other. */
export function follow(one, other) {
  let isMoving = false;
  for (const [leader, follower] of [[one, other], [other, one]]) {
    leader.on("move", () => {
      if (isMoving) return;
      isMoving = true;
      follower.jumpTo({ center: leader.getCenter(), zoom: leader.getZoom() });
      isMoving = false;
    });
  }
}

function visibility(name, { layer, background }) {
  return name === layer.name || name === background?.name ? "visible" : "none";
}

function makeStyle({ layers, regions }, view) {
  const style = {
    version: 8,
    sources: {},
    layers: [
      { id: "ground", type: "background", paint: { "background-color": groundColour() } },
    ],
  };
  const below = layers.filter(({ kind }) => kind === COLOURS);
  const above = layers.filter(({ kind }) => kind !== COLOURS);
  for (const { name, kind, bounds, minZoom, maxZoom } of [...below, ...above]) {
    style.sources[name] = {
      type: "raster",
      tiles: [tileAddress(name, kind === CLASSES ? view.hidden.join(".") : "")],
      tileSize: SIDE,
      minzoom: minZoom,
      maxzoom: maxZoom,
      ...(bounds[2] <= 180 ? { bounds } : {}),
    };
    style.layers.push({
      id: name,
      type: "raster",
      source: name,
      layout: { visibility: visibility(name, view) },
      paint: {
        "raster-opacity": name === view.layer.name ? view.opacity / 100 : 1,
        "raster-resampling": kind === COLOURS ? "linear" : "nearest",
        "raster-fade-duration": 0,
      },
    });
  }
  if (regions) {
    style.sources.regions = {
      type: "vector",
      tiles: ["regions://{z}/{x}/{y}"],
      minzoom: regions.minZoom,
      maxzoom: regions.maxZoom,
    };
    style.layers.push(...outlineLayers(regions, view));
  }
  return style;
}

function tileAddress(name, hidden) {
  return `lulc://${name}/{z}/{x}/{y}/${hidden}`;
}

function groundColour() {
  return getComputedStyle(document.documentElement).getPropertyValue("--ground").trim();
}
