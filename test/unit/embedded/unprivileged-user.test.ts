import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parsePasswd } from '../../../src/embedded/unprivileged-user.ts';

describe('parsePasswd', () => {
  it('reads accounts and leaves out root and what is no account', () => {
    const text =
      'root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104::/var/lib/postgresql:/bin/bash\n\n+::::\nme:x:1000:1000:::\n';
    assert.deepEqual(parsePasswd(text), [
      { name: 'postgres', uid: 101, gid: 104 },
      { name: 'me', uid: 1000, gid: 1000 },
    ]);
  });
});
