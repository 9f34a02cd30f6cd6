// Runs before anything is installed, so it is plain JavaScript without dependencies: installs from npm what is missing, compiles what is
// stale, then hands over. `node src/bootstrap.mjs --test …` runs the tests, anything else is a `fairlead` command line.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19))
  fail(`fairlead needs Node.js 20.19 or newer, this is ${process.versions.node}`);

const INSTALLED = join(root, 'node_modules', '.package-lock.json');
const BUILT = join(root, 'dist', '.built');
const LOCK = join(root, '.preparing');

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** Output goes to stderr: stdout belongs to the command (`demo --json` prints exactly one line). */
function run(what, command, args) {
  process.stderr.write(`${what} …\n`);
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
  if (result.status !== 0) fail(`${what} failed: ${result.error?.message ?? `exit code ${result.status}`}`);
}

function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return readdirSync(path).reduce((most, name) => Math.max(most, newest(join(path, name))), 0);
}

const mtime = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

const sources = () =>
  ['src', 'migrations', 'test', 'bench', 'tsconfig.json'].map((name) => join(root, name)).filter(existsSync);
const installIsStale = () => mtime(INSTALLED) < mtime(join(root, 'package-lock.json'));
const buildIsStale = () => mtime(BUILT) < Math.max(mtime(INSTALLED), ...sources().map(newest));

function install() {
  const wanted = ['--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'];
  run('installing dependencies', 'npm', ['ci', ...wanted]);
  const now = new Date();
  if (existsSync(INSTALLED)) utimesSync(INSTALLED, now, now);
}

function build() {
  // without this a test whose source was deleted would still run
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  run('compiling', process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', root]);
  mkdirSync(dirname(BUILT), { recursive: true });
  writeFileSync(BUILT, '');
}

/** Two commands started at once in a fresh clone: one prepares it, the other waits. A lock whose owner died is taken over. */
function locked(work) {
  const started = Date.now();
  for (;;) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') fail(`cannot prepare this checkout: ${error.message}`);
      if (ownerIsGone()) rmSync(LOCK, { force: true });
      else if (Date.now() - started > 600_000)
        fail(`another command has been preparing this checkout for long: see ${LOCK}`);
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
  const unlock = () => rmSync(LOCK, { force: true });
  // also when a failure ends the process
  process.on('exit', unlock);
  work();
  process.off('exit', unlock);
  unlock();
}

function ownerIsGone() {
  try {
    const pid = Number(readFileSync(LOCK, 'utf8'));
    // an empty file is being written right now
    if (pid > 0) process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH' || error.code === 'ENOENT';
  }
}

if (installIsStale() || buildIsStale()) {
  locked(() => {
    if (installIsStale()) install();
    if (buildIsStale()) build();
  });
}

// npm that is ended by a signal does not pass it on: its child would stay behind with all that it started
if (process.env.npm_lifecycle_event !== undefined) {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, 250);
  watch.unref();
}

const [first, ...rest] = process.argv.slice(2);
const entry = first === '--test' ? 'dist/test/run.js' : 'dist/src/main.js';
process.argv = [process.execPath, join(root, entry), ...(first === '--test' ? rest : process.argv.slice(2))];
await import(pathToFileURL(join(root, entry)).href);
