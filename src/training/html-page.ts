/** The frame of every page Cambium writes: one file, no script, nothing fetched, every name from the data escaped. */

// Bidi overrides and separators would let a class name rearrange the page.
const UNSAFE = /[&<>"'\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const NAMED: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

export const escapeHtml = (text: string): string =>
  text.replace(UNSAFE, (c) => NAMED[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** A whole document; `body` is HTML already. */
export const htmlPage = (title: string, body: string): string => `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head><body><h1>${escapeHtml(title)}</h1>
${body}
</body></html>
`;

/** `1 epoch`, `1,200 epochs`. */
export const plural = (n: number, noun: string): string => `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;

/** A collapsed part of a page, open where it is short. `body` is HTML already. */
export const details = (summary: string, body: string, open = false): string =>
  `<details${open ? ' open' : ''}><summary>${escapeHtml(summary)}</summary>\n${body}</details>`;

/** Rows of name and value; values are HTML already. */
export const facts = (rows: readonly (readonly [name: string, value: string])[]): string =>
  `<table class="facts">${rows.map(([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${value}</td></tr>`).join('\n')}</table>`;

/** A table that scrolls by itself where it is wider than the page; cells are HTML already, the first of a row its heading. */
export function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = columns.map((name) => `<th>${escapeHtml(name)}</th>`).join('');
  const body = rows.map(
    ([first = '', ...cells]) => `<tr><th>${first}</th>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`,
  );
  return `<div class="wide"><table><thead><tr>${head}</tr></thead>\n${body.join('\n')}</table></div>`;
}

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.25em;margin-top:1.8em;border-bottom:1px solid #ddd}
h3{font-size:1.05em;margin:1.4em 0 .4em}
table{border-collapse:collapse}th,td{padding:3px 10px;text-align:right;font-variant-numeric:tabular-nums}
th{font-weight:600}tr>:first-child{text-align:left}thead th{border-bottom:1px solid #bbb}
.facts th{font-weight:400;color:#666;vertical-align:top}.facts td{text-align:left}.pairs :is(th,td):nth-child(2){text-align:left}
th i{font-weight:400}.text :is(th,td){text-align:left}.wide{overflow-x:auto;max-width:100%}
.cards{display:flex;flex-wrap:wrap;gap:12px;margin:1em 0}.cards>div{border:1px solid #ddd;border-radius:6px;padding:8px 16px;min-width:120px}
.cards b{display:block;font-size:1.5em;font-variant-numeric:tabular-nums;line-height:1.3}.cards span{color:#666;font-size:.85em;display:block}
.warn{border-left:4px solid #bf8700;background:#fff8e6;padding:6px 12px}
.matrix{font-size:13px}.matrix td{padding:3px 6px;text-align:center;min-width:2em;border:1px solid #eee}
.matrix thead th{border:0;vertical-align:bottom;text-align:center;font-weight:400}.matrix .tall{writing-mode:vertical-rl}
.matrix tbody th{font-weight:400;white-space:nowrap}
figure{display:inline-block;vertical-align:top;max-width:500px;margin:0 2em 1em 0}figcaption{font-weight:600}
pre{background:#f6f8fa;padding:10px 14px;border-radius:6px;overflow-x:auto;font-size:13px}code{font-size:13px;overflow-wrap:anywhere}
details{margin:.6em 0}summary{cursor:pointer;color:#1f4e99;margin-bottom:.3em}
svg text{font-size:12px;fill:#555}.axis{fill:none;stroke:#999}.grid{fill:none;stroke:#e4e4e4}
text.flow{paint-order:stroke;stroke:#fff;stroke-width:4px}.mark{fill:none;stroke:#1a7f37;stroke-dasharray:3 3}.note{color:#666;font-size:.9em}`;
