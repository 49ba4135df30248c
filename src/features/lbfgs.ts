/** Limited-memory BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) with backtracking, for smooth convex functions of many numbers. */

export interface Evaluated {
  readonly value: number;
  readonly gradient: Float64Array;
}

export interface MinimiseOptions {
  readonly maxIterations?: number;
  /** Ends when no component of the gradient is larger: 1e-5. */
  readonly tolerance?: number;
  /** Pairs of steps remembered: 10. */
  readonly history?: number;
}

const dot = (a: Float64Array, b: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
};

/** From `start` to where the gradient vanishes, or as far as rounding lets it come. */
export async function minimise(
  f: (x: Float64Array) => Promise<Evaluated>,
  start: Float64Array,
  { maxIterations = 200, tolerance = 1e-5, history = 10 }: MinimiseOptions = {},
): Promise<{ x: Float64Array; value: number; iterations: number }> {
  let x = start;
  let { value, gradient } = await f(x);
  const pairs: { s: Float64Array; y: Float64Array; rho: number }[] = [];
  let iterations = 0;
  while (iterations < maxIterations && gradient.some((g) => Math.abs(g) > tolerance)) {
    const direction = descent(gradient, pairs);
    const slope = dot(gradient, direction);
    // The first step has no curvature to go by: it is as long as 1 at most.
    let step = pairs.length === 0 ? Math.min(1, 1 / Math.sqrt(dot(gradient, gradient))) : 1;
    let next: Evaluated | undefined;
    let at = x;
    for (let tries = 0; tries < 30; tries++, step /= 2) {
      at = x.map((v, i) => v + step * (direction[i] as number));
      next = await f(at);
      if (next.value <= value + 1e-4 * step * slope) break;
      next = undefined;
    }
    // Nothing lower in this direction: rounding has the last word.
    if (!next) break;
    const s = at.map((v, i) => v - (x[i] as number));
    const y = next.gradient.map((v, i) => v - (gradient[i] as number));
    const curvature = dot(s, y);
    if (curvature > 1e-12 * dot(y, y)) pairs.push({ s, y, rho: 1 / curvature });
    if (pairs.length > history) pairs.shift();
    ({ value, gradient } = next);
    x = at;
    iterations++;
  }
  return { x, value, iterations };
}

/** -H g, H the inverse Hessian as the last steps tell it. */
function descent(
  gradient: Float64Array,
  pairs: readonly { s: Float64Array; y: Float64Array; rho: number }[],
): Float64Array {
  const q = Float64Array.from(gradient);
  const alphas: number[] = [];
  for (const { s, y, rho } of [...pairs].reverse()) {
    const alpha = rho * dot(s, q);
    alphas.push(alpha);
    for (let i = 0; i < q.length; i++) q[i] = (q[i] as number) - alpha * (y[i] as number);
  }
  const last = pairs.at(-1);
  const gamma = last ? dot(last.s, last.y) / dot(last.y, last.y) : 1;
  for (let i = 0; i < q.length; i++) q[i] = (q[i] as number) * gamma;
  for (const { s, y, rho } of pairs) {
    const beta = rho * dot(y, q);
    const alpha = alphas.pop() as number;
    for (let i = 0; i < q.length; i++) q[i] = (q[i] as number) + (alpha - beta) * (s[i] as number);
  }
  return q.map((v) => -v);
}
