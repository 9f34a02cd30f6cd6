import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { needsRewind, programsWithRewind } from '../support/agent.ts';
import type { TestCluster } from '../support/cluster.ts';
import { RejoinScene } from '../support/rejoin-scene.ts';
import { until } from '../support/wait.ts';

/** As in docs/failover.md and docs/agent.md. */
const GRANTS = `
  CREATE ROLE keeper LOGIN REPLICATION PASSWORD 'secret' IN ROLE pg_monitor, pg_signal_backend, pg_checkpoint;
  GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer), pg_reload_conf() TO keeper;
  GRANT ALTER SYSTEM ON PARAMETER primary_conninfo, primary_slot_name, synchronous_standby_names,
    default_transaction_read_only, wal_receiver_timeout, wal_receiver_status_interval TO keeper;
  CREATE SCHEMA fairlead AUTHORIZATION keeper;
  GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
    pg_read_binary_file(text, bigint, bigint, boolean) TO keeper`;

/** Before PostgreSQL 15 a superuser: ALTER SYSTEM cannot be granted. */
async function leastPrivileges({ nodes: [primary], major }: TestCluster) {
  if (major < 15) await primary?.query("CREATE ROLE keeper LOGIN SUPERUSER REPLICATION PASSWORD 'secret'");
  else await primary?.query(GRANTS);
  return { user: 'keeper', password: 'secret' };
}

describe('rejoin with a role that is no superuser', { skip: needsRewind() }, () => {
  let scene: RejoinScene;

  before(async () => {
    scene = await RejoinScene.start({ pgBin: programsWithRewind() ?? '', replicas: 1 }, leastPrivileges);
    await scene.cluster.node('pg1').query('CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id');
    await until(async () => (await scene.cluster.node('pg2').query('SELECT 1 FROM kept')).length === 1000, {
      what: 'pg2 to have the rows',
    });
  });
  after(() => scene?.stop());

  it('fairlead check names a grant that is missing', async (context) => {
    const { major } = scene.cluster;
    if (major < 15) return context.diagnostic('a superuser lacks no grant');
    const primary = scene.cluster.node('pg1');
    const grant = 'EXECUTE ON FUNCTION pg_stat_file(text, boolean)';
    await primary.query(`REVOKE ${grant} FROM keeper`);
    const lacking = await scene.directly('check');
    assert.match(lacking.stdout, /^warning +pg1: cluster\.user may not read the server's files/m);
    await primary.query(`GRANT ${grant} TO keeper`);
    const { stdout } = await scene.directly('check');
    assert.match(stdout, /^ok +pg1: its agent answers, and can rewind it/m);
  });

  for (const [option, how] of [
    ['--rewind', 'rewound'],
    ['--clone', 'cloned'],
  ] as const) {
    it(`${how}: with the grants of the documentation`, async () => {
      const former = scene.primary;
      const next = await scene.failOver();
      await scene.diverge(former, `CREATE TABLE ghost AS SELECT generate_series(1, 1000) AS id`);
      const { code, stdout, stderr } = await scene.rejoin(former, option);
      assert.equal(code, 0, stderr);
      assert.equal(stdout.trim(), `${former} was ${how} and follows ${next}`);
      assert.deepEqual(await scene.cluster.node(former).query(`SELECT to_regclass('ghost') AS g`), [{ g: null }]);
      await scene.untilReadable(former);
    });
  }
});
