import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  formatVerifier,
  makeVerifier,
  mockVerifier,
  parseVerifier,
  ScramClient,
  type ScramSecret,
  ScramServer,
  type Verifier,
} from '../../../src/wire/scram.ts';

const SEED = Buffer.alloc(32, 1);

const password = (text: string): ScramSecret => ({ kind: 'password', password: text });

function logIn(secret: ScramSecret, verifier: Verifier) {
  const client = new ScramClient(secret);
  const server = new ScramServer(verifier);
  const done = server.final(client.final(server.first(client.first())), verifier);
  return { done, proved: done !== null && client.verify(done.message) };
}

describe('SCRAM-SHA-256', () => {
  it('has the exchange of RFC 7677, section 3', () => {
    const verifier = makeVerifier('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'), 4096);
    const server = new ScramServer(verifier, undefined, '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0');
    assert.equal(
      server.first('n,,n=user,r=rOprNGfwEbeRWgbNEkqO'),
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    );
    const done = server.final(
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
      verifier,
    );
    assert.equal(done?.message, 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
  });

  it('lets in who knows the password, and proves itself', () => {
    for (const text of ['pencil', '', 'p,=ä€😀', 'x'.repeat(500)]) {
      assert.equal(logIn(password(text), makeVerifier(text)).proved, true);
    }
    // U+2168 is IX, and a no-break space a space: RFC 4013
    assert.equal(logIn(password('I\u00a0X'), makeVerifier('I X')).proved, true);
    assert.equal(logIn(password('\u2168'), makeVerifier('IX')).proved, true);
  });

  it('refuses a wrong password and a user who does not exist', () => {
    assert.equal(logIn(password('pencil'), makeVerifier('pencils')).done, null);
    assert.equal(logIn(password('pencil'), mockVerifier('nobody', SEED)).done, null);
    assert.deepEqual(mockVerifier('nobody', SEED).salt, mockVerifier('nobody', SEED).salt);
    assert.notDeepEqual(mockVerifier('nobody', SEED).salt, mockVerifier('somebody', SEED).salt);
    assert.notDeepEqual(mockVerifier('nobody', SEED).salt, mockVerifier('nobody', Buffer.alloc(32, 2)).salt);
  });

  it('passes on the key that a client proved, to a server with the same verifier only', () => {
    const verifier = makeVerifier('pencil');
    const { done } = logIn(password('pencil'), verifier);
    const secret: ScramSecret = { kind: 'key', clientKey: done?.clientKey as Buffer, verifier };
    assert.equal(logIn(secret, verifier).proved, true);
    assert.throws(() => logIn(secret, makeVerifier('pencil')), /another SCRAM verifier/);
  });

  it('does not believe a server that does not know the verifier', () => {
    const verifier = makeVerifier('pencil');
    const client = new ScramClient(password('pencil'));
    const server = new ScramServer(verifier);
    const final = client.final(server.first(client.first()));
    const done = server.final(final, { ...verifier, serverKey: Buffer.alloc(32) });
    assert.equal(client.verify(done?.message as string), false);
    assert.equal(client.verify('e=other-error'), false);
    assert.equal(new ScramClient(password('x')).verify('v='), false, 'nothing was proved before the exchange');
  });

  it('refuses malformed first messages', () => {
    const malformed = [
      '',
      'n',
      'n,,',
      'n,,n=a',
      'n,,r=x,n=a',
      'p=tls-server-end-point,,n=,r=x',
      'n,,n=,r=',
      'x,,n=,r=a',
    ];
    const first = (text: string) => new ScramServer(makeVerifier('x')).first(text);
    for (const text of malformed) assert.throws(() => first(text), { sqlState: '08P01' }, text);
    assert.throws(() => first('n,,m=ext,n=,r=x'), { sqlState: '0A000' });
    assert.throws(() => first('n,a=other,n=,r=x'), { sqlState: '0A000' });
    assert.match(first('y,,n=,r=abc,ext=1'), /^r=abc/);
  });

  it('refuses final messages that were tampered with', () => {
    const verifier = makeVerifier('pencil');
    const tamper = (change: (text: string) => string) => {
      const client = new ScramClient(password('pencil'));
      const server = new ScramServer(verifier);
      return server.final(change(client.final(server.first(client.first()))), verifier);
    };
    assert.notEqual(
      tamper((t) => t),
      null,
    );
    assert.equal(
      tamper((t) => t.replace(',p=', ',x=1,p=')),
      null,
    );
    const malformed: ((text: string) => string)[] = [
      (t) => t.replace('c=biws', 'c=eSws'),
      (t) => t.replace('r=', 'r=x'),
      (t) => t.replace(',p=', ',p=AAAA'),
      (t) => t.replace(/,p=.*/, ''),
      () => '',
    ];
    for (const change of malformed) assert.throws(() => tamper(change), { sqlState: '08P01' });
    assert.throws(() => new ScramServer(verifier).final('c=biws,r=,p=AAAA', verifier), { sqlState: '08P01' });
  });

  describe('with channel binding', () => {
    const verifier = makeVerifier('pencil');
    const endPoint = Buffer.alloc(32, 1);
    const exchange = (client: ScramClient, server: ScramServer) =>
      server.final(client.final(server.first(client.first())), verifier);

    it('lets in who saw our certificate', () => {
      const client = new ScramClient(password('pencil'), { endPoint });
      const done = exchange(client, new ScramServer(verifier, { binding: endPoint, plus: true }));
      assert.equal(client.verify(done?.message as string), true);
    });

    it('refuses who saw another one', () => {
      const client = new ScramClient(password('pencil'), { endPoint: Buffer.alloc(32, 2) });
      const server = new ScramServer(verifier, { binding: endPoint, plus: true });
      assert.throws(() => exchange(client, server), { sqlState: '28000', message: /check failed/ });
    });

    it('notices that the offer was taken away', () => {
      const client = new ScramClient(password('pencil'), 'unoffered');
      const server = new ScramServer(verifier, { binding: endPoint, plus: false });
      assert.throws(() => server.first(client.first()), { sqlState: '28000', message: /negotiation/ });
      assert.notEqual(exchange(client, new ScramServer(verifier)), null);
      // a client without channel binding is none that was cheated
      const plain = new ScramClient(password('pencil'));
      assert.notEqual(exchange(plain, new ScramServer(verifier, { binding: endPoint, plus: false })), null);
    });

    it('refuses a mechanism that does not fit its flag', () => {
      const first = (plus: boolean, text: string) => () =>
        new ScramServer(verifier, { binding: endPoint, plus }).first(text);
      assert.throws(first(true, 'n,,n=,r=abc'), { sqlState: '08P01' });
      assert.throws(first(true, 'y,,n=,r=abc'), { sqlState: '08P01' });
      assert.throws(first(false, 'p=tls-server-end-point,,n=,r=abc'), { sqlState: '08P01' });
      assert.throws(first(true, 'p=tls-unique,,n=,r=abc'), { sqlState: '08P01' });
    });
  });

  it('refuses malformed messages of a server', () => {
    const client = new ScramClient(password('x'));
    const nonce = client.first().slice('n,,n=,r='.length);
    const malformed = [
      '',
      'r=x,s=QQ==,i=4096',
      `r=${nonce}x,i=4096`,
      `r=${nonce}x,s=QQ==`,
      `r=${nonce}x,s=QQ==,i=0`,
      `r=${nonce}x,s=QQ==,i=z`,
    ];
    for (const text of malformed) assert.throws(() => client.final(text), /malformed/, text);
  });

  it('reads and writes verifiers as pg_authid has them', () => {
    const verifier = makeVerifier('pencil', Buffer.from('salt'), 10);
    assert.deepEqual(parseVerifier(formatVerifier(verifier)), verifier);
    for (const text of [
      '',
      'pencil',
      'md5abc',
      'SCRAM-SHA-256$4096:c2FsdA==$AAAA:AAAA',
      'SCRAM-SHA-256$x:c2FsdA==$A:A',
    ]) {
      assert.equal(parseVerifier(text), null, text);
    }
  });
});
