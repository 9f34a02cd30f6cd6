/**
 * The catalogue of errors that Fairlead itself raises: SQLSTATE for clients, and what to do about it.
 * Errors of PostgreSQL pass through untouched and are matched by SQLSTATE, never by text.
 */
const CATALOGUE = {
  bad_config: { sqlState: 'F0000', remedy: 'correct the configuration; `fairlead check -c FILE` tells more' },
  bad_arguments: { sqlState: 'F0000', remedy: '`fairlead help` lists commands and options' },
  port_taken: { sqlState: 'F0000', remedy: 'stop the program that has the port, or choose another one' },
  no_primary: { sqlState: '57P03', remedy: 'retry; `SHOW NODES` in database fairlead tells why there is none' },
  no_replica: { sqlState: '57P03', remedy: 'retry, or let the primary serve it' },
  too_many_clients: { sqlState: '53300', remedy: 'raise pool.max_clients, or close idle connections' },
  checkout_timeout: { sqlState: '53300', remedy: 'raise pool.size or pool.checkout_timeout, or shorten transactions' },
  paused: { sqlState: '57P03', remedy: 'RESUME in the admin console, or `fairlead resume`' },
  shutting_down: { sqlState: '57P01', remedy: 'reconnect' },
  idle_in_transaction: {
    sqlState: '25P03',
    remedy: 'finish transactions sooner, or raise pool.idle_transaction_timeout',
  },
  not_allowed: { sqlState: '42501', remedy: 'ask one of auth.admins' },
  idle_client: { sqlState: '57P05', remedy: 'reconnect, or raise pool.client_idle_timeout' },
  query_timeout: { sqlState: '57014', remedy: 'make the statement faster, or raise pool.query_timeout' },
  not_accepting: { sqlState: '57P03', remedy: 'connect to another one, or later' },
  database_disabled: { sqlState: '57P03', remedy: 'ENABLE it in the admin console' },
  transaction_block: {
    sqlState: '08P01',
    remedy: 'send the statements as one text, or give the database or user pool mode transaction',
  },
  startup_timeout: { sqlState: '08006', remedy: 'send the startup packet and the password in time' },
  protocol_violation: { sqlState: '08P01', remedy: 'the client does not speak the PostgreSQL protocol, version 3' },
  auth_failed: { sqlState: '28P01', remedy: 'check user and password; users are configured under auth.users' },
  database_dropped: { sqlState: '57P04', remedy: 'connect to another database' },
  role_replaced: { sqlState: '57P01', remedy: 'log in as the new role' },
  lookup_failed: { sqlState: '57P03', remedy: 'retry; the log and `SHOW NODES` in database fairlead tell more' },
  access_denied: { sqlState: '28000', remedy: 'see the access rules: auth.hba_file and auth.rules' },
  server_login_failed: {
    sqlState: '28000',
    remedy: 'let the server know the user with the password that Fairlead has for it',
  },
  server_unreachable: { sqlState: '08001', remedy: 'check address, listen_addresses and firewall of the node' },
  outcome_unknown: { sqlState: '08007', remedy: 'check whether the write took effect before you repeat it' },
  transaction_lost: { sqlState: '40001', remedy: 'nothing was committed; run the transaction again' },
  terminated: { sqlState: '57P01', remedy: 'somebody called pg_terminate_backend for this session' },
  not_permitted: { sqlState: '42501', remedy: 'ask a superuser' },
  session_lost: { sqlState: '57P01', remedy: 'reconnect: state that lived in the lost server connection is gone' },
  connection_lost: { sqlState: '08006', remedy: 'retry' },
  cancelled: { sqlState: '57014', remedy: 'the statement was cancelled on request' },
  in_failed_transaction: { sqlState: '25P02', remedy: 'end the transaction with ROLLBACK' },
  outdated_types: { sqlState: '0A000', remedy: 'prepare the statement again: its types have changed' },
  unsupported: { sqlState: '0A000', remedy: 'connect to the node directly for this' },
  bad_parameter: { sqlState: '22023', remedy: 'see the documentation of SET fairlead.*' },
  notifications_unread: {
    sqlState: '57P01',
    remedy: 'reconnect, LISTEN again and read faster; pool.notification_backlog is the limit',
  },
  read_only: { sqlState: '25006', remedy: 'connect to the port that takes writes' },
  unknown_command: { sqlState: '42601', remedy: 'SHOW HELP lists the commands' },
  internal: { sqlState: 'XX000', remedy: 'please report it, with the log' },
  refused: { sqlState: '55000', remedy: 'see the reason' },
} as const;

export type ErrorCode = keyof typeof CATALOGUE;

/** An error of our own, with a SQLSTATE a driver understands and a remedy a person can follow. */
export class FairleadError extends Error {
  readonly code: ErrorCode;
  readonly sqlState: string;
  readonly remedy: string;

  /** @param remedy overrides the catalogue's where the place knows better. */
  constructor(code: ErrorCode, message: string, remedy?: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'FairleadError';
    this.code = code;
    this.sqlState = CATALOGUE[code].sqlState;
    this.remedy = remedy ?? CATALOGUE[code].remedy;
  }
}

/** Text of whatever was thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
