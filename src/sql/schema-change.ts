import { type Fields, listOf, textOf, unwrap } from './ast.ts';
import { bodySettings } from './builtins.ts';

/**
 * What of the catalog a statement outdates, as far as `Catalog` knows any of it. Relations that are made are told by name: nothing that was
 * there before can read them. What is dropped, or becomes harmless, does no harm while it is still believed to be there.
 */
export type SchemaChange = readonly string[] | 'all';

/** Of ALTER TABLE: what may take a table, or those that it is a part of, from the replicas. */
const ALTERS_READS = /^AT_(SetUnLogged|EnableRowSecurity|ForceRowSecurity|AddInherit|AttachPartition|GenericOptions)$/;

const ALL =
  /^(Create(Function|Extension|OpClass|Cast|Transform|Policy)Stmt|Alter(Function|Extension|ExtensionContents|ObjectSchema|Policy)Stmt|DefineStmt|RenameStmt|RuleStmt|ImportForeignSchemaStmt)$/;

/** @returns null when it does not matter */
export function schemaChange(tag: string, node: Fields): SchemaChange | null {
  switch (tag) {
    case 'CreateStmt':
      return textOf((node.relation as Fields | undefined)?.relpersistence) === 'u' ? nameOf(node.relation) : null;
    case 'CreateSeqStmt':
      return nameOf(node.sequence);
    case 'CreateForeignTableStmt':
      return nameOf((node.base as Fields | undefined)?.relation);
    case 'ViewStmt':
      return node.replace === true ? 'all' : nameOf(node.view);
    case 'CreateSchemaStmt':
      return listOf(node.schemaElts).length > 0 ? 'all' : null;
    case 'AlterTableStmt':
      return listOf(node.cmds).some((item) => ALTERS_READS.test(textOf(unwrap(item)?.node.subtype) ?? ''))
        ? 'all'
        : null;
    default:
      return ALL.test(tag) ? 'all' : null;
  }
}

export function joinedChange(changes: readonly (SchemaChange | undefined)[]): SchemaChange | null {
  if (changes.includes('all')) return 'all';
  const names = changes.flatMap((change) => (change ?? []) as readonly string[]);
  return names.length === 0 ? null : names;
}

/** Custom settings that the body of a new function names: servers do not list them, and it may be called before the catalog is read. */
export function customSettings(tag: string, node: Fields): string[] {
  if (tag !== 'CreateFunctionStmt') return [];
  return listOf(node.options)
    .flatMap((item) => listOf(unwrap(unwrap(item)?.node.arg)?.node.items))
    .flatMap((item) => bodySettings(textOf(unwrap(item)?.node.sval) ?? ''))
    .filter((name) => name.includes('.') && !name.startsWith('fairlead.'));
}

function nameOf(relation: unknown): SchemaChange {
  const name = textOf((relation as Fields | undefined)?.relname);
  return name === null ? 'all' : [name];
}
