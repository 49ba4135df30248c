#!/usr/bin/env node
// The command line's entry: starts the compiled CLI, or says how to make it.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`cambium: needs Node 20.19 or newer, this is ${process.versions.node}\n`);
  process.exit(2);
}
try {
  const { main } = await import('../dist/cli/main.js');
  await main(process.argv.slice(2));
} catch (error) {
  if (error?.code !== 'ERR_MODULE_NOT_FOUND' || !String(error.message).includes('dist/cli/main.js')) throw error;
  process.stderr.write('cambium: dist/ is missing\n  hint: run npm run build\n');
  process.exitCode = 1;
}
