/** Who may come in, and how they prove who they are: rules in the syntax of pg_hba.conf. The first that fits decides. */
import { networkInterfaces } from 'node:os';
import { fault, type Line, readLine, readLines, type Token } from './access-tokens.ts';
import { type IpRange, inRange, ipBytes, rangeOfPrefix } from './ip-range.ts';

export const ACCESS_METHODS = ['trust', 'reject', 'md5', 'scram-sha-256', 'password', 'cert'] as const;
export type AccessMethod = (typeof ACCESS_METHODS)[number];

type NameMatch =
  | { readonly kind: 'all' | 'sameuser' | 'replication' }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'pattern'; readonly pattern: RegExp };

type AddressMatch =
  | { readonly kind: 'all' | 'samehost' | 'samenet' }
  | { readonly kind: 'range'; readonly range: IpRange };

export type AccessRule = {
  readonly where: string;
  readonly connection: 'local' | 'host' | 'hostssl' | 'hostnossl' | 'hostgssenc' | 'hostnogssenc';
  readonly databases: readonly NameMatch[];
  readonly users: readonly NameMatch[];
  /** Null: a Unix socket has none. */
  readonly address: AddressMatch | null;
  readonly method: AccessMethod;
  /** What the client's certificate must be; null: nothing is asked of it. */
  readonly clientCertificate: 'verify-ca' | 'verify-full' | null;
  /** Name of the map from certificates' names to users. */
  readonly map: string | null;
};

/** A client that wants in. */
export type Applicant = {
  /** Null: over a Unix socket. */
  readonly address: string | null;
  readonly encrypted: boolean;
  readonly database: string;
  readonly user: string;
  /** Wants physical replication: that is no database. */
  readonly replication: boolean;
};

export type AccessSource = { readonly rules: readonly string[]; readonly hba_file: string | null };

/** Rules written in the configuration stand before those of the file. @throws FairleadError bad_config with the line */
export function readRules({ rules, hba_file: file }: AccessSource): AccessRule[] {
  const lines = rules.map((text, i) => readLine(text, `auth.rules[${i}]`));
  return [...lines, ...(file === null ? [] : readLines(file))].map(ruleOf);
}

export function findRule(rules: readonly AccessRule[], applicant: Applicant): AccessRule | null {
  const address = applicant.address === null ? null : ipBytes(applicant.address);
  return rules.find((rule) => fits(rule, applicant, address)) ?? null;
}

function fits(rule: AccessRule, applicant: Applicant, address: Uint8Array | null): boolean {
  if ((rule.connection === 'local') !== (applicant.address === null)) return false;
  if (rule.connection === 'hostssl' && !applicant.encrypted) return false;
  if (rule.connection === 'hostnossl' && applicant.encrypted) return false;
  if (rule.connection === 'hostgssenc') return false;
  if (rule.address !== null && (address === null || !addressFits(rule.address, address))) return false;
  return (
    rule.databases.some((match) => databaseFits(match, applicant)) &&
    rule.users.some((match) => nameFits(match, applicant.user))
  );
}

function databaseFits(match: NameMatch, { database, user, replication }: Applicant): boolean {
  if (replication || match.kind === 'replication') return replication && match.kind === 'replication';
  return match.kind === 'sameuser' ? database === user : nameFits(match, database);
}

function nameFits(match: NameMatch, name: string): boolean {
  if (match.kind === 'name') return match.name === name;
  return match.kind === 'pattern' ? match.pattern.test(name) : match.kind === 'all';
}

function addressFits(match: AddressMatch, address: Uint8Array): boolean {
  if (match.kind === 'all') return true;
  if (match.kind === 'range') return inRange(address, match.range);
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .some((own) => {
      const bytes = ipBytes(own.address);
      const bits = match.kind === 'samehost' ? (bytes?.length ?? 0) * 8 : Number(own.cidr?.split('/')[1]);
      const range = bytes === null ? null : rangeOfPrefix(bytes, bits);
      return range !== null && inRange(address, range);
    });
}

const CONNECTIONS = ['local', 'host', 'hostssl', 'hostnossl', 'hostgssenc', 'hostnogssenc'] as const;

/** Why methods of PostgreSQL are not to be had here. */
const MISSING: Readonly<Record<string, string>> = {
  peer: 'Node cannot ask a Unix socket for the user at its other end; write scram-sha-256, or trust and protect the directory (unix_socket.mode)',
  ident: 'the ident protocol is not spoken; write scram-sha-256',
  gss: 'Kerberos is not spoken; write scram-sha-256, or cert',
  sspi: 'Kerberos is not spoken; write scram-sha-256, or cert',
  ldap: 'LDAP is not spoken; write scram-sha-256, or cert',
  radius: 'RADIUS is not spoken; write scram-sha-256, or cert',
  pam: 'PAM is not spoken; write scram-sha-256, or cert',
  bsd: 'BSD authentication is not spoken; write scram-sha-256, or cert',
  oauth: 'OAuth is not spoken; write scram-sha-256, or cert',
};

