/** The package's version, read from its package.json: the same file from src/ and from dist/. */
import { readFileSync } from 'node:fs';

export function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
