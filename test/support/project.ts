import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The checkout's directory: the compiled tests lie in dist/test, or elsewhere when started from the checkout. */
export const PROJECT = [join(import.meta.dirname, '..', '..', '..'), process.cwd()].find((path) =>
  existsSync(join(path, 'src', 'bootstrap.mjs')),
) as string;
