/** What the READMEs tell people to type is there to be typed. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { buildProgram } from './main.ts';

const commands = new Map(buildProgram().commands.map((command) => [command.name(), command]));

describe.each(['README.md', 'README.zh-CN.md'])('%s', (file) => {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
  // Of a line of shell, or of code in a sentence; comments begin with #.
  const lines = [...text.matchAll(/npx cambium ([a-z][a-z-]*)([^`\n]*)/g)];

  test('names commands at all', () => {
    expect(new Set(lines.map(([, name]) => name)).size).toBeGreaterThan(15);
  });

  test.each(lines.map(([line, name = '', rest = '']) => ({ line, name, rest: rest.replace(/ #.*/, '') })))(
    '$line',
    ({ name, rest }) => {
      const command = commands.get(name);
      if (!command) return expect.fail(`there is no command ${name}`);
      const known = command.options.flatMap(({ long, short }) => [long, short]);
      for (const [option] of rest.matchAll(/(?<=\s)--?[a-z][a-z-]*/g)) expect(known).toContain(option);
    },
  );
});
