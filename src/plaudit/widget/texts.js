/**
 * What the bar says, as data: English here, other languages in `texts/`. Plurals, lists and numbers are the
 * browser's.
 */

/**
 * @typedef {Partial<Record<Intl.LDMLPluralRule, string>> & {other: string}} Plural
 * @typedef {Record<string, string | Plural | Record<string, string>>} Texts `names`: the six default reactions
 */

/** @type {Record<string, string>} */
const english = { like: "Like", love: "Love", haha: "Haha", wow: "Wow", sad: "Sad", angry: "Angry" };

/** @type {Texts} */
const en = {
  names: english,
  group: "Reactions",
  groupOf: "Reactions to {what}",
  choose: "Choose a reaction",
  who: "Show who reacted",
  you: "You",
  others: { one: "{n} other", other: "{n} others" },
  reactions: { one: "{n} reaction", other: "{n} reactions" },
  given: "You reacted with {label}.",
  taken: "Your reaction is taken back.",
  late: "Not saved yet. Trying again.",
  target_closed: "Reactions are closed here.",
  target_deleted: "This is not there any more.",
  target_not_granted: "You cannot react here.",
  signedOut: "Sign in to react.",
  failed: "That did not work.",
};

const LANGUAGES = new Set(["ar", "de", "es", "fr", "ja"]);
const LONGEST_NAME = 40;
const UNPRINTABLE = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Texts and number formats of one language. */
export class Words {
  /** @param {string} lang @param {Texts} texts */
  constructor(lang, texts) {
    this.lang = lang;
    this.texts = texts;
    this.rules = new Intl.PluralRules(lang);
    this.full = new Intl.NumberFormat(lang);
    this.compact = new Intl.NumberFormat(lang, { notation: "compact", maximumFractionDigits: 1 });
    this.lists = new Intl.ListFormat(lang === "en" ? "en-GB" : lang); // without the comma before "and"
  }

  /** @param {string} key @param {Record<string, string>} [values] */
  say(key, values = {}) {
    const text = String(this.texts[key] ?? en[key] ?? this.texts.failed);
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  }

  /** @param {string} key @param {number} n */
  count(key, n) {
    const forms = /** @type {Plural} */ (this.texts[key]);
    return (forms[this.rules.select(n)] ?? forms.other).replace("{n}", this.short(n));
  }

  /** A number as the bar shows it: 1,234 and 12.3K. @param {number} n */
  short(n) {
    return (n < 10_000 ? this.full : this.compact).format(n);
  }

  /** The catalogue's label, in this language if it is one of ours. @param {{name: string, label: string}} reaction */
  label({ name, label }) {
    const names = /** @type {Record<string, string>} */ (this.texts.names);
    return (label === english[name] && names[name]) || label || name;
  }

  /**
   * "You, Alice and 1,232 others"; empty where nobody is known by name.
   * @param {boolean} own @param {import("./state.js").User[]} sample without oneself @param {number} total
   */
  sentence(own, sample, total) {
    const names = sample.map((user) => isolated(String(user?.name ?? user?.id)));
    if (own) names.unshift(this.say("you"));
    names.length = total <= Math.min(names.length, 3) ? total : Math.min(names.length, 2);
    if (!names.length) return "";
    if (total > names.length) names.push(this.count("others", total - names.length));
    return this.lists.format(names);
  }
}

/**
 * A user's name for use in a sentence: of one line, not endless, and unable to turn the text around it.
 * @param {string} name
 */
export function isolated(name) {
  const characters = [...name.slice(0, 8 * LONGEST_NAME).replace(UNPRINTABLE, "")];
  const end = characters.length > LONGEST_NAME ? "…" : "";
  return `\u2068${characters.slice(0, LONGEST_NAME).join("")}${end}\u2069`;
}

/** @type {Map<string, Promise<Words>>} */
const loaded = new Map();

/** The words of a language tag; English where there are none. @param {string} tag */
export function wordsOf(tag) {
  const lang = tag.toLowerCase().split("-")[0];
  const known = LANGUAGES.has(lang) ? lang : "en";
  const words = loaded.get(known) ?? (known === "en"
    ? Promise.resolve(new Words("en", en))
    : import(`./texts/${known}.js`).then(({ texts }) => new Words(known, texts), () => new Words("en", en)));
  loaded.set(known, words);
  return words;
}
