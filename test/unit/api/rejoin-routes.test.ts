import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ApiFixture } from '../../support/api-fixture.ts';
import { httpGet, httpPost } from '../../support/http.ts';

describe('/api/nodes/NAME/rejoin', () => {
  const fixture = new ApiFixture();
  let url: string;

  before(async () => {
    url = await fixture.start();
    fixture.healthy();
  });
  after(() => fixture.stop());

  it('begins with POST, and tells with GET how far it is', async () => {
    const path = `${url}/api/nodes/pg2/rejoin`;
    assert.deepEqual((await httpGet(path)).body, { rejoin: null });
    const begun = await httpPost(path, { method: 'clone' });
    assert.equal(begun.status, 202);
    assert.deepEqual(begun.body, { rejoin: { node: 'pg2', method: 'clone', state: 'running' } });
    assert.deepEqual((await httpGet(path)).body, begun.body);
    assert.equal((await httpPost(path)).body.rejoin.method, 'auto');
  });

  it('says what is wrong', async () => {
    const primary = await httpPost(`${url}/api/nodes/pg1/rejoin`);
    assert.equal(primary.status, 409);
    assert.equal(primary.body.error, 'pg1 is the primary');
    assert.equal((await httpPost(`${url}/api/nodes/nobody/rejoin`)).status, 404);
    assert.equal((await httpGet(`${url}/api/nodes/nobody/rejoin`)).status, 404);
    assert.equal((await httpPost(`${url}/api/nodes/pg2/rejoin`, { method: 'magic' })).status, 400);
    const other = { Origin: 'http://evil.example' };
    assert.equal((await httpPost(`${url}/api/nodes/pg2/rejoin`, undefined, other)).status, 403);
  });
});

describe('/api/nodes/NAME/rejoin beyond loopback', () => {
  it('asks for the token', async () => {
    const fixture = new ApiFixture({ http: { host: '0.0.0.0', port: 0 }, token: 'secret' });
    const url = await fixture.start();
    try {
      fixture.healthy();
      const path = `${url}/api/nodes/pg2/rejoin`;
      assert.equal((await httpPost(path)).status, 401);
      assert.equal(fixture.repairs.size, 0);
      assert.equal((await httpPost(path, undefined, { Authorization: 'Bearer secret' })).status, 202);
    } finally {
      await fixture.stop();
    }
  });
});
