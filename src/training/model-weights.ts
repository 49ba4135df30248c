/** Variables in and out of plain memory: what checkpoints and model folders read and write. */
import { DataError, formatShape } from '../base/index.ts';
import type { HostArray } from '../io/index.ts';
import { dataOf } from '../tensor/engine.ts';
import { flush, tensor, type Variable } from '../tensor/index.ts';

export type Variables = ReadonlyMap<string, Variable>;

/**
 * The arrays behind variables, without a copy: valid until the next step runs. Pending updates are made first.
 */
export async function arraysOf(variables: Variables): Promise<Map<string, HostArray>> {
  await flush([...variables.values()].map((variable) => variable.node));
  return new Map(
    [...variables].map(([name, variable]) => [
      name,
      { dtype: variable.dtype, shape: variable.shape, data: dataOf(variable.storage) },
    ]),
  );
}

/** A copy that later steps do not touch. */
export async function copyOf(variables: Variables): Promise<Map<string, HostArray>> {
  const arrays = await arraysOf(variables);
  return new Map([...arrays].map(([name, array]) => [name, { ...array, data: array.data.slice() }]));
}

/** Puts arrays into variables, one at a time so that memory holds one of them twice at most. @throws DataError. */
export async function restore(
  variables: Variables,
  arrays: ReadonlyMap<string, HostArray>,
  from: string,
): Promise<void> {
  for (const [name, variable] of variables) {
    const array = arrays.get(name);
    if (!array || array.dtype !== variable.dtype || array.shape.join() !== variable.shape.join())
      throw new DataError(
        'CHECKPOINT_MODEL',
        `${from} belongs to another model: ${name} ${array ? 'differs' : 'is missing'}`,
        {
          file: from,
          tensor: name,
          expected: `${variable.dtype} ${formatShape(variable.shape)}`,
          got: array ? `${array.dtype} ${formatShape(array.shape)}` : 'nothing',
        },
      );
  }
  for (const [name, variable] of variables) {
    const { data, shape, dtype } = arrays.get(name) as HostArray;
    variable.assign(tensor(data, { shape, dtype }));
    await flush([]);
  }
}
