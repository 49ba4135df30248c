/** Ctrl-C and SIGTERM: the first asks the run to stop after the current step, the second ends the process at once. */
import { CambiumError } from '../base/errors.ts';

const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const;
export type StopSignal = keyof typeof exitCodes;

/** The run was stopped from outside and can be resumed. */
export class RunStopped extends CambiumError {
  override readonly exitCode: number;
  readonly signal: StopSignal | undefined;
  readonly step: number;
  readonly run: string | undefined;

  constructor(
    signal: StopSignal | undefined,
    step: number,
    run: string | undefined,
    hint = `continue with: cambium resume ${run}`,
  ) {
    const where = run === undefined ? '' : '; the checkpoint is saved';
    super('RUN_STOPPED', `stopped after step ${step}${signal ? ` by ${signal}` : ''}${where}`, {
      signal,
      step,
      run,
      ...(run === undefined ? {} : { hint }),
    });
    this.signal = signal;
    this.step = step;
    this.run = run;
    this.exitCode = signal ? exitCodes[signal] : 1;
  }
}

export interface SignalWatch {
  /** The signal that asked to stop, once one did. */
  readonly received: StopSignal | undefined;
  release(): void;
}

/** Handles the two signals until released. */
export function watchSignals(onFirst?: (signal: StopSignal) => void): SignalWatch {
  let received: StopSignal | undefined;
  const handlers = Object.keys(exitCodes).map((name) => {
    const signal = name as StopSignal;
    const handler = (): void => {
      if (received) process.exit(exitCodes[signal]);
      received = signal;
      onFirst?.(signal);
    };
    process.on(signal, handler);
    return { signal, handler };
  });
  return {
    get received() {
      return received;
    },
    release() {
      for (const { signal, handler } of handlers) process.off(signal, handler);
    },
  };
}
