// Areas and shares as text, rounded as the report rounds them (`lulc.report.texts.Texts`).

const DECIMALS = 3; // at most

/** Returns an area in km²: three digits, all those of a whole number, three decimals at most. */
export function formatArea(m2) {
  return format(m2 / 1e6, "negative");
}

/** Returns a change of an area in km², with its sign. */
export function formatChange(m2) {
  return format(m2 / 1e6, "exceptZero");
}

/** Returns a share (0–1) in per cent. */
export function formatShare(share) {
  return share > 0 && share < 0.0005 ? "< 0.1 %" : `${write(100 * share, 1, "negative")} %`;
}

function format(number, signDisplay) {
  const size = Math.abs(number);
  const least = 10 ** -DECIMALS;
  if (size < least / 2) return number > 0 && signDisplay === "negative" ? `< ${least}` : "0";
  const power = Number(size.toExponential(2).split("e")[1]); // of the first digit, after rounding
  return write(number, Math.min(Math.max(2 - power, 0), DECIMALS), signDisplay);
}

function write(number, decimals, signDisplay) {
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  const options = { ...digits, signDisplay, roundingMode: "halfEven" };
  return number.toLocaleString("en", options).replace("-", "−");
}
