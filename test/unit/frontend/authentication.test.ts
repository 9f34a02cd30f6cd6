import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Authentication, type AuthRequest, type AuthStep } from '../../../src/frontend/authentication.ts';
import { makeVerifier, ScramClient } from '../../../src/wire/scram.ts';
import { md5Answer, md5Hash, type Secret } from '../../../src/wire/secret.ts';
import { cstrings } from '../../../src/wire/writer.ts';

const base: AuthRequest = {
  user: 'anna',
  method: 'scram-sha-256',
  secret: { kind: 'plain', password: 'pencil' },
  binding: null,
  seed: Buffer.alloc(32, 1),
};

const kindOf = (step: AuthStep) => (step.bytes === null ? null : step.bytes.readInt32BE(5));

async function scram(request: Partial<AuthRequest>, password = 'pencil') {
  const authentication = new Authentication({ ...base, ...request });
  const client = new ScramClient({ kind: 'password', password });
  assert.equal(kindOf(authentication.start()), 10);
  const first = Buffer.from(client.first());
  const length = Buffer.alloc(4);
  length.writeInt32BE(first.length);
  const challenge = await authentication.receive(Buffer.concat([cstrings('SCRAM-SHA-256'), length, first]));
  const serverFirst = (challenge.bytes as Buffer).toString('utf8', 9);
  return { serverFirst, done: () => authentication.receive(Buffer.from(client.final(serverFirst))) };
}

async function durationMs(action: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await assert.rejects(action, { code: 'auth_failed', sqlState: '28P01' });
  return performance.now() - startedMs;
}

describe('authentication', () => {
  const md5: Secret = { kind: 'md5', hash: md5Hash('pencil', 'anna') };
  const verifier = makeVerifier('pencil');

  it('lets in by SCRAM whose password or verifier is known, and keeps what logs in to servers', async () => {
    const plain = await (await scram({})).done();
    assert.deepEqual(plain.kind === 'done' && plain.identity.secret, { kind: 'password', password: 'pencil' });
    const stored = await (await scram({ secret: { kind: 'scram', verifier } })).done();
    assert.equal(stored.kind === 'done' && stored.identity.secret?.kind, 'key');
  });

  it('shows the same salt to whoever asks again', async () => {
    const saltOf = async (request: Partial<AuthRequest>) => /s=([^,]+)/.exec((await scram(request)).serverFirst)?.[1];
    assert.equal(await saltOf({}), await saltOf({ secret: null }));
    assert.equal(await saltOf({ secret: null }), await saltOf({ secret: null }));
    assert.notEqual(await saltOf({ secret: null }), await saltOf({ secret: null, user: 'otto' }));
    assert.notEqual(await saltOf({ secret: null }), await saltOf({ secret: null, seed: Buffer.alloc(32, 2) }));
  });

  it('takes as long for whom it does not know as for a wrong password', async () => {
    const secrets: (Secret | null)[] = [null, base.secret, { kind: 'scram', verifier }, md5];
    for (const secret of secrets) {
      const { done } = await scram({ secret }, 'wrong');
      const tookMs = await durationMs(done);
      assert.ok(tookMs >= 45 && tookMs < 5000, `${secret?.kind}: ${tookMs} ms`);
    }
    for (const secret of secrets) {
      const authentication = new Authentication({ ...base, method: 'password', secret });
      authentication.start();
      assert.ok((await durationMs(() => authentication.receive(cstrings('wrong')))) >= 45);
    }
  });

  it('refuses an md5 hash under SCRAM as a user that does not exist', async () => {
    const { done } = await scram({ secret: md5 });
    await assert.rejects(done, { code: 'auth_failed' });
  });

  it('lets in by md5, and asks others as it asked the last', async () => {
    for (const secret of [md5, base.secret]) {
      const authentication = new Authentication({ ...base, method: 'md5', secret });
      const challenge = authentication.start();
      assert.equal(kindOf(challenge), 5);
      const salt = (challenge.bytes as Buffer).subarray(9, 13);
      const step = await authentication.receive(cstrings(md5Answer(md5Hash('pencil', 'anna'), salt)));
      assert.equal(step.kind, 'done');
    }
    assert.equal(kindOf(new Authentication({ ...base, method: 'md5', secret: null }).start()), 5);
    const stored: Secret = { kind: 'scram', verifier };
    assert.equal(kindOf(new Authentication({ ...base, method: 'md5', secret: stored }).start()), 10);
    assert.equal(kindOf(new Authentication({ ...base, method: 'md5', secret: null }).start()), 10);
  });

  it('lets in by a password in clear text, which then logs in to servers', async () => {
    for (const secret of [md5, base.secret, { kind: 'scram', verifier } as const]) {
      const authentication = new Authentication({ ...base, method: 'password', secret });
      assert.equal(kindOf(authentication.start()), 3);
      const step = await authentication.receive(cstrings('pencil'));
      assert.deepEqual(step.kind === 'done' && step.identity.secret, { kind: 'password', password: 'pencil' });
    }
    const empty = new Authentication({ ...base, method: 'password', secret: { kind: 'plain', password: '' } });
    empty.start();
    await assert.rejects(empty.receive(cstrings('')), { code: 'auth_failed' });
  });

  it('offers channel binding where there is something to bind to', () => {
    const mechanisms = (binding: Buffer | null) =>
      new Authentication({ ...base, binding }).start().bytes?.toString('latin1', 9);
    assert.equal(mechanisms(null), 'SCRAM-SHA-256\0\0');
    assert.equal(mechanisms(Buffer.alloc(32)), 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0');
  });

  it('asks nothing under trust, and of whoever has shown a certificate', () => {
    for (const method of ['trust', 'cert'] as const) {
      const step = new Authentication({ ...base, method }).start();
      assert.deepEqual(step.kind === 'done' && step.identity.secret, { kind: 'password', password: 'pencil' });
    }
  });
});
