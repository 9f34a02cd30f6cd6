import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { type Applicant, findRule, readRules } from '../../../src/config/access-rules.ts';
import { mayBe, readUserMaps } from '../../../src/config/user-maps.ts';

const directory = mkdtempSync(join(tmpdir(), 'access-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): string {
  writeFileSync(join(directory, name), text);
  return join(directory, name);
}

const fromText = (text: string) => readRules({ rules: [], hba_file: write('pg_hba.conf', text) });

const someone: Applicant = {
  address: '10.1.2.3',
  encrypted: false,
  database: 'shop',
  user: 'anna',
  replication: false,
};

/** Line numbers' rule that fits; null: none. */
function lineFor(text: string, applicant: Partial<Applicant> = {}): number | null {
  const where = findRule(fromText(text), { ...someone, ...applicant })?.where;
  return where === undefined ? null : Number(where.split(':').at(-1));
}

describe('rules of access', () => {
  it('the first that fits decides', () => {
    const text = '# comment\n\nhost all boss all reject\nhost shop anna all md5\nhost all all all trust\n';
    assert.equal(lineFor(text), 4);
    assert.equal(lineFor(text, { user: 'boss' }), 3);
    assert.equal(lineFor(text, { database: 'other' }), 5);
    assert.equal(lineFor(text, { address: null }), null, 'a Unix socket is local');
  });

  it('tell connections apart', () => {
    const text = 'local all all md5\nhostssl all all all md5\nhostnossl all all all reject\n';
    assert.equal(lineFor(text, { address: null }), 1);
    assert.equal(lineFor(text, { encrypted: true }), 2);
    assert.equal(lineFor(text), 3);
    assert.equal(lineFor('hostgssenc all all all trust\nhostnogssenc all all all trust\n'), 2);
  });

  it('name databases and users as PostgreSQL does', () => {
    assert.equal(lineFor('host sameuser all all md5\n'), null);
    assert.equal(lineFor('host sameuser all all md5\n', { database: 'anna' }), 1);
    assert.equal(lineFor('host a,b,shop x,anna all md5\n'), 1);
    assert.equal(lineFor('host a, b,\tshop anna all md5\n'), 1, 'blanks behind a comma');
    assert.equal(lineFor('host "all" all all md5\n'), null, 'in quotes a word is a name');
    assert.equal(lineFor('host "all" all all md5\n', { database: 'all' }), 1);
    assert.equal(lineFor('host "my ""own"" #db" all all md5\n', { database: 'my "own" #db' }), 1);
    assert.equal(lineFor('host all "+anna" all md5\n', { user: '+anna' }), 1);
    assert.equal(lineFor('host /^sh.p$ /^a all md5\n'), 1);
    assert.equal(lineFor('host /^hop all all md5\n'), null);
  });

  it('do not let replication pass as a database', () => {
    const text = 'host all all all md5\nhost replication all all trust\n';
    assert.equal(lineFor(text, { replication: true, database: 'replication' }), 2);
    assert.equal(lineFor('host replication all all trust\n', { database: 'replication' }), null);
  });

  it('compare addresses under their masks', () => {
    const cases: readonly (readonly [string, string, boolean])[] = [
      ['10.1.2.3/32', '10.1.2.3', true],
      ['10.1.2.3/32', '10.1.2.4', false],
      ['10.1.0.0/16', '10.1.255.255', true],
      ['10.1.0.0/15', '10.0.0.1', true],
      ['10.1.0.0/17', '10.1.128.0', false],
      ['0.0.0.0/0', '192.168.1.1', true],
      ['0.0.0.0/0', '::1', false],
      ['::/0', '10.0.0.1', false],
      ['::1/128', '::1', true],
      ['2001:db8::/33', '2001:db8:7fff::1', true],
      ['2001:db8::/33', '2001:db8:8000::1', false],
      ['fe80::/10', 'fe80::1%eth0', true],
      ['10.0.0.0/8', '::ffff:10.9.8.7', true],
      ['10.1.0.0 255.255.0.0', '10.1.7.7', true],
      ['10.1.0.0 255.255.0.0', '10.2.7.7', false],
      ['::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '::1', true],
      ['all', '::1', true],
      ['samehost', '127.0.0.1', true],
      ['samehost', '203.0.113.77', false],
      ['samenet', '127.8.8.8', networkInterfaces().lo?.some((own) => own.cidr === '127.0.0.1/8') ?? false],
    ];
    for (const [address, from, fits] of cases) {
      const text = `host all all ${address} md5\n`;
      assert.equal(lineFor(text, { address: from }), fits ? 1 : null, `${address} ${from}`);
    }
  });

  it('come from several places', () => {
    write('names', 'anna # and\n"otto", emma\n');
    write('more.conf', 'host all emma all trust\n');
    mkdirSync(join(directory, 'conf.d'), { recursive: true });
    write('conf.d/2.conf', 'host all second all trust\n');
    write('conf.d/1.conf', 'host all first all trust\n');
    write('conf.d/ignored', 'nonsense\n');
    const text = [
      'include_if_exists missing.conf',
      'host \\',
      '  x \\',
      '  @names all md5',
      'include more.conf',
      'include_dir conf.d',
    ].join('\n');
    const rules = readRules({ rules: ['host shop inline all reject'], hba_file: write('pg_hba.conf', text) });
    assert.deepEqual(
      rules.map((rule) => rule.where.replace(`${directory}/`, '')),
      ['auth.rules[0]', 'pg_hba.conf:2', 'more.conf:1', 'conf.d/1.conf:1', 'conf.d/2.conf:1'],
    );
    assert.deepEqual(
      rules[1]?.users,
      ['anna', 'otto', 'emma'].map((name) => ({ kind: 'name', name })),
    );
  });

  it('have options for certificates', () => {
    const [plain, verified, mapped] = fromText(
      'hostssl all all all cert\nhostssl all all all scram-sha-256 clientcert=verify-ca\nhostssl all all all cert map="my map"\n',
    );
    assert.deepEqual([plain?.clientCertificate, plain?.map], ['verify-full', null]);
    assert.deepEqual([verified?.method, verified?.clientCertificate], ['scram-sha-256', 'verify-ca']);
    assert.equal(mapped?.map, 'my map');
  });

  it('are refused with the line and what to write', () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ['host', /ends before its database/],
      ['host all all', /ends before its address/],
      ['host all all all', /ends before its authentication method/],
      ['hosts all all all md5', /unknown connection type "hosts"/],
      ['host,local all all all md5', /several values/],
      ['local all all peer', /"peer" is not available: Node cannot ask/],
      ['host all all all ldap ldapserver=x', /LDAP is not spoken/],
      ['host all all all scram', /"scram" is not available: write trust/],
      ['host all all 10.0.0.1 md5', /10\.0\.0\.1\/32/],
      ['host all all 10.0.0.1/33 md5', /invalid mask/],
      ['host all all 10.0.0.1/ md5', /invalid mask/],
      ['host all all 10.0.0.256/8 md5', /no IP address/],
      ['host all all db.example.com md5', /host names are not looked up/],
      ['host samerole all all md5', /known to the servers only/],
      ['host all +staff all md5', /known to the servers only/],
      ['host all /( all md5', /invalid regular expression/],
      ['host all all all cert', /needs hostssl/],
      ['host all all all md5 clientcert=verify-ca', /needs hostssl/],
      ['hostssl all all all md5 clientcert=1', /verify-ca or verify-full/],
      ['hostssl all all all cert clientcert=verify-ca', /always means/],
      ['host all all all md5 map=x', /map needs/],
      ['host all all all md5 pamservice=x', /"pamservice" is not available/],
      ['host all all all md5 x', /name=value/],
      ['host "all all all md5', /quote is not closed/],
      ['include missing.conf', /ENOENT/],
      ['include a b', /one file/],
      ['include pg_hba.conf', /too deeply/],
      ['host @missing all all md5', /ENOENT/],
    ];
    for (const [line, message] of cases) {
      assert.throws(
        () => fromText(`host all all all md5\n${line}\n`),
        (error: Error & { code: string }) => {
          assert.equal(error.code, 'bad_config');
          assert.match(error.message, message);
          assert.match(error.message, /pg_hba\.conf:2: /);
          return true;
        },
        line,
      );
    }
    assert.throws(
      () => readRules({ rules: ['host @names all all md5'], hba_file: null }),
      /auth\.rules\[0\]: .*whole path/,
    );
    assert.throws(() => readRules({ rules: [], hba_file: '/nowhere/pg_hba.conf' }), /ENOENT/);
  });
});

