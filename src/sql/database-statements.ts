import { constantText, type Fields, listOf, textOf, unwrap } from './ast.ts';

/**
 * Databases that a statement needs to itself, as CountOtherDBBackends in PostgreSQL's dbcommands.c asks for: DROP, RENAME, SET TABLESPACE,
 * and the template of a new one. Null: none.
 */
export function databasesNeeded(tag: string, node: Fields): readonly string[] | null {
  switch (tag) {
    case 'DropdbStmt':
      return named(textOf(node.dbname));
    case 'RenameStmt':
      return node.renameType === 'OBJECT_DATABASE' ? named(textOf(node.subname)) : null;
    case 'AlterDatabaseStmt':
      return option(node, 'tablespace') === undefined ? null : named(textOf(node.dbname));
    case 'CreatedbStmt': {
      const template = option(node, 'template');
      return named(template === undefined ? 'template1' : template);
    }
    default:
      return null;
  }
}

function named(name: string | null): readonly string[] {
  return name === null || name === '' ? [] : [name];
}

/** Undefined: it is not there. */
function option(node: Fields, wanted: string): string | null | undefined {
  for (const item of listOf(node.options)) {
    const element = unwrap(item)?.node;
    if (textOf(element?.defname) === wanted) return constantText(element?.arg);
  }
  return undefined;
}
