/** libpq connection strings: what `primary_conninfo` holds. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING */
export type Conninfo = ReadonlyMap<string, string>;

const PAIR = /\s*([A-Za-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s\\]|\\.)*))/gy;

/** Reads both forms, keyword=value and URI. @throws RangeError when it is neither. */
export function parseConninfo(text: string): Conninfo {
  if (/^postgres(ql)?:\/\//.test(text)) return parseUri(text);
  const pairs = new Map<string, string>();
  const end = text.trimEnd().length;
  PAIR.lastIndex = 0;
  let at = 0;
  while (at < end) {
    const match = PAIR.exec(text);
    if (match === null) throw new RangeError('not a libpq connection string');
    pairs.set(match[1] as string, (match[2] ?? match[3] ?? '').replace(/\\(.)/g, '$1'));
    at = PAIR.lastIndex;
  }
  return pairs;
}

export function formatConninfo(info: Conninfo): string {
  return [...info].map(([key, value]) => `${key}=${quote(value)}`).join(' ');
}

/** The same connection to another server: host, port and name change, credentials and TLS settings stay. */
export function redirect(info: Conninfo, host: string, port: number, applicationName: string): Conninfo {
  const next = new Map(info);
  next.delete('hostaddr');
  next.set('host', host);
  next.set('port', String(port));
  if (!next.has('application_name')) next.set('application_name', applicationName);
  return next;
}

function quote(value: string): string {
  return /^[A-Za-z0-9_./:@-]+$/.test(value) ? value : `'${value.replace(/[\\']/g, '\\$&')}'`;
}

function parseUri(text: string): Conninfo {
  const pairs = new Map<string, string>();
  let uri: URL;
  try {
    // URL insists on a simple host; lists of hosts are not what primary_conninfo of a managed replica has
    uri = new URL(text.replace(/^postgres(ql)?:/, 'http:'));
  } catch {
    throw new RangeError('not a libpq connection string');
  }
  if (uri.hostname !== '') pairs.set('host', decodeURIComponent(uri.hostname).replace(/^\[|\]$/g, ''));
  pairs.set('port', uri.port === '' ? '5432' : uri.port);
  if (uri.username !== '') pairs.set('user', decodeURIComponent(uri.username));
  if (uri.password !== '') pairs.set('password', decodeURIComponent(uri.password));
  if (uri.pathname.length > 1) pairs.set('dbname', decodeURIComponent(uri.pathname.slice(1)));
  for (const [key, value] of uri.searchParams) pairs.set(key, value);
  return pairs;
}
