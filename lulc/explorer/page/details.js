// What the tables say of one region: shares as a chart, areas as a table, changes as a matrix.

import { formatArea, formatChange, formatShare } from "./numbers.js";

const LISTED_CHANGES = 6;
const SEGMENT_NAME = "Share of each class";

/** Returns an element with attributes, and texts or elements in it. */
export function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") Object.assign(made.style, value);
    else made.setAttribute(key, value);
  }
  made.append(...content);
  return made;
}

/** Returns the coloured square that stands for a class. */
export function swatch(colour) {
  return element("span", { class: "swatch", style: { background: colour } });
}

/** Returns what is said of a region: a list of elements. */
export function describeRegion(region, classes) {
  const entries = new Map(classes.map((entry) => [entry.id, entry]));
  const periods = Object.keys(region.periods).sort();
  const total = `${formatArea(region.area_m2)} km²`;
  const content = [element("p", { class: "quiet" }, `${region.level}, ${total}`)];
  content.push(element("h3", {}, SEGMENT_NAME), chart(region, periods, entries));
  content.push(element("h3", {}, "Areas in km²"), areaTable(region, periods, entries));
  for (const change of region.changes) content.push(...describeChange(change, entries));
  return content;
}

function chart(region, periods, entries) {
  const bars = element("div", { class: "bars" });
  for (const period of periods) {
    const { classes, observed_share: observed } = region.periods[period];
    const bar = element("div", { class: "bar", role: "img" });
    const texts = [];
    for (const [id, , share] of ordered(classes, entries)) {
      const { name, colour } = entries.get(id) ?? unknown(id);
      const text = `${name} ${formatShare(share)}`;
      texts.push(text);
      const width = `${100 * share * (observed ?? 1)}%`;
      bar.append(element("span", { title: text, style: { background: colour, width } }));
    }
    bar.setAttribute("aria-label", `${period}: ${texts.join(", ")}`);
    bars.append(element("span", {}, period), bar);
  }
  return bars;
}

function areaTable(region, periods, entries) {
  const areas = new Map();
  for (const period of periods) {
    for (const [id, m2, , confidence] of region.periods[period].classes) {
      if (!areas.has(id)) areas.set(id, {});
      areas.get(id)[period] = { m2, confidence };
    }
  }
  const [first, last] = [periods[0], periods.at(-1)];
  const hasChange = periods.length > 1;
  const hasConfidence = !hasChange && [...areas.values()].some((row) => row[last]?.confidence != null);
  const head = ["Class", ...periods];
  if (hasChange) head.push("change");
  if (hasConfidence) head.push("confidence");
  const body = element("tbody");
  const ids = [...entries.keys()].filter((id) => areas.has(id));
  for (const id of [...ids, null]) {
    const row = areas.get(id);
    if (!row || (id === null && !periods.some((period) => row[period]?.m2 > 0))) continue;
    const { name, colour } = id === null ? { name: "not observed" } : entries.get(id);
    const title = colour ? [swatch(colour), ` ${name}`] : [name];
    const cells = periods.map((period) => cell(row[period]?.m2 ?? 0));
    if (hasChange) cells.push(changeCell((row[last]?.m2 ?? 0) - (row[first]?.m2 ?? 0)));
    if (hasConfidence) {
      const confidence = row[last]?.confidence;
      cells.push(element("td", {}, confidence == null ? "" : formatShare(confidence)));
    }
    body.append(element("tr", {}, element("th", { scope: "row" }, ...title), ...cells));
  }
  const heads = head.map((text) => element("th", { scope: "col" }, text));
  const table = element("table", { class: "areas" }, element("thead", {}, element("tr", {}, ...heads)), body);
  return element("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Areas" }, table);
}

function describeChange({ from, to, cells }, entries) {
  const all = cells.reduce((sum, [, , m2]) => sum + m2, 0);
  const moved = cells.filter(([before, after]) => before !== after).sort((a, b) => b[2] - a[2]);
  const changed = moved.reduce((sum, [, , m2]) => sum + m2, 0);
  const list = element("ul", { class: "changes" });
  const nameOf = (id) => (entries.get(id) ?? unknown(id)).name;
  for (const [before, after, m2] of moved.slice(0, LISTED_CHANGES)) {
    const text = `${nameOf(before)} → ${nameOf(after)}`;
    list.append(element("li", {}, element("span", {}, text), element("span", {}, `${formatArea(m2)} km²`)));
  }
  return [
    element("h3", {}, `Changes from ${from} to ${to}`),
    element("p", { class: "quiet" }, `${formatShare(all ? changed / all : 0)} of the area changed`),
    list,
    element("details", {}, element("summary", {}, "All changes, in km²"), matrix(cells, entries, from, to)),
  ];
}

function matrix(cells, entries, from, to) {
  const used = new Set(cells.flatMap(([before, after]) => [before, after]));
  const ids = [...entries.keys()].filter((id) => used.has(id));
  const areas = new Map(cells.map(([before, after, m2]) => [`${before} ${after}`, m2]));
  const titles = ids.map((id) => {
    const { name, colour } = entries.get(id);
    return element("th", { scope: "col", title: name, "aria-label": name }, swatch(colour));
  });
  const head = element("tr", {}, element("th", { scope: "col" }, `${from} ↓ ${to} →`), ...titles);
  const rows = ids.map((before) => {
    const { name, colour } = entries.get(before);
    const sum = ids.reduce((total, after) => total + (areas.get(`${before} ${after}`) ?? 0), 0);
    const values = ids.map((after) => {
      const m2 = areas.get(`${before} ${after}`) ?? 0;
      const depth = sum ? (0.55 * m2) / sum : 0;
      const made = cell(m2, m2 ? formatArea(m2) : "");
      made.style.background = `rgba(var(--cell), ${depth.toFixed(3)})`;
      return made;
    });
    return element("tr", {}, element("th", { scope: "row" }, swatch(colour), ` ${name}`), ...values);
  });
  const table = element("table", { class: "matrix" }, element("thead", {}, head), element("tbody", {}, ...rows));
  return element("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "All changes" }, table);
}

function cell(m2, text = formatArea(m2)) {
  return element("td", {}, element("data", { value: String(m2) }, text));
}

function changeCell(m2) {
  return cell(m2, formatChange(m2));
}

function ordered(classes, entries) {
  const order = [...entries.keys()];
  const observed = classes.filter(([id]) => id !== null);
  return observed.sort((a, b) => order.indexOf(a[0]) - order.indexOf(b[0]));
}

function unknown(id) {
  return { name: `class ${id}`, colour: "#888888" };
}
