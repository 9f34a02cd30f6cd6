import type { PreparedStatement, PreparedStatements } from '../backend/prepared-statement.ts';
import type { Transaction } from './client-output.ts';
import type { Link } from './link.ts';

/** A statement as it is under the settings of the session. */
export type Variant = (statement: PreparedStatement) => PreparedStatement;

/** What bears on how the session's statements are parsed. */
type Session = {
  readonly memory: { readonly parseKey: string };
  readonly transaction: Transaction;
  readonly link: Link | null;
};

export function variantsOf(statements: PreparedStatements, session: Session): Variant {
  return (statement) => {
    const { parseKey } = session.memory;
    const wanted = parseKey === '' || statement.own ? statement : statements.intern(statement.body, parseKey);
    // nothing can be prepared there until it has ended: what was before its settings changed will do
    if (session.transaction !== 'failed' || session.link === null) return wanted;
    return session.link.connection.statements.sameText(wanted) ?? wanted;
  };
}
