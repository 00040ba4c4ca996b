// The tiles of a map's layers: from a server's addresses, or from archives; kept, and repainted.

import { COLOURS } from "./kinds.js";
import { readValues, repaint } from "./palette.js";
import { Archive } from "./pmtiles.js";

const KEPT_TILES = 400;
const NONE = 255;
export const SIDE = 512;

export class TileStore {
  #layers;
  #archives = new Map();
  #kept = new Map();

  constructor(layers) {
    this.#layers = new Map(layers.map((layer) => [layer.name, layer]));
    for (const { name, archive } of layers) {
      if (archive) this.#archives.set(name, new Archive(archive));
    }
  }

  /** Returns the picture of a tile as it came, null where the layer has no pixel. */
  tile(name, zoom, x, y) {
    const address = `${name}/${zoom}/${x}/${y}`;
    let tile = this.#kept.get(address);
    if (tile) {
      this.#kept.delete(address); // and set again: the last one used is the last one dropped
    } else {
      const archive = this.#archives.get(name);
      tile = archive ? archive.tile(zoom, x, y) : fetchTile(`tiles/${address}.${this.#layers.get(name).format}`);
      tile.catch(() => this.#kept.delete(address));
    }
    this.#kept.set(address, tile);
    if (this.#kept.size > KEPT_TILES) this.#kept.delete(this.#kept.keys().next().value);
    return tile;
  }

  /** Returns the picture of a tile in which the values in `hidden` are transparent. */
  async picture(name, zoom, x, y, hidden) {
    const picture = await this.tile(name, zoom, x, y);
    if (!picture) return emptyPicture();
    if (this.#layers.get(name).kind === COLOURS) return picture;
    return repaint(picture, (colours, alphas) => {
      for (const value of hidden) alphas[value] = 0;
    });
  }

  /** Returns the value of a layer at a place, null where it has none. */
  async value({ name, maxZoom: zoom }, { lng, lat }) {
    const count = 2 ** zoom;
    const across = (((lng + 180) / 360) % 1 + 1) % 1 * count;
    const sine = Math.sin((lat * Math.PI) / 180);
    const down = (0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI)) * count;
    if (!(down >= 0 && down < count)) return null;
    const [x, y] = [Math.floor(across), Math.floor(down)];
    const png = await this.tile(name, zoom, x, y);
    if (!png) return null;
    const { data } = await readValues(png);
    const [col, row] = [Math.floor((across - x) * SIDE), Math.floor((down - y) * SIDE)];
    const value = data[4 * (row * SIDE + col)];
    return value === NONE ? null : value;
  }
}

async function fetchTile(address) {
  const response = await fetch(address);
  if (response.status === 204) return null;
  if (!response.ok) throw new Error(`${address}: ${response.status} ${await response.text()}`);
  return response.arrayBuffer();
}

async function emptyPicture() {
  const context = new OffscreenCanvas(1, 1);
  context.getContext("2d"); // which makes it transparent
  return (await context.convertToBlob()).arrayBuffer();
}
