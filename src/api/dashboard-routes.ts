import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Router as ExpressRouter, type RequestHandler, Router, static as serveFolder } from 'express';
import { onlyBy } from './problem.ts';

/** The page and everything it loads come from this machine: it works where there is no internet. */
export function dashboardRoutes(): ExpressRouter {
  const router = Router();
  const folder = dashboardFolder();
  const plots = dirname(createRequire(import.meta.url).resolve('uplot/dist/uPlot.esm.js'));
  // revalidated each time (a 304 when nothing changed), so that an upgrade shows at once
  const options = { index: false, redirect: false, cacheControl: false } as const;
  const fresh: RequestHandler = (_request, response, next) => {
    response.setHeader('Cache-Control', 'no-cache');
    next();
  };
  router
    .route('/')
    .get(fresh, (_request, response) => {
      response.sendFile('index.html', { root: folder, cacheControl: false });
    })
    .all(onlyBy('GET'));
  router.get('/dashboard/uplot.js', fresh, (_request, response) => {
    response.sendFile('uPlot.esm.js', { root: plots, cacheControl: false });
  });
  router.get('/dashboard/uplot.css', fresh, (_request, response) => {
    response.sendFile('uPlot.min.css', { root: plots, cacheControl: false });
  });
  router.use('/dashboard', fresh, serveFolder(folder, options));
  return router;
}

/** The files are not compiled, so they stay in `src` while this module may run from `dist/src`: looked for from here upwards. */
function dashboardFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  for (let base = here; ; base = dirname(base)) {
    const found = [join(base, 'dashboard'), join(base, 'src', 'api', 'dashboard')].find((d) =>
      existsSync(join(d, 'index.html')),
    );
    if (found !== undefined) return found;
    if (base === dirname(base)) throw new Error('the dashboard files (src/api/dashboard) are missing');
  }
}
