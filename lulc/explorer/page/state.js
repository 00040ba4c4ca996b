// What the page shows, as it stands behind the # of its address: the address is a permalink.

const NUMBERS = ["zoom", "lng", "lat", "opacity", "divider", "region"];
const TEXTS = ["kind", "period", "other", "background", "level"];

/** Returns the state that an address tells; what it leaves out is missing. */
export function parseState(hash) {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const state = {};
  for (const name of NUMBERS) {
    const number = Number.parseFloat(parameters.get(name));
    if (Number.isFinite(number)) state[name] = number;
  }
  for (const name of TEXTS) {
    if (parameters.has(name)) state[name] = parameters.get(name);
  }
  const hidden = parameters.get("hidden") ?? "";
  state.hidden = hidden.split(".").filter(Boolean).map(Number).filter(Number.isInteger);
  return state;
}

/** Returns what stands behind the # for a state. */
export function formatState(state) {
  const parameters = new URLSearchParams();
  const rounding = { zoom: 2, lng: 5, lat: 5 };
  for (const name of [...NUMBERS, ...TEXTS]) {
    const value = state[name];
    if (value === undefined || (value === "" && name !== "level")) continue;
    const isRounded = name in rounding;
    parameters.set(name, isRounded ? String(Number(value.toFixed(rounding[name]))) : String(value));
  }
  if (state.hidden.length) parameters.set("hidden", state.hidden.join("."));
  return "#" + parameters.toString();
}
