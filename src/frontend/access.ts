import { type AccessMethod, type AccessRule, type Applicant, findRule, readRules } from '../config/access-rules.ts';
import type { Config } from '../config/config.ts';
import { mayBe, readUserMaps, type UserMaps } from '../config/user-maps.ts';
import { FairleadError } from '../core/errors.ts';
import type { ClientCertificate } from '../transport/client-tls.ts';

/** How somebody who may come in has to prove who they are. */
export type Admission = Exclude<AccessMethod, 'reject'>;

type Loaded = {
  /** Null: none are given, `auth.type` holds for all. */
  readonly rules: readonly AccessRule[] | null;
  readonly maps: UserMaps;
};

/** Who may come in, and how: `auth.rules`, `auth.hba_file`, or `auth.type` where there are neither; and `tls.mode`. */
export class Access {
  readonly #config: () => Config;
  #loaded: Loaded = { rules: null, maps: new Map() };

  constructor(config: () => Config) {
    this.#config = config;
  }

  /** Reads the files. @returns what puts them into force. @throws FairleadError bad_config */
  prepare({ auth }: Config): () => void {
    const given = auth.rules.length > 0 || auth.hba_file !== null;
    const loaded = { rules: given ? readRules(auth) : null, maps: readUserMaps(auth.ident_file) };
    return () => {
      this.#loaded = loaded;
    };
  }

  /** @throws FairleadError access_denied */
  judge(applicant: Applicant, certificate: ClientCertificate | null): Admission {
    const { auth, tls } = this.#config();
    const overNetwork = applicant.address !== null;
    if (overNetwork && !applicant.encrypted && /^(require|verify)/.test(tls.mode)) {
      throw new FairleadError('access_denied', 'connection requires TLS', 'connect with sslmode=require, or above');
    }
    if (overNetwork && tls.mode.startsWith('verify')) requireCertificate(certificate);
    const rule = this.#ruleFor(applicant);
    if (rule === null) {
      if (auth.type === 'cert') this.#checkName(certificate, applicant.user, null);
      return auth.type;
    }
    if (rule.method === 'reject') {
      throw new FairleadError('access_denied', `pg_hba.conf rejects connection for ${textOf(applicant)}`);
    }
    if (rule.clientCertificate !== null) requireCertificate(certificate);
    if (rule.clientCertificate === 'verify-full') this.#checkName(certificate, applicant.user, rule.map);
    return rule.method;
  }

  #ruleFor(applicant: Applicant): AccessRule | null {
    const { rules } = this.#loaded;
    if (rules === null) return null;
    const rule = findRule(rules, applicant);
    if (rule === null) throw new FairleadError('access_denied', `no pg_hba.conf entry for ${textOf(applicant)}`);
    return rule;
  }

  #checkName(certificate: ClientCertificate | null, user: string, map: string | null): void {
    const { commonName } = requireCertificate(certificate);
    if (commonName !== null && mayBe(this.#loaded.maps, map, commonName, user)) return;
    throw new FairleadError(
      'access_denied',
      `certificate authentication failed for user "${user}"`,
      map === null
        ? "the certificate's common name must be the name of the user, or a map of auth.ident_file must say who that is"
        : `see map "${map}" of auth.ident_file`,
    );
  }
}

function requireCertificate(certificate: ClientCertificate | null): ClientCertificate {
  if (certificate !== null) return certificate;
  throw new FairleadError(
    'access_denied',
    'connection requires a valid client certificate',
    'connect with sslmode=require, sslcert and sslkey',
  );
}

/** As PostgreSQL says it. */
function textOf({ address, user, database, encrypted, replication }: Applicant): string {
  const what = replication ? 'replication connection' : 'host';
  const host = `${what === 'host' ? 'host' : 'replication connection from host'} "${address ?? '[local]'}", user "${user}"`;
  return `${host}${replication ? '' : `, database "${database}"`}, ${encrypted ? 'SSL encryption' : 'no encryption'}`;
}