describe('maps of users', () => {
  const maps = () =>
    readUserMaps(
      write(
        'ident',
        '# people\npeople /^(.*)@example\\.com$ \\1\npeople boss anna\nall-of-them root all\nsome x /^a\n',
      ),
    );

  it('say who the owner of a certificate may be', () => {
    assert.equal(mayBe(maps(), 'people', 'anna@example.com', 'anna'), true);
    assert.equal(mayBe(maps(), 'people', 'anna@example.com', 'otto'), false);
    assert.equal(mayBe(maps(), 'people', 'anna@example.org', 'anna'), false);
    assert.equal(mayBe(maps(), 'people', 'boss', 'anna'), true);
    assert.equal(mayBe(maps(), 'people', 'anna', 'anna'), false, 'a map says it all');
    assert.equal(mayBe(maps(), 'all-of-them', 'root', 'anyone'), true);
    assert.equal(mayBe(maps(), 'some', 'x', 'anna'), true);
    assert.equal(mayBe(maps(), 'some', 'x', 'otto'), false);
    assert.equal(mayBe(maps(), 'missing', 'anna', 'anna'), false);
  });

  it('without one, both are the same', () => {
    assert.equal(mayBe(maps(), null, 'anna', 'anna'), true);
    assert.equal(mayBe(maps(), null, 'Anna', 'anna'), false);
  });

  it('are refused with the line', () => {
    for (const line of ['people anna', 'people anna anna anna', 'people /( x', 'people x +staff']) {
      assert.throws(() => readUserMaps(write('ident', `\n${line}\n`)), /ident:2: /, line);
    }
  });
});
