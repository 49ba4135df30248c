/**
 * The command line. It parses and calls: the commands are defined in *-commands.ts by what they work on, and each one's
 * work is loaded when it is asked for, so that `--help` answers at once.
 */
import { Command, CommanderError } from 'commander';
import { type CambiumError, ConfigError, nearest } from '../base/errors.ts';
import { addDataCommands } from './data-commands.ts';
import { addModelCommands } from './model-commands.ts';
import { commonOptions } from './options.ts';
import { reportError, toleratePipes } from './output.ts';
import { addTrainingCommands } from './training-commands.ts';
import { addVectorCommands } from './vector-commands.ts';
import { version } from './version.ts';

const exitCodes = `
Exit codes: 0 ok, 1 run failed, 2 usage or recipe, 3 bad data or weights, 4 disk or permission, 5 does not fit in memory,
6 NaN or infinity, 7 network or hash, 8 in use by another process, 130/143 stopped by a signal (a checkpoint is saved).`;

export function buildProgram(): Command {
  const program = new Command('cambium')
    .description('Deep learning in TypeScript: train, fine-tune and use models on your own data.')
    .version(version(), '-V, --version')
    .enablePositionalOptions()
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .showHelpAfterError(false)
    .addHelpText(
      'after',
      `
Examples:
  cambium train vgg16-mnist                     learn digits (MNIST if it can be had, else the built-in digits)
  cambium train vgg16-mnist --data-dir mnist/   with the four MNIST .gz files in mnist/
  cambium train my-recipe.yaml --set epochs=3   your own recipe, one field changed
  cambium resume runs/vgg16-mnist-1             go on where it was stopped, bit for bit
  cambium evaluate runs/vgg16-mnist-1 --json    measure the saved model
  cambium predict runs/vgg16-mnist-1 digit.png  label and probabilities
  cambium doctor                                what this machine offers
${exitCodes}`,
    );

  const command = (name: string): Command => commonOptions(program.command(name));
  addTrainingCommands(command);
  addModelCommands(command);
  addVectorCommands(command);
  addDataCommands(command);
  return program;
}

/** Runs one command line; sets the exit code. */
export async function main(args: readonly string[]): Promise<void> {
  toleratePipes();
  const program = buildProgram();
  for (const command of [program, ...program.commands])
    command.exitOverride().configureOutput({ outputError: () => {} });
  try {
    if (args.length === 0) throw new ConfigError('USAGE', 'expected a command', { hint: 'cambium --help lists them' });
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return;
    const failure = error instanceof CommanderError ? usageError(error, program, args) : error;
    const flags = { json: args.includes('--json'), debug: args.includes('--debug'), command: args[0] };
    process.exitCode = await reportError(failure, flags);
    // Nothing may keep a failed command alive: no open handle, no queued native step.
    process.exit();
  }
}

function usageError(error: CommanderError, program: Command, args: readonly string[]): CambiumError {
  const [message, suggestion] = error.message.replace(/^error: /, '').split('\n');
  const near = /\(Did you mean (.*)\?\)/.exec(suggestion ?? '')?.[1] ?? nearestCommand(message ?? '', program);
  const command = program.commands.find((c) => c.name() === args[0]);
  const help = `cambium ${command ? `${command.name()} ` : ''}--help`;
  return new ConfigError('USAGE', message ?? error.message, {
    hint: near === undefined ? `see ${help}` : `did you mean ${near}? see ${help}`,
  });
}

function nearestCommand(message: string, program: Command): string | undefined {
  const word = /unknown command '(.*)'/.exec(message)?.[1];
  return word === undefined
    ? undefined
    : nearest(
        word,
        program.commands.map((c) => c.name()),
      );
}
