/** Chooses the backend: native where its addon loads, else the reference with one clear warning. */
import { ConfigError } from '../base/index.ts';
import type { Backend } from './backend.ts';
import { loadAddon } from './native/addon.ts';
import { NativeBackend } from './native/backend.ts';
import { ReferenceBackend } from './reference/index.ts';

/** The backend in use and why; what `cambium doctor` prints. */
export interface BackendChoice {
  readonly backend: Backend;
  readonly reason: string;
}

let warned = false;

/** Follows CAMBIUM_BACKEND (`native` or `reference`) when set. Throws ConfigError when that cannot be had. */
export function chooseBackend(): BackendChoice {
  const wish = process.env.CAMBIUM_BACKEND ?? '';
  if (wish === 'reference') return { backend: new ReferenceBackend(), reason: 'CAMBIUM_BACKEND=reference' };
  if (wish !== '' && wish !== 'native')
    throw new ConfigError('BACKEND_UNKNOWN', `CAMBIUM_BACKEND is "${wish}"; it can be "native" or "reference"`, {
      field: 'CAMBIUM_BACKEND',
      got: wish,
    });
  const found = loadAddon();
  if ('addon' in found) return { backend: new NativeBackend(found.addon), reason: `the native addon at ${found.path}` };
  if (wish === 'native')
    throw new ConfigError('NATIVE_MISSING', `CAMBIUM_BACKEND=native, but the addon does not load: ${found.reason}`, {
      field: 'CAMBIUM_BACKEND',
      hint: 'install a C++ compiler and run: npm run build:native',
    });
  return { backend: new ReferenceBackend(), reason: `no native addon (${found.reason})` };
}

export function selectBackend(): Backend {
  const { backend, reason } = chooseBackend();
  if (backend.name === 'reference' && !warned) {
    warned = true;
    console.warn(`cambium: running on the reference backend, which is slow: ${reason}`);
  }
  return backend;
}
