import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MARK_PATTERN, type Mark, parseMark, splitMark, withMark } from '../../../src/cluster/mark.ts';
import { parseConninfo } from '../../../src/failover/conninfo.ts';

const FROZEN: Mark = { kind: 'frozen', epoch: 7, timeline: 3, detail: '' };
const FORWARD: Mark = { kind: 'forward', epoch: 7, timeline: 3, detail: 'fairlead_pg3' };
const TO = { host: '10.0.0.2', port: 5433 };

const SETTINGS = [
  '',
  'host=a port=5432 user=u',
  "host=a,b port=1,2 password='it''s ='  application_name=pg3",
  "host='a b' password='x\\'y\\\\' passfile=/a/b",
  'service=main',
  'postgresql://u:p%40w@[::1]:5433/?sslmode=require',
  'postgres://u@h',
];

describe('marks in primary_conninfo', () => {
  for (const setting of SETTINGS) {
    it(`come off '${setting}' word for word`, () => {
      for (const [mark, to] of [
        [FROZEN, undefined],
        [FORWARD, TO],
        [{ ...FROZEN, kind: 'fence', detail: 'eyJhIjoxfQ' }, undefined],
      ] as const) {
        assert.deepEqual(splitMark(withMark(setting, mark, to)), { original: setting, mark });
      }
      assert.deepEqual(splitMark(setting), { original: setting, mark: null });
    });
  }

  it('a frozen one leads nowhere, a forwarded one to the other replica, a fenced one where it did', () => {
    const of = (text: string, ...keys: string[]) => keys.map((key) => parseConninfo(text).get(key));
    assert.deepEqual(of(withMark('host=a port=1 user=u', FROZEN), 'host', 'port', 'user'), ['a', '0', 'u']);
    const forward = withMark('host=a hostaddr=10.0.0.1 port=1', FORWARD, TO);
    assert.deepEqual(of(forward, 'host', 'hostaddr', 'port'), ['10.0.0.2', '', '5433']);
    assert.deepEqual(of(withMark('postgres://u@h:1/', FORWARD, TO), 'host', 'port', 'user'), ['10.0.0.2', '5433', 'u']);
    assert.deepEqual(of(withMark('host=a port=1', { ...FROZEN, kind: 'fence' }), 'host', 'port'), ['a', '1']);
    assert.deepEqual(of(withMark('', { ...FROZEN, kind: 'fence' }), 'port'), ['0']);
  });

  it('a probe reads all but the detail', () => {
    const found = new RegExp(MARK_PATTERN).exec(withMark('host=a password=secret', FORWARD, TO));
    assert.deepEqual(parseMark(found?.[1] ?? null), { ...FORWARD, detail: '' });
    assert.equal(parseMark(null), null);
  });
});
