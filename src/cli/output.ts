/** What the command line prints: results on stdout, words for people on stderr, errors as one line and a hint. */
import { CambiumError, type ErrorDetails } from '../base/errors.ts';
import { hintOf } from './hints.ts';

/** Writes a result to stdout; resolves when it is out, so that exiting afterwards cuts nothing off. */
export const print = (text: string): Promise<void> => write(process.stdout, text.endsWith('\n') ? text : `${text}\n`);

/** One JSON value a line. */
export const printJson = (value: unknown): Promise<void> => print(JSON.stringify(value));

/** A word for people; never part of the result. */
export const note = (text: string): Promise<void> => write(process.stderr, text.endsWith('\n') ? text : `${text}\n`);

function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((done) => {
    if (stream.destroyed || stream.writableEnded) done();
    else stream.write(text, () => done());
  });
}

/** `cambium ... | head` closes our stdout: that is the reader's right, not an error. */
export function toleratePipes(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') process.exit(process.exitCode ?? 0);
      throw error;
    });
}

/** What stands in for an error that is not ours: the message without the stack. */
export function asCambiumError(error: unknown): CambiumError {
  if (error instanceof CambiumError) return error;
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  if (error instanceof RangeError && /allocation failed|Invalid typed array length/i.test(error.message))
    return new MemoryFailure('OUT_OF_MEMORY', text, { cause: error, hint: 'use a smaller batchSize or model' });
  return new CambiumError('UNEXPECTED', `unexpected ${text}`, {
    cause: error,
    hint: 'this is a bug of ours; --debug shows where it happened',
  });
}

class MemoryFailure extends CambiumError {
  override readonly exitCode: number = 5;
}

/** Prints an error and returns the exit code that goes with it. */
export async function reportError(
  error: unknown,
  { json = false, debug = false, command }: { json?: boolean; debug?: boolean; command?: string | undefined } = {},
): Promise<number> {
  const failure = asCambiumError(error);
  const hint = hintOf(failure, command);
  const [first, ...rest] = failure.message.split('\n');
  const lines = [`cambium: ${first}`, ...rest, ...(hint ? [`  hint: ${hint}`] : [])];
  await note(lines.join('\n'));
  if (debug) await note(stackOf(failure));
  if (json)
    await printJson({
      error: {
        code: failure.code,
        message: failure.message,
        ...plainDetails({ ...failure.details, ...(hint && { hint }) }),
      },
    });
  return failure.exitCode;
}

// Values that JSON cannot hold, or that are long, stay out of the machine's answer.
function plainDetails(details: ErrorDetails): { details: Record<string, unknown> } {
  const plain = Object.entries(details).filter(([, value]) => {
    try {
      const text = JSON.stringify(value);
      return text !== undefined && text.length <= 4000;
    } catch {
      return false;
    }
  });
  return { details: Object.fromEntries(plain) };
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}
