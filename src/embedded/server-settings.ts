/** Settings of throw-away servers: quick to notice each other's end, small enough for a laptop. */

export type Settings = Readonly<Record<string, string | number | boolean>>;

/**
 * @param durable false leaves out fsync: quicker, and a killed server still finds everything, only a killed machine does not
 */
export function serverSettings(port: number, durable: boolean, extra: Settings): Settings {
  return {
    listen_addresses: '127.0.0.1',
    port,
    // over TCP only: a path below the temporary directory is easily longer than a socket's name may be
    unix_socket_directories: '',
    password_encryption: 'scram-sha-256',
    max_connections: 200,
    shared_buffers: '32MB',
    min_wal_size: '32MB',
    max_wal_size: '512MB',
    wal_level: 'logical',
    max_wal_senders: 20,
    max_replication_slots: 20,
    max_prepared_transactions: 20,
    // a replica that never comes back must not fill the disk
    max_slot_wal_keep_size: '1GB',
    wal_keep_size: '64MB',
    wal_log_hints: true,
    hot_standby: true,
    hot_standby_feedback: true,
    wal_receiver_timeout: '2s',
    wal_receiver_status_interval: '1s',
    wal_retrieve_retry_interval: '200ms',
    wal_sender_timeout: '10s',
    log_line_prefix: '%m [%p] %q%u@%d ',
    log_checkpoints: false,
    timezone: 'UTC',
    log_timezone: 'UTC',
    jit: false,
    ...(durable ? {} : { fsync: false }),
    ...extra,
  };
}

/** The lines of postgresql.conf, later ones winning. */
export function renderSettings(settings: Settings): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = ${renderValue(value)}\n`)
    .join('');
}

function renderValue(value: string | number | boolean): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return typeof value === 'number' ? String(value) : `'${value.replaceAll("'", "''")}'`;
}

/**
 * Anybody with a password, from one network only, also for replication: after a failover every node may feed the others.
 * @param network as pg_hba.conf names it
 * @param local whether also over the server's socket
 */
export function hbaFor(network: string, local: boolean): string {
  return `${local ? 'local all all scram-sha-256\n' : ''}host all all ${network} scram-sha-256
host replication all ${network} scram-sha-256
`;
}

/** What to reach the primary with, as libpq's connection string. */
export type PrimaryLink = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly nodeName: string;
  readonly slot: string;
};

/** What makes a data directory a replica's, together with standby.signal. */
export function standbySettings(link: PrimaryLink): Settings {
  const quote = (value: string) => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  return {
    primary_conninfo: [
      `host=${link.host}`,
      `port=${link.port}`,
      `user=${quote(link.user)}`,
      `password=${quote(link.password)}`,
      `application_name=${quote(link.nodeName)}`,
      'connect_timeout=2',
    ].join(' '),
    primary_slot_name: link.slot,
  };
}
