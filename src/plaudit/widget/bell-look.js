/**
 * How the bell looks and what it says. One sheet for all bells, so that a page with a strict Content-Security-Policy shows
 * it too.
 */

import { FACES } from "./faces.js";

const WORDS = {
  en: {
    title: "Notifications", none: "Nothing yet. Reactions to what you share will show up here.", more: "Older",
    failed: "This could not be loaded.", again: "Try again", fresh: "New", close: "Close",
    unread: (/** @type {string} */ n) => `${n} unread`,
  },
  de: {
    title: "Benachrichtigungen", none: "Noch nichts. Hier erscheinen Reaktionen auf deine Inhalte.", more: "Ältere",
    failed: "Das konnte nicht geladen werden.", again: "Noch einmal", fresh: "Neu", close: "Schließen",
    unread: (/** @type {string} */ n) => `${n} ungelesen`,
  },
};

/** In this language if it is one of ours, else in English. @param {string} locale */
export function wordsOf(locale) {
  const lang = locale.split("-")[0];
  return lang in WORDS ? { ...WORDS[/** @type {"en" | "de"} */ (lang)], lang: locale } : { ...WORDS.en, lang: "en" };
}

const STYLE = `${FACES}
:host{--accent:var(--plaudit-accent,light-dark(#0a58ca,#8ab8ff));--surface:var(--plaudit-surface,light-dark(#fff,#262a33));
--text:var(--plaudit-text,light-dark(#1b1f29,#eceef4));--line:var(--plaudit-line,light-dark(#0000001f,#ffffff29));
--quiet:light-dark(#565d6b,#aeb4c2);--badge:light-dark(#c4162f,#ff8593);--on-badge:light-dark(#fff,#2b0006);
display:inline-block;position:relative;font:var(--plaudit-font,15px/1.4 system-ui,sans-serif)}
:host([hidden]),[hidden]{display:none!important}
*{box-sizing:border-box}
button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer;min-inline-size:44px;min-block-size:44px;touch-action:manipulation}
:is(button,a,.list,.panel):focus-visible{outline:2px solid var(--accent);outline-offset:-2px;border-radius:10px}
.bell{position:relative;display:grid;place-items:center}
.bell svg{inline-size:24px;block-size:24px;fill:none;stroke:currentColor;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round}
.badge{position:absolute;inset-block-start:4px;inset-inline-start:24px;min-inline-size:18px;padding-inline:4px;border-radius:9px;background:var(--badge);color:var(--on-badge);font-size:11px;font-weight:700;line-height:18px;text-align:center;font-variant-numeric:tabular-nums}
.panel{position:fixed;margin:0;padding:0;inline-size:min(380px,100% - 24px);color:var(--text);background:var(--surface);border:1px solid var(--line);border-radius:14px;box-shadow:0 8px 32px #0000003d;overflow:hidden;flex-direction:column}
.panel:popover-open{display:flex}
.head{display:flex;align-items:center;padding-inline-start:16px;border-block-end:1px solid var(--line)}
h2{flex:1;margin:0;font-size:1.05em}
.list{list-style:none;margin:0;padding:0;max-block-size:min(60vh,460px);overflow-y:auto;overscroll-behavior:contain}
.list>li+li{border-block-start:1px solid var(--line)}
.item{display:flex;gap:12px;align-items:flex-start;inline-size:100%;padding:12px 16px;text-align:start;color:inherit;text-decoration:none;overflow-wrap:anywhere}
.item.unread{background:color-mix(in srgb,var(--accent) 9%,transparent)}
@media(hover:hover){.item:hover{background:color-mix(in srgb,currentColor 7%,transparent)}}
.list .picture{inline-size:38px;block-size:38px}
.ghost{padding:18px 16px}
.words{flex:1;min-inline-size:0}
.text{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:4;overflow:hidden}
.unread .text{font-weight:600}
.when{display:flex;gap:6px;align-items:center;color:var(--quiet);font-size:.87em}
.emoji{font-family:"Apple Color Emoji","Segoe UI Emoji","Noto Color Emoji",sans-serif}
.dot{flex:none;margin-block-start:7px;inline-size:9px;block-size:9px;border-radius:50%;background:var(--accent)}
.veiled>:not(.head){visibility:hidden}
.note{padding:24px 20px;margin:0;text-align:center;color:var(--quiet)}
.older{inline-size:100%;border-block-start:1px solid var(--line);color:var(--accent);font-weight:600}
.say{position:absolute;inline-size:1px;block-size:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media(forced-colors:active){.badge,.dot{border:1px solid}.item.unread{border-inline-start:4px solid Highlight}}
`;
export const bellSheet = new CSSStyleSheet();
bellSheet.replaceSync(STYLE);

export function bellIcon() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (const d of ["M6 9a6 6 0 0 1 12 0c0 5 2 6.5 2 7.5H4C4 15.5 6 14 6 9Z", "M10 19.5a2.2 2.2 0 0 0 4 0"]) {
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}
