/** The error function in double precision: W. J. Cody 1969, "Rational Chebyshev approximations for the error function". */

const A = [3.1611237438705655, 113.86415415105016, 377.485237685302, 3209.3775891384694, 0.18577770618460315];
const B = [23.601290952344122, 244.02463793444417, 1282.6165260773723, 2844.236833439171];
const C = [
  0.5641884969886701, 8.883149794388377, 66.11919063714163, 298.6351381974001, 881.952221241769, 1712.0476126340707,
  2051.0783778260716, 1230.3393547979972, 2.1531153547440383e-8,
];
const D = [
  15.744926110709835, 117.6939508913125, 537.1811018620099, 1621.3895745666903, 3290.7992357334597, 4362.619090143247,
  3439.3676741437216, 1230.3393548037495,
];
const P = [
  0.30532663496123236, 0.36034489994980445, 0.12578172611122926, 0.016083785148742275, 0.0006587491615298378,
  0.016315387137302097,
];
const Q = [2.568520192289822, 1.8729528499234604, 0.5279051029514285, 0.06051834131244132, 0.0023352049762686918];

const at = (list: readonly number[], i: number): number => list[i] as number;

export function erf(x: number): number {
  const y = Math.abs(x);
  if (!(y < 6)) return Number.isNaN(x) ? x : Math.sign(x);
  if (y <= 0.46875) {
    const z = y * y;
    let top = at(A, 4) * z;
    let bottom = z;
    for (let i = 0; i < 3; i++) {
      top = (top + at(A, i)) * z;
      bottom = (bottom + at(B, i)) * z;
    }
    return (x * (top + at(A, 3))) / (bottom + at(B, 3));
  }
  return Math.sign(x) * (1 - erfcOf(y));
}

/** 1 - erf(y) for y > 0.46875. */
function erfcOf(y: number): number {
  let ratio: number;
  if (y <= 4) {
    let top = at(C, 8) * y;
    let bottom = y;
    for (let i = 0; i < 7; i++) {
      top = (top + at(C, i)) * y;
      bottom = (bottom + at(D, i)) * y;
    }
    ratio = (top + at(C, 7)) / (bottom + at(D, 7));
  } else {
    const z = 1 / (y * y);
    let top = at(P, 5) * z;
    let bottom = z;
    for (let i = 0; i < 4; i++) {
      top = (top + at(P, i)) * z;
      bottom = (bottom + at(Q, i)) * z;
    }
    ratio = (z * (top + at(P, 4))) / (bottom + at(Q, 4));
    ratio = (1 / Math.sqrt(Math.PI) - ratio) / y;
  }
  // exp(-y^2) in two parts keeps the digits of y^2.
  const head = Math.trunc(y * 16) / 16;
  return Math.exp(-head * head) * Math.exp(-(y - head) * (y + head)) * ratio;
}
