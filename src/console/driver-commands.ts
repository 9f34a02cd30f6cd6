import type { Command } from './command.ts';
import type { Columns } from './table.ts';

function accepted(word: string, tag = word): Command {
  return {
    words: [word],
    argument: { name: 'anything', required: false },
    help: null,
    columns: null,
    run: () => ({ tag, rows: [], notices: [] }),
  };
}

const NO_TYPES: Columns = { oid: 'int8', typarray: 'int8' };

/**
 * What drivers say by themselves. It is accepted and does nothing: no command of the console is transactional or depends on a setting.
 * The look into pg_type is that of postgres.js at its start: there is no type beyond those every driver knows.
 */
export const DRIVER_COMMANDS: readonly Command[] = [
  accepted('BEGIN'),
  accepted('START', 'START TRANSACTION'),
  accepted('COMMIT'),
  accepted('END', 'COMMIT'),
  accepted('ROLLBACK'),
  accepted('RESET'),
  accepted('DISCARD', 'DISCARD ALL'),
  {
    words: ['SELECT', 'B.OID,', 'B.TYPARRAY', 'FROM', 'PG_CATALOG.PG_TYPE'],
    argument: { name: 'anything', required: false },
    help: null,
    columns: NO_TYPES,
    run: () => ({ tag: 'SELECT 0', rows: [], notices: [] }),
  },
];
