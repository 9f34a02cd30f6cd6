import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  captureQuery,
  NO_SETTINGS,
  namedQuery,
  settingsDifference,
  settingsSet,
  withNamed,
} from '../../../src/backend/settings-set.ts';

const set = (values: Record<string, string>) => settingsSet(Object.entries(values));

describe('settingsSet', () => {
  it('is one object for one content, whatever the order', () => {
    assert.equal(set({ a: '1', b: '2' }), set({ b: '2', a: '1' }));
    assert.notEqual(set({ a: '1' }), set({ a: '2' }));
    assert.equal(set({}), NO_SETTINGS);
    assert.notEqual(set({ a: '', b: '' }), set({ a: 'b' }));
  });

  it('takes the later of two values, and is still the same object', () => {
    const twice = settingsSet([
      ['a', '1'],
      ['a', '2'],
    ]);
    assert.equal(twice.values.get('a'), '2');
    assert.equal(twice, set({ a: '2' }));
  });
});

describe('settingsDifference', () => {
  const cases: readonly (readonly [Record<string, string>, Record<string, string>, string | null])[] = [
    [{}, {}, null],
    [{ a: '1' }, { a: '1' }, null],
    [{}, { a: '1', b: '2' }, "SELECT set_config('a','1',false),set_config('b','2',false)"],
    [{ a: '1', b: '2' }, { a: '1', b: '3' }, "SELECT set_config('b','3',false)"],
    [{ a: '1' }, {}, 'RESET "a"'],
    [{ 'my.b': '1' }, { c: "it's" }, `RESET "my"."b";SELECT set_config('c','it''s',false)`],
    [{}, { a: 'C:\\x' }, "SELECT set_config('a', E'C:\\\\x',false)"],
    [{}, { role: 'r', a: '1' }, `SELECT set_config('a','1',false);SET ROLE "r"`],
    [{ role: 'r', a: '1' }, {}, 'RESET ROLE;RESET "a"'],
    [{ role: 'r' }, { role: 's' }, 'RESET ROLE;SET ROLE "s"'],
    [{ role: 'r' }, { role: 'r', a: '1' }, "SELECT set_config('a','1',false)"],
    // a role's name is one identifier, dots or not
    [{}, { role: 'first.last"x' }, 'SET ROLE "first.last""x"'],
  ];
  for (const [from, to, expected] of cases) {
    it(`${JSON.stringify(from)} → ${JSON.stringify(to)}`, () => {
      assert.equal(settingsDifference(set(from), set(to)), expected);
    });
  }
});

describe('captureQuery', () => {
  it('asks for the role and for what is named, as literals', () => {
    const text = captureQuery(["my.it's"]);
    assert.ok(text.includes("(VALUES ('role'),('my.it''s')) v(n)"), text);
  });
});

describe('settings asked for by name', () => {
  it('are asked as literals, without those that nobody keeps', () => {
    const text = namedQuery(["my.it's", 'seed', 'session_authorization', 'search_path']);
    assert.ok(text?.endsWith("(VALUES ('my.it''s'),('search_path')) v(n)"), text ?? '');
    assert.equal(namedQuery(['transaction_isolation']), null);
  });

  it('replace what was known of them; empty is a value, except of custom ones', () => {
    const before = settingsSet([
      ['role', 'reader'],
      ['my.tenant', 'seven'],
      ['work_mem', '5MB'],
      ['my.gone', 'x'],
    ]);
    const after = withNamed(before, [
      ['role', 'none'],
      ['my.tenant', ''],
      ['search_path', ''],
      ['my.gone', null],
    ]);
    assert.equal(
      after,
      settingsSet([
        ['work_mem', '5MB'],
        ['search_path', ''],
      ]),
    );
  });
});
