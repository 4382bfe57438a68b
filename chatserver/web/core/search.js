// Fuzzy match, for the switcher.

/**
 * How well a name matches what was typed: higher is better, 0 not at all. The letters have to come in this order.
 * @param {string} typed @param {string} name
 */
export function score(typed, name) {
  const wanted = plain(typed);
  const text = plain(name);
  if (!wanted) return 1;
  if (text === wanted) return 1000;
  if (text.startsWith(wanted)) return 800 - text.length;
  const within = text.indexOf(wanted);
  if (within > 0) return (isBorder(text, within) ? 600 : 400) - within - text.length / 10;
  let at = -1;
  let sum = 200;
  for (const char of wanted) {
    const next = text.indexOf(char, at + 1);
    if (next < 0) return 0;
    sum -= next - at - 1 - (isBorder(text, next) ? 3 : 0);
    at = next;
  }
  return Math.max(1, sum - text.length / 10);
}

/**
 * Those that match, the best first; equals stay in their order.
 * @template T @param {string} typed @param {T[]} list @param {(one: T) => string|string[]} words @param {number} [most] @returns {T[]}
 */
export function find(typed, list, words, most = 50) {
  /** @type {{one: T, value: number, index: number}[]} */
  const found = [];
  list.forEach((one, index) => {
    const value = Math.max(...[words(one)].flat().map((word) => score(typed, word)));
    if (value > 0) found.push({ one, value, index });
  });
  found.sort((one, other) => other.value - one.value || one.index - other.index);
  return found.slice(0, most).map(({ one }) => one);
}

/** Without case, accents, and signs in front. @param {string} text */
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replace(/^[@#~]/, "");

/** @param {string} text @param {number} at */
const isBorder = (text, at) => at === 0 || /[\s_.-]/.test(text[at - 1]);
