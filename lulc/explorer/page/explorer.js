// The page: reads map.json, shows the state that its address tells, and changes both on request.

import { NARROW, padding, showPlace, showRegion } from "./camera.js";
import { describeRegion, element, swatch } from "./details.js";
import { CLASSES, COLOURS, describeKind, listKinds } from "./kinds.js";
import { LayerMap, addTiles, follow } from "./maps.js";
import { RegionNames } from "./names.js";
import { addSearch } from "./search.js";
import { formatState, parseState } from "./state.js";

const SEE_THROUGH = 50; // opacity, in per cent, of a map over true colours
const find = (id) => document.getElementById(id);
const description = await (await fetch("map.json")).json();
const store = addTiles(description);
const maps = description.layers.filter(({ kind }) => kind === CLASSES);
const measures = listKinds(description.layers).filter((kind) => kind !== CLASSES);
const periods = [...new Set(maps.map((layer) => layer.period))].sort();
const state = { ...defaults(), ...parseState(location.hash) };
checkPeriods();
const hasCamera = state.zoom !== undefined && state.lng !== undefined && state.lat !== undefined;
let other = null; // the map of the other period, made when it is first asked for

document.title = `${description.name}: land cover map`;
find("title").textContent = description.name;
addSettings();
const main = new LayerMap("map", "Map", description, camera(), viewOf(state.period));
const { map } = main;
map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "bottom-right");
map.addControl(new maplibregl.ScaleControl(), "bottom-left");
await main.ready;
update();
map.on("moveend", saveState);
map.on("zoom", showNotice);
listen(main);
if (description.regions) {
  new RegionNames(map, description.regions);
  addSearch((number, level) => {
    if (level in description.regions.levels) set({ level });
    choose(number);
  });
  if (state.region !== undefined) choose(state.region, undefined, hasCamera);
}
window.addEventListener("hashchange", () => {
  Object.assign(state, { other: "", background: "", region: undefined }, parseState(location.hash));
  map.jumpTo({ center: [state.lng, state.lat], zoom: state.zoom });
  update();
  if (state.region !== undefined) choose(state.region, undefined, true);
  else closeDetails();
});
document.documentElement.dataset.ready = "true";

function defaults() {
  const levels = Object.entries(description.regions?.levels ?? {});
  levels.sort((one, two) => two[1] - one[1]);
  return { kind: CLASSES, period: periods.at(-1), other: "", opacity: 100, background: "", divider: 50, level: levels[0]?.[0] ?? "" };
}

function camera() {
  if (hasCamera) return { center: [state.lng, state.lat], zoom: state.zoom };
  return { bounds: description.bounds, fitBoundsOptions: { padding: padding() } };
}

/** Returns the layer that is shown of a period: classes where it has not the kind that is asked for. */
function layerOf(period) {
  return findLayer(state.kind, period) ?? findLayer(CLASSES, period);
}

function findLayer(kind, period) {
  return description.layers.find((layer) => layer.kind === kind && layer.period === period);
}

function addSettings() {
  const option = (value, text) => element("option", { value }, text);
  find("period").append(...periods.map((period) => option(period, period)));
  find("other-period").append(option("", "–"), ...periods.map((period) => option(period, period)));
  find("compare").hidden = periods.length < 2;
  const kinds = listKinds(description.layers);
  find("kind").append(...kinds.map((kind) => option(kind, describeKind(kind)[0])));
  find("kinds").hidden = !measures.length;
  find("backgrounds").hidden = !description.layers.some(({ kind }) => kind === COLOURS);
  find("search").hidden = !description.regions;
  const levels = Object.keys(description.regions?.levels ?? {});
  find("levels").hidden = !levels.length;
  find("level").append(...levels.map((level) => option(level, level)), option("", "not shown"));
  for (const { id, name, colour } of description.classes) {
    const box = element("input", { type: "checkbox", value: id });
    find("classes").append(element("li", {}, element("label", {}, box, swatch(colour), name)));
  }
  find("ramp-colours").style.background = `linear-gradient(to right, ${description.ramp.join(",")})`;
  const texts = { period: "period", "other-period": "other", kind: "kind", level: "level" };
  for (const [id, name] of Object.entries(texts)) {
    find(id).addEventListener("change", (event) => set({ [name]: event.target.value }));
  }
  const numbers = { opacity: "opacity", "divider-place": "divider" };
  for (const [id, name] of Object.entries(numbers)) {
    find(id).addEventListener("input", (event) => set({ [name]: Number(event.target.value) }));
  }
  find("colours").addEventListener("change", (event) => {
    const isShown = event.target.checked;
    // What lies below a map that lets nothing through would not be seen.
    const isCovered = isShown && state.opacity === 100;
    set({ background: isShown ? COLOURS : "", ...(isCovered ? { opacity: SEE_THROUGH } : {}) });
  });
  find("classes").addEventListener("change", () => {
    const boxes = [...find("classes").querySelectorAll("input")];
    set({ hidden: boxes.filter((box) => !box.checked).map((box) => Number(box.value)) });
  });
  find("settings").addEventListener("submit", (event) => event.preventDefault());
  find("fold").addEventListener("click", () => fold(!find("panel").classList.contains("folded")));
  find("settings").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || !NARROW.matches) return;
    fold(true);
    find("fold").focus();
  });
  find("details").addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeDetails();
  });
  fold(NARROW.matches);
}

