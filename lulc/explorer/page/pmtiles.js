// Reads tiles of a PMTiles archive (version 3) by range requests.
// The format: https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md

const FIRST_BYTES = 16384; // header and root directory lie within them
const GZIP = 2;

export class Archive {
  #url;
  #whole = null; // all bytes, of a server that knows no ranges
  #start = null;
  #leaves = new Map();

  constructor(url) {
    this.#url = url;
  }

  /** Returns the bytes of a tile, null where the archive has none. */
  async tile(zoom, x, y) {
    this.#start ??= this.#readStart();
    const { header, root } = await this.#start;
    const id = tileId(zoom, x, y);
    let directory = root;
    for (let depth = 0; depth < 4; depth++) {
      const entry = findEntry(directory, id);
      if (!entry) return null;
      if (entry.run > 0) {
        const data = await this.#read(header.data + entry.offset, entry.length);
        return header.tileCompression === GZIP ? gunzip(data) : data;
      }
      directory = await this.#leaf(header, entry);
    }
    throw new Error(`${this.#url}: its directories are nested too deeply`);
  }

  async #readStart() {
    const bytes = await this.#read(0, FIRST_BYTES);
    const view = new DataView(bytes);
    const magic = new TextDecoder().decode(bytes.slice(0, 7));
    if (magic !== "PMTiles" || view.getUint8(7) !== 3) {
      throw new Error(`${this.#url} is no PMTiles archive of version 3`);
    }
    const at = (position) => Number(view.getBigUint64(position, true));
    const header = { leaves: at(40), data: at(56), tileCompression: view.getUint8(98) };
    const rootBytes = bytes.slice(at(8), at(8) + at(16));
    return { header, root: readDirectory(await gunzip(rootBytes)) };
  }

  #leaf(header, entry) {
    if (!this.#leaves.has(entry.offset)) {
      const leaf = this.#read(header.leaves + entry.offset, entry.length)
        .then(gunzip)
        .then(readDirectory);
      this.#leaves.set(entry.offset, leaf);
    }
    return this.#leaves.get(entry.offset);
  }

  async #read(offset, length) {
    if (!this.#whole) {
      const headers = { Range: `bytes=${offset}-${offset + length - 1}` };
      const response = await fetch(this.#url, { headers });
      if (response.status === 206) return response.arrayBuffer();
      if (!response.ok) throw new Error(`${this.#url}: ${response.status}`);
      this.#whole = response.arrayBuffer();
    }
    return (await this.#whole).slice(offset, offset + length);
  }
}

/** Returns the number of a tile: its place on a Hilbert curve, after all tiles of lower zooms. */
export function tileId(zoom, x, y) {
  let id = (4 ** zoom - 1) / 3;
  for (let side = 2 ** (zoom - 1); side >= 1; side /= 2) {
    const right = x >= side ? 1 : 0;
    const below = y >= side ? 1 : 0;
    id += side * side * ((3 * right) ^ below);
    if (right) x -= side;
    if (below) y -= side;
    if (!below) {
      if (right) [x, y] = [side - 1 - x, side - 1 - y];
      [x, y] = [y, x];
    }
  }
  return id;
}

/** Returns the entries of a directory, unpacked. */
export function readDirectory(buffer) {
  const bytes = new Uint8Array(buffer);
  let position = 0;
  const next = () => {
    let number = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[position++];
      number += (byte & 127) * factor;
      if (byte < 128) return number;
    }
  };
  const count = next();
  const read = () => Array.from({ length: count }, next);
  const [steps, runs, lengths, offsets] = [read(), read(), read(), read()];
  let id = 0;
  const entries = [];
  for (let i = 0; i < count; i++) {
    id += steps[i];
    const before = entries[i - 1];
    const offset = offsets[i] === 0 && before ? before.offset + before.length : offsets[i] - 1;
    entries.push({ id, run: runs[i], length: lengths[i], offset });
  }
  return entries;
}

function findEntry(entries, id) {
  let [low, high] = [0, entries.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (entries[middle].id <= id) low = middle + 1;
    else high = middle - 1;
  }
  const entry = entries[high];
  if (!entry) return null;
  return entry.run === 0 || id < entry.id + entry.run ? entry : null;
}

async function gunzip(buffer) {
  const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
