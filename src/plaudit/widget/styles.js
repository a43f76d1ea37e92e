/**
 * How the bar looks. One sheet that all bars adopt, so that a page with a strict Content-Security-Policy shows it too.
 * Colours on the page come from the text around the bar; only what floats above the page has a surface of its own.
 */

// The boxes of the buttons are 44 px for the finger; the eye sees 36.
const BAR = `
:host{--accent:var(--plaudit-accent,light-dark(#0a58ca,#8ab8ff));
  --surface:var(--plaudit-surface,light-dark(#fff,#262a33));
--text:var(--plaudit-text,light-dark(#1b1f29,#eceef4));--line:var(--plaudit-line,light-dark(#0000001f,#ffffff29));
--radius:var(--plaudit-radius,18px);
display:block;min-block-size:44px;font:var(--plaudit-font,15px/1.3 system-ui,sans-serif)}
:host([hidden]),[hidden]{display:none!important}
*{box-sizing:border-box}
.bar,.split,.count{display:flex;align-items:center}
.bar{position:relative;flex-wrap:wrap;column-gap:8px}
button{position:relative;isolation:isolate;font:inherit;color:inherit;background:none;border:0;padding:0;
  min-inline-size:44px;min-block-size:44px;cursor:pointer;touch-action:manipulation}
button:focus-visible,.list:focus-visible{outline:2px solid var(--accent);outline-offset:-3px;
  border-radius:var(--radius)}
.react,.more{user-select:none;-webkit-user-select:none;-webkit-touch-callout:none}
.react::before,.more::before{content:"";position:absolute;z-index:-1;inset:4px 0;
  background:color-mix(in srgb,currentColor 7%,transparent);transition:background .12s}
.react::before{border-radius:var(--radius)}
.split:has(.more:not([hidden])) .react::before{border-start-end-radius:0;border-end-end-radius:0}
.more::before{border-start-end-radius:var(--radius);border-end-end-radius:var(--radius);
  border-inline-start:1px solid var(--line)}
.react{display:flex;align-items:center;justify-content:center;gap:7px;padding-inline:14px 12px;font-weight:600}
.more::after{content:"";display:block;margin:-4px auto 0;width:7px;height:7px;border:solid;border-width:0 2px 2px 0;
  rotate:45deg}
.react[aria-pressed=true],.react[aria-pressed=true]+.more{color:var(--accent)}
.react[aria-pressed=true]::before,.react[aria-pressed=true]+.more::before{background:color-mix(in srgb,var(--accent) 14%,transparent)}
.split>[aria-disabled]{opacity:.6;cursor:default}
.emoji{font-family:var(--plaudit-emoji-font,"Apple Color Emoji","Segoe UI Emoji","Noto Color Emoji",sans-serif);
  font-size:1.25em;line-height:1;font-weight:400;font-variant-emoji:emoji}
.split{max-inline-size:100%}
.label,.sentence{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.count{flex:1 1 8em;gap:6px;max-inline-size:max-content;padding-inline:6px;text-align:start}
.stack{display:flex}
.stack .emoji{font-size:1.1em}
.stack .emoji+.emoji{margin-inline-start:-.15em}
.total{font-weight:600;font-variant-numeric:tabular-nums}
.sentence{color:color-mix(in srgb,currentColor 78%,transparent)}
:host([compact]) :is(.label,.sentence){display:none}
:host([compact]) .react{padding-inline:12px}
.note{padding:6px 12px;border-radius:10px;font-size:.93em}
.note,.picker,.dialog{color:var(--text);background:var(--surface);border:1px solid var(--line);
  box-shadow:0 4px 24px #0000002e}
.status{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media(forced-colors:active){.react::before,.more::before{border:1px solid ButtonBorder}
.react[aria-pressed=true]::before{background:Highlight;forced-color-adjust:none}
.react[aria-pressed=true]{color:HighlightText;forced-color-adjust:none}}
`;

/** A sheet for `adoptedStyleSheets`. @param {string} css */
export function sheetOf(css) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  return sheet;
}

export const barSheet = sheetOf(BAR);

/** What shows only when somebody is at a bar. The picker's module fills it. */
export const laterSheet = sheetOf("");
