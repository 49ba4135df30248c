/**
 * The whole flow on digits: VGG16's trunk learns without labels, then 100, 1,000 and 54,000 labelled pictures, against training from
 * random weights with as many steps. Writes table.md, curves.csv and curves.html; finished runs are not repeated.
 * usage: npm run flow -- [--data-dir DIR_WITH_MNIST] [--out runs/flow]
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  builtinRecipes,
  type ClassReport,
  parseRecipe,
  type RecipeInput,
  type ReportJson,
  resumeRun,
  runRecipe,
  terminalProgress,
} from '../src/training/index.ts';

const { values } = parseArgs({
  options: { 'data-dir': { type: 'string' }, out: { type: 'string', default: 'runs/flow' } },
});
const { out, 'data-dir': dataDir } = values;

interface Row {
  readonly run: string;
  readonly labels: number;
  readonly report: ReportJson;
  readonly curve: readonly { readonly step: number; readonly loss: number; readonly accuracy: number }[];
}

const read = async (path: string): Promise<string | undefined> => readFile(path, 'utf8').catch(() => undefined);

/** Runs a recipe, or goes on with it where it was interrupted, unless it is done. */
async function finished(name: string, recipe: RecipeInput): Promise<string> {
  const dir = join(out, name);
  if ((await read(join(dir, 'report.json'))) !== undefined) return dir;
  console.log(`\n== ${name}`);
  const options = { dataDir, listeners: [await terminalProgress()], signals: true };
  if ((await read(join(dir, 'recipe.json'))) === undefined)
    await runRecipe(parseRecipe(recipe), { ...options, out: dir });
  else await resumeRun(dir, options);
  return dir;
}

async function rowOf(run: string, labels: number, dir: string): Promise<Row> {
  const report = JSON.parse(await readFile(join(dir, 'report.json'), 'utf8')) as ReportJson;
  const lines = (await readFile(join(dir, 'metrics.jsonl'), 'utf8')).trim().split('\n');
  const curve = lines
    .map((line) => JSON.parse(line) as { step: number; trainLoss?: number; validation?: { accuracy?: number } })
    .flatMap(({ step, trainLoss, validation }) =>
      trainLoss === undefined || validation?.accuracy === undefined
        ? []
        : [{ step, loss: trainLoss, accuracy: validation.accuracy }],
    );
  return { run, labels, report, curve };
}

await mkdir(out, { recursive: true });
const [pretrain, few] = [builtinRecipes['vgg16-rotation'], builtinRecipes['vgg16-few-labels']] as [
  RecipeInput,
  RecipeInput,
];
const trunk = await finished('pretrained', pretrain);
const rows: Row[] = [];
for (const [labels, batchSize, epochs, validation] of [
  [100, 20, 60, 200],
  [1000, 50, 20, 500],
  [54_000, 64, 1, 2000],
] as const) {
  const tuned: RecipeInput = {
    ...few,
    batchSize,
    epochs,
    limit: { train: labels, validation },
    init: { weights: trunk },
  };
  // Random weights want the larger rate of vgg16-mnist.
  const scratch: RecipeInput = {
    ...tuned,
    init: null,
    optimizer: { name: 'adamw', lr: 1e-3, weightDecay: 0.01 },
  };
  rows.push(await rowOf('pretrained', labels, await finished(`pretrained-${labels}`, tuned)));
  rows.push(await rowOf('random', labels, await finished(`random-${labels}`, scratch)));
}

const percent = (x: number): string => `${(100 * x).toFixed(2)} %`;
const table = [
  '| labels | weights | steps | test accuracy | 95 % | test loss |',
  '|---|---|---|---|---|---|',
  ...rows.map(({ run, labels, report, curve }) => {
    const { accuracy, interval, loss } = report as ReportJson & ClassReport;
    const steps = curve.at(-1)?.step ?? 0;
    return `| ${labels} | ${run} | ${steps} | ${percent(accuracy)} | ${percent(interval.low)} to ${percent(interval.high)} | ${loss.toFixed(4)} |`;
  }),
  '',
].join('\n');
const csv = rows.flatMap(({ run, labels, curve }) =>
  curve.map(({ step, loss, accuracy }) => `${run},${labels},${step},${loss},${accuracy}`),
);
await writeFile(join(out, 'table.md'), table);
await writeFile(join(out, 'curves.csv'), `weights,labels,step,train_loss,validation_accuracy\n${csv.join('\n')}\n`);
await writeFile(join(out, 'curves.html'), page());
console.log(`\n${table}\nsaved: ${join(out, 'table.md')}, curves.csv, curves.html`);

/** Validation accuracy over steps, one picture for each number of labels. */
function page(): string {
  const [width, height] = [420, 220];
  const pictures = [...new Set(rows.map(({ labels }) => labels))].map((labels) => {
    const lines = rows
      .filter((row) => row.labels === labels)
      .map(({ run, curve }) => {
        const last = curve.at(-1)?.step ?? 1;
        const points = curve.map(
          ({ step, accuracy }) => `${((step / last) * width).toFixed(1)},${((1 - accuracy) * height).toFixed(1)}`,
        );
        // One epoch is one point.
        const dots =
          curve.length === 1
            ? points.map((p) => `<circle cx="${p.split(',')[0]}" cy="${p.split(',')[1]}" r="4"/>`)
            : [];
        return `<g class="${run}"><polyline points="${points.join(' ')}"/>${dots.join('')}</g>`;
      });
    const last = Math.max(...rows.filter((row) => row.labels === labels).map(({ curve }) => curve.at(-1)?.step ?? 0));
    const text = (x: number, y: number, what: string): string => `<text x="${x}" y="${y}">${what}</text>`;
    const ticks = [text(-44, 4, '100 %'), text(-44, height / 2 + 4, '50 %'), text(-44, height + 4, '0 %')];
    const steps = text(width - 70, height + 18, `${last} steps`);
    return `<figure><figcaption>${labels} labels</figcaption><svg viewBox="-48 -8 ${width + 56} ${height + 32}" width="${width + 56}">
<path class="axis" d="M0 0V${height}H${width}M0 ${height / 2}H${width}"/>${ticks.join('')}${steps}${lines.join('')}</svg></figure>`;
  });
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pre-training and labels</title><style>
body{font:15px sans-serif;margin:2em}figure{display:inline-block;margin:1em}polyline,.axis{fill:none;stroke-width:2}.axis{stroke:#ccc;stroke-width:1}text{font-size:12px;fill:#555}
.pretrained{stroke:#1f6feb;fill:#1f6feb}.random{stroke:#d1242f;fill:#d1242f}b.pretrained{color:#1f6feb}b.random{color:#d1242f}table{border-collapse:collapse}td,th{padding:2px 8px;text-align:right}
</style></head><body><h1>Pre-training and labels</h1><p>Validation accuracy (0 to 100 %) over steps: <b class="pretrained">pretrained</b> and <b class="random">random</b> weights.</p>
${pictures.join('')}<table>${table
    .split('\n')
    .filter((line) => line.startsWith('|') && !line.startsWith('|---'))
    .map(
      (line) =>
        `<tr>${line
          .split('|')
          .slice(1, -1)
          .map((cell) => `<td>${cell.trim()}</td>`)
          .join('')}</tr>`,
    )
    .join('')}</table></body></html>
`;
}
