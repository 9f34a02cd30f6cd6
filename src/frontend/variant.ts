import type { PreparedStatement, PreparedStatements } from '../backend/prepared-statement.ts';

/** A statement as it is under the settings of the session. */
export type Variant = (statement: PreparedStatement) => PreparedStatement;

/** @param memory tells what the session's statements are parsed under */
export function variantsOf(statements: PreparedStatements, memory: { readonly parseKey: string }): Variant {
  return (statement) => {
    const { parseKey } = memory;
    return parseKey === '' || statement.own ? statement : statements.intern(statement.body, parseKey);
  };
}
