import type net from 'node:net';
import tls from 'node:tls';
import { FairleadError } from '../core/errors.ts';
import { cleartextRefused } from '../transport/control-stream.ts';
import type { ServerAddress } from '../transport/server-socket.ts';
import { mayCarryPassword, peerCertificate } from '../transport/server-tls.ts';
import { endPointBinding } from '../wire/channel-binding.ts';
import { MECHANISM, MECHANISM_PLUS, ScramClient } from '../wire/scram.ts';
import { md5Answer, md5Hash, type ServerSecret } from '../wire/secret.ts';
import { cstrings, message } from '../wire/writer.ts';

const PASSWORD_MESSAGE = 0x70;

type Login = ServerAddress & { readonly node: string; readonly user: string; readonly secret: ServerSecret | null };

/** Our side of one login at a server: trust, password, md5, SCRAM-SHA-256 with and without channel binding. */
export class ServerAuthentication {
  readonly #login: Login;
  readonly #socket: net.Socket;
  #scram: ScramClient | null = null;
  #proved = false;

  constructor(login: Login, socket: net.Socket) {
    this.#login = login;
    this.#socket = socket;
  }

  /**
   * Answers an Authentication message; null when there is nothing to say.
   * @throws FairleadError when we have not what the server wants; Error when the server is not what it should be
   */
  answer(buffer: Buffer, start: number, end: number): Buffer | null {
    const kind = buffer.readInt32BE(start + 5);
    const data = buffer.subarray(start + 9, end);
    const { user, secret } = this.#login;
    switch (kind) {
      case 0:
        if (this.#scram !== null && !this.#proved) throw unproved();
        return null;
      case 3:
        if (!mayCarryPassword(this.#login, this.#socket instanceof tls.TLSSocket)) throw cleartextRefused(this.#login);
        return message(PASSWORD_MESSAGE, cstrings(this.#password('its password')));
      case 5: {
        const hash = secret?.kind === 'md5' ? secret.hash : md5Hash(this.#password('an md5 hash'), user);
        return message(PASSWORD_MESSAGE, cstrings(md5Answer(hash, data)));
      }
      case 10:
        return this.#begin(data.toString('latin1').split('\0'));
      case 11:
        if (this.#scram === null) throw new Error('unexpected SCRAM message');
        return message(PASSWORD_MESSAGE, Buffer.from(this.#scram.final(data.toString('utf8'))));
      case 12:
        this.#proved = this.#scram?.verify(data.toString('utf8')) ?? false;
        if (!this.#proved) throw unproved();
        return null;
      default:
        throw new Error(`authentication method ${kind} is not supported`);
    }
  }

  #begin(offered: readonly string[]): Buffer {
    const { secret } = this.#login;
    const { mechanism, binding } = this.#mechanism(offered);
    this.#scram = new ScramClient(
      secret?.kind === 'key' ? secret : { kind: 'password', password: this.#password('SCRAM-SHA-256') },
      binding,
    );
    const first = Buffer.from(this.#scram.first());
    const size = Buffer.alloc(4);
    size.writeInt32BE(first.length);
    return message(PASSWORD_MESSAGE, Buffer.concat([cstrings(mechanism), size, first]));
  }

  #mechanism(offered: readonly string[]) {
    const certificate = peerCertificate(this.#socket);
    const endPoint = certificate === null ? null : endPointBinding(certificate);
    if (endPoint !== null && offered.includes(MECHANISM_PLUS)) {
      return { mechanism: MECHANISM_PLUS, binding: { endPoint } } as const;
    }
    if (!offered.includes(MECHANISM)) throw new Error('the server offers no SCRAM-SHA-256');
    return { mechanism: MECHANISM, binding: endPoint === null ? 'none' : 'unoffered' } as const;
  }

  #password(wanted: string): string {
    const { node, user, secret } = this.#login;
    if (secret?.kind === 'password') return secret.password;
    const known =
      secret === null ? 'nothing is known' : secret.kind === 'md5' ? 'an md5 hash is known' : 'SCRAM keys are known';
    throw new FairleadError(
      'server_login_failed',
      `node ${node} asks user ${user} for ${wanted}, and only ${known}`.replace('only nothing', 'nothing'),
      `give the password of ${user} under auth.users or in auth.users_file, or let pg_hba.conf and rolpassword be of the kind that is known`,
    );
  }
}

function unproved(): Error {
  return new Error('the server did not prove that it knows the password');
}
