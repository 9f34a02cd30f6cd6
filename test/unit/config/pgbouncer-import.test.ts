import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { loadConfig } from '../../../src/config/load.ts';
import { importPgbouncer } from '../../../src/config/pgbouncer-import.ts';
import { readConnectionString, readPgbouncerIni } from '../../../src/config/pgbouncer-ini.ts';

const INI = `
;; a typical file
[databases]
forcedb = host=10.0.0.1 port=300 user=baz password='it''s $5' client_encoding=UNICODE datestyle=ISO connect_query='SELECT 1'
app = host=10.0.0.1 dbname=app_production pool_size=30 reserve_pool=5 min_pool_size=2
"odd name" = host=10.0.0.1 pool_mode=session max_db_connections=7 server_lifetime=600
nondefaultdb = pool_size=50 reserve_pool_size=10
%include more.ini
* = host=10.0.0.2

[users]
user1 = pool_mode=transaction max_user_connections=10
user2 = query_timeout=30 max_user_client_connections=5 transaction_timeout=9

[pgbouncer]
logfile = /var/log/pgbouncer/pgbouncer.log
pidfile = /var/run/pgbouncer/pgbouncer.pid
listen_addr = *
listen_port = 6543
unix_socket_dir = /tmp
unix_socket_mode = 0770
client_tls_sslmode = disable
server_tls_sslmode = verify-full
server_tls_ca_file = /etc/ca.pem
auth_type = md5
auth_file = userlist.txt
auth_hba_file =
admin_users = user2, someadmin, otheradmin
stats_users = stats, root
pool_mode = transaction
max_client_conn = 200
default_pool_size = 25
min_pool_size = 1
reserve_pool_size = 3
reserve_pool_timeout = 2.5
max_db_connections = 50
max_user_connections = 40
server_reset_query = DISCARD ALL
server_check_delay = 30
server_lifetime = 1800
server_idle_timeout = 300
query_timeout = 60
query_wait_timeout = 0
client_idle_timeout = 120
idle_transaction_timeout = 90
ignore_startup_parameters = extra_float_digits
max_prepared_statements = 200
server_round_robin = 1
stats_period = 30
`;

