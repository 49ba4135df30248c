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

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
h1{font-size:1.6em}h2{font-size:1.2em;margin-top:1.6em}h3{font-size:1.05em}
table{border-collapse:collapse}th,td{padding:3px 10px;text-align:right;font-variant-numeric:tabular-nums}
th{font-weight:600}tr>:first-child{text-align:left}thead th{border-bottom:1px solid #bbb}
figure{display:inline-block;margin:0 2em 1em 0}figcaption{font-weight:600}
svg text{font-size:12px;fill:#555}.axis{fill:none;stroke:#999}.grid{fill:none;stroke:#e4e4e4}.note{color:#666;font-size:.9em}`;