function ruleOf({ fields, where }: Line): AccessRule {
  let next = 0;
  const take = (what: string): readonly Token[] => fields[next++] ?? fail(`the line ends before its ${what}`);
  const one = (what: string): string => {
    const field = take(what);
    return field.length === 1 ? (field[0] as Token).text : fail(`several values where one ${what} is expected`);
  };
  const fail = (what: string): never => {
    throw fault(where, what);
  };
  const connection =
    choose(CONNECTIONS, one('connection type')) ??
    fail(`unknown connection type "${fields[0]?.[0]?.text}"; write ${CONNECTIONS.join(', ')}`);
  const databases = take('database').map((token) => databaseMatch(token, where));
  const users = take('user').map((token) => userMatch(token, where));
  const address = connection === 'local' ? null : addressMatch(take('address'), () => one('netmask'), where);
  const written = one('authentication method');
  const method = choose(ACCESS_METHODS, written);
  if (method === null) {
    return fail(
      `authentication method "${written}" is not available: ${MISSING[written] ?? `write ${ACCESS_METHODS.join(', ')}`}`,
    );
  }
  const options = new Map(
    fields
      .slice(next)
      .flat()
      .map(({ text }) => optionOf(text, where)),
  );
  const clientCertificate = certificateOf(options.get('clientcert'), method, connection, where);
  for (const name of options.keys()) {
    if (name !== 'map' && name !== 'clientcert')
      fail(`authentication option "${name}" is not available; there are map and clientcert`);
  }
  const map = options.get('map') ?? null;
  if (map !== null && clientCertificate !== 'verify-full') fail('map needs method cert, or clientcert=verify-full');
  return { where, connection, databases, users, address, method, clientCertificate, map };
}

function choose<T extends string>(allowed: readonly T[], text: string): T | null {
  return allowed.find((one) => one === text) ?? null;
}

function certificateOf(
  written: string | undefined,
  method: AccessMethod,
  connection: string,
  where: string,
): AccessRule['clientCertificate'] {
  if (written === undefined && method !== 'cert') return null;
  if (connection !== 'hostssl') throw fault(where, `${method === 'cert' ? 'method cert' : 'clientcert'} needs hostssl`);
  if (method === 'cert' && written !== undefined && written !== 'verify-full') {
    throw fault(where, 'method cert always means clientcert=verify-full');
  }
  if (written !== undefined && written !== 'verify-ca' && written !== 'verify-full') {
    throw fault(where, `clientcert=${written}: write verify-ca or verify-full`);
  }
  return written ?? 'verify-full';
}

function optionOf(text: string, where: string): readonly [string, string] {
  const equals = text.indexOf('=');
  if (equals === -1) throw fault(where, `authentication option "${text}" is not of the form name=value`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}

function databaseMatch(token: Token, where: string): NameMatch {
  const { text, quoted } = token;
  if (!quoted) {
    if (text === 'all' || text === 'sameuser' || text === 'replication') return { kind: text };
    if (text === 'samerole' || text === 'samegroup') throw groups(text, where);
  }
  return nameMatch(token, where);
}

function userMatch(token: Token, where: string): NameMatch {
  const { text, quoted } = token;
  if (!quoted && text === 'all') return { kind: 'all' };
  if (!quoted && text.startsWith('+')) throw groups(text, where);
  return nameMatch(token, where);
}

function groups(text: string, where: string) {
  return fault(
    where,
    `"${text}": which roles belong to a group is known to the servers only; name the users, or a file of them (@file)`,
  );
}

function nameMatch({ text }: Token, where: string): NameMatch {
  if (!text.startsWith('/')) return { kind: 'name', name: text };
  try {
    return { kind: 'pattern', pattern: new RegExp(text.slice(1), 'u') };
  } catch {
    throw fault(where, `invalid regular expression "${text.slice(1)}"`);
  }
}

function addressMatch(field: readonly Token[], netmask: () => string, where: string): AddressMatch {
  const { text, quoted } = field[0] as Token;
  if (field.length > 1) throw fault(where, 'write one address');
  if (!quoted && (text === 'all' || text === 'samehost' || text === 'samenet')) return { kind: text };
  const [host, bits] = text.split('/') as [string, string?];
  const address = ipBytes(host);
  if (address === null) {
    const remedy = /^[\d.:]+$/.test(host)
      ? 'it is no IP address'
      : 'host names are not looked up; write an address with a mask such as 10.0.0.0/8, or all';
    throw fault(where, `address "${text}": ${remedy}`);
  }
  if (bits !== undefined) {
    const range = /^\d{1,3}$/.test(bits) ? rangeOfPrefix(address, Number(bits)) : null;
    if (range === null) throw fault(where, `invalid mask in address "${text}"`);
    return { kind: 'range', range };
  }
  const mask = ipBytes(netmask());
  if (mask === null || mask.length !== address.length) {
    throw fault(where, `address "${text}" has no mask: write ${text}/${address.length * 8}, or the netmask behind it`);
  }
  return { kind: 'range', range: { address, mask } };
}
