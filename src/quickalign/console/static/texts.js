// Texts in the reader's language, by their English form; the page brings them along.
const known = JSON.parse(document.getElementById("texts")?.textContent || "{}");

/** `text` in the reader's language, with %(name)s replaced by the values of `values`. */
export function say(text, values = {}) {
  return (known[text] ?? text).replace(/%\((\w+)\)s/g, (whole, name) => values[name] ?? whole);
}

/** A number as the reader's language writes it. */
export function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const small = value !== 0 && Math.abs(value) < 10 ** -digits;
  return small ? value.toExponential(2) : value.toLocaleString(document.documentElement.lang, { maximumFractionDigits: digits });
}

/** Bytes in the largest unit that leaves a number above 1. */
export function size(bytes) {
  for (const [unit, scale] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= scale) return `${number(bytes / scale, 1)} ${unit}`;
  }
  return `${bytes} B`;
}
