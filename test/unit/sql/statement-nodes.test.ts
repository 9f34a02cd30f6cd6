import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { analyse } from '../../../src/sql/analyse.ts';
import { UTILITY } from '../../../src/sql/utility-statements.ts';
import { SAMPLE } from './sample-catalog.ts';

/** Every statement node of the grammar has a class: a new one in a newer parser fails here until somebody decides. */

const OWN: Readonly<Record<string, string>> = {
  SelectStmt: 'read',
  InsertStmt: 'write',
  UpdateStmt: 'write',
  DeleteStmt: 'write',
  MergeStmt: 'write',
  ExplainStmt: 'write',
  TransactionStmt: 'unknown',
  VariableSetStmt: 'session-state',
  VariableShowStmt: 'write',
  DiscardStmt: 'session-state',
  CopyStmt: 'copy',
  CallStmt: 'write',
  DoStmt: 'write',
  PrepareStmt: 'session-state',
  ExecuteStmt: 'write',
  DeallocateStmt: 'session-state',
  DeclareCursorStmt: 'session-state',
  FetchStmt: 'write',
  ClosePortalStmt: 'session-state',
  ListenStmt: 'session-state',
  UnlistenStmt: 'session-state',
  LoadStmt: 'session-state',
  ConstraintsSetStmt: 'session-state',
  LockStmt: 'write',
  CreateTableAsStmt: 'write',
  // Never at the top of a text: parts of functions, PL/pgSQL, the parser's own.
  PLAssignStmt: 'unknown',
  RawStmt: 'unknown',
  ReturnStmt: 'unknown',
  SetOperationStmt: 'unknown',
};

describe('statement nodes of the grammar', () => {
  const types = readFileSync(
    fileURLToPath(import.meta.resolve('@pgsql/types')).replace(/index\.js$/, 'types.d.ts'),
    'utf8',
  );
  const nodes = [...types.matchAll(/^export interface (\w+Stmt) /gm)].map((match) => match[1] as string);

  it('are all listed', () => {
    assert.ok(nodes.length > 100);
    for (const node of nodes) assert.ok(UTILITY.has(node) || OWN[node] !== undefined, node);
  });

  for (const node of nodes) {
    const expected = UTILITY.has(node) ? 'write' : OWN[node];
    it(`${node}: ${expected}`, () => {
      // Without its fields each is judged by its kind alone.
      assert.equal(analyse([{ tag: node, node: {} }], SAMPLE, null).class, expected);
    });
  }

  it('an unheard-of statement or expression is unknown', () => {
    assert.equal(analyse([{ tag: 'WaitStmt', node: {} }], SAMPLE, null).class, 'unknown');
    const select = { targetList: [{ ResTarget: { val: { NovelExpr: {} } } }] };
    assert.equal(analyse([{ tag: 'SelectStmt', node: select }], SAMPLE, null).class, 'unknown');
  });
});
