import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseUserList } from '../../../src/config/user-list.ts';

const read = (text: string) => [...parseUserList(text, 'userlist.txt')];

describe('parseUserList', () => {
  it('reads what PgBouncer reads', () => {
    assert.deepEqual(read('"app" "secret"\n'), [['app', 'secret']]);
    assert.deepEqual(read('\ufeff; comment\r\n\r\n  "a"\t"md5c4" and more\r\n# other\n"b" ""'), [
      ['a', 'md5c4'],
      ['b', ''],
    ]);
    assert.deepEqual(read('"a ""b""" "x"" y"'), [['a "b"', 'x" y']]);
    assert.deepEqual(read('"a" "1"\n"a" "2"'), [['a', '1']]);
  });

  it('names the line of a mistake, and nothing of what is in it', () => {
    for (const text of ['"ok" "x"\napp hidden', '"ok" "x"\n"app', '"ok" "x"\n"app" \'hidden\'']) {
      assert.throws(() => read(text), { code: 'bad_config', message: /^userlist\.txt:2: write "user" "password"/ });
      assert.throws(
        () => read(text),
        (error: Error) => !error.message.includes('hidden'),
      );
    }
  });
});
