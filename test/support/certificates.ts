/** A certificate authority for one test, and certificates of it, made with the openssl program. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Certificate = {
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
};

export type Authority = {
  /** PEM. */
  readonly ca: string;
  readonly caFile: string;
  /** @param names subjectAltName, for example `IP:127.0.0.1,DNS:localhost`; null: none */
  issue(commonName: string, names: string | null, digest?: string): Certificate;
  remove(): void;
};

export function makeAuthority(): Authority {
  const directory = mkdtempSync(join(tmpdir(), 'certificates-'));
  const openssl = (...words: string[]) => execFileSync('openssl', words, { cwd: directory, stdio: 'pipe' });
  const path = (name: string) => join(directory, name);
  const newKey = (name: string) => openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', name);
  newKey('ca.key');
  openssl('req', '-x509', '-new', '-key', 'ca.key', '-subj', '/CN=test authority', '-days', '2', '-out', 'ca.crt');
  let serial = 1;
  return {
    ca: readFileSync(path('ca.crt'), 'utf8'),
    caFile: path('ca.crt'),
    issue(commonName, names, digest = 'sha256') {
      const name = `certificate${serial++}`;
      newKey(`${name}.key`);
      openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${commonName}`, '-out', `${name}.csr`);
      writeFileSync(path(`${name}.ext`), names === null ? '' : `subjectAltName=${names}\n`);
      const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-set_serial', String(serial), '-days', '2', `-${digest}`];
      openssl('x509', '-req', '-in', `${name}.csr`, ...signing, '-extfile', `${name}.ext`, '-out', `${name}.crt`);
      const [certFile, keyFile] = [path(`${name}.crt`), path(`${name}.key`)];
      return { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8'), certFile, keyFile };
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
