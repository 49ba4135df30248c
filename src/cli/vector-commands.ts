/** Names, options and help of the commands on files of features. */
import { Option } from 'commander';
import type { CompareCommandOptions } from './compare.ts';
import { number, positive } from './option-values.ts';
import type { MakeCommand } from './options.ts';
import type { LabelCommandOptions, ProbeOptions, ProjectCommandOptions, SearchCommandOptions } from './vectors.ts';

const metric = (): Option =>
  new Option('--metric <metric>', 'nearness').choices(['cosine', 'euclidean']).default('cosine');

/** @param command makes a command with the options all have. */
export function addVectorCommands(command: MakeCommand): void {
  command('probe')
    .description('what a linear classifier, nearest neighbours or clusters find in features')
    .argument('<features>', 'a file of cambium features; every fifth sample is measured')
    .option('--test <file>', 'features to measure on instead')
    .addOption(new Option('--method <method>', 'how').choices(['linear', 'knn', 'kmeans']).default('linear'))
    .option('-k, --k <n>', 'knn: neighbours, 5 unless told; kmeans: clusters, as many as classes', positive('-k'))
    .addOption(metric())
    .option('--l2 <strength>', 'linear: of the penalty, 1 unless told', number('--l2'))
    .option('--seed <n>', 'kmeans: of the starts', number('--seed'))
    .addHelpText(
      'after',
      '\nExamples:\n  cambium probe vectors.parquet\n  cambium probe train.npy --test test.npy --method knn -k 10',
    )
    .action(async (file: string, options: ProbeOptions) => {
      const { probeCommand } = await import('./vectors.ts');
      await probeCommand(file, options);
    });

  command('label')
    .description('labels of one file of features for the samples of another')
    .argument('<known>', 'features with labels')
    .argument('<features>', 'features to label, from the same layer; the labels they have are measured against')
    .requiredOption('--out <file>', '.csv: id, label, confidence')
    .addOption(new Option('--method <method>', 'how').choices(['linear', 'knn']).default('linear'))
    .option('-k, --k <n>', 'knn: neighbours, 5 unless told', positive('-k'))
    .addOption(metric())
    .option('--l2 <strength>', 'linear: of the penalty, 1 unless told', number('--l2'))
    .addHelpText(
      'after',
      '\nExamples:\n  cambium label known.parquet new.parquet --out labels.csv\n  cambium label known.npy new.npy --out labels.csv --method knn -k 10',
    )
    .action(async (known: string, asked: string, options: LabelCommandOptions) => {
      const { labelCommand } = await import('./vectors.ts');
      await labelCommand(known, asked, options);
    });

  command('search')
    .description('the samples whose features are nearest to those of one, or to new ones')
    .argument('<features>', 'a file of cambium features')
    .option('--id <n>', 'which sample of the file', number('--id'))
    .option('--query <file>', 'features of new samples, from the same layer')
    .option('-k, --k <n>', 'how many', positive('-k'), 5)
    .addOption(metric())
    .addHelpText(
      'after',
      '\nExamples:\n  cambium search vectors.parquet --id 7 -k 10\n  cambium search vectors.parquet --query new.npy',
    )
    .action(async (file: string, options: SearchCommandOptions) => {
      const { searchCommand } = await import('./vectors.ts');
      await searchCommand(file, options);
    });

  command('project')
    .description('features in two dimensions, as data for a plot')
    .argument('<features>', 'a file of cambium features')
    .requiredOption('--out <file>', '.csv or .json: id, label, x, y; .html: a page with the map')
    .addOption(new Option('--method <method>', 'how').choices(['pca', 'umap', 'tsne', 'pacmap']).default('pca'))
    .option('--neighbours <n>', 'umap, pacmap: neighbours of a point; tsne: perplexity', positive('--neighbours'))
    .option('--seed <n>', 'same seed, same map', number('--seed'))
    .addHelpText('after', '\nExamples:\n  cambium project vectors.parquet --method umap --out map.html')
    .action(async (file: string, options: ProjectCommandOptions) => {
      const { projectCommand } = await import('./vectors.ts');
      await projectCommand(file, options);
    });

  command('compare')
    .description('features of the same samples before and after tuning')
    .argument('<before>', 'a file of cambium features, or a run or model folder')
    .argument('<after>', 'features of the same samples, or the folder tuned from it: its data are read by both')
    .option('-k, --k <n>', 'neighbours', positive('-k'), 5)
    .option('--layer <path>', 'of folders: a module, "input of <module>", head or output')
    .addOption(new Option('--pooling <how>', 'of folders').choices(['auto', 'flatten', 'mean', 'max', 'cls']))
    .option('--data-dir <dir>', 'of folders: where the data files are')
    .addOption(new Option('--split <part>', 'of folders').choices(['test', 'validation', 'train']).default('test'))
    .option('--limit <n>', 'of folders: at most n samples', positive('--limit'))
    .addHelpText(
      'after',
      '\nExamples:\n  cambium compare before.npy after.npy\n  cambium compare runs/vgg16-rotation-1 runs/vgg16-few-labels-1 --data-dir mnist/',
    )
    .action(async (before: string, after: string, options: CompareCommandOptions) => {
      const { compareCommand } = await import('./compare.ts');
      await compareCommand(before, after, options);
    });
}
