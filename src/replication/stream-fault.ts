/** Why there is no stream, and which statement changes that. */
export type StreamFault = {
  /** True when trying again soon is pointless: somebody has to do something. */
  readonly permanent: boolean;
  readonly message: string;
  /** What to run, or null when there is nothing to do but wait. */
  readonly fix: string | null;
};

export const NOT_LOGICAL: StreamFault = {
  permanent: true,
  message: 'wal_level is not logical',
  fix: "ALTER SYSTEM SET wal_level = 'logical'; then restart the primary",
};

/** Reads the server's refusal by its SQLSTATE. @param user the role of the control connections */
export function streamFault(sqlState: string | null, message: string, user: string): StreamFault {
  switch (sqlState) {
    case '42501':
      return { permanent: true, message, fix: `ALTER ROLE ${quoted(user)} REPLICATION` };
    case '53400':
      return { permanent: true, message, fix: 'ALTER SYSTEM SET max_replication_slots = 20; then restart the primary' };
    case '53300':
      return { permanent: true, message, fix: 'ALTER SYSTEM SET max_wal_senders = 20; then restart the primary' };
    case '58P01':
    case '42883':
      return {
        permanent: true,
        message,
        fix: 'install the package with the output plugin test_decoding (postgresql-contrib)',
      };
    case '55000':
      return { permanent: true, message, fix: NOT_LOGICAL.fix };
    case '28000':
    case '28P01':
      return {
        permanent: true,
        message,
        fix: `let ${user} in by pg_hba.conf: host <database> ${user} <address> scram-sha-256`,
      };
    default:
      return { permanent: false, message, fix: null };
  }
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}
