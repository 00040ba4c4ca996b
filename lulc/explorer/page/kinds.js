// What a layer can show: classes, true colours, or percentages that say how sure the map is.

export const CLASSES = "classes";
export const COLOURS = "colours";

const MEANINGS = {
  confidence: ["Confidence", "The probability of the class that is mapped."],
  entropy: ["Entropy", "Of the classes' probabilities: 0 % where one class is certain, 100 % where none is likelier than another."],
  margin: ["Margin", "The probability of the likeliest class less that of the next: low where two classes compete."],
  spread: ["Spread", "How far several models or mirror images differ in the probability of the class: 0 % where all agree."],
};

/** Returns name and meaning of a kind of layer. */
export function describeKind(kind) {
  if (kind === CLASSES) return ["Classes", ""];
  return MEANINGS[kind] ?? [kind.charAt(0).toUpperCase() + kind.slice(1), ""];
}

/** Returns the kinds that maps of a description can show, in order. */
export function listKinds(layers) {
  return [...new Set(layers.map(({ kind }) => kind))].filter((kind) => kind !== COLOURS);
}
