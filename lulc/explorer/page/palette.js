// Changes the palette of a PNG without decoding its pixels: a class is hidden by the one byte that
// says how opaque its colour is.

const SIGNATURE_BYTES = 8;

/** Returns the PNG with its colours (3 bytes each) and alphas (1 byte each) changed in place. */
export function repaint(png, change) {
  const bytes = new Uint8Array(png).slice();
  const view = new DataView(bytes.buffer);
  const chunks = {};
  for (let at = SIGNATURE_BYTES; at < bytes.length; ) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    chunks[name] ??= { at, length };
    if (name === "IDAT") break;
    at += length + 12;
  }
  const { PLTE: colours, tRNS: alphas } = chunks;
  const content = ({ at, length }) => bytes.subarray(at + 8, at + 8 + length);
  change(content(colours), content(alphas));
  for (const { at, length } of [colours, alphas]) {
    view.setUint32(at + 8 + length, checksum(bytes.subarray(at + 4, at + 8 + length)));
  }
  return bytes.buffer;
}

/** Returns the values of a PNG's pixels, four bytes each of which the first is the value. */
export async function readValues(png) {
  const plain = repaint(png, (colours, alphas) => {
    for (let value = 0; value < alphas.length; value++) {
      colours.fill(value, 3 * value, 3 * value + 3);
    }
    alphas.fill(255);
  });
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const image = await createImageBitmap(new Blob([plain], { type: "image/png" }), options);
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, image.width, image.height);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
