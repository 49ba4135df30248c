/**
 * One exported error base with a stable code, data fields and the exit code a command line gives it.
 * Engine errors (TypeError, ENOENT ...) never reach the user raw: they travel as `cause`.
 */

/** Data that travels with an error so that a server or page can render it without parsing text. */
export interface ErrorDetails {
  /** Path of the file the error is about. */
  file?: string;
  /** Byte offset in `file`. */
  offset?: number;
  /** 1-based position in a text file. */
  line?: number;
  column?: number;
  /** Dotted path of the option or recipe field. */
  field?: string;
  /** Name of the tensor, layer or operation. */
  tensor?: string;
  layer?: string;
  op?: string;
  expected?: unknown;
  got?: unknown;
  /** What to do next, one sentence. */
  hint?: string;
  [key: string]: unknown;
}

export interface CambiumErrorOptions extends ErrorDetails {
  cause?: unknown;
}

/** Base of every error a user or a file can cause. `exitCode` follows the table in docs/errors.md. */
export class CambiumError extends Error {
  /** Stable identifier, e.g. `SHAPE_MISMATCH`. Never changes meaning between versions. */
  readonly code: string;
  readonly details: ErrorDetails;
  readonly exitCode: number = 1;

  constructor(code: string, message: string, options: CambiumErrorOptions = {}) {
    const { cause, ...details } = options;
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.details = details;
  }

  get hint(): string | undefined {
    return this.details.hint;
  }

  toJSON(): { error: { code: string; message: string; details: ErrorDetails } } {
    return { error: { code: this.code, message: this.message, details: this.details } };
  }
}

/** Shapes do not fit together. */
export class ShapeError extends CambiumError {}
/** An element type that an operation does not take. */
export class DTypeError extends CambiumError {}
/** An argument outside its domain (axis, index, probability ...). */
export class ArgumentError extends CambiumError {
  override readonly exitCode: number = 2;
}
/** Something this backend, platform or version cannot do. */
export class UnsupportedError extends CambiumError {}
/** A tensor was read after the storage it was built on had been overwritten. */
export class StaleTensorError extends CambiumError {}
/** Wrong command line or recipe. */
export class ConfigError extends CambiumError {
  override readonly exitCode: number = 2;
}
/** Bad data or weights file. */
export class DataError extends CambiumError {
  override readonly exitCode: number = 3;
}
/** Disk, permission, path. */
export class IoError extends CambiumError {
  override readonly exitCode: number = 4;
}
/** Predicted or refused memory. */
export class MemoryError extends CambiumError {
  override readonly exitCode: number = 5;
}
/** NaN or Inf where a finite number is needed. */
export class NumericError extends CambiumError {
  override readonly exitCode: number = 6;
}
/** Download failed or its hash is wrong. */
export class NetworkError extends CambiumError {
  override readonly exitCode: number = 7;
}
/** A run folder or cache in use by another process. */
export class LockedError extends CambiumError {
  override readonly exitCode: number = 8;
}

/** A broken invariant of our own; never the user's fault. */
export class InternalError extends CambiumError {}

/** Throws InternalError when `condition` is false: for impossibilities, not for input. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InternalError('INTERNAL', `internal error: ${message}`);
}

// C0/C1 controls, bidi overrides, line separators: names from files may carry terminal tricks.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** A value taken from a file or request, made safe to print: escaped, quoted, cut at 200 characters. */
export function printable(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  const cut = text.length > 200 ? `${text.slice(0, 200)}...` : text;
  const escaped = escapeControls(cut);
  return typeof value === 'string' ? `"${escaped}"` : escaped;
}

/** Text of ours with parts from a file in it, made safe to print. */
export const escapeControls = (text: string): string =>
  text.replace(UNPRINTABLE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

/**
 * The candidate nearest to `word`, if it is near enough to be meant: one edit in a word of up to four letters, two, or a
 * third of the letters in longer ones. Two letters in the wrong order are one edit.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = (word.length <= 4 ? 1 : Math.max(2, Math.floor(word.length / 3))) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  if (a.length > 100 || b.length > 100) return Number.POSITIVE_INFINITY;
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] as number) + 1 : substitute;
      next.push(Math.min(substitute, swapped, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length] as number;
}
