// A text field that finds regions by a part of their name.

import { element } from "./details.js";

const LISTED = 30;

/** Sets up the field; `choose` is called with number and level of the region that is chosen. */
export function addSearch(choose) {
  const field = document.getElementById("search-text");
  const list = document.getElementById("search-list");
  let names = null;
  let found = [];
  let active = -1;

  async function find() {
    names ??= fetch("regions.json").then((response) => response.json());
    const text = plain(field.value);
    const all = await names;
    if (text !== plain(field.value)) return;
    found = [];
    for (let number = 0; text && number < all.length && found.length < LISTED; number++) {
      if (plain(all[number][0]).includes(text)) found.push([number, ...all[number]]);
    }
    active = -1;
    list.replaceChildren(
      ...found.map(([, name, level], position) =>
        element("li", { role: "option", id: `found-${position}`, "aria-selected": "false" },
          `${name} `, element("small", {}, level))),
    );
    open(found.length > 0);
  }

  function open(isOpen) {
    list.hidden = !isOpen;
    field.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) field.removeAttribute("aria-activedescendant");
  }

  function activate(position) {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = (position + found.length) % found.length;
    list.children[active].setAttribute("aria-selected", "true");
    list.children[active].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", `found-${active}`);
  }

  function take(position) {
    const [number, name, level] = found[position];
    field.value = name;
    open(false);
    choose(number, level);
  }

  field.addEventListener("input", find);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault();
    if (list.hidden) return;
    if (event.key === "ArrowDown") activate(active + 1);
    else if (event.key === "ArrowUp") activate(active - 1);
    else if (event.key === "Enter") take(Math.max(active, 0));
    else if (event.key === "Escape") open(false);
    else return;
    event.preventDefault();
  });
  list.addEventListener("mousedown", (event) => {
    event.preventDefault();
    const position = [...list.children].indexOf(event.target.closest("li"));
    if (position >= 0) take(position);
  });
  field.addEventListener("blur", () => open(false));
}

function plain(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().trim();
}
