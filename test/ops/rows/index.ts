/** All rows. */
import './attention.ts';
import './conv.ts';
import './elementwise.ts';
import './indexing.ts';
import './matmul.ts';
import './movement.ts';
import './pool.ts';
import './recurrent.ts';
import './reduce.ts';

export { rows } from '../op-case.ts';
