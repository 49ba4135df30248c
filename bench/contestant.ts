/** A process that runs one workload and answers line by line: ours, or a peer's. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface Ready {
  readonly parameters?: number;
  readonly version?: string;
  readonly threads?: number;
}

export class Contestant {
  readonly times: number[] = [];
  peakMB = 0;
  plannedMB: number | undefined;
  readonly ready: Promise<Ready>;
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #stderr = '';

  constructor(name: string, command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.name = name;
    this.#child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr?.on('data', (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-2000);
    });
    this.#child.on('error', (error) => {
      this.#stderr += error.message;
    });
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
    this.ready = this.#answer() as Promise<Ready>;
  }

  async #answer(): Promise<unknown> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`${this.name} stopped:\n${this.#stderr}`);
      if (value.startsWith('{')) return JSON.parse(value);
    }
  }

  #ask(line: string): Promise<unknown> {
    this.#child.stdin?.write(`${line}\n`);
    return this.#answer();
  }

  async check(): Promise<number> {
    return ((await this.#ask('check')) as { loss: number }).loss;
  }

  /** Milliseconds of `steps` steps; `keep` adds them to `times`. */
  async run(steps: number, keep = true): Promise<number[]> {
    const answer = (await this.#ask(`run ${steps}`)) as { times: number[]; peakMB: number; plannedMB?: number };
    const { times, peakMB, plannedMB } = answer;
    this.peakMB = peakMB;
    this.plannedMB = plannedMB;
    if (keep) this.times.push(...times);
    return times;
  }

  stop(): void {
    this.#child.kill();
  }
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] as number;
