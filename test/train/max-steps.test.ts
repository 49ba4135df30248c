/** Runs that end after so many updates, in the middle of an epoch if need be. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  fineTune,
  type Listener,
  parseRecipe,
  planFineTune,
  type RecipeInput,
  resumeRun,
  runRecipe,
  type TrainEvent,
} from '../../src/training/index.ts';
import { options, weightsOf } from './tiny.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-steps-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

// 120 samples in batches of 20: six updates an epoch.
describe('maxSteps', () => {
  it('ends within an epoch, which is measured; the schedule knows the last step', async () => {
    const events: TrainEvent[] = [];
    const wanted = options({
      epochs: 5,
      maxSteps: 8,
      schedule: { name: 'linear', warmup: 0.25 },
      listeners: [(event) => void events.push(event)],
    });
    const { history, steps, epochs, plan, validation } = await fineTune(wanted);
    expect([steps, epochs, plan.steps]).toEqual([8, 2, 8]);
    expect(history.map(({ step }) => step)).toEqual([6, 8]);
    expect(history[1]?.validation?.loss).toBeGreaterThan(0);
    expect(validation).toBeDefined();
    const taken = events.flatMap((event) => (event.type === 'step' ? [event] : []));
    expect(taken.map(({ lr }) => lr / 5e-3)).toEqual(
      [0.5, 1, 1, 0.8, 0.6, 0.4, 0.2, 0].map((x) => expect.closeTo(x, 6)),
    );
    expect(taken.at(-1)).toMatchObject({ epoch: 2, stepInEpoch: 2, stepsPerEpoch: 2 });
    expect(events.slice(-3).map(({ type }) => type)).toEqual(['step', 'validation', 'epoch-end']);
  });

  it('takes as many epochs as it needs, and leaves what comes before as it was', async () => {
    const ends = async (more: Partial<Parameters<typeof options>[0]>) =>
      (await fineTune(options({ data: { train: options().data.train }, ...more }))).history;
    expect(await ends({ epochs: undefined, maxSteps: 12 })).toEqual(await ends({ epochs: 2 }));
    expect((await ends({ epochs: 1, maxSteps: 100 })).map(({ step }) => step)).toEqual([6]);
    // Updates of two batches: three an epoch.
    const accumulated = await ends({ epochs: undefined, maxSteps: 4, accumulate: 2 });
    expect(accumulated.map(({ epoch, step }) => [epoch, step])).toEqual([
      [1, 3],
      [2, 4],
    ]);
  });

  it('keeps the best weights, of the part epoch too', async () => {
    const metric = { metric: 'loss' };
    const { best, model, history } = await fineTune(options({ epochs: undefined, maxSteps: 9, selectBy: metric }));
    const least = history.reduce((a, b) => ((a.validation?.loss ?? 0) <= (b.validation?.loss ?? 0) ? a : b));
    expect([best?.step, best?.value]).toEqual([least.step, least.validation?.loss]);
    const again = await fineTune(options({ epochs: undefined, maxSteps: least.step, selectBy: metric }));
    expect(await weightsOf(model)).toEqual(await weightsOf(again.model));
  });

  it('refuses what is no number of steps', () => {
    for (const maxSteps of [0, 1.5, -2])
      expect(() => planFineTune(options({ maxSteps }))).toThrowError(
        expect.objectContaining({ code: 'OPTION_INVALID', details: expect.objectContaining({ field: 'maxSteps' }) }),
      );
  });

  const recipe = (changes: Partial<RecipeInput> = {}) =>
    parseRecipe({
      name: 'part',
      seed: 2,
      data: { name: 'digits', digits: { train: 120, test: 40 }, validation: 20 },
      model: { name: 'mlp', hidden: 16 },
      optimizer: { name: 'adamw', lr: 5e-3 },
      schedule: { name: 'cosine' },
      batchSize: 20,
      epochs: 9,
      maxSteps: 8,
      ...changes,
    });
  const longer = { set: ['maxSteps=12', 'epochs=10'], allowChange: ['maxSteps', 'epochs'] };
  const noticesOf = async (out: string, request: object = {}) => {
    const said: string[] = [];
    const listener: Listener = (event) => void (event.type === 'notice' && said.push(event.text));
    const { result } = await resumeRun(out, { ...request, listeners: [listener] });
    return { result, said: said.join('\n') };
  };

  it('a run that it ended within an epoch says so, and is not lengthened', async () => {
    const out = join(dir, 'cut');
    // Five updates an epoch.
    const { result } = await runRecipe(recipe(), { out });
    const head = await readFile(join(out, 'recipe.json'), 'utf8');
    const field = expect.objectContaining({ field: 'maxSteps', expected: 8, got: 12 });
    await expect(resumeRun(out, longer)).rejects.toMatchObject({ code: 'RESUME_CHANGED', details: field });
    expect(await readFile(join(out, 'recipe.json'), 'utf8')).toBe(head);
    const again = await noticesOf(out);
    expect(again.said).toContain('already finished by maxSteps (step 8 of 8)');
    expect(again.said).toContain(`--set init.weights=${out}`);
    expect(again.result.weightsHash).toBe(result.weightsHash);
    // Before the cut nothing is lost.
    const [first = ''] = (await readdir(join(out, 'checkpoints'))).filter((name) => !name.endsWith('.json')).sort();
    const { result: whole } = await resumeRun(out, { ...longer, checkpoint: first });
    expect(whole.history.map(({ step }) => step)).toEqual([5, 10, 12]);
  });

  it('a run that it ended with an epoch goes on', async () => {
    const out = join(dir, 'even');
    await runRecipe(recipe({ maxSteps: 10 }), { out });
    expect((await noticesOf(out)).said).toContain('--set maxSteps=20 --allow-change maxSteps');
    const { result } = await resumeRun(out, longer);
    expect(result.history.map(({ step }) => step)).toEqual([5, 10, 12]);
  });

  it('a run that stopped early goes on when it is told to', async () => {
    const out = join(dir, 'early');
    const early = recipe({ maxSteps: 100, epochs: 4, earlyStopping: { patience: 1, minDelta: 10 } });
    expect((await runRecipe(early, { out })).result).toMatchObject({ epochs: 2, stoppedEarly: true });
    expect((await resumeRun(out)).result).toMatchObject({ epochs: 2, stoppedEarly: true });
    const told = { set: ['earlyStopping=null'], allowChange: ['earlyStopping'] };
    const { result, said } = await noticesOf(out, told);
    expect(result).toMatchObject({ epochs: 4, stoppedEarly: false });
    expect(said).not.toContain('already finished');
  });

  it('a recipe stopped anywhere, its last step included, is resumed to the same weights', async () => {
    const whole = await runRecipe(recipe(), { out: join(dir, 'whole') });
    expect(whole.result.steps).toBe(8);
    for (const last of [7, 8]) {
      const out = join(dir, `broken-${last}`);
      const stopAt: Listener = (event) => {
        // As Ctrl-C does: after this step, before it is measured.
        if (event.type === 'step' && event.step === last) process.emit('SIGTERM');
      };
      const broken = runRecipe(recipe(), { out, listeners: [stopAt], signals: true });
      await expect(broken).rejects.toMatchObject({ code: 'RUN_STOPPED' });
      const { result } = await resumeRun(out);
      expect(result.steps).toBe(8);
      expect(result.history).toEqual(whole.result.history);
      expect(result.weightsHash).toBe(whole.result.weightsHash);
    }
  });
});
