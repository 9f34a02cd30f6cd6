import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { configKeys, describeConfig, environmentName } from '../../../src/config/keys.ts';
import { type ConfigFlags, loadConfig } from '../../../src/config/load.ts';
import { FairleadError } from '../../../src/core/errors.ts';
import { PROJECT } from '../../support/project.ts';

const MINIMAL = `
cluster:
  user: fairlead
  nodes: { pg1: 10.0.0.1:5432 }
auth: { users: { app: secret } }
`;

describe('loadConfig', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'fairlead-config-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  function fromText(text: string, environment: NodeJS.ProcessEnv = {}, flags: ConfigFlags = {}) {
    const file = join(directory, 'f.yaml');
    writeFileSync(file, text);
    return loadConfig({ file, environment, flags });
  }
  function fails(run: () => unknown, expected: RegExp) {
    assert.throws(run, (error: unknown) => {
      assert.ok(error instanceof FairleadError, String(error));
      assert.equal(error.code, 'bad_config');
      assert.match(error.message, expected);
      assert.ok(!error.message.includes('\n'), 'one line');
      return true;
    });
  }

  it('takes a file, with defaults for the rest', () => {
    const config = fromText(MINIMAL);
    assert.deepEqual(config.listen, { host: '127.0.0.1', port: 6432 });
    assert.deepEqual(config.cluster.nodes.pg1?.address, { host: '10.0.0.1', port: 5432 });
    assert.equal(config.auth.users.app?.password, 'secret');
    assert.equal(config.pool.size, 20);
  });

  it('lets the environment win over the file and the command line over both', () => {
    const environment = { FAIRLEAD_POOL_SIZE: '7', FAIRLEAD_LISTEN: '127.0.0.1:1', FAIRLEAD_FAILOVER_HOLD: '5s' };
    const config = fromText(`${MINIMAL}pool: { size: 3, mode: session }\n`, environment, { listen: ':2' });
    assert.equal(config.pool.size, 7);
    assert.equal(config.pool.mode, 'session');
    assert.equal(config.failover.hold, 5000);
    assert.equal(config.listen.port, 2);
  });

  it('can take everything from the environment', () => {
    const environment = {
      FAIRLEAD_CLUSTER_USER: 'me',
      FAIRLEAD_CLUSTER_NODES: 'pg1=h1:5432, pg2=h2:5432',
      FAIRLEAD_AUTH_USERS: '{ app: { password: x } }',
      FAIRLEAD_AUTH_ADMINS: 'app,me',
    };
    const config = loadConfig({ file: null, environment, flags: {} });
    assert.deepEqual(Object.keys(config.cluster.nodes), ['pg1', 'pg2']);
    assert.deepEqual(config.auth.admins, ['app', 'me']);
  });

  it('every key that has a fixed name can come from the environment', () => {
    for (const key of configKeys().filter(({ path }) => !path.includes('*'))) {
      const name = environmentName(key.path);
      assert.doesNotThrow(() => fromText(MINIMAL, { [name]: '' }), name);
      assert.ok(describeConfig().includes(name), name);
    }
  });

  it('puts in secrets from the environment and from files beside the configuration', () => {
    writeFileSync(join(directory, 'pw'), 'from file\n');
    const config = fromText(
      'http_token: "file:pw"\ncluster: { user: u, password: "a${PW}b", nodes: { n: h:1 } }\n' +
        'auth: { users: { app: { password: "${PW}" } } }',
      { PW: 'x' },
    );
    assert.equal(config.http_token, 'from file');
    assert.equal(config.cluster.password, 'axb');
    assert.equal(config.auth.users.app?.password, 'x');
  });

  it('without a file the control user is the one who may connect', () => {
    const flags = { nodes: ['pg1=h:1', 'pg2=h:2'], user: 'me', database: 'd' };
    const config = loadConfig({ file: null, environment: { PGPASSWORD: 'pw' }, flags });
    assert.deepEqual(config.auth.users, { me: { password: 'pw' } });
    assert.equal(config.cluster.password, 'pw');
    assert.equal(config.cluster.database, 'd');
    assert.equal(loadConfig({ file: null, environment: {}, flags }).auth.type, 'trust');
    fails(
      () => loadConfig({ file: null, environment: {}, flags: { ...flags, listen: '0.0.0.0:6432' } }),
      /auth\.type: trust lets in everybody/,
    );
  });

  it('names file, key and remedy in one line', () => {
    fails(() => fromText(`${MINIMAL}poool: {}\n`), /f\.yaml: unknown key poool; did you mean pool\?/);
    fails(() => fromText(`${MINIMAL}pool: { sise: 1 }\n`), /unknown key pool\.sise; did you mean pool\.size\?/);
    fails(() => fromText(`${MINIMAL}max_lag: 1s\n`), /unknown key max_lag; it belongs at routing\.max_lag/);
    fails(
      () => fromText(`${MINIMAL}pool: { mode: statements }\n`),
      /pool\.mode: write one of transaction, session, statement/,
    );
    fails(
      () => fromText(`${MINIMAL}replication: { mode: sync, copies: 9 }\n`),
      /replication\.copies: 9 copies need 10 nodes, cluster\.nodes has \d+/,
    );
    fails(
      () =>
        fromText(
          'cluster: { user: u, nodes: { a: h:1, b: h:2 } }\nreplication: { mode: quorum }\nfailover: { mode: "off" }',
        ),
      /replication\.mode: with failover\.mode: off nothing on the servers is changed/,
    );
    fails(() => fromText(`${MINIMAL}pool: { size: many }\n`), /pool\.size: write a number/);
    fails(() => fromText(`${MINIMAL}pool: { size: 0 }\n`), /pool\.size: write a larger number than 0/);
    fails(
      () => fromText(`${MINIMAL}routing: { max_lag: soon }\n`),
      /routing\.max_lag: "soon" is neither a time nor a size/,
    );
    fails(
      () => fromText('cluster: { nodes: { a: h:1 } }'),
      /cluster\.user is missing \(role of the control connections\)/,
    );
    fails(() => fromText('listen: [1]\n cluster'), /f\.yaml:\d+: /);
    fails(() => fromText('- a'), /write keys and values/);
    fails(
      () => fromText('cluster: { user: u, password: "${NOPE}", nodes: { a: h:1 } }'),
      /cluster\.password: the environment variable NOPE is not set/,
    );
    fails(
      () => fromText('cluster: { user: u, nodes: { a: h:1 } }\nauth: { query: off }'),
      /auth\.users: nobody could connect/,
    );
    fails(
      () => fromText('cluster: { user: u, nodes: { a: h:1 } }\nauth: { query: SELECT 1 }'),
      /auth\.query: write auto, off/,
    );
    fails(
      () => fromText('cluster: { user: u, nodes: { a: h:1, b: h:1 } }\nauth: { type: trust }'),
      /cluster\.nodes\.b: h:1 is a's address already/,
    );
    fails(
      () => fromText(MINIMAL, { FAIRLEAD_POOL_SISE: '1' }),
      /FAIRLEAD_POOL_SISE is no key .* did you mean FAIRLEAD_POOL_SIZE/,
    );
    fails(
      () => fromText(MINIMAL, { FAIRLEAD_POOL_SIZE: 'x' }),
      /^environment: FAIRLEAD_POOL_SIZE: pool\.size: write a number/,
    );
    fails(
      () => loadConfig({ file: join(directory, 'none.yaml'), environment: {}, flags: {} }),
      /none\.yaml: no such file/,
    );
    fails(() => loadConfig({ file: null, environment: {}, flags: {} }), /^no configuration: give a file with -c FILE/);
    fails(
      () => loadConfig({ file: null, environment: {}, flags: { nodes: ['x'] } }),
      /--node: "x" is not of the form NAME=VALUE/,
    );
  });

  it('leaves alone what a container runtime sets for a service called fairlead', () => {
    const environment = { FAIRLEAD_PORT: 'tcp://1.2.3.4:6432', FAIRLEAD_POOL_SERVICE_HOST: '1.2.3.4' };
    assert.doesNotThrow(() => fromText(MINIMAL, environment));
  });

  it('the documented example loads and shows every key', () => {
    const file = join(PROJECT, 'docs', 'fairlead.example.yaml');
    const text = readFileSync(file, 'utf8');
    const environment = { FAIRLEAD_PASSWORD: 'a', APP_PASSWORD: 'b', FAIRLEAD_AGENT_TOKEN: 'd' };
    writeFileSync(join(directory, 'report.password'), 'c\n');
    const config = fromText(text, environment);
    assert.equal(config.auth.users.report?.password, 'c');
    for (const { path } of configKeys())
      assert.ok(text.includes(`${path.filter((p) => p !== '*').at(-1)}:`), path.join('.'));
  });

  it('the documented example shows the defaults', () => {
    const text = readFileSync(join(PROJECT, 'docs', 'fairlead.example.yaml'), 'utf8');
    const environment = { FAIRLEAD_PASSWORD: 'a', APP_PASSWORD: 'b', FAIRLEAD_AGENT_TOKEN: 'd' };
    const shown = fromText(text.replace('"file:report.password"', 'c'), environment);
    const plain = fromText(MINIMAL);
    for (const section of ['listen', 'http', 'http_token', 'routing', 'pool', 'failover', 'log'] as const) {
      assert.deepEqual(shown[section], plain[section], section);
    }
  });
});
