/** Which epoch is the best one: by the measure, among equals by the loss. */
import { expect, test } from 'vitest';
import { type EpochRecord, finishedText, newState, parseState, recordEpoch } from './train-state.ts';

const accuracy = { metric: 'accuracy', mode: 'max' } as const;
const epochs = (...measured: [accuracy: number, loss?: number][]): EpochRecord[] =>
  measured.map(([value, loss], i) => ({
    epoch: i + 1,
    step: 10 * (i + 1),
    trainLoss: 1,
    lr: 0.1,
    validation: { accuracy: value, ...(loss !== undefined && { loss }) } as Record<string, number> & { loss: number },
  }));
const bestOf = (records: EpochRecord[]): (number | undefined)[] => {
  const state = newState();
  const said = records.map((record) => recordEpoch(state, record, accuracy));
  return [state.best?.epoch, state.best?.value, said.lastIndexOf(true) + 1, state.sinceBest];
};

test('an equal measure at a lower loss is better; early stopping counts the measure alone', () => {
  expect(bestOf(epochs([0.9, 1], [0.9, 0.1], [0.9, 0.5]))).toEqual([2, 0.9, 2, 2]);
  expect(bestOf(epochs([0.9, 0.1], [0.9, 1]))).toEqual([1, 0.9, 1, 1]);
  expect(bestOf(epochs([0.9, 0.1], [0.91, 1]))).toEqual([2, 0.91, 2, 0]);
  expect(bestOf(epochs([0.9, 0.5], [0.9, Number.NaN], [0.9, 0.5]))).toEqual([1, 0.9, 1, 2]);
  expect(bestOf(epochs([0.9], [0.9, 0.1]))).toEqual([1, 0.9, 1, 1]);
});

test('a state resumed breaks the tie as the run that went on', () => {
  const [first, second] = epochs([0.9, 1], [0.9, 0.1]) as [EpochRecord, EpochRecord];
  const state = newState();
  recordEpoch(state, first, accuracy);
  const saved = { ...state, optimizer: { stepCount: 10 } };
  const resumed = parseState(JSON.parse(JSON.stringify(saved)), 'state.json');
  expect([recordEpoch(state, second, accuracy), recordEpoch(resumed, second, accuracy)]).toEqual([true, true]);
  expect(resumed.best).toEqual(state.best);
});

test('what ended a run is said with what lengthens it', () => {
  const said = (state: object, limits: object) =>
    finishedText({ ...newState(), epoch: 2, step: 12, ...state }, { epochs: 5, ...limits }, 'run')?.split('\n');
  expect(said({}, {})).toBeUndefined();
  expect(said({}, { epochs: 2 })?.[1]).toContain('cambium resume run --set epochs=3 --allow-change epochs');
  const stopped = { stoppedEarly: true, sinceBest: 3 };
  expect(said(stopped, { earlyStopping: { patience: 3 } })?.[1]).toContain('--set earlyStopping=null');
  expect([said(stopped, { earlyStopping: { patience: 4 } }), said(stopped, { earlyStopping: null })]).toEqual([
    undefined,
    undefined,
  ]);
  expect(said({}, { maxSteps: 12 })?.[1]).toContain('--set maxSteps=24');
  expect(said({}, { maxSteps: 12, epochs: 2 })?.[1]).toContain('--set epochs=3');
  expect(said({ cut: 3 }, { maxSteps: 12, epochs: 2 })?.[1]).toContain('--set init.weights=run');
  // Stopped after its last step, before it was measured.
  expect(said({ batch: 3 }, { maxSteps: 12 })).toBeUndefined();
});