describe('importPgbouncer', () => {
  const directory = mkdtempSync(join(tmpdir(), 'fairlead-import-'));
  after(() => rmSync(directory, { recursive: true }));

  const imported = (text: string, files: Readonly<Record<string, string>> = {}) => {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
    const file = join(directory, 'pgbouncer.ini');
    writeFileSync(file, text);
    const { yaml, remarks } = importPgbouncer(readPgbouncerIni(file), file);
    const output = join(directory, 'fairlead.yaml');
    writeFileSync(output, yaml);
    return { yaml, remarks, config: loadConfig({ file: output, environment: {}, flags: {} }) };
  };

  it('turns a whole file into a configuration that is valid and says the same', () => {
    const { config, yaml, remarks } = imported(INI, {
      'more.ini': 'included = host=10.0.0.1 dbname=inc\n',
      'userlist.txt': '"user1" "secret"\n"user2" "md5abcdef0123456789abcdef0123456789"\n',
    });
    assert.deepEqual(config.listen, { host: '0.0.0.0', port: 6543 });
    assert.equal(config.unix_socket.directory, '/tmp');
    assert.equal(config.unix_socket.mode, '0770');
    assert.deepEqual(
      Object.values(config.cluster.nodes).map(({ address }) => `${address.host}:${address.port}`),
      ['10.0.0.1:300', '10.0.0.1:5432', '127.0.0.1:5432', '10.0.0.2:5432'],
    );
    assert.equal(config.cluster.tls.mode, 'verify-full');
    assert.equal(config.cluster.user, 'user2');
    assert.equal(config.databases.forcedb?.user, 'baz');
    assert.equal(config.databases.forcedb?.password, "it's $5");
    assert.equal(config.databases.app?.dbname, 'app_production');
    assert.equal(config.databases.app?.size, 30);
    assert.equal(config.databases.app?.reserve_size, 5);
    assert.equal(config.databases.app?.min_size, 2);
    assert.equal(config.databases['odd name']?.pool_mode, 'session');
    assert.equal(config.databases['odd name']?.max_connections, 7);
    assert.equal(config.databases['odd name']?.server_lifetime, 600_000);
    assert.equal(config.databases.included?.dbname, 'inc');
    assert.equal(config.users.user1?.max_connections, 10);
    assert.equal(config.users.user2?.query_timeout, 30_000);
    assert.equal(config.users.user2?.max_clients, 5);
    const { pool } = config;
    assert.deepEqual(
      [pool.mode, pool.max_clients, pool.size, pool.min_size, pool.reserve_size, pool.reserve_timeout],
      ['transaction', 200, 25, 1, 3, 2500],
    );
    assert.deepEqual(
      [pool.max_database_connections, pool.max_user_connections, pool.server_lifetime, pool.server_idle_timeout],
      [50, 40, 1_800_000, 300_000],
    );
    assert.deepEqual(
      [pool.query_timeout, pool.checkout_timeout, pool.client_idle_timeout, pool.idle_transaction_timeout],
      [60_000, 0, 120_000, 90_000],
    );
    assert.equal(config.auth.type, 'md5');
    assert.equal(config.auth.users_file, join(directory, 'userlist.txt'));
    assert.deepEqual(config.auth.admins, ['user2', 'someadmin', 'otheradmin']);
    assert.deepEqual(config.auth.stats_users, ['stats', 'root']);
    const told = (text: RegExp) => assert.ok(remarks.some((line) => text.test(line)) && text.test(yaml), String(text));
    told(/pgbouncer\.ini:4: forcedb: client_encoding=UNICODE has no counterpart/);
    told(/connect_query=SELECT 1 has no counterpart/);
    told(/user2: transaction_timeout=9 has no counterpart/);
    told(/server_round_robin = 1 has no counterpart/);
    told(/max_prepared_statements is not needed/);
    told(/databases were on several servers: 10\.0\.0\.1:300 \(forcedb\)/);
    told(/a Unix socket of the server has no counterpart/);
    assert.match(yaml, /^ {2}# .*client_encoding|^# .*client_encoding/m);
  });

  it("keeps PgBouncer's defaults where its file is silent", () => {
    const { config } = imported('[databases]\nx = host=h\n[pgbouncer]\nauth_type = scram-sha-256\n');
    assert.equal(config.pool.mode, 'session');
    assert.equal(config.pool.max_clients, 100);
    assert.equal(config.pool.checkout_timeout, 120_000);
    assert.deepEqual(config.listen, { host: '127.0.0.1', port: 6432 });
    assert.deepEqual(config.databases, {});
  });

  it('makes a valid file of what is possible only in part', () => {
    const trust = imported('[databases]\n* =\n[pgbouncer]\nlisten_addr = 0.0.0.0\nauth_type = any\n');
    assert.equal(trust.config.auth.type, 'trust');
    assert.equal(trust.config.listen.host, '127.0.0.1');
    assert.ok(trust.remarks.some((line) => /loopback address only/.test(line)));
    const pam = imported('[pgbouncer]\nauth_type = pam\nauth_file = /nowhere/userlist.txt\nlisten_addr = ::1, ::2\n');
    assert.equal(pam.config.auth.type, 'scram-sha-256');
    assert.equal(pam.config.auth.users_file, null);
    assert.equal(pam.config.listen.host, '::1');
    assert.ok(pam.remarks.some((line) => /there is no file \/nowhere\/userlist\.txt/.test(line)));
    const odd = imported("[databases]\nx = host=a,b port=1,2 password='${HOME}'\n[pgbouncer]\n");
    assert.equal(odd.config.databases.x, undefined);
    assert.equal(Object.keys(odd.config.cluster.nodes).length, 2);
  });

  it('lets nobody in whom PgBouncer kept out', () => {
    const base = '[databases]\nx = host=h\n[pgbouncer]\nauth_type = scram-sha-256\n';
    const files = { 'hba.conf': 'host all all 127.0.0.1/32 trust\n', 'users.txt': '"a" "b"\n' };
    // PgBouncer reads the rules with auth_type hba only, and asks servers for passwords with auth_user only
    const silent = imported(`${base}auth_file = users.txt\nauth_hba_file = hba.conf\nauth_query = SELECT 1\n`, files);
    assert.equal(silent.config.auth.hba_file, null);
    assert.equal(silent.config.auth.query, 'off');
    for (const text of [/auth_hba_file is left out/, /only listed users can log in/, /no other databases/]) {
      assert.ok(
        silent.remarks.some((line) => text.test(line)),
        String(text),
      );
    }
    assert.equal(imported(base).config.auth.query, 'auto', 'without users nobody could connect');
    const asking = imported(
      `${base}auth_file = users.txt\nauth_user = asker\nauth_hba_file = hba.conf\nauth_type = hba\n`,
      files,
    );
    assert.equal(asking.config.auth.hba_file, join(directory, 'hba.conf'));
    assert.equal(asking.config.auth.query, 'auto');
    assert.equal(imported(base.replace('host=h', 'auth_user=asker')).config.auth.query, 'auto');
  });

  it('names file and line of what it cannot read', () => {
    const file = join(directory, 'bad.ini');
    const fails = (text: string, expected: RegExp) => {
      writeFileSync(file, text);
      assert.throws(() => readPgbouncerIni(file), expected);
    };
    fails('[databases]\nnonsense\n', /bad\.ini:2: not a section, a key or an include: nonsense/);
    fails('a = b\n', /bad\.ini:1: not a section/);
    fails('[databases]\n%include missing.ini\n', /missing\.ini: ENOENT/);
    fails('%include bad.ini\n', /include each other too deeply/);
    const entry = { key: 'x', value: "host=a password='open", where: 'f:1' };
    assert.throws(() => readConnectionString(entry), /f:1: x: not a connection string/);
    assert.deepEqual(
      [...readConnectionString({ ...entry, value: "host = a  password='a''b c' user=''" })],
      [
        ['host', 'a'],
        ['password', "a'b c"],
        ['user', ''],
      ],
    );
  });
});
