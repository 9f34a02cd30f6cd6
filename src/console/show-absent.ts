/** PgBouncer's tables for what does not exist here: empty, so that whoever asks for all of them goes on. */
import { FairleadError } from '../core/errors.ts';
import { type Command, show } from './command.ts';

const none = () => [];

export const ABSENT_COMMANDS: readonly Command[] = [
  show({
    name: 'DNS_HOSTS',
    help: 'empty: names are looked up by the system at each connect',
    columns: { hostname: 'text', ttl: 'int8', addrs: 'text' },
    rows: none,
  }),
  show({
    name: 'DNS_ZONES',
    help: 'empty, likewise',
    columns: { zonename: 'text', serial: 'int8', count: 'int4' },
    rows: none,
  }),
  show({
    name: 'PEERS',
    help: 'empty: there are no peers',
    columns: { peer_id: 'int4', host: 'text', port: 'int4', pool_size: 'int4' },
    rows: none,
  }),
  show({
    name: 'PEER_POOLS',
    help: 'empty, likewise',
    columns: {
      peer_id: 'int4',
      cl_active_cancel_req: 'int4',
      cl_waiting_cancel_req: 'int4',
      sv_active_cancel: 'int4',
      sv_login: 'int4',
    },
    rows: none,
  }),
  {
    words: ['SHOW', 'FDS'],
    argument: null,
    help: 'refused: sockets are not handed over to another process',
    columns: null,
    run() {
      throw new FairleadError('unsupported', 'sockets are not handed over to another process', 'use SHUTDOWN');
    },
  },
  {
    words: ['SUSPEND'],
    argument: null,
    help: 'refused, likewise: use PAUSE',
    columns: null,
    run() {
      throw new FairleadError('unsupported', 'sockets are not handed over to another process', 'use PAUSE');
    },
  },
];
