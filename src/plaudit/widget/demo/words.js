// @ts-check
/** Texts: sentences about people, and times. */

const numbers = new Intl.NumberFormat("en");
const times = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];

/** @param {number} count */
export function number(count) {
  return numbers.format(count);
}

/**
 * "You, Emi Tanaka and 3 others". The service's own sentence never says "You": only the reader's page can.
 * @param {import("./state.js").Shown} shown
 * @param {string} me the reader's id
 */
export function sentence({ own, total, reactions, sample }, me) {
  if (total === 0) return "";
  const allLikes = reactions.like === total;
  const known = sample.filter((user) => user.id !== me).map((user) => user.name);
  if (own !== null) known.unshift(allLikes ? "you" : "You");
  const people = known.slice(0, total);
  const named = people.length === total && total <= 3 ? people : people.slice(0, 2);
  const rest = total - named.length;
  if (named.length === 0) named.push(total === 1 ? "1 person" : `${number(total)} people`);
  else if (rest > 0) named.push(rest === 1 ? "1 other" : `${number(rest)} others`);
  const last = named.pop();
  const text = named.length ? `${named.join(", ")} and ${last}` : `${last}`;
  return allLikes ? `Liked by ${text}` : text;
}

/** "25 minutes ago". @param {string} at an RFC 3339 time */
export function ago(at) {
  const seconds = (Date.parse(at) - Date.now()) / 1000;
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return times.format(Math.round(seconds / length), unit);
  }
  return "just now";
}

/** "Emi Tanaka’s post". @param {string} name @param {string} type */
export function belongingTo(name, type) {
  return `${name}’s ${type}`;
}