/** Opens or closes the settings of a narrow screen; on a wide one they are always open. */
function fold(isFolded) {
  find("panel").classList.toggle("folded", isFolded);
  find("fold").textContent = isFolded ? "Settings" : "Close";
  find("fold").setAttribute("aria-expanded", String(!isFolded));
}

function set(changes) {
  Object.assign(state, changes);
  update();
  saveState();
}

/** Takes the periods that an address names wrongly for those that there are. */
function checkPeriods() {
  if (!periods.includes(state.period)) state.period = periods.at(-1);
  if (!periods.includes(state.other)) state.other = "";
}

/** Brings controls and maps in line with the state. */
function update() {
  checkPeriods();
  for (const [id, name] of Object.entries({ period: "period", "other-period": "other", kind: "kind", level: "level", opacity: "opacity", "divider-place": "divider" })) {
    find(id).value = state[name];
  }
  for (const box of find("classes").querySelectorAll("input")) {
    box.checked = !state.hidden.includes(Number(box.value));
  }
  find("colours").checked = state.background === COLOURS;
  const { kind } = layerOf(state.period);
  find("legend").hidden = kind !== CLASSES;
  find("ramp").hidden = kind === CLASSES;
  [find("ramp-title").textContent, find("ramp-meaning").textContent] = describeKind(kind);
  main.show(viewOf(state.period));
  updateOther();
  showNotice();
}

function viewOf(period) {
  const { opacity, hidden, level, region } = state;
  return { layer: layerOf(period), background: findLayer(state.background, period), opacity, hidden, level, region };
}

async function updateOther() {
  find("other-map").hidden = find("divider").hidden = !state.other;
  if (!state.other) return;
  if (!other) {
    const place = { center: map.getCenter(), zoom: map.getZoom() };
    other = new LayerMap("other-map", "Map of the other period", description, place, viewOf(state.other));
    follow(map, other.map);
    await other.ready;
    listen(other);
  }
  await other.ready;
  other.map.resize();
  other.map.jumpTo({ center: map.getCenter(), zoom: map.getZoom() });
  other.show(viewOf(state.other));
  find("other-map").style.clipPath = `inset(0 0 0 ${state.divider}%)`;
  find("divider-line").style.left = `${state.divider}%`;
}

function listen(layerMap) {
  layerMap.map.on("click", (event) => {
    const number = layerMap.regionAt(event.point);
    choose(number, event.lngLat);
  });
  layerMap.map.getCanvas().addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const middle = layerMap.map.getCenter();
    choose(layerMap.regionAt(layerMap.map.project(middle)), middle);
  });
}

function saveState() {
  const { lng, lat } = map.getCenter();
  Object.assign(state, { lng, lat, zoom: map.getZoom() });
  history.replaceState(null, "", formatState(state));
}

function showNotice() {
  const isTooFar = (layer) => layer && map.getZoom() < layer.minZoom;
  let text = "";
  if (state.level && map.getZoom() < description.regions?.minZoom) text = "Zoom in to see regions";
  if (isTooFar(findLayer(state.background, state.period))) text = "Zoom in to see true colours";
  if (isTooFar(layerOf(state.period))) text = "Zoom in to see this layer";
  find("notice").hidden = !text;
  find("notice").textContent = text;
}

/** Shows what is known of a region, or of a place, or of both; unless the map stays, it is moved. */
async function choose(number, place, stays = false) {
  set({ region: number });
  const content = [];
  let title = description.regions && state.level ? "No region here" : "Place";
  let region;
  if (place) content.push(await describePlace(place));
  if (number !== undefined && description.regions) {
    const file = Math.floor(number / description.regions.perFile);
    region = (await (await fetch(`regions/${file}.json`)).json())[number];
  }
  if (state.region !== number) return; // another one was chosen meanwhile
  if (region) {
    title = region.name || region.region_id;
    content.push(...describeRegion(region, description.classes));
  }
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  close.addEventListener("click", closeDetails);
  find("details").replaceChildren(element("header", {}, element("h2", {}, title), close), ...content);
  find("details").hidden = false;
  find("details").scrollTop = 0;
  if (NARROW.matches) {
    // They would lie over the details. Who wrote into them goes on in the details.
    if (find("settings").contains(document.activeElement)) close.focus();
    fold(true);
  }
  if (place) showPlace(map, place, region?.bounds);
  else if (region && !stays) showRegion(map, region.bounds);
}

function closeDetails() {
  find("details").hidden = true;
  set({ region: undefined });
  map.getCanvas().focus({ preventScroll: true });
}

async function describePlace(place) {
  const names = new Map(description.classes.map(({ id, name }) => [id, name]));
  const texts = await Promise.all(periods.map(async (period) => {
    const value = await store.value(findLayer(CLASSES, period), place);
    const facts = [value === null ? "no class" : (names.get(value) ?? `class ${value}`)];
    for (const kind of measures) {
      const layer = findLayer(kind, period);
      const percent = layer ? await store.value(layer, place) : null;
      if (percent !== null) facts.push(`${kind} ${percent} %`);
    }
    return `${period}: ${facts.join(", ")}`;
  }));
  const { lng, lat } = place.wrap();
  return element("p", { class: "here" }, element("span", {}, texts.join("; ")), element("br"),
    element("span", { class: "quiet" }, `${lat.toFixed(5)}, ${lng.toFixed(5)}`));
}
